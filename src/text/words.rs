//! Text as search sees it: words without case and accents, the same for both databases.
//!
//! Neither database takes texts apart. Each is given these words, and keeps them as they are.
//!
//! Chinese, Japanese, Thai, Lao, Khmer and Burmese put no spaces between words. Of such a run each sign is a word, and so
//! is each pair of neighbours: a query of one sign finds it, and a longer one finds the texts that hold all of its pairs.
//! Dictionaries would find fewer wrong places, but miss names and new words, take megabytes, and cut a query otherwise
//! than the text around it.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

use super::is_ignorable;
use crate::model::Text;

/// How the words of a text are made; raised with every change of it, so that what is indexed is made anew.
pub const VERSION: i64 = 2;

/// Longest word, in bytes; of a longer one the beginning counts.
const WORD_MAX: usize = 255;

/// Words to look for, all of which a text must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// As the index has them.
    pub words: Vec<Text>,
    /// How many there are as they were written, each run without spaces counting as one.
    pub written: usize,
}

/// The words of a text for the index, with spaces between them.
pub fn index_words(text: &str) -> Text {
    let mut words = String::with_capacity(text.len() + 8);
    let mut push = |word: &str| {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    };
    for word in plain_words(&fold(text)) {
        match cut(word) {
            Cut::Word(word) => push(word),
            Cut::Run(signs) => {
                signs.iter().for_each(|sign| push(sign));
                signs.windows(2).for_each(|pair| push(&pair.concat()));
            }
        }
    }
    Text::without_nul(words)
}

/// The words of a query.
pub fn query(text: &str) -> Query {
    let mut query = Query { words: Vec::new(), written: 0 };
    for word in plain_words(&fold(text)) {
        query.written += 1;
        match cut(word) {
            Cut::Word(word) => query.words.push(Text::without_nul(word)),
            Cut::Run(signs) if signs.len() == 1 => query.words.push(Text::without_nul(signs[0])),
            Cut::Run(signs) => query.words.extend(signs.windows(2).map(|pair| Text::without_nul(pair.concat()))),
        }
    }
    query.words.sort();
    query.words.dedup();
    query
}

/// Full case folding, without accents and without what is invisible; letters that have no accent to lose, such as `ø`,
/// become those that they are written as where they are missing.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let kept = text.chars().filter(|char| !is_ignorable(*char)).nfkd();
    // Through the upper case, so that letters with two lower-case forms (ß and ss, ς and σ) come together.
    let cased = kept.flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    let mut folded = String::with_capacity(text.len());
    for char in cased.nfkd().filter(|char| !is_accent(*char)) {
        match plain_letters(char) {
            Some(letters) => folded.push_str(letters),
            None => folded.push(char),
        }
    }
    folded.nfkc().collect()
}

/// A mark beside a letter that readers do without: accents, and the vowel signs of Hebrew and Arabic. The vowel signs of
/// Indic scripts, the tones of Thai and the voicing marks of Japanese make other words.
fn is_accent(char: char) -> bool {
    match char.general_category() {
        GeneralCategory::EnclosingMark => true,
        GeneralCategory::NonspacingMark => matches!(canonical_combining_class(char), 1 | 10..=36 | 200..=240),
        _ => false,
    }
}

fn plain_letters(char: char) -> Option<&'static str> {
    Some(match char {
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'ł' | 'ƚ' => "l",
        'đ' | 'ð' | 'ɖ' => "d",
        'þ' => "th",
        'ħ' => "h",
        'ı' | 'ɨ' => "i",
        'ŋ' => "n",
        'ŧ' => "t",
        'ĸ' => "k",
        'ƀ' => "b",
        'ǥ' => "g",
        'ƶ' => "z",
        'ʉ' => "u",
        'ς' => "σ",
        _ => return None,
    })
}

fn is_word_char(char: char) -> bool {
    char.is_alphanumeric() || char.general_category_group() == GeneralCategoryGroup::Mark
}

/// The words of a folded text, each of one kind of writing.
fn plain_words(folded: &str) -> impl Iterator<Item = &str> {
    let words = folded.split(|char: char| !is_word_char(char)).filter(|word| !word.is_empty());
    words.flat_map(|word| {
        let mut rest = word;
        std::iter::from_fn(move || {
            let first = rest.chars().next()?;
            // Marks belong to what they stand after.
            let other = |char: char| {
                char.general_category_group() != GeneralCategoryGroup::Mark && is_unspaced(char) != is_unspaced(first)
            };
            let end = if rest.is_ascii() { rest.len() } else { rest.find(other).unwrap_or(rest.len()) };
            let (word, after) = rest.split_at(end);
            rest = after;
            Some(word)
        })
    })
}

enum Cut<'a> {
    /// A word as it is.
    Word(&'a str),
    /// The signs of a run without spaces.
    Run(Vec<&'a str>),
}

fn cut(word: &str) -> Cut<'_> {
    match word.chars().next().is_some_and(is_unspaced) {
        true => Cut::Run(word.graphemes(true).map(shortened).collect()),
        false => Cut::Word(shortened(word)),
    }
}

fn shortened(word: &str) -> &str {
    &word[..word.floor_char_boundary(WORD_MAX)]
}

/// Whether a sign is of a writing without spaces between words; digits are not.
fn is_unspaced(char: char) -> bool {
    matches!(char,
        // Thai, Lao.
        '\u{e01}'..='\u{e4e}' | '\u{e81}'..='\u{ece}' | '\u{edc}'..='\u{edf}'
        // Burmese and its neighbours, Khmer.
        | '\u{1000}'..='\u{103f}' | '\u{1050}'..='\u{108f}' | '\u{109a}'..='\u{109f}' | '\u{aa60}'..='\u{aa7f}'
        | '\u{a9e0}'..='\u{a9ef}' | '\u{a9fa}'..='\u{a9fe}' | '\u{1780}'..='\u{17d3}'
        // Chinese, Japanese, with marks of repetition and length.
        | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3031}'..='\u{303c}'
        | '\u{3041}'..='\u{312f}' | '\u{31a0}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{1b000}'..='\u{1b16f}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether a query finds a text.
    fn finds(text: &str, asked: &str) -> bool {
        let (index, query) = (index_words(text), query(asked));
        let indexed: Vec<&str> = index.split(' ').collect();
        !query.words.is_empty() && query.words.iter().all(|word| indexed.contains(&word.as_str()))
    }

    #[test]
    fn d07_words_are_found_however_they_are_written() {
        for (text, query) in [
            ("Straße", "STRASSE"),
            ("STRASSE", "straße"),
            ("STRAẞE", "strasse"),
            ("Œuvre", "oeuvre"),
            ("ŁÓDŹ", "lodz"),
            ("Søren", "SOREN"),
            ("Đorđe", "dorde"),
            ("Þór", "thor"),
            ("ΟΔΟΣ", "οδος"),
            ("ÉTÉ Ångström", "angstrom ete"),
            ("İstanbul", "istanbul"),
            ("co\u{ad}ope\u{ad}ra\u{ad}tion", "cooperation"),
            ("cooperation", "co\u{ad}operation"),
            ("zero\u{200b}width", "zerowidth"),
            ("می\u{200c}خواهم", "میخواهم"),
            ("שָׁלוֹם", "שלום"),
            ("مُحَمَّد", "محمد"),
            ("नमस्ते दुनिया", "दुनिया"),
            ("我喜欢吃苹果", "苹果"),
            ("我喜欢吃苹果", "果"),
            ("東京都に住んでいます", "東京"),
            ("カタカナ", "ｶﾀｶﾅ"),
            ("がぎぐ", "か\u{3099}"),
            ("ฉันรักประเทศไทย", "ประเทศ"),
            ("ខ្ញុំស្រឡាញ់កម្ពុជា", "កម្ពុជា"),
            ("iPhone手机 15", "iphone"),
            ("iPhone手机 15", "手机"),
            ("Ｆｕｌｌ", "full"),
            ("it's well-known", "known its".split(' ').next().unwrap_or_default()),
        ] {
            assert!(finds(text, query), "{query:?} finds {text:?}: {} / {:?}", index_words(text), super::query(query));
        }
        for (text, query) in [
            ("दिन", "दीन"),
            ("कि", "कु"),
            ("がく", "かく"),
            ("苹果", "果苹"),
            ("ไม่", "ไม้"),
            ("plum", "plu"),
            ("a", "--"),
        ] {
            assert!(!finds(text, query), "{query:?} does not find {text:?}: {}", index_words(text));
        }
        assert_eq!(super::query("我喜欢吃苹果 and tea").written, 3);
        assert_eq!(index_words("Hello, World-2"), "hello world 2");
    }

    proptest! {
        #[test]
        fn d07_a_text_is_found_by_each_of_its_words(text in "\\PC{0,60}") {
            for word in text.split_whitespace() {
                if !query(word).words.is_empty() {
                    prop_assert!(finds(&text, word), "{} in {}", word, text);
                }
            }
            let words = index_words(&text);
            // The index takes words apart at spaces and at signs of ASCII alone.
            let plain = |char: char| !char.is_ascii() || char.is_ascii_digit() || char.is_ascii_lowercase() || char == ' ';
            prop_assert!(words.chars().all(plain), "{:?}", words);
            prop_assert!(words.split(' ').all(|word| word.len() <= 2 * WORD_MAX));
        }
    }
}
