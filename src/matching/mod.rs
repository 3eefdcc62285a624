//! The ranking engine: pure. No waiting, no clock, no input or output.
//!
//! Who is shown to whom is decided both ways at once: nobody is shown to somebody whom they do not look for. What is
//! shown, and in which order, depends on no distance finer than its band and no time finer than a day, so that no
//! number of looks tells more.

pub mod age;
pub mod place;
pub mod reach;

use crate::model::{DistanceBand, Gender, Preferences, UserId};
use place::{Cell, band_km};

/// A user as the filters look at them.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who.
    pub user: UserId,
    /// In whole years; none where no birth date is known.
    pub age: Option<i64>,
    /// As told.
    pub gender: Option<Gender>,
    /// Where. Without a place, distance is no hindrance.
    pub cell: Option<Cell>,
    /// Whom they look for.
    pub wants: Preferences,
}

/// Somebody who may be shown.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The user.
    pub person: Person,
    /// The day they were last seen, counted from any day.
    pub active_day: i64,
}

/// Somebody to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked {
    /// Who.
    pub user: UserId,
    /// How far away, as far as anybody is told.
    pub band: Option<DistanceBand>,
}

/// What is the same for everybody today.
#[derive(Debug, Clone, Copy)]
pub struct Today {
    /// The number of the day.
    pub day: i64,
    /// Nobody younger sees others or is seen.
    pub minimum_age: i64,
    /// Whether users whose age is not known see nobody and are not seen. Otherwise no age limit excludes them.
    pub age_required: bool,
}

/// Those who fit both ways: the nearest band first, in it those seen latest, by days; the rest in an order that changes
/// every day and is another one for every reader.
pub fn rank(me: &Person, others: Vec<Candidate>, today: Today) -> Vec<Ranked> {
    let fitting = others.into_iter().filter(|other| fit(me, &other.person, today));
    let mut keyed: Vec<_> = fitting
        .map(|other| {
            let user = other.person.user;
            let band = band(me, &other.person);
            let lot = lot(me.user, user, today.day);
            ((band.unwrap_or(DistanceBand::MAX), std::cmp::Reverse(other.active_day), lot, user), Ranked { user, band })
        })
        .collect();
    keyed.sort_unstable_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, ranked)| ranked).collect()
}

fn fit(one: &Person, other: &Person, today: Today) -> bool {
    let grown = |person: &Person| person.age.map_or(!today.age_required, |age| age >= today.minimum_age);
    let near = |wants: &Preferences| band(one, other).is_none_or(|band| band <= wants.distance_km);
    one.user != other.user
        && (grown(one) && grown(other))
        && (likes_the_look(&one.wants, other) && likes_the_look(&other.wants, one))
        && (near(&one.wants) && near(&other.wants))
}

/// Whether a person has a gender and an age that are sought. A gender that is not told excludes nobody: clients of the
/// older API cannot tell one.
fn likes_the_look(wants: &Preferences, person: &Person) -> bool {
    person.gender.is_none_or(|gender| wants.genders.contains(&gender))
        && person.age.is_none_or(|age| (wants.age_min..=wants.age_max).contains(&age))
}

fn band(one: &Person, other: &Person) -> Option<DistanceBand> {
    one.cell.zip(other.cell).map(|(one, other)| band_km(one, other))
}

/// A number that looks drawn by lot, and is the same all day (splitmix64 over the three numbers).
fn lot(reader: UserId, other: UserId, day: i64) -> u64 {
    [reader.0, other.0, day].into_iter().fold(0, |state: u64, number| {
        let mut mixed = (state ^ number.cast_unsigned()).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests;
