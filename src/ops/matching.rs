//! Likes, passes, matches, and the people one might like.
//!
//! To somebody who asks, a user who is deleted, disabled or blocks them does not exist: one refusal for all, decided
//! before anything else could tell them apart.

use crate::sentence;
use std::collections::HashMap;

use crate::app::App;
use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::limits::Hourly;
use crate::matching::{Candidate, Person, Today, age, place::Cell, rank, reach};
use crate::model::{Actor, Match, MatchId, Micros, PersonalKind, Profile, UserId};
use crate::ops::{Toll, accounts, personal};
use crate::protocol::commands::{CandidateList, LikeAdd, LikeRemove, MatchEnd, MatchList, PassAdd};
use crate::protocol::replies::{Candidates, Count, Done, Excluded, Liked, Matches};
use crate::store::accounts::lock as lock_accounts;
use crate::store::candidates::{self, Narrowed, PersonRow};
use crate::store::pairs::{self, MatchRow, Pair};
use crate::store::streams::{self, NewEntry};
use crate::store::{Conn, Tx, lists};

/// Older than anybody, in years.
const AGES: i64 = 200;
/// Microseconds of a day.
const DAY: Micros = 86_400_000_000;

/// Locks the pair of two users and their accounts, and judges whether `me` may deal with the other one.
pub(super) async fn meet(tx: &mut Tx, me: UserId, other: UserId) -> Result<Pair> {
    if me == other {
        return Err(Error::field("user", sentence!("this-is-you")));
    }
    // Everything is read before anything is judged: whether the other one never existed, is gone or blocks, the same
    // statements run, so that the time tells no more than the answer.
    let pair = pairs::lock_live(tx, me, other).await?;
    lock_accounts(tx, &[me, other]).await?;
    let live = pairs::both_live(tx, me, other).await?;
    let there = |pair: &Pair| live && pair.side(other).blocked_at.is_none();
    let pair = pair.filter(there).ok_or_else(|| Error::not_found("user"))?;
    if pair.side(me).blocked_at.is_some() {
        return Err(Error::new(ErrorCode::Blocked, sentence!("you-blocked")));
    }
    Ok(pair)
}

/// Writes a changed pair and what is told of it, and commits.
pub(super) async fn commit(app: &App, mut tx: Tx, pair: &Pair, at: Micros, entries: Vec<NewEntry>) -> Result<()> {
    pairs::save(&mut tx, pair).await?;
    let appended = streams::append_each(&mut tx, &entries, at).await?;
    app.commit(tx, personal(appended)).await
}

/// Likes a user. Two likes are a match.
pub async fn like(app: &App, actor: Actor, input: LikeAdd) -> Result<Liked> {
    let (me, other) = (actor.user, input.user);
    let mut toll = Toll::new(Hourly::Like, me);
    let pair = loop {
        let mut tx = app.store.begin(actor.user).await?;
        let mut pair = meet(&mut tx, me, other).await?;
        if pair.side(me).liked_at.is_some() {
            break pair;
        }
        let Some(mut tx) = toll.pay(app, tx).await? else { continue };
        let at = app.now();
        let matched_before = pair.matched_at.is_some();
        let entries = add_like(&mut pair, me, other, at);
        if pair.is_matched() && !matched_before {
            pairs::number_match(&mut tx, &mut pair).await?;
        }
        commit(app, tx, &pair, at, entries).await?;
        break pair;
    };
    let mut conn = app.store.read(actor.user).await?;
    let made = match pair.is_matched() {
        true => pairs::match_of(&mut conn, me, pair.id).await?,
        false => None,
    };
    let made = match made {
        Some(row) => shown(app, &mut conn, me, vec![row]).await?.pop(),
        None => None,
    };
    Ok(Liked { matched: made.is_some(), made })
}

/// Puts the like of `me` into a pair. With the other's it is a match.
fn add_like(pair: &mut Pair, me: UserId, other: UserId, at: Micros) -> Vec<NewEntry> {
    let theirs = *pair.side(other);
    let mine = pair.side_mut(me);
    (mine.liked_at, mine.passed_at) = (Some(at), None);
    let mut entries = vec![(me, PersonalKind::LikeSent, other.0)];
    if theirs.liked_at.is_some() {
        pair.make_match(at);
        entries.extend([(me, PersonalKind::Matched, other.0), (other, PersonalKind::Matched, me.0)]);
    } else if theirs.passed_at.is_none() && mine.told_at.is_none() {
        // Who passed has answered, and who was told of a like knows of it: there is nothing to tell them.
        mine.told_at = Some(at);
        entries.push((other, PersonalKind::LikeReceived, 0));
    }
    entries
}

/// Takes a like back; ends the match, if there was one.
pub async fn unlike(app: &App, actor: Actor, input: LikeRemove) -> Result<Done> {
    let mut tx = app.store.begin(actor.user).await?;
    let mut pair = meet(&mut tx, actor.user, input.user).await?;
    let at = app.now();
    let entries = withdraw(&mut pair, actor.user, input.user, at);
    if !entries.is_empty() {
        commit(app, tx, &pair, at, entries).await?;
    }
    Ok(Done {})
}

/// Takes the like of `me` out of a pair. The other's stays, so that a new like matches the two again.
fn withdraw(pair: &mut Pair, me: UserId, other: UserId, at: Micros) -> Vec<NewEntry> {
    let mut entries = Vec::new();
    if pair.side_mut(me).liked_at.take().is_some() {
        entries.push((me, PersonalKind::LikeWithdrawn, other.0));
    }
    if pair.end_match(at) {
        entries.extend([(me, PersonalKind::Unmatched, other.0), (other, PersonalKind::Unmatched, me.0)]);
    }
    entries
}

/// Does not want to see a user among the candidates again. Takes a like back.
pub async fn pass(app: &App, actor: Actor, input: PassAdd) -> Result<Done> {
    let (me, other) = (actor.user, input.user);
    let mut tx = app.store.begin(actor.user).await?;
    let mut pair = meet(&mut tx, me, other).await?;
    if pair.side(me).passed_at.is_some() {
        return Ok(Done {});
    }
    let at = app.now();
    let mut entries = withdraw(&mut pair, me, other, at);
    pair.side_mut(me).passed_at = Some(at);
    entries.push((me, PersonalKind::PassSent, other.0));
    commit(app, tx, &pair, at, entries).await?;
    Ok(Done {})
}

/// How many people like a user who has not answered them. Who they are is told by the match.
pub async fn likes_received(app: &App, actor: Actor) -> Result<Count> {
    let mut conn = app.store.read(actor.user).await?;
    let count = pairs::likes_received(&mut conn, actor.user, app.config.unread_cap).await?;
    Ok(Count { count })
}

/// Ends a match. Neither sees the other among the candidates again.
pub async fn end(app: &App, actor: Actor, input: MatchEnd) -> Result<Done> {
    let (me, other) = (actor.user, input.user);
    let nothing = || Error::not_found("match");
    if me == other {
        return Err(Error::field("user", sentence!("this-is-you")));
    }
    let mut tx = app.store.begin(actor.user).await?;
    // A block ends the match, and so does a deletion. Read before anything is judged, as in `meet`.
    let pair = pairs::lock_live(&mut tx, me, other).await?;
    lock_accounts(&mut tx, &[me, other]).await?;
    let live = pairs::both_live(&mut tx, me, other).await?;
    let mut pair = pair.filter(|pair| live && pair.is_matched()).ok_or_else(nothing)?;
    let at = app.now();
    pair.end_match(at);
    pair.side_mut(other).liked_at = None;
    let mine = pair.side_mut(me);
    (mine.liked_at, mine.passed_at) = (None, Some(at));
    let entries = vec![(me, PersonalKind::Unmatched, other.0), (other, PersonalKind::Unmatched, me.0)];
    commit(app, tx, &pair, at, entries).await?;
    Ok(Done {})
}

/// The matches of a user, newest first.
pub async fn matches(app: &App, actor: Actor, input: MatchList) -> Result<Matches> {
    let limit = super::page_size(app, input.limit)?;
    let mut conn = app.store.read(actor.user).await?;
    let before = match input.before {
        None => None,
        Some(id) => {
            let place = pairs::match_place(&mut conn, actor.user, id).await?;
            Some(place.ok_or_else(|| Error::field("before", sentence!("never-matched")))?)
        }
    };
    let rows = pairs::matches(&mut conn, actor.user, before, limit).await?;
    Ok(Matches { matches: shown(app, &mut conn, actor.user, rows).await? })
}

/// How many matches a user has.
pub async fn match_count(app: &App, actor: Actor) -> Result<i64> {
    lists::match_count(&mut app.store.read(actor.user).await?, actor.user).await
}

/// Some matches of a user in the order of their ids, from a place in that order.
pub async fn match_slice(app: &App, actor: Actor, offset: i64, limit: i64) -> Result<Vec<Match>> {
    let mut conn = app.store.read(actor.user).await?;
    let rows = lists::matches(&mut conn, actor.user, offset, limit).await?;
    shown(app, &mut conn, actor.user, rows).await
}

/// One match of a user.
pub async fn one(app: &App, actor: Actor, id: MatchId) -> Result<Match> {
    let nothing = || Error::not_found("match");
    let mut conn = app.store.read(actor.user).await?;
    let row = pairs::match_of(&mut conn, actor.user, id).await?.ok_or_else(nothing)?;
    shown(app, &mut conn, actor.user, vec![row]).await?.pop().ok_or_else(nothing)
}

/// Matches as their reader sees them, without those whose other one went meanwhile.
async fn shown(app: &App, conn: &mut Conn, reader: UserId, rows: Vec<MatchRow>) -> Result<Vec<Match>> {
    let others: Vec<UserId> = rows.iter().map(|row| row.user).collect();
    let mut profiles = accounts::seen_by(app, conn, reader, &others).await?;
    let matches = rows.into_iter().filter_map(|row| {
        let user = profiles.remove(&row.user)?;
        Some(Match { id: row.id, user, created_at: row.created_at, conversation: row.conversation })
    });
    Ok(matches.collect())
}

/// People one might like, who might like back.
pub async fn candidates(app: &App, actor: Actor, input: CandidateList) -> Result<Candidates> {
    let limit = super::page_size(app, input.limit)?;
    match found(app, actor, limit).await? {
        Ok(found) => {
            Ok(Candidates { candidates: found.into_iter().map(|(profile, _)| profile).collect(), excluded: None })
        }
        Err(excluded) => Ok(Candidates { candidates: Vec::new(), excluded: Some(excluded) }),
    }
}

/// People who were found, each with the day they were last here; or why there can be none.
pub type Found = std::result::Result<Vec<(Profile, i64)>, Excluded>;

/// So many people one might like at most, the best first.
pub async fn found(app: &App, actor: Actor, limit: usize) -> Result<Found> {
    let mut conn = app.store.read(actor.user).await?;
    let now = app.now();
    let reader = candidates::person(&mut conn, actor.user).await?;
    let me = person(&reader, now);
    let narrowed = match narrow(app, &reader, &me, now) {
        Ok(narrowed) => narrowed,
        Err(excluded) => return Ok(Err(excluded)),
    };
    let found = candidates::candidates(&mut conn, &narrowed, app.config.candidates_scanned).await?;
    let others = found.iter().map(|row| Candidate { person: person(row, now), active_day: row.last_active_at / DAY });
    let Config { minimum_age, birth_date_required: age_required, .. } = app.config;
    let today = Today { day: now / DAY, minimum_age, age_required };
    let days: HashMap<UserId, i64> = found.iter().map(|row| (row.id, row.last_active_at / DAY)).collect();
    let best: Vec<UserId> =
        rank(&me, others.collect(), today).into_iter().take(limit).map(|ranked| ranked.user).collect();
    let mut profiles = accounts::seen_by(app, &mut conn, actor.user, &best).await?;
    let people = best.into_iter().filter_map(|user| {
        let day = days.get(&user).copied().unwrap_or_default();
        Some((profiles.remove(&user)?, day))
    });
    Ok(Ok(people.collect()))
}

/// A row as the engine looks at it.
fn person(row: &PersonRow, now: Micros) -> Person {
    let today = age::day_of(now);
    let birth = row.birth_date.as_deref().and_then(|text| age::parse_birth_date(text, today));
    let cell = row.cell_lat.zip(row.cell_lon).map(|(lat, lon)| Cell { lat, lon });
    Person {
        user: row.id,
        age: birth.map(|birth| age::age_on(birth, today)),
        gender: row.gender,
        cell,
        wants: row.wanted.clone().into(),
    }
}

/// What columns can tell of whom a reader looks for; or why nobody can be shown to the reader.
fn narrow<'a>(
    app: &App,
    reader: &'a PersonRow,
    me: &Person,
    now: Micros,
) -> std::result::Result<Narrowed<'a>, Excluded> {
    match me.age {
        None if app.config.birth_date_required => return Err(Excluded::NoBirthDate),
        Some(age) if age < app.config.minimum_age => return Err(Excluded::TooYoung),
        _ => {}
    }
    let today = age::day_of(now);
    // One year more on either side than asked for: the engine counts birthdays, the columns need not.
    // Wishes beyond any age mean the same as the oldest age there is.
    let years_ago =
        |years: i64| format!("{:04}-{:02}-{:02}", i64::from(today.year()) - years, today.month(), today.day());
    Ok(Narrowed {
        reader,
        age: me.age,
        age_required: app.config.birth_date_required,
        born_from: years_ago(me.wants.age_max.clamp(0, AGES) + 2),
        born_to: years_ago(me.wants.age_min.max(app.config.minimum_age).min(AGES) - 1),
        spans: me.cell.and_then(|cell| reach::spans(cell, me.wants.distance_km)),
    })
}
