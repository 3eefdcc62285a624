//! Sending, changing and reading messages.

use crate::app::App;
use crate::bus::Notice;
use crate::error::{Error, Result};
use crate::model::{
    Actor, ConversationId, ConversationKind, Message, MessageId, MessageKind, PersonalKind, Role, Text, UserId,
    Watermark,
};
use crate::planted::{self, Fault};
use crate::protocol::commands::{
    MessageDelete, MessageDelivered, MessageEdit, MessageHistory, MessageRead, MessageSearch, MessageSend,
};
use crate::protocol::events::{MessageDeleted, MessageEdited};
use crate::protocol::replies::{Changed, Done, Found, History, Sent};
use crate::protocol::{Event, page};
use crate::sentence;
use crate::store::messages::Side;
use crate::store::watermarks::{self, Mark};
use crate::store::writer::NewMessage;
use crate::store::{Conn, Tx, changes, conversations, lists, messages, search, streams};
use crate::text;

/// Sends a message. Returns after its commit.
pub async fn send(app: &App, actor: Actor, input: MessageSend) -> Result<Sent> {
    let text = message_text(app, &input.text, input.attachment.is_some())?;
    if let Some(key) = &input.client_key {
        client_key(app, key)?;
    }
    let MessageSend { conversation, attachment, reply_to, client_key, .. } = input;
    if planted::is(Fault::BlockOutsideLock) {
        conversations::membership(&mut app.store.read(actor.user).await?, conversation, actor.user)
            .await?
            .may_write()?;
    }
    let words = text::index_words(&text);
    let (sender, socket, at) = (actor.user, actor.socket, app.now());
    let message = NewMessage { sender, socket, conversation, text, attachment, reply_to, client_key, words, at };
    let placed = app.writer.send(message).await?;
    Ok(Sent { id: placed.id, conversation, seq: placed.seq, sent_at: placed.sent_at })
}

/// A text as it is kept, or why it cannot be. Beside a file nothing need be said.
fn message_text(app: &App, text: &str, with_file: bool) -> Result<Text> {
    let text = text::clean("text", text, app.config.text_max, true)?;
    match text.is_empty() && !with_file {
        true => Err(Error::field("text", sentence!("say-something"))),
        false => Ok(text),
    }
}

/// Refuses a key that could not be kept as it is.
pub(super) fn client_key(app: &App, key: &str) -> Result<()> {
    let bytes_max = app.config.client_key_max;
    match key.len() {
        0 => Err(Error::field("client_key", sentence!("leave-out"))),
        len if len > bytes_max => Err(Error::too_long("client_key", bytes_max, "bytes")),
        _ => text::clean("client_key", key, bytes_max, false).map(drop),
    }
}

/// Gives a message of one's own another text.
pub async fn edit(app: &App, actor: Actor, input: MessageEdit) -> Result<Changed> {
    let MessageEdit { conversation, seq, text } = input;
    let text = message_text(app, &text, true)?;
    let mut tx = app.store.begin(actor.user).await?;
    conversations::lock(&mut tx, &[conversation]).await?;
    let membership = conversations::membership(&mut tx, conversation, actor.user).await?;
    let stored = changes::stored(&mut tx, actor.user, conversation, seq).await?;
    if stored.sender_id != actor.user || stored.kind != MessageKind::Text {
        return Err(Error::forbidden(sentence!("only-author")));
    }
    if stored.deleted_at.is_some() {
        return Err(Error::not_found("message"));
    }
    membership.may_write()?;
    message_text(app, &text, stored.file_id.is_some())?;
    if text == stored.text {
        return Ok(Changed { conversation, seq: membership.head });
    }
    let at = app.now();
    let rev = changes::edit(&mut tx, conversation, stored.id, &text, &text::index_words(&text), at).await?;
    let event =
        Event::MessageEdited(MessageEdited { conversation, seq: rev, message: seq, text: text.into(), edited_at: at });
    commit_change(app, tx, &[stored.sender_id], conversation, membership.kind, seq, rev, event).await
}

/// Deletes a message: for oneself, or for all.
pub async fn delete(app: &App, actor: Actor, input: MessageDelete) -> Result<Changed> {
    let MessageDelete { conversation, seq, for_all } = input;
    let mut tx = app.store.begin(actor.user).await?;
    if for_all {
        conversations::lock(&mut tx, &[conversation]).await?;
    }
    let membership = conversations::membership(&mut tx, conversation, actor.user).await?;
    let stored = changes::stored(&mut tx, actor.user, conversation, seq).await?;
    let unchanged = Changed { conversation, seq: membership.head };
    // Devices know of titles, members and roles by these messages, so each has to find them in its pages.
    if stored.kind != MessageKind::Text {
        return Err(Error::forbidden(sentence!("group-events-stay")));
    }
    if !for_all {
        if !changes::remove_for(&mut tx, actor.user, conversation, seq).await? {
            return Ok(unchanged);
        }
        let (kind, at) = (PersonalKind::MessageRemoved, app.now());
        let entry = streams::append_personal(&mut tx, actor.user, kind, stored.id.0, at).await?;
        app.commit(tx, vec![Notice::Personal { user: actor.user, entry }]).await?;
        return Ok(unchanged);
    }
    if stored.sender_id != actor.user && membership.at_least(Role::Admin).is_err() {
        return Err(Error::forbidden(sentence!("only-author-or-admin")));
    }
    if stored.deleted_at.is_some() {
        return Ok(unchanged);
    }
    membership.may_write()?;
    let rev = changes::delete(&mut tx, conversation, &stored, app.now()).await?;
    let event = Event::MessageDeleted(MessageDeleted { conversation, seq: rev, message: seq });
    // Told to everybody who sees the message, whoever deletes it: the event names nobody.
    let changed = commit_change(app, tx, &[stored.sender_id], conversation, membership.kind, seq, rev, event).await?;
    if stored.file_id.is_some() {
        app.media.collect_soon();
    }
    Ok(changed)
}

/// Commits a change of the message at `seq`, and tells the members. Those who block one of `authors` are told its number
/// only.
#[expect(clippy::too_many_arguments, reason = "the change as it is; a struct would be taken apart at once")]
pub(super) async fn commit_change(
    app: &App,
    mut tx: Tx,
    authors: &[UserId],
    conversation: ConversationId,
    kind: ConversationKind,
    seq: i64,
    rev: i64,
    event: Event,
) -> Result<Changed> {
    let hidden_from = match kind {
        ConversationKind::Direct => Vec::new(),
        ConversationKind::Group => conversations::hidden_from(&mut tx, conversation, seq, authors).await?,
    };
    app.commit(tx, vec![Notice::moved(conversation, rev, &event, hidden_from)]).await?;
    Ok(Changed { conversation, seq: rev })
}

/// A page of messages by number.
pub async fn history(app: &App, actor: Actor, input: MessageHistory) -> Result<History> {
    let limit = super::page_size(app, input.limit)?;
    let side = match (input.before, input.after) {
        (Some(_), Some(_)) => return Err(Error::field("after", sentence!("before-or-after"))),
        (Some(before), None) => Side::Before(before),
        (None, Some(after)) => Side::After(after),
        (None, None) => Side::Before(i64::MAX),
    };
    let mut conn = app.store.read(actor.user).await?;
    let conversation = input.conversation;
    // The head is read before the messages, so that it never promises what the page may lack.
    let head = conversations::membership(&mut conn, conversation, actor.user).await?.head;
    let (mut messages, mut more) = messages::history(&mut conn, actor.user, conversation, side, limit).await?;
    let kept = match side {
        Side::Before(_) => page::fit(messages.iter().rev(), app.config.page_bytes),
        Side::After(_) => page::fit(&messages, app.config.page_bytes),
    };
    if kept < messages.len() {
        more = true;
        match side {
            Side::Before(_) => drop(messages.drain(..messages.len() - kept)),
            Side::After(_) => messages.truncate(kept),
        }
    }
    Ok(History { conversation, head, messages, more })
}

/// How many messages of a conversation the caller may see; none where the caller is no member.
pub async fn count(app: &App, actor: Actor, conversation: ConversationId) -> Result<i64> {
    lists::text_count(&mut app.store.read(actor.user).await?, actor.user, conversation).await
}

/// Some of them, the oldest first, from a place in that order.
pub async fn slice(
    app: &App,
    actor: Actor,
    conversation: ConversationId,
    offset: i64,
    limit: i64,
) -> Result<Vec<Message>> {
    lists::texts(&mut app.store.read(actor.user).await?, actor.user, conversation, offset, limit).await
}

/// One of them.
pub async fn one(app: &App, actor: Actor, conversation: ConversationId, id: MessageId) -> Result<Message> {
    let found = lists::text(&mut app.store.read(actor.user).await?, actor.user, conversation, id).await?;
    found.ok_or_else(|| Error::not_found("message"))
}

/// How far the members of a conversation have received and read, as far as the caller may know.
pub async fn watermarks(app: &App, actor: Actor, conversation: ConversationId) -> Result<Vec<Watermark>> {
    let found = watermarks::of_all(&mut app.store.read(actor.user).await?, actor.user, &[conversation]).await?;
    Ok(found.into_iter().map(|at| at.watermark).collect())
}

/// Refuses who could not send to a conversation at this moment. Sending judges it again.
pub async fn may_write(app: &App, actor: Actor, conversation: ConversationId) -> Result<()> {
    conversations::membership(&mut app.store.read(actor.user).await?, conversation, actor.user).await?.may_write()
}

/// Refuses a text that could not be sent.
pub fn check(app: &App, text: &str) -> Result<()> {
    message_text(app, text, false).map(drop)
}

/// Says how far this member has received.
pub async fn delivered(app: &App, actor: Actor, input: MessageDelivered) -> Result<Done> {
    raise(app, actor, input.conversation, input.seq, 0).await
}

/// Says how far this member has read, and so received.
pub async fn read(app: &App, actor: Actor, input: MessageRead) -> Result<Done> {
    raise(app, actor, input.conversation, input.seq, input.seq).await
}

async fn raise(app: &App, actor: Actor, conversation: ConversationId, delivered: i64, read: i64) -> Result<Done> {
    if delivered < 0 {
        return Err(Error::field("seq", sentence!("at-least", min = 0_i64)));
    }
    let watermark = Watermark { user: actor.user, delivered, read };
    app.watermarks.raise(Mark { conversation, watermark }).await.map(|()| Done {})
}

/// Finds messages by their words.
pub async fn search(app: &App, actor: Actor, input: MessageSearch) -> Result<Found> {
    let limit = super::page_size(app, input.limit)?;
    let text::Query { words, written } = text::query(&text::clean("query", &input.query, app.config.name_max, false)?);
    if words.is_empty() {
        return Err(Error::field("query", sentence!("one-word")));
    }
    if written > app.config.search_words {
        return Err(Error::too_long("query", app.config.search_words, "words"));
    }
    let mut conn: Conn = app.store.read(actor.user).await?;
    if let Some(conversation) = input.conversation {
        conversations::membership(&mut conn, conversation, actor.user).await?;
    }
    let work = (app.config.search_scanned, limit);
    let search::Page { mut messages, mut next } =
        search::find(&mut conn, actor.user, &words, input.conversation, input.before, work).await?;
    let kept = page::fit(&messages, app.config.page_bytes);
    if kept < messages.len() {
        messages.truncate(kept);
        next = messages.last().and_then(|message| message.id);
    }
    Ok(Found { messages, next })
}
