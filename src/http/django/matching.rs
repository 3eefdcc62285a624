//! Preferences, likes, blocks and matches: section 3.5 of the contract.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::Serialize;
use warp::http::StatusCode;

use super::Call;
use super::answers::{Answer, FieldErrors, Refusal, done, json};
use super::conversations::no_such_person;
use super::form::Field;
use super::paging::{Newest, Slice};
use super::shapes::{Match, MatchUser, Preferences};
use crate::catalogue::Sentence;
use crate::model::{Gender, MatchId, Presence, UserId};
use crate::ops::{accounts, blocks, matching};
use crate::protocol::commands::{BlockAdd, BlockRemove, LikeAdd, LikeRemove, PreferencesUpdate};
use crate::protocol::replies::Excluded;
use crate::sentence;

/// Most people who are ranked for a list of them.
const PEOPLE_MAX: usize = 1000;

pub(super) const PREFERENCES: &[Field] = &[
    Field::integer("min_age"),
    Field::integer("max_age"),
    Field::integer("max_distance"),
    Field::choice("gender_preference", &["M", "F", "O", "A"]),
];
pub(super) const PERSON: &[Field] = &[Field::integer("user_id").required()];

pub(super) async fn preferences(call: Call) -> Answer {
    let wanted = accounts::preferences(&call.app, call.actor()?).await?;
    Ok(json(StatusCode::OK, &Preferences::from(wanted)))
}

pub(super) async fn update_preferences(call: Call) -> Answer {
    let actor = call.actor()?;
    let mut form = call.form();
    form.check()?;
    let genders = form.text("gender_preference").map(|letter| match letter.as_str() {
        "M" => vec![Gender::Man],
        "F" => vec![Gender::Woman],
        "O" => vec![Gender::Other],
        _ => vec![Gender::Man, Gender::Woman, Gender::Other],
    });
    let change = PreferencesUpdate {
        age_min: form.integer("min_age"),
        age_max: form.integer("max_age"),
        distance_km: form.integer("max_distance"),
        genders,
    };
    let wanted = accounts::update_preferences_freely(&call.app, actor, change).await?;
    Ok(json(StatusCode::OK, &Preferences::from(wanted)))
}

pub(super) async fn potential_matches(call: Call) -> Answer {
    let actor = call.actor()?;
    let mut found = matching::found(&call.app, actor, PEOPLE_MAX).await?.map_err(|excluded| {
        let why = match excluded {
            Excluded::NoBirthDate => sentence!("birth-date-needed"),
            Excluded::TooYoung => sentence!("too-young", years = call.app.config.minimum_age),
        };
        Refusal::Detail(StatusCode::FORBIDDEN, why)
    })?;
    // Those who are online first, then by when they were here last, by days: finer would tell strangers more.
    found.sort_by_key(|(profile, day)| {
        (!matches!(profile.presence, Presence::Online | Presence::Away | Presence::Busy), Reverse(*day))
    });
    let slice = Slice::of(&call, found.len() as i64, Newest::First)?;
    let shown = slice.cut(found).into_iter().map(|(profile, _)| MatchUser::new(profile, &call)).collect();
    Ok(slice.answer(&call, shown))
}

/// Whom a request is about.
fn person(call: &Call) -> Result<UserId, Refusal> {
    let mut form = call.form();
    form.check()?;
    let user = UserId(form.integer("user_id").unwrap_or_default());
    if user == call.actor()?.user {
        return Err(FieldErrors::of("user_id", sentence!("not-yourself")).into());
    }
    Ok(user)
}

/// What is answered.
#[derive(Serialize, JsonSchema)]
pub(super) struct Liked {
    detail: String,
    is_match: bool,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    made: Option<Match>,
}

pub(super) async fn like(call: Call) -> Answer {
    let user = person(&call)?;
    let liked = matching::like(&call.app, call.actor()?, LikeAdd { user }).await;
    let liked = liked.map_err(|error| no_such_person("user_id", error))?;
    let detail = sentence!("liked").told_in(call.language);
    let made = liked.made.map(|made| Match::new(made, &call));
    Ok(json(StatusCode::CREATED, &Liked { detail, is_match: made.is_some(), made }))
}

/// What was done to somebody, who must be there.
fn told<T>(call: &Call, result: crate::error::Result<T>, sentence: &Sentence) -> Answer {
    match result {
        Ok(_) => Ok(done(call.language, sentence)),
        Err(error) => Err(no_such_person("user_id", error)),
    }
}

pub(super) async fn unlike(call: Call) -> Answer {
    let user = person(&call)?;
    let result = matching::unlike(&call.app, call.actor()?, LikeRemove { user }).await;
    told(&call, result, &sentence!("unliked"))
}

pub(super) async fn block(call: Call) -> Answer {
    let user = person(&call)?;
    let result = blocks::add(&call.app, call.actor()?, BlockAdd { user }).await;
    told(&call, result, &sentence!("blocked"))
}

pub(super) async fn unblock(call: Call) -> Answer {
    let user = person(&call)?;
    let result = blocks::remove(&call.app, call.actor()?, BlockRemove { user }).await;
    told(&call, result, &sentence!("unblocked"))
}

pub(super) async fn matches(call: Call) -> Answer {
    let actor = call.actor()?;
    let slice = Slice::of(&call, matching::match_count(&call.app, actor).await?, Newest::Last)?;
    let found = matching::match_slice(&call.app, actor, slice.offset, slice.limit).await?;
    Ok(slice.answer(&call, found.into_iter().map(|made| Match::new(made, &call)).collect()))
}

pub(super) async fn one_match(call: Call) -> Answer {
    let found = matching::one(&call.app, call.actor()?, MatchId(call.id(0))).await?;
    Ok(json(StatusCode::OK, &Match::new(found, &call)))
}
