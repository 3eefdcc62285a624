//! One emoji, written in one way.

use unicode_properties::UnicodeEmoji;
use unicode_properties::emoji::EmojiStatus;
use unicode_segmentation::UnicodeSegmentation;

use super::clean;
use crate::error::{Error, Result};
use crate::model::Text;
use crate::sentence;

/// Asks for a sign to be shown as an emoji.
const EMOJI_STYLE: char = '\u{fe0f}';
/// Asks for a sign to be shown as text.
const TEXT_STYLE: char = '\u{fe0e}';
/// Puts a key around a digit.
const KEYCAP: char = '\u{20e3}';

/// One visible sign of at most `max` bytes, in the form that Unicode calls fully qualified. Keyboards differ in whether
/// they write U+FE0F after a sign that has a form as text too; both mean the same emoji.
///
/// # Errors
/// `invalid_field` or `too_long`, of the field `emoji`.
pub fn emoji(text: &str, max: usize) -> Result<Text> {
    if text.len() > max {
        return Err(Error::too_long("emoji", max, "bytes"));
    }
    let text = clean("emoji", text, max, false)?;
    let text = qualified(text.trim());
    match text.graphemes(true).count() {
        1 => Ok(Text::without_nul(text)),
        _ => Err(Error::field("emoji", sentence!("one-emoji"))),
    }
}

/// With U+FE0F after each sign that would else be shown as text, and nowhere else.
fn qualified(text: &str) -> String {
    let signs: Vec<char> = text.chars().filter(|char| ![EMOJI_STYLE, TEXT_STYLE].contains(char)).collect();
    let mut written = String::with_capacity(text.len());
    for (at, sign) in signs.iter().enumerate() {
        written.push(*sign);
        let next = signs.get(at + 1).copied();
        let styled = match sign.emoji_status() {
            EmojiStatus::EmojiOther | EmojiStatus::EmojiModifierBase => !next.is_some_and(is_skin_tone),
            EmojiStatus::EmojiOtherAndEmojiComponent => next == Some(KEYCAP),
            _ => false,
        };
        if styled {
            written.push(EMOJI_STYLE);
        }
    }
    written
}

fn is_skin_tone(char: char) -> bool {
    matches!(char, '\u{1f3fb}'..='\u{1f3ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d08_an_emoji_has_one_form_and_the_longest_fits() {
        let max = crate::config::Config::default().emoji_max;
        let longest = "\u{1F469}\u{1F3FB}\u{200D}\u{2764}\u{FE0F}\u{200D}\u{1F48B}\u{200D}\u{1F468}\u{1F3FB}";
        assert_eq!((longest.len(), emoji(longest, max).expect("fits").as_str()), (35, longest));
        for (written, form) in [
            ("\u{2764}", "\u{2764}\u{fe0f}"),
            ("\u{2764}\u{fe0f}", "\u{2764}\u{fe0f}"),
            ("\u{2764}\u{fe0e}", "\u{2764}\u{fe0f}"),
            ("1\u{20e3}", "1\u{fe0f}\u{20e3}"),
            ("\u{1F44D}\u{fe0f}", "\u{1F44D}"),
            ("\u{270C}\u{1F3FD}", "\u{270C}\u{1F3FD}"),
            ("\u{270C}\u{fe0f}\u{1F3FD}", "\u{270C}\u{1F3FD}"),
            ("\u{270C}", "\u{270C}\u{fe0f}"),
            ("\u{1F3F3}\u{200D}\u{1F308}", "\u{1F3F3}\u{fe0f}\u{200D}\u{1F308}"),
            ("\u{1F937}\u{200D}\u{2640}", "\u{1F937}\u{200D}\u{2640}\u{fe0f}"),
            ("\u{1F469}\u{200D}\u{2764}\u{200D}\u{1F468}", "\u{1F469}\u{200D}\u{2764}\u{fe0f}\u{200D}\u{1F468}"),
            ("\u{1F1EB}\u{1F1F7}", "\u{1F1EB}\u{1F1F7}"),
            ("a", "a"),
            ("1", "1"),
        ] {
            assert_eq!(emoji(written, max).expect(written).as_str(), form, "{written:?}");
        }
        for bad in ["", " ", "\u{fe0f}", "\u{200b}", "ab", "\u{1F44D}\u{1F44D}", "a\0", "\u{2800}"] {
            assert!(emoji(bad, max).is_err(), "{bad:?}");
        }
    }
}
