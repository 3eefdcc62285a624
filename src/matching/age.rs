//! Ages from birth dates.

use jiff::civil::Date;

/// Nobody is older, in years.
const OLDEST: i64 = 120;

/// Whole years on a day; somebody born on 29 February is a year older on 1 March of other years.
pub fn age_on(birth: Date, today: Date) -> i64 {
    let years = i64::from(today.year()) - i64::from(birth.year());
    let before_birthday = (today.month(), today.day()) < (birth.month(), birth.day());
    years - i64::from(before_birthday)
}

/// A birth date as people write it, `YYYY-MM-DD`, of somebody who can be alive.
pub fn parse_birth_date(text: &str, today: Date) -> Option<Date> {
    // The library also reads other forms, such as 20000102.
    let written_out = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    let birth: Date = written_out.then(|| text.parse().ok()).flatten()?;
    (birth <= today && age_on(birth, today) <= OLDEST).then_some(birth)
}

/// The day of an instant, in UTC.
pub fn day_of(micros: i64) -> Date {
    let instant = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    jiff::tz::Offset::UTC.to_datetime(instant).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;
    use jiff::civil::date;
    use proptest::prelude::*;

    #[test]
    fn birthdays() {
        let birth = date(2000, 6, 15);
        assert_eq!(age_on(birth, date(2018, 6, 14)), 17);
        assert_eq!(age_on(birth, date(2018, 6, 15)), 18);
        let leap = date(2000, 2, 29);
        assert_eq!((age_on(leap, date(2018, 2, 28)), age_on(leap, date(2018, 3, 1))), (17, 18));
        assert_eq!(age_on(leap, date(2020, 2, 29)), 20);
    }

    #[test]
    fn dates_that_cannot_be() {
        let today = date(2026, 11, 22);
        for bad in ["2026-11-23", "1905-11-22", "2001-02-29", "20000102", "2000-1-2", "", "2000-01-02T00", "é000-01-0"]
        {
            assert_eq!(parse_birth_date(bad, today), None, "{bad}");
        }
        assert_eq!(parse_birth_date("2026-11-22", today), Some(today));
        assert_eq!(parse_birth_date("1905-11-23", today), Some(date(1905, 11, 23)));
    }

    #[test]
    fn the_day_of_an_instant() {
        assert_eq!(day_of(0), date(1970, 1, 1));
        assert_eq!(day_of(86_400_000_000 - 1), date(1970, 1, 1));
        assert_eq!(day_of(-1), date(1969, 12, 31));
    }

    proptest! {
        #[test]
        fn an_age_grows_by_one_each_year(days in 0..44_000_i32, more in 0..44_000_i32) {
            let birth = date(1900, 1, 1).checked_add(days.days()).expect("a date");
            let today = birth.checked_add(more.days()).expect("a date");
            let age = age_on(birth, today);
            prop_assert!(age >= 0);
            let birthday = |years: i64| birth.checked_add((years as i32).years()).expect("a date");
            prop_assert!(birthday(age) <= today && today <= birthday(age + 1));
        }
    }
}
