//! Conversations: section 3.3 of the contract.

use schemars::JsonSchema;
use serde::Serialize;
use warp::http::StatusCode;

use super::Call;
use super::answers::{Answer, FieldErrors, Refusal, done, json, no_content};
use super::form::Field;
use super::paging::{Newest, Slice};
use super::shapes::Conversation;
use crate::error::{Error, ErrorCode};
use crate::model::{self, Actor, ConversationId, UserId};
use crate::ops::{conversations, files, groups, messages};
use crate::protocol::commands::{ConversationLeave, ConversationOpen, MessageSend};
use crate::sentence;

pub(super) const CREATE: &[Field] =
    &[Field::integer("participant_id").required(), Field::text("message", usize::MAX).required()];
pub(super) const UPDATE: &[Field] = &[Field::boolean("is_active")];

/// What is answered.
#[derive(Serialize, JsonSchema)]
pub(super) struct Root {
    conversations: String,
    matches: String,
}

pub(super) async fn root(call: Call) -> Answer {
    let (conversations, matches) = (call.url("/api/v1/conversations/"), call.url("/api/v1/matches/"));
    Ok(json(StatusCode::OK, &Root { conversations, matches }))
}

pub(super) async fn list(call: Call) -> Answer {
    let actor = call.actor()?;
    let total = conversations::count(&call.app, actor).await?;
    let slice = Slice::of(&call, total, Newest::First)?;
    let found = conversations::slice(&call.app, actor, slice.offset, slice.limit).await?;
    Ok(slice.answer(&call, shown(&call, actor, found).await?))
}

/// Conversations as the caller sees them, with their members' pictures.
async fn shown(call: &Call, actor: Actor, found: Vec<model::Conversation>) -> Result<Vec<Conversation>, Refusal> {
    let members = found.iter().flat_map(|conversation| &conversation.members);
    let mut members: Vec<UserId> = members.filter(|member| !member.gone).map(|member| member.user).collect();
    members.sort_unstable();
    members.dedup();
    let pictures = files::first_pictures(&call.app, actor, &members).await?;
    Ok(found.into_iter().map(|found| Conversation::new(found, call, actor.user, &pictures)).collect())
}

async fn one(call: &Call, actor: Actor, conversation: ConversationId) -> Result<Conversation, Refusal> {
    let found = vec![conversations::listed(&call.app, actor, conversation).await?];
    shown(call, actor, found).await?.pop().ok_or_else(Refusal::not_found)
}

pub(super) async fn create(call: Call) -> Answer {
    let actor = call.actor()?;
    let mut form = call.form();
    form.check()?;
    let user = UserId(form.integer("participant_id").unwrap_or_default());
    let text = form.text_or_empty("message");
    if user == actor.user {
        return Err(FieldErrors::of("participant_id", sentence!("not-with-yourself")).into());
    }
    // Nothing is opened for what cannot be said.
    let as_message = |error: Error| Error { field: error.field.map(|_| "message".to_owned()), ..error };
    messages::check(&call.app, &text).map_err(as_message)?;
    let opened = conversations::open(&call.app, actor, ConversationOpen { user }).await;
    let opened = opened.map_err(|error| no_such_person("participant_id", error))?;
    let conversation = opened.id;
    let send = MessageSend { conversation, text, attachment: None, reply_to: None, client_key: None };
    let sent = messages::send(&call.app, actor, send).await;
    sent.map_err(|error| no_such_person("participant_id", error))?;
    Ok(json(StatusCode::CREATED, &one(&call, actor, conversation).await?))
}

/// Who is unknown, deleted or on either side of a block is not there, whatever is asked of them.
pub(super) fn no_such_person(field: &str, error: Error) -> Refusal {
    match error.code {
        ErrorCode::NotFound | ErrorCode::Blocked => FieldErrors::of(field, sentence!("no-such-person")).into(),
        _ => error.into(),
    }
}

fn place(call: &Call) -> ConversationId {
    ConversationId(call.id(0))
}

pub(super) async fn get(call: Call) -> Answer {
    let actor = call.actor()?;
    Ok(json(StatusCode::OK, &one(&call, actor, place(&call)).await?))
}

pub(super) async fn update(call: Call) -> Answer {
    let actor = call.actor()?;
    // Who may not see it is not told what is wrong with the fields.
    let mut shown = one(&call, actor, place(&call)).await?;
    let mut form = call.form();
    form.check()?;
    if form.boolean("is_active") == Some(false) {
        groups::leave(&call.app, actor, ConversationLeave { conversation: place(&call) }).await?;
        shown.is_active = false;
    }
    Ok(json(StatusCode::OK, &shown))
}

async fn go(call: &Call) -> Result<(), Refusal> {
    let actor = call.actor()?;
    let conversation = place(call);
    conversations::listed(&call.app, actor, conversation).await?;
    groups::leave(&call.app, actor, ConversationLeave { conversation }).await?;
    Ok(())
}

pub(super) async fn leave(call: Call) -> Answer {
    go(&call).await?;
    Ok(done(call.language, &sentence!("conversation-left")))
}

pub(super) async fn delete(call: Call) -> Answer {
    go(&call).await?;
    Ok(no_content())
}
