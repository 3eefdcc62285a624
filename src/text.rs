//! What people write: cleaned, folded, and user names that cannot be taken for another's.

use std::net::{Ipv4Addr, Ipv6Addr};

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_security::{RestrictionLevel, RestrictionLevelDetection, skeleton};

use crate::error::{Error, Result};
use crate::model::Text;
use crate::sentence;

/// Combining marks in a row. Writing systems need three or four; towers of them hide the lines around.
const MARKS_MAX: usize = 8;
/// Combining marks in a row in a user name.
const NAME_MARKS_MAX: usize = 2;
/// Longest user name, in characters.
const USERNAME_MAX: usize = 150;
/// Besides letters and digits, what a user name may have.
const NAME_SIGNS: &[char] = &['@', '.', '+', '-', '_'];

/// Names that speak for the server or its operator, or mean nobody.
const RESERVED: &[&str] = &[
    "abuse",
    "admin",
    "administrator",
    "anonymous",
    "deleted",
    "duet",
    "everyone",
    "moderator",
    "nobody",
    "null",
    "official",
    "operator",
    "postmaster",
    "root",
    "security",
    "server",
    "staff",
    "support",
    "system",
    "undefined",
    "webmaster",
];

/// A text as it may be kept: no control characters (new lines and tabs where `lines` allows them), no reversing of the
/// direction of what stands around a single line, no towers of marks, at most `max` characters.
pub fn clean(field: &str, text: &str, max: usize, lines: bool) -> Result<Text> {
    // No text within the limit has more bytes, so that a huge one is not counted through first.
    if text.len() > max.saturating_mul(4) || text.chars().count() > max {
        return Err(Error::too_long(field, max, "characters"));
    }
    let text = if lines { text.replace("\r\n", "\n") } else { text.to_owned() };
    let refused = |char: char| if lines { char.is_control() && char != '\n' && char != '\t' } else { is_unfit(char) };
    if text.chars().any(refused) {
        return Err(Error::field(field, sentence!("control-characters")));
    }
    if longest_marks(&text) > MARKS_MAX {
        return Err(Error::field(field, sentence!("combining-marks", max = MARKS_MAX)));
    }
    Text::new(text).map_err(|_| Error::field(field, sentence!("control-characters")))
}

/// Case and accents taken away, for finding.
pub fn fold(text: &str) -> Text {
    let folded: String =
        text.nfkd().filter(|char| !is_mark(*char)).flat_map(char::to_lowercase).map(one_sigma).nfkc().collect();
    Text::without_nul(folded)
}

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
        if is_reserved(&key) {
            return Err(Error::field("username", sentence!("name-reserved")));
        }
        Ok(Username { shown, key })
    }
}

/// The key under which a user name is found, however it was typed.
pub fn username_key(text: &str) -> Text {
    // Through the upper case, so that letters with two lower-case forms (ß and ss, ς and σ) come together; and to it from
    // the lower case, since ẞ is one of its own.
    let upper: String = text.nfkc().flat_map(char::to_lowercase).flat_map(char::to_uppercase).collect();
    Text::without_nul(upper.chars().flat_map(char::to_lowercase).map(one_sigma).nfkc().collect::<String>())
}

/// Whether a name, its signs left out, looks like a reserved one.
fn is_reserved(key: &str) -> bool {
    let letters: String = key.chars().filter(|char| !NAME_SIGNS.contains(char)).collect();
    let look = |text: &str| skeleton(text).flat_map(char::to_lowercase).collect::<String>();
    let looks_like = look(&letters);
    RESERVED.iter().any(|name| look(name) == looks_like)
}

fn is_name_char(char: char) -> bool {
    use GeneralCategoryGroup::{Letter, Mark, Number};
    NAME_SIGNS.contains(&char) || matches!(char.general_category_group(), Letter | Mark | Number)
}

/// Control characters, line ends, and the invisible ones that turn the direction of text.
fn is_unfit(char: char) -> bool {
    let turns = matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || turns || matches!(char, '\u{2028}' | '\u{2029}')
}

fn is_mark(char: char) -> bool {
    matches!(char.general_category(), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark)
}

fn longest_marks(text: &str) -> usize {
    let (longest, _) = text.chars().fold((0, 0), |(longest, run), char| {
        let run = if is_mark(char) { run + 1 } else { 0 };
        (longest.max(run), run)
    });
    longest
}

fn one_sigma(char: char) -> char {
    if char == 'ς' { 'σ' } else { char }
}

/// Checks an e-mail address as far as that is possible without writing to it. The domain, `localhost` or an IP address in
/// brackets, is returned in lower case.
pub fn email(field: &str, text: &str) -> Result<Text> {
    const MAX: usize = 254;
    if text.is_empty() {
        return Ok(Text::default());
    }
    let text = clean(field, text, MAX, false)?;
    let parts = text.rsplit_once('@').filter(|(name, domain)| {
        let label = |label: &str| {
            let edge = |char: char| char == '-';
            !label.is_empty()
                && !label.starts_with(edge)
                && !label.ends_with(edge)
                && label.chars().all(|char| char.is_alphanumeric() || char == '-')
        };
        let name_fits =
            !name.is_empty() && name.len() <= 64 && !name.contains(|char: char| char.is_whitespace() || char == '@');
        let is_literal = || {
            let inside = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
            match inside.get(..5) {
                Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inside[5..].parse::<Ipv6Addr>().is_ok(),
                _ => inside.parse::<Ipv4Addr>().is_ok(),
            }
        };
        let is_name = || domain.contains('.') && domain.split('.').all(label);
        name_fits && (is_name() || domain.eq_ignore_ascii_case("localhost") || is_literal())
    });
    let (name, domain) = parts.ok_or_else(|| Error::field(field, sentence!("no-email")))?;
    Ok(Text::without_nul(format!("{name}@{}", domain.to_lowercase())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use proptest::prelude::*;

    #[test]
    fn texts_are_kept_as_written_or_refused() {
        let family = "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467} नमस्ते ภาษาไทย ḏ̣̄ \u{202e}rtl";
        assert_eq!(clean("text", family, 100, true).expect("kept"), family);
        assert_eq!(clean("text", "a\r\nb\tc", 5, true).expect_err("six characters").code, ErrorCode::TooLong);
        assert_eq!(clean("text", "a\r\nb\tc", 6, true).expect("kept"), "a\nb\tc");
        for bad in ["a\0b", "a\u{7}b", "a\u{85}b", "a\u{1b}[31m"] {
            assert_eq!(clean("text", bad, 100, true).expect_err(bad).code, ErrorCode::InvalidField);
        }
        for bad in ["a\nb", "a\tb", "a\u{202e}b", "a\u{2066}b", "a\u{2028}b"] {
            assert_eq!(clean("first_name", bad, 100, false).expect_err(bad).code, ErrorCode::InvalidField);
        }
        assert!(clean("text", &format!("a{}", "\u{301}".repeat(8)), 100, true).is_ok());
        assert!(clean("text", &format!("a{}", "\u{301}".repeat(9)), 100, true).is_err());
    }

    #[test]
    fn folding_takes_case_and_accents_away() {
        assert_eq!(fold("ÉTÉ Straße ΟΔΟΣ Ｆｕｌｌ Ångström"), "ete straße οδοσ full angstrom");
    }

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
            ("Admin", "reserved"),
            ("a.d.m-i_n", "reserved with signs"),
            ("ａｄｍｉｎ", "reserved in full width"),
            ("адmin", "Cyrillic and Latin"),
            ("r00t", "reserved by its looks"),
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
    fn e_mail_addresses() {
        assert_eq!(email("email", "Ann.X+y@Example.ORG").expect("fits"), "Ann.X+y@example.org");
        for bad in ["ann", "@b.c", "ann@b", "a b@c.de", "a@b@c.de", "a@-b.de", "a@b..de", "a@b.de\n"] {
            assert!(email("email", bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_keys_are_stable(text in "\\PC{0,40}") {
            let key = username_key(&text);
            prop_assert_eq!(username_key(&key), key.clone());
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
            if let Ok(name) = Username::new(&text) {
                prop_assert_eq!(name.key, key);
            }
            let _ = clean("text", &text, 20, true);
        }
    }
}
