//! Users: names, passwords, profiles, preferences.

use std::collections::{HashMap, HashSet};

use sqlx::FromRow;

use super::visible::{no_block, pair_of};
use super::{Conn, files, json_list, on, run};
use crate::error::Result;
use crate::model::{Gender, Micros, OwnProfile, Preferences, Status, Text, UserId};
use crate::text::Username;

/// A user to be.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// As shown.
    pub username: &'a Text,
    /// As compared.
    pub username_key: &'a Text,
    /// Of the password.
    pub password_hash: &'a Text,
    /// May be empty.
    pub email: &'a Text,
    /// May be empty.
    pub first_name: &'a Text,
    /// May be empty.
    pub last_name: &'a Text,
}

/// What a login is judged by.
#[derive(Debug, FromRow)]
pub struct Credentials {
    /// The account.
    pub user: UserId,
    /// Its name, as shown.
    pub username: String,
    /// Of its password.
    pub password_hash: String,
    /// Switched off by the operator.
    pub disabled: bool,
}

/// What is to change of a profile; `None` stays as it is.
#[derive(Debug, Default)]
pub struct ProfileChange {
    /// E-mail address.
    pub email: Option<Text>,
    /// Telephone number.
    pub phone: Option<Text>,
    /// Given name.
    pub first_name: Option<Text>,
    /// Family name.
    pub last_name: Option<Text>,
    /// About.
    pub bio: Option<Text>,
    /// `YYYY-MM-DD`, or empty for none.
    pub birth_date: Option<Text>,
    /// Gender.
    pub gender: Option<Gender>,
    /// Name of the place.
    pub location: Option<Text>,
    /// Where they are.
    pub place: Option<Place>,
}

/// Where a user says to be, as it is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Place {
    /// Row of the grid.
    pub cell_lat: Option<i64>,
    /// Place in the row.
    pub cell_lon: Option<i64>,
    /// A latitude without a longitude, in millionths of a degree. None where there is a cell.
    pub lone_latitude: Option<i64>,
    /// A longitude without a latitude, in millionths of a degree. None where there is a cell.
    pub lone_longitude: Option<i64>,
}

/// A user as another one may see them, not yet rendered.
#[derive(Debug, FromRow)]
pub struct Seen {
    /// The account.
    pub id: UserId,
    /// Its name.
    pub username: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// About.
    pub bio: String,
    /// `YYYY-MM-DD`.
    pub birth_date: Option<String>,
    /// Gender.
    pub gender: Option<Gender>,
    /// Name of the place.
    pub location: String,
    /// Row of the place's cell.
    pub cell_lat: Option<i64>,
    /// Place in the row.
    pub cell_lon: Option<i64>,
    /// What they chose to be seen as.
    pub status: Status,
    /// The two are matched, or share a conversation.
    pub acquainted: bool,
    /// When they were last here.
    pub last_active_at: Micros,
    /// Until when they count as here without a socket.
    pub here_until: Micros,
}

/// Adds a user; `None` when the name is taken.
pub async fn insert(tx: &mut Conn, user: &NewUser<'_>, now: Micros) -> Result<Option<UserId>> {
    const SQL: &str = "INSERT INTO users \
        (username, username_key, password_hash, email, first_name, last_name, created_at, last_active_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING RETURNING id";
    Ok(on!(tx, c => sqlx::query_scalar(SQL)
        .bind(user.username)
        .bind(user.username_key)
        .bind(user.password_hash)
        .bind(user.email)
        .bind(user.first_name)
        .bind(user.last_name)
        .bind(now)
        .fetch_optional(c))?)
}

/// The key of an imported user whose name is that of an earlier one but for its case: found only as it is written. No
/// name has this sign.
pub fn exact_key(username: &str) -> Text {
    Text::without_nul(format!("={username}"))
}

/// Whether somebody has a name, as it is compared or exactly as it is written.
pub async fn is_taken(conn: &mut Conn, username: &Text, username_key: &Text) -> Result<bool> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE username_key = $1 OR username_key = $2)";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(username_key).bind(exact_key(username)).fetch_one(c))?)
}

/// The account of a name: of those whose names differ only by case, the one that is written so, else the first.
pub async fn credentials(conn: &mut Conn, username: &Text, username_key: &Text) -> Result<Option<Credentials>> {
    const SQL: &str = "SELECT id AS user, username, password_hash, disabled_at IS NOT NULL AS disabled \
        FROM users WHERE (username_key = $1 OR username_key = $2) AND deleted_at IS NULL \
        ORDER BY CASE WHEN username_key = $2 THEN 0 ELSE 1 END LIMIT 1";
    let exact = exact_key(username);
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(username_key).bind(&exact).fetch_optional(c))?)
}

/// The credentials of a user who is known; `None` for a deleted one.
pub async fn credentials_of(conn: &mut Conn, user: UserId) -> Result<Option<Credentials>> {
    const SQL: &str = "SELECT id AS user, username, password_hash, disabled_at IS NOT NULL AS disabled \
        FROM users WHERE id = $1 AND deleted_at IS NULL";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(user).fetch_optional(c))?)
}

/// Locks accounts: until the end of the transaction nobody else appends to their personal streams, ends or opens
/// sessions of theirs, or deletes them. What is judged by them is read in a later statement.
pub async fn lock(tx: &mut Conn, users: &[UserId]) -> Result<()> {
    const SQL: &str = "SELECT u.id FROM users u WHERE u.id IN (SELECT j.value FROM json_each($1) j) \
        ORDER BY u.id FOR NO KEY UPDATE";
    if tx.is_shared() {
        run!(tx, sqlx::query(SQL).bind(json_list(users)))?;
    }
    Ok(())
}

/// Gives a user another password.
pub async fn set_password_hash(tx: &mut Conn, user: UserId, hash: &Text) -> Result<()> {
    const SQL: &str = "UPDATE users SET password_hash = $2 WHERE id = $1";
    run!(tx, sqlx::query(SQL).bind(user).bind(hash))?;
    Ok(())
}

/// A user was there.
pub async fn touch(tx: &mut Conn, user: UserId, now: Micros) -> Result<()> {
    const SQL: &str = "UPDATE users SET last_active_at = $2 WHERE id = $1 AND last_active_at < $2";
    run!(tx, sqlx::query(SQL).bind(user).bind(now))?;
    Ok(())
}

#[derive(FromRow)]
struct Own {
    id: UserId,
    username: String,
    email: String,
    phone: String,
    first_name: String,
    last_name: String,
    bio: String,
    birth_date: Option<String>,
    gender: Option<Gender>,
    location: String,
    has_place: bool,
    status: Status,
    created_at: Micros,
    last_active_at: Micros,
    #[sqlx(flatten)]
    wanted: Wanted,
}

/// Whom a user looks for, as kept.
#[derive(Debug, Clone, FromRow)]
pub struct Wanted {
    age_min: i64,
    age_max: i64,
    distance_km: i64,
    /// The genders, comma-separated.
    pub(super) seeks: String,
}

impl From<Wanted> for Preferences {
    fn from(wanted: Wanted) -> Preferences {
        let genders = [Gender::Man, Gender::Woman, Gender::Other];
        let sought = |gender: &Gender| wanted.seeks.split(',').any(|name| name == gender_name(*gender));
        Preferences {
            age_min: wanted.age_min,
            age_max: wanted.age_max,
            distance_km: wanted.distance_km,
            genders: genders.into_iter().filter(sought).collect(),
        }
    }
}

fn gender_name(gender: Gender) -> &'static str {
    match gender {
        Gender::Man => "man",
        Gender::Woman => "woman",
        Gender::Other => "other",
    }
}

/// A user's own account; `None` for a deleted user.
pub async fn own(conn: &mut Conn, user: UserId) -> Result<Option<OwnProfile>> {
    const SQL: &str = "SELECT id, username, email, phone, first_name, last_name, bio, birth_date, gender, \
        location, cell_lat IS NOT NULL AS has_place, status, created_at, last_active_at, age_min, age_max, distance_km, seeks \
        FROM users WHERE id = $1 AND deleted_at IS NULL";
    let own: Option<Own> = on!(conn, c => sqlx::query_as(SQL).bind(user).fetch_optional(c))?;
    let Some(own) = own else { return Ok(None) };
    Ok(Some(OwnProfile {
        id: own.id,
        username: own.username,
        email: own.email,
        phone: own.phone,
        first_name: own.first_name,
        last_name: own.last_name,
        bio: own.bio,
        birth_date: own.birth_date,
        gender: own.gender,
        interests: interests(conn, user).await?,
        location: own.location,
        pictures: files::pictures_of(conn, user).await?,
        has_place: own.has_place,
        status: own.status,
        preferences: own.wanted.into(),
        created_at: own.created_at,
        last_seen: own.last_active_at,
    }))
}

/// Some users as far as a reader may see them: without those who are unknown, deleted, disabled, or blocked either way.
pub async fn seen(conn: &mut Conn, reader: UserId, users: &[UserId]) -> Result<Vec<Seen>> {
    const SQL: &str = concat!(
        "SELECT u.id, u.username, u.first_name, u.last_name, u.bio, u.birth_date, u.gender, u.location, \
        u.cell_lat, u.cell_lon, u.status, u.last_active_at, u.here_until, \
        (p.matched_at IS NOT NULL AND p.match_ended_at IS NULL) OR EXISTS (SELECT 1 FROM members a \
            JOIN members b ON b.conversation_id = a.conversation_id WHERE a.user_id = $1 AND b.user_id = u.id) \
            AS acquainted \
        FROM json_each($2) j JOIN users u ON u.id = j.value ",
        pair_of!("p", "$1", "u.id"),
        " WHERE u.deleted_at IS NULL AND u.disabled_at IS NULL AND ",
        no_block!("p")
    );
    let users = json_list(users);
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(&users).fetch_all(c))?)
}

/// Whether an account is there: neither unknown, deleted nor disabled.
pub async fn is_live(conn: &mut Conn, user: UserId) -> Result<bool> {
    const SQL: &str = "SELECT count(*) FROM users WHERE id = $1 AND deleted_at IS NULL AND disabled_at IS NULL";
    let live: i64 = on!(conn, c => sqlx::query_scalar(SQL).bind(user).fetch_one(c))?;
    Ok(live > 0)
}

/// Those of some users whose accounts are there: neither unknown, deleted nor disabled.
pub async fn live_among(conn: &mut Conn, users: &[UserId]) -> Result<HashSet<UserId>> {
    const SQL: &str = "SELECT u.id FROM json_each($1) j JOIN users u ON u.id = j.value \
        WHERE u.deleted_at IS NULL AND u.disabled_at IS NULL";
    let live: Vec<UserId> = on!(conn, c => sqlx::query_scalar(SQL).bind(json_list(users)).fetch_all(c))?;
    Ok(live.into_iter().collect())
}

/// Where a user says to be.
pub async fn place(conn: &mut Conn, user: UserId) -> Result<Place> {
    const SQL: &str = "SELECT cell_lat, cell_lon, lone_latitude, lone_longitude FROM users WHERE id = $1";
    let place: Option<Place> = on!(conn, c => sqlx::query_as(SQL).bind(user).fetch_optional(c))?;
    Ok(place.unwrap_or_default())
}

/// What a user is interested in, sorted.
pub async fn interests(conn: &mut Conn, user: UserId) -> Result<Vec<String>> {
    const SQL: &str = "SELECT name FROM interests WHERE user_id = $1 ORDER BY name";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(user).fetch_all(c))?)
}

/// What some users are interested in, sorted; those with none are not named.
pub async fn interests_of(conn: &mut Conn, users: &[UserId]) -> Result<HashMap<UserId, Vec<String>>> {
    const SQL: &str =
        "SELECT i.user_id, i.name FROM json_each($1) j JOIN interests i ON i.user_id = j.value ORDER BY i.name";
    let users = json_list(users);
    let rows: Vec<(UserId, String)> = on!(conn, c => sqlx::query_as(SQL).bind(&users).fetch_all(c))?;
    let mut interests: HashMap<UserId, Vec<String>> = HashMap::new();
    for (user, name) in rows {
        interests.entry(user).or_default().push(name);
    }
    Ok(interests)
}

/// Replaces the interests of a user by these, each named once.
pub async fn set_interests(tx: &mut Conn, user: UserId, names: &[Text]) -> Result<()> {
    const CLEAR: &str = "DELETE FROM interests WHERE user_id = $1";
    const NAMES: [&str; 2] = [
        "INSERT INTO interest_names (name) SELECT value FROM json_each($1) WHERE true ORDER BY value \
            ON CONFLICT (name) DO NOTHING",
        "INSERT INTO interest_names (name) SELECT value FROM json_array_elements_text($1::JSON) AS list (value) \
            ORDER BY value COLLATE \"C\" ON CONFLICT (name) DO UPDATE SET name = excluded.name",
    ];
    const ADD: [&str; 2] = [
        "INSERT INTO interests (user_id, name) SELECT $1, value FROM json_each($2)",
        "INSERT INTO interests (user_id, name) SELECT $1, value FROM json_array_elements_text($2::JSON) AS list (value)",
    ];
    // On Postgres a name that is there is locked: it goes when the last who has it is erased.
    run!(tx, sqlx::query(CLEAR).bind(user))?;
    if !names.is_empty() {
        let (make, add, names) = (tx.sql(NAMES), tx.sql(ADD), json_list(names));
        run!(tx, sqlx::query(make).bind(&names))?;
        run!(tx, sqlx::query(add).bind(user).bind(&names))?;
    }
    Ok(())
}

/// Changes what is named of a profile.
pub async fn update(tx: &mut Conn, user: UserId, change: &ProfileChange) -> Result<()> {
    const SQL: &str = "UPDATE users SET email = COALESCE($2, email), first_name = COALESCE($3, first_name), \
        last_name = COALESCE($4, last_name), bio = COALESCE($5, bio), \
        birth_date = NULLIF(COALESCE($6, birth_date), ''), gender = COALESCE($7, gender), \
        location = COALESCE($8, location), phone = COALESCE($9, phone), \
        cell_lat = CASE WHEN $10 = 1 THEN $11 ELSE cell_lat END, \
        cell_lon = CASE WHEN $10 = 1 THEN $12 ELSE cell_lon END, \
        lone_latitude = CASE WHEN $10 = 1 THEN $13 ELSE lone_latitude END, \
        lone_longitude = CASE WHEN $10 = 1 THEN $14 ELSE lone_longitude END WHERE id = $1";
    let place = change.place.unwrap_or_default();
    run!(
        tx,
        sqlx::query(SQL)
            .bind(user)
            .bind(&change.email)
            .bind(&change.first_name)
            .bind(&change.last_name)
            .bind(&change.bio)
            .bind(&change.birth_date)
            .bind(change.gender)
            .bind(&change.location)
            .bind(&change.phone)
            .bind(i64::from(change.place.is_some()))
            .bind(place.cell_lat)
            .bind(place.cell_lon)
            .bind(place.lone_latitude)
            .bind(place.lone_longitude)
    )?;
    Ok(())
}

/// Gives a user another name; false when somebody has it.
pub async fn rename(tx: &mut Conn, user: UserId, name: &Username) -> Result<bool> {
    const TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE username_key = $1 AND id <> $2)";
    const SQL: &str = "UPDATE users SET username = $2, username_key = $3 WHERE id = $1";
    // The unique index decides; who is overtaken asks again.
    let taken: bool = on!(tx, c => sqlx::query_scalar(TAKEN).bind(&name.key).bind(user).fetch_one(c))?;
    if !taken {
        run!(tx, sqlx::query(SQL).bind(user).bind(&name.shown).bind(&name.key))?;
    }
    Ok(!taken)
}

/// Until when a user counts as here without a socket.
pub async fn set_here_until(tx: &mut Conn, user: UserId, until: Micros) -> Result<()> {
    const SQL: &str = "UPDATE users SET here_until = $2 WHERE id = $1";
    run!(tx, sqlx::query(SQL).bind(user).bind(until))?;
    Ok(())
}

/// What a user is interested in, by name, with the numbers that all users' interests share.
pub async fn numbered_interests(conn: &mut Conn, user: UserId) -> Result<Vec<(i64, String)>> {
    const SQL: &str = "SELECT n.id, n.name FROM interests i JOIN interest_names n ON n.name = i.name \
        WHERE i.user_id = $1 ORDER BY n.id";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(user).fetch_all(c))?)
}

/// The names of some users; empty for those whose accounts are gone.
pub async fn names(conn: &mut Conn, users: &[UserId]) -> Result<Vec<(UserId, String)>> {
    const SQL: &str = "SELECT u.id, CASE WHEN u.deleted_at IS NULL THEN u.username ELSE '' END \
        FROM users u WHERE u.id IN (SELECT j.value FROM json_each($1) j)";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(json_list(users)).fetch_all(c))?)
}

/// Whom a user looks for.
pub async fn preferences(conn: &mut Conn, user: UserId) -> Result<Option<Preferences>> {
    const SQL: &str = "SELECT age_min, age_max, distance_km, seeks FROM users WHERE id = $1 AND deleted_at IS NULL";
    let wanted: Option<Wanted> = on!(conn, c => sqlx::query_as(SQL).bind(user).fetch_optional(c))?;
    Ok(wanted.map(Preferences::from))
}

/// Replaces whom a user looks for.
pub async fn set_preferences(tx: &mut Conn, user: UserId, wanted: &Preferences) -> Result<()> {
    const SQL: &str = "UPDATE users SET age_min = $2, age_max = $3, distance_km = $4, seeks = $5 WHERE id = $1";
    let seeks = wanted.genders.iter().map(|gender| gender_name(*gender)).collect::<Vec<_>>().join(",");
    run!(
        tx,
        sqlx::query(SQL).bind(user).bind(wanted.age_min).bind(wanted.age_max).bind(wanted.distance_km).bind(seeks)
    )?;
    Ok(())
}
