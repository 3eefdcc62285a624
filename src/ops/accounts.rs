//! Accounts: registering, profiles, preferences, the password, deleting.

use std::collections::HashMap;

use super::{files, presence, sessions};
use crate::app::App;
use crate::bus::Notice;
use crate::error::{CloseCode, Error, ErrorCode, Result};
use crate::hub::Which;
use crate::matching::age::{age_on, day_of, parse_birth_date};
use crate::matching::place::{Cell, band_km};
use crate::model::{Actor, Gender, OwnProfile, PersonalKind, Preferences, Presence, Profile, Status, Text, UserId};
use crate::protocol::commands::{AccountDelete, PasswordChange, PreferencesUpdate, ProfileGet, ProfileUpdate};
use crate::protocol::replies::Done;
use crate::sentence;
use crate::store::accounts::{self, NewUser, Place, ProfileChange, Seen};
use crate::store::audience::Known;
use crate::store::files as kept;
use crate::store::{Conn, Purpose, ending, streams};
use crate::text::{Username, clean, email};

/// Longest interest, in characters.
pub const INTEREST_MAX: usize = 50;
/// Longest telephone number, in characters.
pub const PHONE_MAX: usize = 15;
/// Oldest age that may be asked for, in years.
const AGE_MAX: i64 = 120;
/// Farthest distance that may be asked for, in kilometres: half the way round the Earth.
const DISTANCE_MAX: i64 = 20_015;

/// What somebody tells to register.
#[derive(Debug)]
pub struct Register<'a> {
    /// The name wanted.
    pub username: &'a str,
    /// The password.
    pub password: &'a str,
    /// E-mail address; may be empty.
    pub email: &'a str,
    /// Given name; may be empty.
    pub first_name: &'a str,
    /// Family name; may be empty.
    pub last_name: &'a str,
}

/// A new account, as it was written down.
#[derive(Debug)]
pub struct Registered {
    /// Its id.
    pub user: UserId,
    /// The name, normalised.
    pub username: Text,
    /// E-mail address.
    pub email: Text,
    /// Given name.
    pub first_name: Text,
    /// Family name.
    pub last_name: Text,
}

/// Opens an account.
pub async fn register(app: &App, input: Register<'_>) -> Result<Registered> {
    let taken = || Error::field("username", sentence!("name-taken"));
    let username = Username::new(input.username)?.unreserved(&app.config.reserved_names.0)?;
    let email = email("email", input.email)?;
    let first_name = clean("first_name", input.first_name, app.config.name_max, false)?;
    let last_name = clean("last_name", input.last_name, app.config.name_max, false)?;
    app.auth.judge(input.password, &username.shown).await?;
    // Asked before the hash is paid for; the insert decides.
    if accounts::is_taken(&mut app.store.read(Purpose::SignIn).await?, &username.shown, &username.key).await? {
        return Err(taken());
    }
    let hash = Text::without_nul(app.auth.hash(input.password).await?);
    let mut tx = app.store.begin(Purpose::SignIn).await?;
    let new = NewUser {
        username: &username.shown,
        username_key: &username.key,
        password_hash: &hash,
        email: &email,
        first_name: &first_name,
        last_name: &last_name,
    };
    let user = accounts::insert(&mut tx, &new, app.now()).await?.ok_or_else(taken)?;
    app.commit(tx, Vec::new()).await?;
    tracing::info!(%user, "registered");
    Ok(Registered { user, username: username.shown, email, first_name, last_name })
}

/// The caller's own account.
pub async fn me(app: &App, actor: Actor) -> Result<OwnProfile> {
    own(&mut app.store.read(actor.user).await?, actor.user).await
}

async fn own(conn: &mut Conn, user: UserId) -> Result<OwnProfile> {
    accounts::own(conn, user).await?.ok_or_else(no_user)
}

/// What the caller may see of a user. Unknown, deleted, disabled and blocked look alike.
pub async fn profile(app: &App, actor: Actor, input: ProfileGet) -> Result<Profile> {
    let mut conn = app.store.read(actor.user).await?;
    seen_by(app, &mut conn, actor.user, &[input.user]).await?.remove(&input.user).ok_or_else(no_user)
}

/// Some users as a reader may see them; those are left out whom they may not. However many there are, it takes as many
/// questions to the database and to the directory as one.
pub(super) async fn seen_by(
    app: &App,
    conn: &mut Conn,
    reader: UserId,
    users: &[UserId],
) -> Result<HashMap<UserId, Profile>> {
    let seen = accounts::seen(conn, reader, users).await?;
    let mut interests = accounts::interests_of(conn, users).await?;
    let reader_cell = cell(accounts::place(conn, reader).await?);
    let mut pictures = kept::pictures(conn, users).await?;
    let acquainted = seen.iter().filter(|seen| seen.acquainted);
    let known = acquainted.map(|seen| Known { user: seen.id, status: seen.status, here_until: seen.here_until });
    let presences = presence::seen(app, &known.collect::<Vec<_>>()).await;
    let profiles = seen.into_iter().map(|seen| {
        let (id, presence) = (seen.id, presences.get(&seen.id).copied());
        let profile = render(app, seen, interests.remove(&id).unwrap_or_default(), reader_cell, presence);
        let pictures = pictures.remove(&id).into_iter().flatten().map(|kept| kept.attachment);
        (id, Profile { pictures: pictures.collect(), ..profile })
    });
    Ok(profiles.collect())
}

fn no_user() -> Error {
    Error::not_found("user")
}

fn cell(place: Place) -> Option<Cell> {
    place.cell_lat.zip(place.cell_lon).map(|(lat, lon)| Cell { lat, lon })
}

/// A profile for a reader with this cell. Without a presence, it is not the reader's to know.
fn render(
    app: &App,
    seen: Seen,
    interests: Vec<String>,
    reader_cell: Option<Cell>,
    presence: Option<Presence>,
) -> Profile {
    let today = day_of(app.now());
    let birth = seen.birth_date.as_deref().and_then(|text| parse_birth_date(text, today));
    let user_cell = seen.cell_lat.zip(seen.cell_lon).map(|(lat, lon)| Cell { lat, lon });
    let distance_km = reader_cell.zip(user_cell).map(|(reader, user)| band_km(reader, user));
    let last_seen = presence.filter(|_| seen.status != Status::Invisible).map(|_| seen.last_active_at);
    Profile {
        id: seen.id,
        presence: presence.unwrap_or(Presence::Offline),
        last_seen,
        username: seen.username,
        first_name: seen.first_name,
        last_name: seen.last_name,
        bio: seen.bio,
        age: birth.map(|birth| age_on(birth, today)),
        gender: seen.gender,
        interests,
        location: seen.location,
        pictures: Vec::new(),
        distance_km,
    }
}

/// What a client of the older API says of its place, where either coordinate may come without the other: `None` leaves
/// one as it is, `Some(None)` takes it away. In degrees.
#[derive(Debug, Clone, Copy, Default)]
pub struct Coordinates {
    /// North of the equator.
    pub latitude: Option<Option<f64>>,
    /// East of Greenwich.
    pub longitude: Option<Option<f64>>,
}

/// Changes what is named of the caller's profile.
pub async fn update(app: &App, actor: Actor, input: ProfileUpdate) -> Result<OwnProfile> {
    update_with(app, actor, input, Coordinates::default()).await
}

/// The same, with the place by its coordinates.
///
/// # Errors
/// As [`update`]; a coordinate out of range as an invalid field.
pub async fn update_with(
    app: &App,
    actor: Actor,
    input: ProfileUpdate,
    coordinates: Coordinates,
) -> Result<OwnProfile> {
    let interests = match &input.interests {
        Some(names) => Some(clean_interests(names, app.config.interests_max)?),
        None => None,
    };
    let username = input.username.as_ref().map(Text::trimmed);
    let pictures = input.pictures.clone();
    let mut change = clean_change(app, input)?;
    let mut tx = app.store.begin(actor.user).await?;
    accounts::lock(&mut tx, &[actor.user]).await?;
    let before = (own(&mut tx, actor.user).await?, accounts::place(&mut tx, actor.user).await?);
    change.place = coordinates.applied_to(before.1)?.or(change.place);
    // Who has a name that nobody could take today keeps it.
    if let Some(name) = username.filter(|name| *name != before.0.username) {
        let name = Username::new(&name)?.unreserved(&app.config.reserved_names.0)?;
        if name.shown != before.0.username && !accounts::rename(&mut tx, actor.user, &name).await? {
            return Err(Error::field("username", sentence!("name-taken")));
        }
    }
    accounts::update(&mut tx, actor.user, &change).await?;
    if let Some(interests) = &interests {
        accounts::set_interests(&mut tx, actor.user, interests).await?;
    }
    if let Some(pictures) = &pictures {
        files::set_pictures(app, &mut tx, actor.user, pictures).await?;
    }
    let after = (own(&mut tx, actor.user).await?, accounts::place(&mut tx, actor.user).await?);
    // A change that changes nothing takes no number.
    if before != after {
        let now = app.now();
        let entry =
            streams::append_personal(&mut tx, actor.user, PersonalKind::ProfileChanged, actor.user.0, now).await?;
        app.commit(tx, vec![Notice::Personal { user: actor.user, entry }]).await?;
    }
    Ok(after.0)
}

/// Units of a coordinate that is kept without the other one, in a degree.
const MICRODEGREES: f64 = 1_000_000.0;

/// Latitude and longitude of a place in degrees, as far as they are known: of a cell, those of its centre.
fn coordinates(place: Place) -> (Option<f64>, Option<f64>) {
    let degrees = |lone: Option<i64>| lone.map(|lone| lone as f64 / MICRODEGREES);
    match cell(place).map(Cell::centre) {
        Some((latitude, longitude)) => (Some(latitude), Some(longitude)),
        None => (degrees(place.lone_latitude), degrees(place.lone_longitude)),
    }
}

impl Coordinates {
    /// The place after these were told; none where they say nothing.
    fn applied_to(self, before: Place) -> Result<Option<Place>> {
        if self.latitude.is_none() && self.longitude.is_none() {
            return Ok(None);
        }
        let (latitude, longitude) = coordinates(before);
        let (latitude, longitude) = (self.latitude.unwrap_or(latitude), self.longitude.unwrap_or(longitude));
        for (field, degrees, most) in [("latitude", latitude, 90.0), ("longitude", longitude, 180.0)] {
            if degrees.is_some_and(|degrees| degrees.abs() > most) {
                return Err(Error::field(field, sentence!("no-place")));
            }
        }
        let cell = latitude.zip(longitude).and_then(|(latitude, longitude)| Cell::of(latitude, longitude));
        let lone = |degrees: Option<f64>| {
            degrees.filter(|_| cell.is_none()).map(|degrees| (degrees * MICRODEGREES).round() as i64)
        };
        Ok(Some(Place {
            cell_lat: cell.map(|cell| cell.lat),
            cell_lon: cell.map(|cell| cell.lon),
            lone_latitude: lone(latitude),
            lone_longitude: lone(longitude),
        }))
    }
}

fn clean_change(app: &App, input: ProfileUpdate) -> Result<ProfileChange> {
    let config = &app.config;
    let line = |field: &str, text: Option<Text>| {
        text.map(|text| clean(field, text.trim(), config.name_max, false)).transpose()
    };
    let birth_date = match &input.birth_date {
        None => None,
        Some(text) if text.is_empty() => Some(text.clone()),
        Some(text) => {
            let birth = parse_birth_date(text, day_of(app.now()));
            let birth = birth.ok_or_else(|| Error::field("birth_date", sentence!("no-birth-date")))?;
            Some(Text::without_nul(birth.to_string()))
        }
    };
    let place = match input.place {
        None => None,
        Some(None) => Some(Place::default()),
        Some(Some(place)) => {
            let cell = Cell::of(place.latitude, place.longitude);
            let cell = cell.ok_or_else(|| Error::field("place", sentence!("no-place")))?;
            Some(Place { cell_lat: Some(cell.lat), cell_lon: Some(cell.lon), ..Place::default() })
        }
    };
    Ok(ProfileChange {
        email: input.email.map(|text| email("email", text.trim())).transpose()?,
        phone: input.phone.map(|text| clean("phone", text.trim(), PHONE_MAX, false)).transpose()?,
        first_name: line("first_name", input.first_name)?,
        last_name: line("last_name", input.last_name)?,
        bio: input.bio.map(|text| clean("bio", &text, config.bio_max, true)).transpose()?,
        birth_date,
        gender: input.gender,
        location: line("location", input.location)?,
        place,
    })
}

/// What the caller is interested in, or another whom the caller may see: by name, with the numbers that all users'
/// interests share.
pub async fn numbered_interests(app: &App, actor: Actor, user: UserId) -> Result<Vec<(i64, String)>> {
    accounts::numbered_interests(&mut app.store.read(actor.user).await?, user).await
}

/// Latitude and longitude of the cell in which the caller said to be, in degrees, or the one of them that was told.
pub async fn place(app: &App, actor: Actor) -> Result<(Option<f64>, Option<f64>)> {
    Ok(coordinates(accounts::place(&mut app.store.read(actor.user).await?, actor.user).await?))
}

/// The names of users whom the caller meets in a conversation.
pub async fn names(app: &App, actor: Actor, users: &[UserId]) -> Result<HashMap<UserId, String>> {
    Ok(accounts::names(&mut app.store.read(actor.user).await?, users).await?.into_iter().collect())
}

/// Lower case, sorted, each once.
fn clean_interests(names: &[Text], most: usize) -> Result<Vec<Text>> {
    if names.len() > most {
        return Err(Error::too_long("interests", most, "interests"));
    }
    let mut cleaned = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let field = format!("interests[{at}]");
        let name = Text::without_nul(clean(&field, name.trim(), INTEREST_MAX, false)?.to_lowercase());
        if name.is_empty() {
            return Err(Error::field(field, sentence!("interest-empty")));
        }
        cleaned.push(name);
    }
    cleaned.sort();
    cleaned.dedup();
    Ok(cleaned)
}

/// Whom the caller looks for.
pub async fn preferences(app: &App, actor: Actor) -> Result<Preferences> {
    accounts::preferences(&mut app.store.read(actor.user).await?, actor.user).await?.ok_or_else(no_user)
}

/// Changes what is named of whom the caller looks for.
pub async fn update_preferences(app: &App, actor: Actor, input: PreferencesUpdate) -> Result<Preferences> {
    change_preferences(app, actor, input, |wanted| check_preferences(wanted, app.config.minimum_age)).await
}

/// The same with any numbers, as the Django API took them: those out of range find nobody, or everybody.
pub async fn update_preferences_freely(app: &App, actor: Actor, input: PreferencesUpdate) -> Result<Preferences> {
    change_preferences(app, actor, input, |_| Ok(())).await
}

async fn change_preferences(
    app: &App,
    actor: Actor,
    input: PreferencesUpdate,
    check: impl Fn(&Preferences) -> Result<()>,
) -> Result<Preferences> {
    let mut tx = app.store.begin(actor.user).await?;
    accounts::lock(&mut tx, &[actor.user]).await?;
    let before = accounts::preferences(&mut tx, actor.user).await?.ok_or_else(no_user)?;
    let after = Preferences {
        age_min: input.age_min.unwrap_or(before.age_min),
        age_max: input.age_max.unwrap_or(before.age_max),
        distance_km: input.distance_km.unwrap_or(before.distance_km),
        genders: input.genders.map_or(before.genders.clone(), sorted),
    };
    check(&after)?;
    if before != after {
        let now = app.now();
        accounts::set_preferences(&mut tx, actor.user, &after).await?;
        let entry =
            streams::append_personal(&mut tx, actor.user, PersonalKind::ProfileChanged, actor.user.0, now).await?;
        app.commit(tx, vec![Notice::Personal { user: actor.user, entry }]).await?;
    }
    Ok(after)
}

fn sorted(mut genders: Vec<Gender>) -> Vec<Gender> {
    genders.sort();
    genders.dedup();
    genders
}

fn check_preferences(wanted: &Preferences, youngest: i64) -> Result<()> {
    let ages = youngest..=AGE_MAX;
    if !ages.contains(&wanted.age_min) {
        return Err(Error::field("age_min", sentence!("from-to", min = youngest, max = AGE_MAX)));
    }
    if !ages.contains(&wanted.age_max) || wanted.age_max < wanted.age_min {
        return Err(Error::field("age_max", sentence!("age-order", max = AGE_MAX)));
    }
    if !(1..=DISTANCE_MAX).contains(&wanted.distance_km) {
        return Err(Error::field("distance_km", sentence!("from-to", min = 1_i64, max = DISTANCE_MAX)));
    }
    if wanted.genders.is_empty() {
        return Err(Error::field("genders", sentence!("one-at-least")));
    }
    Ok(())
}

/// Checks the password that confirms something on an open session; answers the hash that it was checked against.
pub(super) async fn confirm(app: &App, user: UserId, field: &str, password: &str) -> Result<String> {
    let known = accounts::credentials_of(&mut app.store.read(user).await?, user).await?.ok_or_else(no_user)?;
    let attempt = app.limits.confirmation(user).map_err(Error::rate_limited)?;
    match app.auth.verify(password, Some(&known.password_hash)).await {
        Ok(true) => {
            attempt.succeeded();
            Ok(known.password_hash)
        }
        Ok(false) => Err(wrong_password(field)),
        Err(error) => {
            attempt.undone();
            Err(error)
        }
    }
}

fn wrong_password(field: &str) -> Error {
    Error { field: Some(field.to_owned()), ..Error::new(ErrorCode::WrongPassword, sentence!("wrong-password")) }
}

/// Changes the caller's password and ends their other sessions.
pub async fn change_password(app: &App, actor: Actor, input: PasswordChange) -> Result<Done> {
    let of_new = |error: Error| Error { field: error.field.map(|_| "new".to_owned()), ..error };
    let known =
        accounts::credentials_of(&mut app.store.read(actor.user).await?, actor.user).await?.ok_or_else(no_user)?;
    app.auth.judge(&input.new, &known.username).await.map_err(of_new)?;
    let checked = confirm(app, actor.user, "old", &input.old).await?;
    let hash = Text::without_nul(app.auth.hash(&input.new).await.map_err(of_new)?);
    let mut tx = app.store.begin(actor.user).await?;
    accounts::lock(&mut tx, &[actor.user]).await?;
    unchanged(&mut tx, actor.user, &checked, "old").await?;
    accounts::set_password_hash(&mut tx, actor.user, &hash).await?;
    let notices = sessions::end_all(&mut tx, actor.user, Some(actor.session), app.now()).await?;
    app.commit(tx, notices).await?;
    tracing::info!(user = %actor.user, "password changed");
    Ok(Done {})
}

/// Another change may have come first while the hash was computed.
async fn unchanged(tx: &mut Conn, user: UserId, checked: &str, field: &str) -> Result<()> {
    let now = accounts::credentials_of(tx, user).await?.ok_or_else(no_user)?;
    if now.password_hash == checked { Ok(()) } else { Err(wrong_password(field)) }
}

/// Deletes the caller's account. Accepted in one small transaction: signed out everywhere, invisible, its name free. What
/// it left is erased by a job, which also tells those who knew it. Its messages keep their places, without their texts.
pub async fn delete(app: &App, actor: Actor, input: AccountDelete) -> Result<Done> {
    let checked = confirm(app, actor.user, "password", &input.password).await?;
    let user = actor.user;
    let mut tx = app.store.begin(user).await?;
    accounts::lock(&mut tx, &[user]).await?;
    unchanged(&mut tx, user, &checked, "password").await?;
    ending::accept(&mut tx, user, app.now()).await?;
    let ended = Notice::SessionsEnded { user, which: Which::All, code: CloseCode::Revoked };
    app.commit(tx, vec![ended]).await?;
    app.jobs.notify_one();
    tracing::info!(%user, "account deleted");
    Ok(Done {})
}
