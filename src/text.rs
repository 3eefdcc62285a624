//! What people write: cleaned, and taken apart for search; user names; emoji.

mod emoji;
mod names;
mod words;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use emoji::emoji;
pub use names::{Username, username_key};
pub use words::{Query, VERSION as WORDS_VERSION, index_words, query};

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use crate::error::{Error, Result};
use crate::model::Text;
use crate::sentence;

/// Combining marks in a row. Writing systems need three or four; towers of them hide the lines around.
const MARKS_MAX: usize = 8;
/// A text as it may be kept: no control characters (new lines and tabs where `lines` allows them), no reversing of the
/// direction of what stands around a single line, no towers of marks, at most `max` characters. A text of which nobody
/// would see anything is the empty text.
pub fn clean(field: &str, text: &str, max: usize, lines: bool) -> Result<Text> {
    // No text within the limit has more bytes, so that a huge one is not counted through first.
    if text.len() > max.saturating_mul(4) || text.chars().count() > max {
        return Err(Error::too_long(field, max, "characters"));
    }
    // Nothing of what follows stands in ordinary English.
    let simple = |byte: u8| matches!(byte, b' '..=b'~') || (lines && byte == b'\n');
    if text.bytes().all(simple) {
        let blank = text.trim().is_empty();
        return Ok(if blank { Text::default() } else { Text::without_nul(text) });
    }
    let text = if lines { text.replace("\r\n", "\n") } else { text.to_owned() };
    let refused = |char: char| if lines { char.is_control() && char != '\n' && char != '\t' } else { is_unfit(char) };
    if text.chars().any(refused) {
        return Err(Error::field(field, sentence!("control-characters")));
    }
    if longest_marks(&text) > MARKS_MAX {
        return Err(Error::field(field, sentence!("combining-marks", max = MARKS_MAX)));
    }
    match is_blank(&text) {
        true => Ok(Text::default()),
        false => Text::new(text).map_err(|_| Error::field(field, sentence!("control-characters"))),
    }
}

/// Whether nobody would see anything of a text.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(is_invisible)
}

/// White space, control characters, and signs without a form of their own.
fn is_invisible(char: char) -> bool {
    // An empty cell of Braille, and an empty head of a note.
    char.is_whitespace() || char.is_control() || is_ignorable(char) || matches!(char, '\u{2800}' | '\u{1d159}')
}

/// `Default_Ignorable_Code_Point` of Unicode: what is shown as nothing, also by those who do not know it. Format
/// characters, fillers, selectors of variations, joiners.
fn is_ignorable(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
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
    fn d09_what_nobody_sees_is_blank() {
        for blank in [
            "",
            " ",
            "\u{200b}",
            "\u{2060}",
            "\u{3164}",
            "\u{2800}",
            "\u{feff}",
            "\u{ad}",
            "\u{fe0f}",
            "\u{115f}\u{1160}",
            "\u{ffa0}",
            "\u{180e}",
            "\u{e0020}",
            "\u{34f}",
            "\u{61c}",
            "\u{a0}\u{3000}\u{2003}",
            " \u{200d}\u{200c} ",
        ] {
            assert!(is_blank(blank), "{blank:?}");
            assert_eq!(clean("text", blank, 100, true).expect("kept").as_str(), "", "{blank:?}");
        }
        for seen in ["a", ".", "\u{301}", "👩\u{200d}👧", "❤\u{fe0f}", "⠁", "ㅤa", "\u{200b}a"] {
            assert!(!is_blank(seen), "{seen:?}");
            assert_eq!(clean("text", seen, 100, true).expect("kept").as_str(), seen);
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
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = clean("text", &text, 20, true);
        }
    }
}
