//! Groups: creating, renaming, members, roles, leaving. Every change that the members share is a message of its kind.

use std::collections::HashSet;

use crate::app::App;
use crate::bus::Notice;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{
    Actor, Conversation, ConversationId, ConversationKind, MessageKind, PersonalKind, Role, Text, UserId,
};
use crate::ops::{conversations as own, messages};
use crate::protocol::commands::{
    ConversationCreate, ConversationGet, ConversationLeave, ConversationRename, MemberAdd, MemberRemove, MemberRole,
};
use crate::protocol::replies::{Changed, Done};
use crate::sentence;
use crate::store::{Conn, Tx, accounts, conversations, streams};
use crate::text;

/// Creates a group. A repeat with the same key finds it again.
pub async fn create(app: &App, actor: Actor, input: ConversationCreate) -> Result<Conversation> {
    let title = group_title(app, &input.title)?;
    super::distinct(app, "members", &input.members)?;
    if let Some(key) = &input.client_key {
        messages::client_key(app, key)?;
    }
    let me = actor.user;
    let others: Vec<UserId> = input.members.iter().copied().filter(|user| *user != me).collect();
    let mut tx = app.store.begin(actor.user).await?;
    // All who get an entry in their personal stream; a repeat with the same key waits here, too.
    let everybody: Vec<UserId> = others.iter().copied().chain([me]).collect();
    accounts::lock(&mut tx, &everybody).await?;
    if let Some(key) = &input.client_key
        && let Some(id) = conversations::created_under(&mut tx, me, key).await?
    {
        drop(tx);
        return own::get(app, actor, ConversationGet { conversation: id }).await;
    }
    may_bring(app, &mut tx, "members", me, 1, &others).await?;
    let at = app.now();
    let id = conversations::create_group(&mut tx, me, &title, input.client_key.as_ref(), at).await?;
    let role = |user: &UserId| (*user, if *user == me { Role::Owner } else { Role::Member });
    let members: Vec<(UserId, Role)> = everybody.iter().map(role).collect();
    conversations::add_members(&mut tx, id, &members, 0).await?;
    conversations::count_members(&mut tx, id).await?;
    let mut notices = own::gained(app, &mut tx, &everybody, id).await?;
    let created = conversations::append_changes(&mut tx, id, me, MessageKind::Created, &title, &[None], at).await?;
    notices.extend(created.into_iter().map(|created| Notice::created(created, Vec::new())));
    app.commit(tx, notices).await?;
    own::get(app, actor, ConversationGet { conversation: id }).await
}

fn group_title(app: &App, title: &str) -> Result<Text> {
    let title = text::clean("title", title.trim(), app.config.name_max, false)?;
    match title.is_empty() {
        true => Err(Error::field("title", sentence!("title-needed"))),
        false => Ok(title),
    }
}

/// Whether a user may bring newcomers into a group of so many: all exist, the group stays within its limit, and neither
/// blocks the other. To the one who asks, a user who blocked them does not exist. Blocks among the others do not matter:
/// a refusal would tell of them.
async fn may_bring(
    app: &App,
    tx: &mut Conn,
    field: &'static str,
    asker: UserId,
    present: usize,
    newcomers: &[UserId],
) -> Result<()> {
    let members_max = app.config.members_max;
    if present + newcomers.len() > members_max {
        return Err(Error::new(ErrorCode::LimitReached, sentence!("group-full", max = members_max)));
    }
    // Asked together, so that neither answer nor time tells who is missing from who blocks.
    let live = accounts::live_among(tx, newcomers).await?;
    let blocks = conversations::blocks_among(tx, asker, newcomers).await?;
    for (place, user) in newcomers.iter().enumerate() {
        if !live.contains(user) || blocks.iter().any(|block| block.by == *user) {
            return Err(Error { field: Some(format!("{field}[{place}]")), ..Error::not_found("user") });
        }
    }
    match blocks.is_empty() {
        true => Ok(()),
        false => Err(Error::new(ErrorCode::Blocked, sentence!("you-blocked"))),
    }
}

/// Gives a group another title.
pub async fn rename(app: &App, actor: Actor, input: ConversationRename) -> Result<Changed> {
    let title = group_title(app, &input.title)?;
    let conversation = input.conversation;
    let mut tx = app.store.begin(actor.user).await?;
    conversations::lock(&mut tx, &[conversation]).await?;
    let membership = conversations::membership(&mut tx, conversation, actor.user).await?;
    membership.at_least(Role::Admin)?;
    if membership.title == title {
        return Ok(Changed { conversation, seq: membership.head });
    }
    conversations::set_title(&mut tx, conversation, &title).await?;
    let notices = change(app, &mut tx, conversation, actor.user, MessageKind::Renamed, &title, None).await?;
    commit(app, tx, conversation, notices).await
}

/// Writes a change as a message, and the notice of it.
async fn change(
    app: &App,
    tx: &mut Tx,
    conversation: ConversationId,
    actor: UserId,
    kind: MessageKind,
    text: &Text,
    subject: Option<UserId>,
) -> Result<Vec<Notice>> {
    changes(app, tx, conversation, actor, kind, text, &[subject]).await
}

/// Writes a change as messages, one about each of the subjects, and the notices of them.
async fn changes(
    app: &App,
    tx: &mut Tx,
    conversation: ConversationId,
    actor: UserId,
    kind: MessageKind,
    text: &Text,
    subjects: &[Option<UserId>],
) -> Result<Vec<Notice>> {
    let written = conversations::append_changes(tx, conversation, actor, kind, text, subjects, app.now()).await?;
    // Nobody joins between the first and the last, so one answer serves all.
    let seq = written.first().map_or(0, |message| message.seq);
    let hidden_from = conversations::hidden_from(tx, conversation, seq, &[actor]).await?;
    Ok(written.into_iter().map(|message| Notice::created(message, hidden_from.clone())).collect())
}

/// Commits, and answers the number that the group came to.
async fn commit(app: &App, tx: Tx, conversation: ConversationId, notices: Vec<Notice>) -> Result<Changed> {
    let moved = notices.iter().rev().find_map(|notice| match notice {
        Notice::Moved { seq, .. } => Some(*seq),
        _ => None,
    });
    app.commit(tx, notices).await?;
    Ok(Changed { conversation, seq: moved.unwrap_or_default() })
}

/// Brings users into a group. Those who are there already are passed over.
pub async fn add(app: &App, actor: Actor, input: MemberAdd) -> Result<Changed> {
    super::distinct(app, "users", &input.users)?;
    let conversation = input.conversation;
    let mut tx = app.store.begin(actor.user).await?;
    conversations::lock(&mut tx, &[conversation]).await?;
    let membership = conversations::membership(&mut tx, conversation, actor.user).await?;
    membership.at_least(Role::Admin)?;
    let present: HashSet<UserId> =
        conversations::members_by_rank(&mut tx, conversation).await?.into_iter().map(|(user, _)| user).collect();
    let newcomers: Vec<UserId> = input.users.into_iter().filter(|user| !present.contains(user)).collect();
    if newcomers.is_empty() {
        return Ok(Changed { conversation, seq: membership.head });
    }
    accounts::lock(&mut tx, &newcomers).await?;
    may_bring(app, &mut tx, "users", actor.user, present.len(), &newcomers).await?;
    // The messages that tell of them are the first that the newcomers see.
    let members: Vec<(UserId, Role)> = newcomers.iter().map(|user| (*user, Role::Member)).collect();
    conversations::add_members(&mut tx, conversation, &members, membership.head).await?;
    conversations::count_members(&mut tx, conversation).await?;
    let mut notices = own::gained(app, &mut tx, &newcomers, conversation).await?;
    let added: Vec<Option<UserId>> = newcomers.into_iter().map(Some).collect();
    notices.extend(
        changes(app, &mut tx, conversation, actor.user, MessageKind::MemberAdded, &Text::default(), &added).await?,
    );
    commit(app, tx, conversation, notices).await
}

/// Takes a user out of a group.
pub async fn remove(app: &App, actor: Actor, input: MemberRemove) -> Result<Changed> {
    let MemberRemove { conversation, user } = input;
    let mut tx = app.store.begin(actor.user).await?;
    conversations::lock(&mut tx, &[conversation]).await?;
    accounts::lock(&mut tx, &[user]).await?;
    let membership = conversations::membership(&mut tx, conversation, actor.user).await?;
    membership.at_least(Role::Admin)?;
    if user == actor.user {
        return Err(Error::field("user", sentence!("leave-instead")));
    }
    let target = conversations::membership(&mut tx, conversation, user).await.map_err(|error| match error.code {
        ErrorCode::NotFound => Error::not_found("member"),
        _ => error,
    })?;
    if target.role >= membership.role && membership.role != Role::Owner {
        return Err(Error::forbidden(sentence!("role-too-low")));
    }
    let mut notices = lost(app, &mut tx, user, conversation).await?;
    notices.extend(
        change(app, &mut tx, conversation, actor.user, MessageKind::MemberRemoved, &Text::default(), Some(user))
            .await?,
    );
    commit(app, tx, conversation, notices).await
}

/// A user is no longer in a conversation: their sockets stop following it by the entry, which is told before anything
/// else there.
async fn lost(app: &App, tx: &mut Tx, user: UserId, conversation: ConversationId) -> Result<Vec<Notice>> {
    conversations::remove_member(tx, conversation, user).await?;
    conversations::count_members(tx, conversation).await?;
    let lost = (user, PersonalKind::ConversationLost, conversation.0);
    Ok(super::personal(streams::append_each(tx, &[lost], app.now()).await?))
}

/// Gives a member a role. An owner who gives away ownership stays an owner; a group always keeps one.
pub async fn role(app: &App, actor: Actor, input: MemberRole) -> Result<Changed> {
    let MemberRole { conversation, user, role } = input;
    let mut tx = app.store.begin(actor.user).await?;
    conversations::lock(&mut tx, &[conversation]).await?;
    let membership = conversations::membership(&mut tx, conversation, actor.user).await?;
    membership.at_least(Role::Owner)?;
    let members = conversations::members_by_rank(&mut tx, conversation).await?;
    let Some((_, before)) = members.iter().find(|(member, _)| *member == user).copied() else {
        return Err(Error::not_found("member"));
    };
    if before == role {
        return Ok(Changed { conversation, seq: membership.head });
    }
    let owners = members.iter().filter(|(_, role)| *role == Role::Owner).count();
    if before == Role::Owner && owners == 1 {
        return Err(Error::forbidden(sentence!("last-owner")));
    }
    conversations::set_role(&mut tx, conversation, user, role).await?;
    let named = match role {
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::Member => "member",
    };
    let notices =
        change(app, &mut tx, conversation, actor.user, MessageKind::RoleChanged, &Text::without_nul(named), Some(user))
            .await?;
    commit(app, tx, conversation, notices).await
}

/// Leaves a group; a direct conversation is hidden from the list until its next message.
pub async fn leave(app: &App, actor: Actor, input: ConversationLeave) -> Result<Done> {
    let conversation = input.conversation;
    let mut tx = app.store.begin(actor.user).await?;
    conversations::lock(&mut tx, &[conversation]).await?;
    accounts::lock(&mut tx, &[actor.user]).await?;
    let membership = conversations::membership(&mut tx, conversation, actor.user).await?;
    if membership.kind == ConversationKind::Direct {
        drop(tx);
        return own::settings(app, actor, conversation, None, None, true).await;
    }
    let notices = leave_group(app, &mut tx, actor.user, membership.role, conversation).await?;
    app.commit(tx, notices).await?;
    Ok(Done {})
}

/// Takes a user out of a group whose account is being erased.
pub(super) async fn leave_for_good(app: &App, tx: &mut Tx, user: UserId, group: ConversationId) -> Result<Vec<Notice>> {
    conversations::lock(tx, &[group]).await?;
    match conversations::role_of(tx, group, user).await? {
        Some(role) => leave_group(app, tx, user, role, group).await,
        // Removed in the meantime.
        None => Ok(Vec::new()),
    }
}

async fn leave_group(app: &App, tx: &mut Tx, user: UserId, role: Role, group: ConversationId) -> Result<Vec<Notice>> {
    let mut notices = lost(app, tx, user, group).await?;
    notices.extend(change(app, tx, group, user, MessageKind::MemberLeft, &Text::default(), Some(user)).await?);
    if role == Role::Owner
        && let Some((heir, rank)) = conversations::first_by_rank(tx, group).await?
        && rank != Role::Owner
    {
        conversations::set_role(tx, group, heir, Role::Owner).await?;
        notices.extend(
            change(app, tx, group, user, MessageKind::RoleChanged, &Text::without_nul("owner"), Some(heir)).await?,
        );
    }
    Ok(notices)
}
