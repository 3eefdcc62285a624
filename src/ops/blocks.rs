//! Blocks and reports.
//!
//! A block is final the moment it is answered: it waits for whatever is being written between the two, and every later
//! write is judged by it. To the blocked side it is told as the deletion of the blocker's account would be, and to
//! nobody else; whatever either of the two asks afterwards is answered alike.

use crate::app::App;
use crate::error::{Error, ErrorCode, Result};
use crate::limits::Hourly;
use crate::model::{Actor, PersonalKind, Text, UserId};
use crate::ops::Toll;
use crate::ops::matching::commit;
use crate::protocol::commands::{BlockAdd, BlockRemove, ReportSend};
use crate::protocol::replies::{Blocks, Done, Reported};
use crate::sentence;
use crate::store::reports::{self, NewReport};
use crate::store::{accounts, messages, pairs};
use crate::text;

fn not_me(actor: Actor, user: UserId) -> Result<()> {
    match actor.user == user {
        true => Err(Error::field("user", sentence!("this-is-you"))),
        false => Ok(()),
    }
}

/// Blocks a user, whether or not they are still there: a user who blocked first looks like one who is gone, and can be
/// blocked back.
pub async fn add(app: &App, actor: Actor, input: BlockAdd) -> Result<Done> {
    let (me, other) = (actor.user, input.user);
    not_me(actor, other)?;
    let mut tx = app.store.begin(actor.user).await?;
    let mut pair = pairs::lock(&mut tx, me, other).await?.ok_or_else(|| Error::not_found("user"))?;
    let conversation = pairs::lock_conversations(&mut tx, &pair).await?;
    accounts::lock(&mut tx, &[me, other]).await?;
    if pair.side(me).blocked_at.is_some() {
        return Ok(Done {});
    }
    let blocks_max = app.config.blocks_max;
    if pairs::block_count(&mut tx, me).await? >= blocks_max as i64 {
        return Err(Error::new(ErrorCode::LimitReached, sentence!("blocks-full", max = blocks_max)));
    }
    let at = app.now();
    let was_matched = pair.end_match(at);
    pair.side_mut(other).liked_at = None;
    let mine = pair.side_mut(me);
    (mine.liked_at, mine.blocked_at) = (None, Some(at));
    let mut entries = vec![(me, PersonalKind::BlockAdded, other.0)];
    // Those who would be told of a deletion, and no more than it would tell them.
    if was_matched || conversation.is_some() || pair.side(other).blocked_at.is_some() {
        entries.push((other, PersonalKind::UserGone, me.0));
    }
    commit(app, tx, &pair, at, entries).await?;
    Ok(Done {})
}

/// Takes a block back. Likes and matches do not come back.
pub async fn remove(app: &App, actor: Actor, input: BlockRemove) -> Result<Done> {
    let (me, other) = (actor.user, input.user);
    not_me(actor, other)?;
    let mut tx = app.store.begin(actor.user).await?;
    let mut pair = pairs::lock(&mut tx, me, other).await?.ok_or_else(|| Error::not_found("user"))?;
    let conversation = pairs::lock_conversations(&mut tx, &pair).await?;
    accounts::lock(&mut tx, &[me, other]).await?;
    if pair.side(me).blocked_at.is_none() {
        return Ok(Done {});
    }
    let mut entries = vec![(me, PersonalKind::BlockRemoved, other.0)];
    // Those who were told that this user is gone.
    if conversation.is_some() || pair.block_ended_match(me) || pair.side(other).blocked_at.is_some() {
        entries.push((other, PersonalKind::UserChanged, me.0));
    }
    pair.side_mut(me).blocked_at = None;
    commit(app, tx, &pair, app.now(), entries).await?;
    Ok(Done {})
}

/// Whom a user has blocked, the latest first.
pub async fn list(app: &App, actor: Actor) -> Result<Blocks> {
    let mut conn = app.store.read(actor.user).await?;
    Ok(Blocks { users: pairs::blocks(&mut conn, actor.user, app.config.blocks_max).await? })
}

/// Tells the operator of a user, whoever has blocked whom, with messages of theirs as evidence.
pub async fn report(app: &App, actor: Actor, input: ReportSend) -> Result<Reported> {
    not_me(actor, input.user)?;
    let config = &app.config;
    let reason = text::clean("reason", input.reason.trim(), config.name_max, false)?;
    if reason.is_empty() {
        return Err(Error::field("reason", sentence!("say-why")));
    }
    let text = text::clean("text", input.text.trim(), config.bio_max, true)?;
    if input.messages.len() > config.items_max {
        return Err(Error::too_long("messages", config.items_max, "messages"));
    }
    let places: Vec<_> = input.messages.iter().map(|message| (message.conversation, message.seq)).collect();
    let mut toll = Toll::new(Hourly::Report, actor.user);
    loop {
        let mut tx = app.store.begin(actor.user).await?;
        let evidence = messages::evidence(&mut tx, actor.user, &places).await?;
        let theirs = |(conversation, seq): &(_, _)| {
            let here = evidence.iter().find(|message| message.conversation == *conversation && message.seq == *seq);
            here.is_some_and(|message| message.sender == Some(input.user))
        };
        if let Some(missing) = places.iter().position(|place| !theirs(place)) {
            return Err(Error::field(format!("messages[{missing}]"), sentence!("no-such-evidence")));
        }
        if !reports::is_subject(&mut tx, input.user).await? {
            return Err(Error::not_found("user"));
        }
        let Some(mut tx) = toll.pay(app, tx).await? else { continue };
        let evidence = Text::without_nul(serde_json::to_string(&evidence).map_err(Error::internal)?);
        let (reporter, subject, at) = (actor.user, input.user, app.now());
        let report = NewReport { reporter, subject, reason: &reason, text: &text, evidence: &evidence, at };
        let report = reports::add(&mut tx, &report).await?;
        app.commit(tx, Vec::new()).await?;
        return Ok(Reported { report });
    }
}
