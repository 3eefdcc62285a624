//! What must hold of any two people, whoever they are.

use proptest::prelude::*;

use super::place::BANDS_KM;
use super::*;

const TODAY: Today = Today { day: 20_000, minimum_age: 18, age_required: true };

fn genders() -> impl Strategy<Value = Vec<Gender>> {
    proptest::sample::subsequence(vec![Gender::Man, Gender::Woman, Gender::Other], 0..=3)
}

fn gender() -> impl Strategy<Value = Option<Gender>> {
    proptest::option::of(proptest::sample::select(vec![Gender::Man, Gender::Woman, Gender::Other]))
}

prop_compose! {
    fn person()(
        age in proptest::option::weighted(0.9, 15..60_i64),
        gender in gender(),
        genders in genders(),
        place in proptest::option::weighted(0.9, (48.0..49.5_f64, 2.0..4.0_f64)),
        age_min in 15..30_i64,
        age_span in 0..60_i64,
        distance_km in 1..300_i64,
    ) -> Person {
        let wants = Preferences { age_min, age_max: age_min + age_span, distance_km, genders };
        let cell = place.and_then(|(latitude, longitude)| Cell::of(latitude, longitude));
        Person { user: UserId(0), age, gender, cell, wants }
    }
}

fn crowd() -> impl Strategy<Value = Vec<Candidate>> {
    let person = (person(), 19_990..20_001_i64);
    proptest::collection::vec(person, 2..60).prop_map(|people| {
        let numbered = people.into_iter().zip(1..);
        numbered
            .map(|((person, active_day), id)| Candidate { person: Person { user: UserId(id), ..person }, active_day })
            .collect()
    })
}

fn sees(one: &Person, other: &Candidate) -> bool {
    !rank(one, vec![other.clone()], TODAY).is_empty()
}

proptest! {
    #[test]
    fn seeing_is_mutual(crowd in crowd()) {
        for one in &crowd {
            for other in &crowd {
                prop_assert_eq!(sees(&one.person, other), sees(&other.person, one));
            }
        }
    }

    #[test]
    fn nobody_under_age_sees_or_is_seen(crowd in crowd()) {
        for one in &crowd {
            let shown = rank(&one.person, crowd.clone(), TODAY);
            let grown = |user: UserId| crowd.iter().any(|other| other.person.user == user && other.person.age >= Some(18));
            prop_assert!(shown.is_empty() || one.person.age >= Some(18));
            prop_assert!(shown.iter().all(|ranked| grown(ranked.user) && ranked.user != one.person.user));
        }
    }

    #[test]
    fn the_order_does_not_depend_on_the_order_of_reading(crowd in crowd()) {
        let me = &crowd[0].person;
        let backwards: Vec<Candidate> = crowd.iter().rev().cloned().collect();
        prop_assert_eq!(rank(me, crowd.clone(), TODAY), rank(me, backwards, TODAY));
    }

    #[test]
    fn distances_are_bands_within_reach_and_the_nearest_come_first(crowd in crowd()) {
        let me = &crowd[0].person;
        let shown = rank(me, crowd.clone(), TODAY);
        let bands: Vec<i64> = shown.iter().filter_map(|ranked| ranked.band).collect();
        prop_assert!(bands.iter().all(|band| BANDS_KM.contains(band) && *band <= me.wants.distance_km));
        prop_assert!(bands.is_sorted());
        prop_assert!(shown.is_sorted_by_key(|ranked| ranked.band.is_none()));
    }

    /// Nobody learns more than a band by trying distances one kilometre at a time.
    #[test]
    fn trying_every_distance_finds_only_the_bands(one in person(), other in person()) {
        let other = Candidate { person: Person { user: UserId(2), ..other }, active_day: 0 };
        let at = |km: i64| {
            let wants = Preferences { distance_km: km, ..one.wants.clone() };
            sees(&Person { user: UserId(1), wants, ..one.clone() }, &other)
        };
        for km in 2..300 {
            prop_assert!(at(km) == at(km - 1) || BANDS_KM.contains(&km), "{} km is told apart from {km}", km - 1);
        }
    }
}

#[test]
fn the_lot_changes_from_day_to_day_and_from_reader_to_reader() {
    let order = |reader: i64, day: i64| {
        let mut users: Vec<i64> = (1..=50).collect();
        users.sort_by_key(|user| lot(UserId(reader), UserId(*user), day));
        users
    };
    assert_eq!(order(1, 1), order(1, 1));
    assert_ne!(order(1, 1), order(1, 2));
    assert_ne!(order(1, 1), order(2, 1));
}
