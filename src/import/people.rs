//! Users as they were to users as they are: names, places, whom they look for.

use std::collections::HashSet;

use jiff::civil::Date;

use super::journal::{Journal, Note};
use super::{whole, without_zero_bytes};
use crate::auth::{Kept, kept};
use crate::clock::machine;
use crate::error::Result;
use crate::matching::age::{day_of, parse_birth_date};
use crate::matching::place::Cell;
use crate::store::Tx;
use crate::store::accounts::exact_key;
use crate::store::django::{InterestName, InterestRow, UserRow};
use crate::store::imported::{self, NewFile, NewUser};
use crate::text::username_key;

/// Oldest age and farthest distance that somebody may look for today.
const AGE_MAX: i64 = 120;
const DISTANCE_MAX: i64 = 20_015;

/// Writes a page of users.
pub(super) async fn users(tx: &mut Tx, journal: &mut Journal, mut page: Vec<UserRow>) -> Result<()> {
    page.iter_mut().for_each(|row| clean(journal, row));
    let keys: Vec<String> =
        page.iter().flat_map(|row| [username_key(&row.username), exact_key(&row.username)].map(String::from)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut taken = imported::taken(tx, &keys).await?;
    let today = day_of(machine());
    let (mut users, mut files) = (Vec::with_capacity(page.len()), Vec::new());
    for mut row in page {
        if let Some(path) = row.profile_picture.take().filter(|path| !path.is_empty()) {
            files.push(NewFile { kind: "profile", subject: row.id, path });
        }
        journal.took("preferences", i64::from(row.min_age.is_some()));
        users.push(user(journal, &mut taken, row, today));
    }
    let count = whole(imported::users(tx, &users).await?, users.len())?;
    let with_files = whole(imported::files(tx, &files).await?, files.len())?;
    journal.wrote("users", count);
    journal.took("users", count.cast_signed());
    journal.wrote("imported_files", with_files);
    journal.took("profile files", with_files.cast_signed());
    Ok(())
}

fn clean(journal: &mut Journal, row: &mut UserRow) {
    let texts = [
        &mut row.username,
        &mut row.password,
        &mut row.email,
        &mut row.first_name,
        &mut row.last_name,
        &mut row.bio,
        &mut row.phone_number,
        &mut row.location,
    ];
    let mut changed = false;
    for text in texts {
        changed |= without_zero_bytes(text);
    }
    if changed {
        journal.note(Note::ZeroBytes, row.id);
    }
}

fn user(journal: &mut Journal, taken: &mut HashSet<String>, mut row: UserRow, today: Date) -> NewUser {
    match kept(&row.password) {
        Kept::Foreign => {}
        Kept::Unusable => journal.note(Note::NoPassword, row.id),
        Kept::Unknown => journal.note(Note::UnknownPassword, row.id),
        Kept::Ours => {
            // None of Django's begins like this, and it would be verified at whatever cost it names.
            journal.note(Note::UnknownPassword, row.id);
            row.password.insert(0, '!');
        }
    }
    let last_active_at = row.last_activity.or(row.last_login).unwrap_or(row.date_joined).max(row.date_joined).0;
    // When it was switched off nobody wrote down: it was not before the user was last there.
    let disabled_at = (row.is_active == 0).then_some(last_active_at);
    if disabled_at.is_some() {
        journal.note(Note::Disabled, row.id);
    }
    let cell = place(journal, &row);
    let birth_date = row.date_of_birth.as_deref().and_then(|text| parse_birth_date(text, today));
    if birth_date.is_none() && row.date_of_birth.is_some() {
        journal.note(Note::NoBirthDate, row.id);
    }
    let (age_min, age_max, distance_km) =
        (row.min_age.unwrap_or(18), row.max_age.unwrap_or(99), row.max_distance.unwrap_or(50));
    let ages = 18..=AGE_MAX;
    let odd = !ages.contains(&age_min) || !ages.contains(&age_max) || age_min > age_max;
    if odd || !(1..=DISTANCE_MAX).contains(&distance_km) {
        journal.note(Note::OddPreferences, row.id);
    }
    NewUser {
        id: row.id,
        username_key: free_key(journal, taken, row.id, &row.username),
        username: row.username,
        password_hash: row.password,
        email: row.email,
        first_name: row.first_name,
        last_name: row.last_name,
        bio: row.bio,
        phone: row.phone_number,
        location: row.location,
        birth_date: birth_date.map(|birth| birth.to_string()),
        cell_lat: cell.map(|cell| cell.lat),
        cell_lon: cell.map(|cell| cell.lon),
        age_min,
        age_max,
        distance_km,
        seeks: seeks(row.gender_preference.as_deref()).to_owned(),
        created_at: row.date_joined.0,
        last_active_at,
        disabled_at,
    }
}

/// The key under which a user is found. Of several whose names are compared alike, the first has the key of all; each
/// other one is found by the name exactly as it is written.
fn free_key(journal: &mut Journal, taken: &mut HashSet<String>, id: i64, username: &str) -> String {
    let (key, exact): (String, String) = (username_key(username).into(), exact_key(username).into());
    if taken.insert(key.clone()) {
        return key;
    }
    if taken.insert(exact.clone()) {
        journal.note(Note::NameClash, id);
        return exact;
    }
    journal.note(Note::NameTwice, id);
    // No name is typed so.
    format!("=\n{id}")
}

/// The coarse cell. As the service had it, a coordinate of 0 counts as missing.
fn place(journal: &mut Journal, row: &UserRow) -> Option<Cell> {
    let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<f64>().ok());
    let (latitude, longitude) = (number(&row.latitude)?, number(&row.longitude)?);
    if latitude == 0.0 || longitude == 0.0 {
        return None;
    }
    let cell = Cell::of(latitude, longitude);
    if cell.is_none() {
        journal.note(Note::NoPlace, row.id);
    }
    cell
}

/// Whom somebody looks for, by the letter of the service.
fn seeks(letter: Option<&str>) -> &'static str {
    match letter {
        Some("M") => "man",
        Some("F") => "woman",
        Some("O") => "other",
        _ => "man,woman,other",
    }
}

/// Writes a page of the dictionary.
pub(super) async fn interest_names(tx: &mut Tx, journal: &mut Journal, mut page: Vec<InterestName>) -> Result<()> {
    for row in &mut page {
        if without_zero_bytes(&mut row.name) {
            journal.note(Note::ZeroBytes, row.id);
        }
    }
    let count = imported::interest_names(tx, &page).await?;
    journal.wrote("interest_names", count);
    Ok(())
}

/// Writes a page of interests.
pub(super) async fn interests(tx: &mut Tx, journal: &mut Journal, page: Vec<InterestRow>) -> Result<()> {
    let (mut interests, mut seen) = (Vec::with_capacity(page.len()), HashSet::new());
    for InterestRow { id, user, name } in page {
        let mut name = name.unwrap_or_default();
        without_zero_bytes(&mut name);
        match user {
            Some(user) if !name.is_empty() && seen.insert((user, name.clone())) => interests.push((user, name)),
            _ => journal.note(Note::NotImportedInterest, id),
        }
    }
    let count = imported::interests(tx, &interests).await?;
    journal.wrote("interests", count);
    journal.took("interests", count.cast_signed());
    Ok(())
}
