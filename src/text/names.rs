//! User names that cannot be taken for another's.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_security::{RestrictionLevel, RestrictionLevelDetection, skeleton};

use super::{is_invisible, is_mark, longest_marks};
use crate::error::{Error, Result};
use crate::model::Text;
use crate::sentence;

/// Combining marks in a row in a user name.
const NAME_MARKS_MAX: usize = 2;
/// Longest user name, in characters.
const USERNAME_MAX: usize = 150;
/// Besides letters and digits, what a user name may have.
const NAME_SIGNS: &[char] = &['@', '.', '+', '-', '_'];

/// A user name as it is shown, and the key that no two users share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    /// As written, normalised.
    pub shown: Text,
    /// Also without case.
    pub key: Text,
}

impl Username {
    /// Judges a name that somebody wants to have.
    ///
    /// # Errors
    /// `invalid_field` or `too_long`, of the field `username`.
    pub fn new(text: &str) -> Result<Username> {
        if text.len() > USERNAME_MAX * 4 {
            return Err(Error::too_long("username", USERNAME_MAX, "characters"));
        }
        let shown: String = text.nfkc().collect();
        if shown.is_empty() {
            return Err(Error::field("username", sentence!("name-needed")));
        }
        if shown.chars().count() > USERNAME_MAX {
            return Err(Error::too_long("username", USERNAME_MAX, "characters"));
        }
        let starts_bare = shown.starts_with(is_mark);
        if starts_bare || !shown.chars().all(is_name_char) || longest_marks(&shown) > NAME_MARKS_MAX {
            return Err(Error::field("username", sentence!("name-characters")));
        }
        let letters: String = shown.chars().filter(|char| !NAME_SIGNS.contains(char)).collect();
        if !letters.as_str().check_restriction_level(RestrictionLevel::HighlyRestrictive) {
            return Err(Error::field("username", sentence!("name-characters")));
        }
        let shown = Text::without_nul(shown);
        let key = username_key(&shown);
        Ok(Username { shown, key })
    }

    /// Refuses a name that looks like one of these, its signs left out: those of the operator's staff.
    ///
    /// # Errors
    /// `invalid_field`, of the field `username`.
    pub fn unreserved(self, reserved: &[String]) -> Result<Username> {
        let look = |key: &str| {
            let letters: String =
                key.chars().filter(|char| is_name_char(*char) && !NAME_SIGNS.contains(char)).collect();
            skeleton(&letters).flat_map(char::to_lowercase).collect::<String>()
        };
        let looks = look(&self.key);
        match !looks.is_empty() && reserved.iter().any(|name| look(&username_key(name)) == looks) {
            true => Err(Error::field("username", sentence!("name-reserved"))),
            false => Ok(self),
        }
    }
}

/// The key under which a user name is found, however it was typed.
pub fn username_key(text: &str) -> Text {
    // Through the upper case, so that letters with two lower-case forms (ß and ss, ς and σ) come together; and to it from
    // the lower case, since ẞ is one of its own.
    let upper: String = text.nfkc().flat_map(char::to_lowercase).flat_map(char::to_uppercase).collect();
    Text::without_nul(upper.chars().flat_map(char::to_lowercase).map(one_sigma).nfkc().collect::<String>())
}

fn is_name_char(char: char) -> bool {
    use GeneralCategoryGroup::{Letter, Mark, Number};
    // Some letters and marks are never seen.
    NAME_SIGNS.contains(&char)
        || (matches!(char.general_category_group(), Letter | Mark | Number) && !is_invisible(char))
}

fn one_sigma(char: char) -> char {
    if char == 'ς' { 'σ' } else { char }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use proptest::prelude::*;

    #[test]
    fn s38_names_that_deceive_are_refused() {
        let refused = [
            ("", "empty"),
            ("ann smith", "a space"),
            ("ann\u{200b}", "zero width"),
            ("ann\u{202e}", "turns direction"),
            ("ann\u{ad}", "soft hyphen"),
            ("\u{301}ann", "a mark without a letter"),
            ("a\u{328}\u{331}\u{310}\u{33f}nn", "too many marks"),
            ("p\u{430}ypal", "Cyrillic a among Latin"),
            ("αnn", "Greek alpha among Latin"),
            ("\u{3164}", "a letter that is not seen"),
            ("ann\u{115f}", "another one"),
            ("адmin", "Cyrillic and Latin"),
            ("ann\0", "control"),
            ("💬", "no letter"),
        ];
        for (name, why) in refused {
            assert!(Username::new(name).is_err(), "{why}: {name:?}");
        }
        assert_eq!(Username::new(&"x".repeat(151)).expect_err("long").code, ErrorCode::TooLong);
        for good in [
            "ann",
            "a",
            &"x".repeat(150),
            "Zoë.O-Neil+1@example.org",
            "иван_77",
            "山田太郎",
            "ヤマダtaro",
            "김철수",
            "محمد",
        ] {
            assert!(Username::new(good).is_ok(), "{good}: {:?}", Username::new(good));
        }
    }

    #[test]
    fn s38_names_that_differ_only_in_form_are_one() {
        for (one, other) in [
            ("Ann", "aNN"),
            ("ﬁona", "fiona"),
            ("Zoe\u{308}", "ZOË"),
            ("Straße", "STRASSE"),
            ("STRAẞE", "strasse"),
            ("Ｎora", "nora"),
        ] {
            let key = |name| Username::new(name).expect(name).key;
            assert_eq!(key(one), key(other));
            assert_eq!(username_key(one), username_key(other));
        }
    }

    #[test]
    fn d16_names_of_staff_and_what_looks_like_them_are_reserved() {
        let reserved = crate::config::Config::default().reserved_names.0;
        let judged = |name: &str| Username::new(name).expect(name).unreserved(&reserved);
        for name in ["Admin", "a.d.m-i_n", "ａｄｍｉｎ", "r00t", "adrnin", "SUPPORT"] {
            assert!(judged(name).is_err(), "{name}");
        }
        for name in ["ann", "admins", "supporter", "иван"] {
            assert!(judged(name).is_ok(), "{name}");
        }
        // Cyrillic letters, all of them.
        let own = ["Cop".to_owned()];
        assert!(Username::new("сор").expect("fits").unreserved(&own).is_err());
        assert!(Username::new("admin").expect("fits").unreserved(&own).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_keys_are_stable(text in "\\PC{0,40}") {
            let key = username_key(&text);
            prop_assert_eq!(username_key(&key), key.clone());
            if let Ok(name) = Username::new(&text) {
                prop_assert_eq!(name.key, key);
            }
        }
    }
}
