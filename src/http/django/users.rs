//! Profiles: section 3.2 of the contract.

use warp::http::StatusCode;

use super::Call;
use super::accounts::{EMAIL_MAX, NAME_MAX, fits_email, fits_username};
use super::answers::{Answer, FieldErrors, Refusal, done, json};
use super::form::{Field, Form};
use super::shapes::{UserFull, UserPlaced};
use crate::error::Error;
use crate::media::Wanted;
use crate::model::{Actor, Text, UserId};
use crate::ops::accounts::{self, Coordinates, INTEREST_MAX, PHONE_MAX};
use crate::ops::presence;
use crate::protocol::commands::{ProfileGet, ProfileUpdate};
use crate::sentence;

/// Longest name of a place, in characters.
const LOCATION_MAX: usize = 100;

pub(super) const PROFILE: &[Field] = &[
    Field::text("username", NAME_MAX).fitting(fits_username),
    Field::blank("email", EMAIL_MAX).fitting(fits_email),
    Field::blank("first_name", NAME_MAX),
    Field::blank("last_name", NAME_MAX),
    Field::file("profile_picture"),
    // The operation judges how long it may be.
    Field::blank("bio", usize::MAX),
    Field::date("date_of_birth").nullable(),
    Field::blank("phone_number", PHONE_MAX),
    Field::blank("location", LOCATION_MAX),
    Field::number("latitude").nullable(),
    Field::number("longitude").nullable(),
    Field::texts("interests", INTEREST_MAX),
];

pub(super) async fn own(call: Call) -> Answer {
    let actor = call.actor()?;
    presence::here(&call.app, actor).await?;
    Ok(json(StatusCode::OK, &full(&call, actor).await?))
}

async fn full(call: &Call, actor: Actor) -> Result<UserFull, Refusal> {
    let own = accounts::me(&call.app, actor).await?;
    let interests = accounts::numbered_interests(&call.app, actor, actor.user).await?;
    Ok(UserFull::own(own, interests, call))
}

pub(super) async fn update(call: Call) -> Answer {
    let actor = call.actor()?;
    let mut form = call.form();
    form.check()?;
    let coordinates = coordinates(&form)?;
    let birth_date = if form.is_null("date_of_birth") { Some(Text::default()) } else { form.text("date_of_birth") };
    let change = ProfileUpdate {
        username: form.text("username"),
        email: form.text("email"),
        phone: form.text("phone_number"),
        first_name: form.text("first_name"),
        last_name: form.text("last_name"),
        bio: form.text("bio"),
        birth_date,
        gender: None,
        location: form.text("location"),
        place: None,
        interests: form.texts("interests"),
        pictures: pictures(&call, actor, &form).await?,
    };
    accounts::update_with(&call.app, actor, change, coordinates).await.map_err(in_their_words)?;
    let user = full(&call, actor).await?;
    let (latitude, longitude) = accounts::place(&call.app, actor).await?;
    Ok(json(StatusCode::OK, &UserPlaced { user, latitude, longitude }))
}

/// The caller's pictures, where the picture is named: one takes the place of the first, and null takes all away.
async fn pictures(call: &Call, actor: Actor, form: &Form) -> Result<Option<Vec<Text>>, Refusal> {
    if form.is_null("profile_picture") {
        return Ok(Some(Vec::new()));
    }
    let Some(picture) = call.file("profile_picture", Wanted::Image).await? else { return Ok(None) };
    let before =
        accounts::me(&call.app, actor).await?.pictures.into_iter().skip(1).map(|picture| Text::without_nul(picture.id));
    Ok(Some(std::iter::once(picture).chain(before).collect()))
}

/// Where the caller says to be. Whoever names one coordinate keeps the other.
fn coordinates(form: &Form) -> Result<Coordinates, Refusal> {
    let mut errors = FieldErrors::default();
    for (name, most) in [("latitude", 90.0), ("longitude", 180.0)] {
        if form.number(name).is_some_and(|degrees| degrees.abs() > most) {
            errors.add(name, sentence!("no-place"));
        }
    }
    if !errors.is_empty() {
        return Err(errors.into());
    }
    let told = |name: &str| if form.is_null(name) { Some(None) } else { form.number(name).map(Some) };
    Ok(Coordinates { latitude: told("latitude"), longitude: told("longitude") })
}

/// The refusal of the operation, under the names that the fields have here.
fn in_their_words(error: Error) -> Refusal {
    let field = error.field.as_deref().map(|field| match field {
        "birth_date" => "date_of_birth",
        "phone" => "phone_number",
        other => other,
    });
    let item = field.and_then(|field| field.strip_prefix("interests[")?.strip_suffix(']')?.parse().ok());
    if let Some(at) = item {
        let mut errors = FieldErrors::default();
        errors.add_item("interests", at, error.message);
        return errors.into();
    }
    let field = field.map(str::to_owned);
    Error { field, ..error }.into()
}

pub(super) async fn other(call: Call) -> Answer {
    let actor = call.actor()?;
    let user = UserId(call.id(0));
    if user == actor.user {
        return Ok(json(StatusCode::OK, &full(&call, actor).await?));
    }
    let profile = accounts::profile(&call.app, actor, ProfileGet { user }).await?;
    let interests = accounts::numbered_interests(&call.app, actor, user).await?;
    Ok(json(StatusCode::OK, &UserFull::other(profile, interests, &call)))
}

pub(super) async fn here(call: Call) -> Answer {
    presence::here(&call.app, call.actor()?).await?;
    Ok(done(call.language, &sentence!("status-updated")))
}
