//! Messages: section 3.4 of the contract.

use serde_json::Value;
use warp::http::StatusCode;

use super::Call;
use super::answers::{Answer, FieldErrors, Refusal, done, json, no_content};
use super::form::{Field, Form};
use super::paging::{Newest, Slice};
use super::shapes::{Message, Readers};
use crate::error::{Error, ErrorCode};
use crate::media::Wanted;
use crate::model::{self, Actor, ConversationId, MessageId, UserId};
use crate::ops::{accounts, files, messages};
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
    let shown = shown(&call, actor, found).await?;
    // What is shown counts as read, from the next look on.
    if let Some(seq) = last {
        messages::read(&call.app, actor, MessageRead { conversation, seq }).await?;
    }
    Ok(slice.answer(&call, shown))
}

/// Messages as the caller sees them, with those who wrote them and how far each has read.
async fn shown(call: &Call, actor: Actor, found: Vec<model::Message>) -> Result<Vec<Message>, Refusal> {
    let mut senders: Vec<UserId> = found.iter().filter_map(|message| message.sender).collect();
    senders.sort_unstable();
    senders.dedup();
    let watermarks = messages::watermarks(&call.app, actor, place(call)).await?;
    let readers = Readers {
        call,
        me: actor.user,
        names: accounts::names(&call.app, actor, &senders).await?,
        pictures: &files::first_pictures(&call.app, actor, &senders).await?,
        read: watermarks.into_iter().map(|watermark| (watermark.user, watermark.read)).collect(),
    };
    Ok(found.into_iter().filter_map(|message| Message::new(message, &readers)).collect())
}

async fn one(call: &Call, actor: Actor, id: MessageId) -> Result<Message, Refusal> {
    let found = vec![messages::one(&call.app, actor, place(call), id).await?];
    shown(call, actor, found).await?.pop().ok_or_else(|| Error::not_found("message").into())
}

pub(super) async fn create(call: Call) -> Answer {
    let (actor, conversation) = (call.actor()?, place(&call));
    let mut form = call.form();
    form.check()?;
    same_place(&call, &form)?;
    let text = form.text_or_empty("content");
    // No file is kept for what cannot be said, nor for who may not say it.
    messages::check(&call.app, &text).map_err(as_content)?;
    messages::may_write(&call.app, actor, conversation).await?;
    let attachment = call.file("attachment", Wanted::Anything).await?;
    let send = MessageSend { conversation, text, attachment, reply_to: None, client_key: None };
    let sent = messages::send(&call.app, actor, send).await.map_err(as_content)?;
    Ok(json(StatusCode::CREATED, &one(&call, actor, sent.id).await?))
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
    Ok(json(StatusCode::OK, &one(&call, actor, MessageId(call.id(1))).await?))
}

pub(super) async fn update(call: Call) -> Answer {
    let (actor, conversation, id) = (call.actor()?, place(&call), MessageId(call.id(1)));
    let message = messages::one(&call.app, actor, conversation, id).await?;
    let seq = message.seq;
    let mut form = call.form();
    if call.body.file("attachment").is_some() || form.is_null("attachment") && message.attachment.is_some() {
        form.errors.add("attachment", sentence!("file-stays"));
    }
    form.check()?;
    same_place(&call, &form)?;
    if let Some(text) = form.text("content") {
        messages::edit(&call.app, actor, MessageEdit { conversation, seq, text }).await.map_err(as_content)?;
    }
    Ok(json(StatusCode::OK, &one(&call, actor, id).await?))
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
