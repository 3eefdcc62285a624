//! Messages: section 3.4 of the contract.

use std::collections::HashMap;

use serde_json::Value;
use warp::http::StatusCode;

use super::Call;
use super::answers::{Answer, FieldErrors, Refusal, done, json, no_content};
use super::form::{Field, Form};
use super::paging::{Newest, Slice};
use super::shapes::{Message, Readers};
use crate::error::{Error, ErrorCode};
use crate::model::{self, Actor, ConversationId, MessageId, UserId};
use crate::ops::{accounts, messages};
use crate::protocol::commands::{MessageDelete, MessageEdit, MessageRead, MessageSend};
use crate::sentence;

pub(super) const CREATE: &[Field] =
    &[Field::integer("conversation"), Field::text("content", usize::MAX).required(), Field::file("attachment")];
pub(super) const PATCH: &[Field] =
    &[Field::integer("conversation"), Field::text("content", usize::MAX), Field::file("attachment")];

fn place(call: &Call) -> ConversationId {
    ConversationId(call.id(0))
}

pub(super) async fn list(call: Call) -> Answer {
    let (actor, conversation) = (call.actor()?, place(&call));
    let total = messages::count(&call.app, actor, conversation).await?;
    let slice = Slice::of(&call, total, Newest::Last)?;
    let found = messages::slice(&call.app, actor, conversation, slice.offset, slice.limit).await?;
    let last = found.last().map(|message| message.seq);
    let readers = readers(&call, actor, conversation, &found).await?;
    let shown = found.into_iter().filter_map(|message| Message::new(message, &readers)).collect();
    // What is shown counts as read, from the next look on.
    if let Some(seq) = last {
        messages::read(&call.app, actor, MessageRead { conversation, seq }).await?;
    }
    Ok(slice.answer(&call, shown))
}

async fn readers(
    call: &Call,
    actor: Actor,
    conversation: ConversationId,
    shown: &[model::Message],
) -> Result<Readers, Refusal> {
    let mut senders: Vec<UserId> = shown.iter().filter_map(|message| message.sender).collect();
    senders.sort_unstable();
    senders.dedup();
    let names: HashMap<UserId, String> = accounts::names(&call.app, &senders).await?;
    let watermarks = messages::watermarks(&call.app, actor, conversation).await?;
    let read = watermarks.into_iter().map(|watermark| (watermark.user, watermark.read)).collect();
    Ok(Readers { me: actor.user, names, read })
}

async fn shown(call: &Call, actor: Actor, id: MessageId) -> Result<Message, Refusal> {
    let found = vec![messages::one(&call.app, actor, place(call), id).await?];
    let readers = readers(call, actor, place(call), &found).await?;
    let shown = found.into_iter().find_map(|message| Message::new(message, &readers));
    shown.ok_or_else(|| Error::not_found("message").into())
}

pub(super) async fn create(call: Call) -> Answer {
    let (actor, conversation) = (call.actor()?, place(&call));
    let mut form = call.form();
    form.check()?;
    same_place(&call, &form)?;
    let text = form.text_or_empty("content");
    let send = MessageSend { conversation, text, attachment: None, reply_to: None, client_key: None };
    let sent = messages::send(&call.app, actor, send).await.map_err(as_content)?;
    Ok(json(StatusCode::CREATED, &shown(&call, actor, sent.id).await?))
}

/// A conversation that is named must be the one of the path.
fn same_place(call: &Call, form: &Form) -> Result<(), FieldErrors> {
    match form.integer("conversation") {
        Some(other) if other != call.id(0) => {
            Err(FieldErrors::of("conversation", sentence!("no-key", key = Value::from(other).to_string())))
        }
        _ => Ok(()),
    }
}

fn as_content(error: Error) -> Error {
    let field = error.field.as_deref().map(|field| if field == "text" { "content" } else { field }.to_owned());
    Error { field, ..error }
}

pub(super) async fn get(call: Call) -> Answer {
    let actor = call.actor()?;
    Ok(json(StatusCode::OK, &shown(&call, actor, MessageId(call.id(1))).await?))
}

pub(super) async fn update(call: Call) -> Answer {
    let (actor, conversation, id) = (call.actor()?, place(&call), MessageId(call.id(1)));
    let seq = messages::one(&call.app, actor, conversation, id).await?.seq;
    let mut form = call.form();
    form.check()?;
    same_place(&call, &form)?;
    if let Some(text) = form.text("content") {
        messages::edit(&call.app, actor, MessageEdit { conversation, seq, text }).await.map_err(as_content)?;
    }
    Ok(json(StatusCode::OK, &shown(&call, actor, id).await?))
}

pub(super) async fn delete(call: Call) -> Answer {
    let (actor, conversation, id) = (call.actor()?, place(&call), MessageId(call.id(1)));
    let seq = messages::one(&call.app, actor, conversation, id).await?.seq;
    messages::delete(&call.app, actor, MessageDelete { conversation, seq, for_all: true }).await?;
    Ok(no_content())
}

pub(super) async fn mark_read(call: Call) -> Answer {
    let (actor, conversation) = (call.actor()?, place(&call));
    let seq = messages::one(&call.app, actor, conversation, MessageId(call.id(1))).await?.seq;
    match messages::read(&call.app, actor, MessageRead { conversation, seq }).await {
        Ok(_) => Ok(done(call.language, &sentence!("marked-read"))),
        Err(error) if error.code == ErrorCode::NotFound => Err(Error::not_found("message").into()),
        Err(error) => Err(error.into()),
    }
}
