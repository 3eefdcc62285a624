//! Opening direct conversations, listing, and a member's own settings.

use crate::app::App;
use crate::bus::Notice;
use crate::config::ContactPolicy;
use crate::error::{Error, ErrorCode, Result};
use crate::limits::Hourly;
use crate::model::{Actor, Conversation, ConversationId, PersonalKind, UserId};
use crate::ops::{Toll, matching};
use crate::protocol::commands::{
    ConversationArchive, ConversationGet, ConversationList, ConversationMute, ConversationOpen,
};
use crate::protocol::page;
use crate::protocol::replies::{Conversations, Done};
use crate::sentence;
use crate::store::conversations::{self, ListPosition};
use crate::store::{Conn, Tx, accounts, lists, streams};

/// Opens the direct conversation with a user, or finds it.
pub async fn open(app: &App, actor: Actor, input: ConversationOpen) -> Result<Conversation> {
    let (me, other) = (actor.user, input.user);
    if me == other {
        return Err(Error::field("user", sentence!("talk-with-yourself")));
    }
    let known = conversations::direct(&mut app.store.read(actor.user).await?, me, other).await?;
    if let Some(id) = known {
        return one(app, me, id).await;
    }
    let mut toll = Toll::new(Hourly::Direct, me);
    let mut tx = loop {
        let mut tx = app.store.begin(actor.user).await?;
        let pair = matching::meet(&mut tx, me, other).await?;
        // Asked again under the lock: the other side may have opened it in between.
        if let Some(id) = conversations::direct(&mut tx, me, other).await? {
            drop(tx);
            return one(app, me, id).await;
        }
        if app.config.contact_policy == ContactPolicy::Match && !pair.is_matched() {
            return Err(Error::new(ErrorCode::MatchRequired, sentence!("matches-only")));
        }
        if let Some(tx) = toll.pay(app, tx).await? {
            break tx;
        }
    };
    let id = conversations::create_direct(&mut tx, me, other, app.now()).await?;
    let notices = gained(app, &mut tx, &[me, other], id).await?;
    app.commit(tx, notices).await?;
    one(app, me, id).await
}

/// Users came into a conversation: an entry for the personal stream of each, by which their sockets follow it.
pub(super) async fn gained(
    app: &App,
    tx: &mut Tx,
    users: &[UserId],
    conversation: ConversationId,
) -> Result<Vec<Notice>> {
    let entry = |user: &UserId| (*user, PersonalKind::ConversationGained, conversation.0);
    let entries: Vec<_> = users.iter().map(entry).collect();
    Ok(super::personal(streams::append_each(tx, &entries, app.now()).await?))
}

async fn one(app: &App, reader: UserId, id: ConversationId) -> Result<Conversation> {
    let mut conn = app.store.read(reader).await?;
    let config = &app.config;
    let members_max = config.members_max.max(config.members_listed);
    let mut views = conversations::view(&mut conn, reader, &[id], members_max, config.unread_cap).await?;
    views.pop().ok_or_else(|| Error::not_found("conversation"))
}

/// One conversation with all its members.
pub async fn get(app: &App, actor: Actor, input: ConversationGet) -> Result<Conversation> {
    one(app, actor.user, input.conversation).await
}

/// The conversations of a user, the latest first.
pub async fn list(app: &App, actor: Actor, input: ConversationList) -> Result<Conversations> {
    let limit = super::page_size(app, input.limit)?;
    let after = input.after.as_deref().map(position).transpose()?;
    let mut conn: Conn = app.store.read(actor.user).await?;
    let found = conversations::list(&mut conn, actor.user, input.archived, after, limit).await?;
    let ids: Vec<ConversationId> = found.iter().map(|position| position.id).collect();
    let config = &app.config;
    let mut conversations =
        conversations::view(&mut conn, actor.user, &ids, config.members_listed, config.unread_cap).await?;
    let kept = page::fit(&conversations, config.page_bytes);
    let is_cut = kept < conversations.len();
    conversations.truncate(kept);
    let shown = conversations.last().map(|conversation| conversation.id);
    let last = match is_cut {
        true => found.iter().find(|position| Some(position.id) == shown),
        false => found.last().filter(|_| found.len() == limit),
    };
    let next = last.map(|position| format!("{}.{}", position.updated_at, position.id));
    Ok(Conversations { conversations, next })
}

/// How many conversations are in the caller's list.
pub async fn count(app: &App, actor: Actor) -> Result<i64> {
    lists::conversation_count(&mut app.store.read(actor.user).await?, actor.user).await
}

/// Some of the caller's list, the latest first, from a place in it; archived ones are in it too. Their last messages are
/// texts, and all that is unread is counted.
pub async fn slice(app: &App, actor: Actor, offset: i64, limit: i64) -> Result<Vec<Conversation>> {
    let mut conn = app.store.read(actor.user).await?;
    let ids = lists::conversations(&mut conn, actor.user, offset, limit).await?;
    in_texts(app, &mut conn, actor.user, &ids).await
}

async fn in_texts(app: &App, conn: &mut Conn, reader: UserId, ids: &[ConversationId]) -> Result<Vec<Conversation>> {
    let mut views = conversations::view(conn, reader, ids, app.config.members_listed, i64::MAX).await?;
    let mut last = lists::last_texts(conn, reader, ids).await?;
    for view in &mut views {
        view.last_message = last.remove(&view.id);
    }
    Ok(views)
}

/// One conversation, if it is in the caller's list, in the same way.
pub async fn listed(app: &App, actor: Actor, id: ConversationId) -> Result<Conversation> {
    let nothing = || Error::not_found("conversation");
    let mut conn = app.store.read(actor.user).await?;
    if !lists::is_listed(&mut conn, actor.user, id).await? {
        return Err(nothing());
    }
    in_texts(app, &mut conn, actor.user, &[id]).await?.pop().ok_or_else(nothing)
}

fn position(text: &str) -> Result<ListPosition> {
    let parsed = text.split_once('.').and_then(|(updated_at, id)| {
        Some(ListPosition { updated_at: updated_at.parse().ok()?, id: ConversationId(id.parse().ok()?) })
    });
    parsed.ok_or_else(|| Error::field("after", sentence!("page-position")))
}

/// Asks for no notifications until a time.
pub async fn mute(app: &App, actor: Actor, input: ConversationMute) -> Result<Done> {
    if input.until < 0 {
        return Err(Error::field("until", sentence!("at-least", min = 0_i64)));
    }
    settings(app, actor, input.conversation, Some(input.until), None, false).await
}

/// Puts a conversation away, or takes it back.
pub async fn archive(app: &App, actor: Actor, input: ConversationArchive) -> Result<Done> {
    settings(app, actor, input.conversation, None, Some(input.archived), false).await
}

/// Changes a member's own settings and tells the member's other devices.
pub(super) async fn settings(
    app: &App,
    actor: Actor,
    conversation: ConversationId,
    muted_until: Option<i64>,
    archived: Option<bool>,
    hide: bool,
) -> Result<Done> {
    let mut tx = app.store.begin(actor.user).await?;
    accounts::lock(&mut tx, &[actor.user]).await?;
    let membership = conversations::membership(&mut tx, conversation, actor.user).await?;
    let hidden_seq = hide.then_some(membership.head);
    let changed =
        conversations::set_settings(&mut tx, conversation, actor.user, muted_until, archived, hidden_seq).await?;
    if changed {
        let (kind, at) = (PersonalKind::ConversationChanged, app.now());
        let entry = streams::append_personal(&mut tx, actor.user, kind, conversation.0, at).await?;
        app.commit(tx, vec![Notice::Personal { user: actor.user, entry }]).await?;
    }
    Ok(Done {})
}
