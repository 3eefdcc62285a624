//! Emojis under messages.

use crate::app::App;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Actor, ConversationId, MessageKind, UserId};
use crate::ops::messages::commit_change;
use crate::protocol::Event;
use crate::protocol::commands::{MessageReact, MessageUnreact};
use crate::protocol::events::{ReactionAdded, ReactionRemoved};
use crate::protocol::replies::Changed;
use crate::sentence;
use crate::store::Conn;
use crate::store::changes::{self, Stored};
use crate::store::conversations::{self, Membership};
use crate::text;

/// Puts an emoji under a message.
pub async fn add(app: &App, actor: Actor, input: MessageReact) -> Result<Changed> {
    let MessageReact { conversation, seq, emoji } = input;
    let emoji = text::emoji(&emoji, app.config.emoji_max)?;
    let mut tx = app.store.begin(actor.user).await?;
    let (membership, stored) = judge(&mut tx, actor, conversation, seq).await?;
    let (different, there) = changes::emojis(&mut tx, stored.id, &emoji).await?;
    let emojis_max = app.config.emojis_per_message;
    if !there && different >= emojis_max {
        return Err(Error::new(ErrorCode::LimitReached, sentence!("emojis-full", max = emojis_max)));
    }
    let Some(rev) = changes::react(&mut tx, conversation, stored.id, actor.user, &emoji).await? else {
        return Ok(Changed { conversation, seq: membership.head });
    };
    let event = ReactionAdded { conversation, seq: rev, message: seq, user: actor.user, emoji: emoji.into() };
    let authors = authors(actor, &stored);
    commit_change(app, tx, &authors, conversation, membership.kind, seq, rev, Event::ReactionAdded(event)).await
}

/// Takes an emoji back.
pub async fn remove(app: &App, actor: Actor, input: MessageUnreact) -> Result<Changed> {
    let MessageUnreact { conversation, seq, emoji } = input;
    let emoji = text::emoji(&emoji, app.config.emoji_max)?;
    let mut tx = app.store.begin(actor.user).await?;
    let (membership, stored) = judge(&mut tx, actor, conversation, seq).await?;
    let Some(rev) = changes::unreact(&mut tx, conversation, stored.id, actor.user, &emoji).await? else {
        return Ok(Changed { conversation, seq: membership.head });
    };
    let event = ReactionRemoved { conversation, seq: rev, message: seq, user: actor.user, emoji: emoji.into() };
    let authors = authors(actor, &stored);
    commit_change(app, tx, &authors, conversation, membership.kind, seq, rev, Event::ReactionRemoved(event)).await
}

async fn judge(tx: &mut Conn, actor: Actor, conversation: ConversationId, seq: i64) -> Result<(Membership, Stored)> {
    conversations::lock(tx, &[conversation]).await?;
    let membership = conversations::membership(tx, conversation, actor.user).await?;
    let stored = changes::stored(tx, actor.user, conversation, seq).await?;
    if stored.deleted_at.is_some() {
        return Err(Error::not_found("message"));
    }
    membership.may_write()?;
    Ok((membership, stored))
}

/// Whose block hides a reaction: that of the one who reacts, and that of the author of a text.
fn authors(actor: Actor, stored: &Stored) -> Vec<UserId> {
    let of_message = (stored.kind == MessageKind::Text).then_some(stored.sender_id);
    std::iter::once(actor.user).chain(of_message).collect()
}
