//! What is said to people, in their language: sentences by name, English and French side by side in
//! `catalogue/en.ftl` and `catalogue/fr.ftl`.
//!
//! Where something goes wrong, a [`Sentence`] is named; which language it is told in is decided where it is written out.

use std::collections::HashMap;
use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

const ENGLISH: &str = include_str!("catalogue/en.ftl");
const FRENCH: &str = include_str!("catalogue/fr.ftl");

/// A language that duet speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// English.
    English,
    /// French.
    French,
}

impl Language {
    /// The language that a client likes best among those spoken here, by its `Accept-Language` (RFC 9110, 12.5.4); none
    /// if it names none of them.
    pub fn accepted(header: &str) -> Option<Language> {
        let wish = |range: &str| {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
            let language = Language::of_tag(tag.trim())?;
            (weight > 0.0).then_some((language, weight))
        };
        let mut best: Option<(Language, f32)> = None;
        for (language, weight) in header.split(',').filter_map(wish) {
            // Of equal wishes the first one counts.
            if best.is_none_or(|(_, least)| weight > least) {
                best = Some((language, weight));
            }
        }
        best.map(|(language, _)| language)
    }

    /// The language of a tag such as `fr` or `en-GB`.
    pub fn of_tag(tag: &str) -> Option<Language> {
        match tag.split('-').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "en" => Some(Language::English),
            "fr" => Some(Language::French),
            _ => None,
        }
    }
}

/// A sentence of the catalogue with what stands in its gaps, in no language yet. Made by [`sentence!`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    name: &'static str,
    values: Vec<(&'static str, Value)>,
}

/// What stands in a gap of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A count; sentences may differ by it.
    Number(i64),
    /// Words, such as the name of a field.
    Words(String),
}

/// Names a sentence of the catalogue: `sentence!("at-least", min = 1)`.
#[macro_export]
macro_rules! sentence {
    ($name:literal $(, $gap:ident = $value:expr)* $(,)?) => {
        $crate::catalogue::Sentence::new($name, vec![$((stringify!($gap), $crate::catalogue::Value::from($value))),*])
    };
}

impl Sentence {
    /// The sentence of this name. `tests/tidy.rs` knows them by [`sentence!`], so use that.
    pub fn new(name: &'static str, values: Vec<(&'static str, Value)>) -> Sentence {
        Sentence { name, values }
    }

    /// Its name in the catalogue.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The words in one of its gaps.
    pub fn words(&self, gap: &str) -> Option<&str> {
        self.values.iter().find_map(|(name, value)| match value {
            Value::Words(words) if *name == gap => Some(words.as_str()),
            _ => None,
        })
    }

    /// Written out.
    pub fn told_in(&self, language: Language) -> String {
        static BUNDLES: LazyLock<HashMap<Language, FluentBundle<FluentResource>>> = LazyLock::new(|| {
            let all = [(Language::English, "en", ENGLISH), (Language::French, "fr", FRENCH)];
            all.into_iter().map(|(language, tag, text)| (language, bundle(tag, text))).collect()
        });
        let told = BUNDLES.get(&language).and_then(|bundle| {
            let pattern = bundle.get_message(self.name)?.value()?;
            let args: FluentArgs<'_> = self.values.iter().map(|(gap, value)| (*gap, value.fluent())).collect();
            Some(bundle.format_pattern(pattern, Some(&args), &mut Vec::new()).into_owned())
        });
        // The tests know that every sentence is there; if one were not, its name would be better than nothing.
        told.unwrap_or_else(|| self.name.to_owned())
    }
}

impl Value {
    fn fluent(&self) -> FluentValue<'_> {
        match self {
            Value::Number(number) => FluentValue::from(*number),
            Value::Words(words) => FluentValue::from(words.as_str()),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<String> for Value {
    fn from(words: String) -> Value {
        Value::Words(words)
    }
}

impl From<&str> for Value {
    fn from(words: &str) -> Value {
        Value::Words(words.to_owned())
    }
}

fn bundle(tag: &str, text: &str) -> FluentBundle<FluentResource> {
    // A mistake in a file spoils its own sentence only, and the tests find it.
    let resource = FluentResource::try_new(text.to_owned()).unwrap_or_else(|(resource, _)| resource);
    let mut bundle = FluentBundle::new_concurrent(vec![tag.parse().unwrap_or_default()]);
    // No invisible marks round what stands in a gap: clients compare these texts.
    bundle.set_use_isolating(false);
    bundle.add_resource_overriding(resource);
    bundle
}

#[cfg(test)]
mod tests {
    use super::*;
    use Language::{English, French};

    #[test]
    fn both_files_are_sound() {
        for text in [ENGLISH, FRENCH] {
            let faults = FluentResource::try_new(text.to_owned()).err().map(|(_, faults)| faults);
            assert_eq!(faults, None);
        }
    }

    #[test]
    fn the_client_gets_the_language_it_likes_best() {
        for (header, language) in [
            ("fr", Some(French)),
            ("en-US,en;q=0.9", Some(English)),
            ("de, fr;q=0.5, en;q=0.7", Some(English)),
            ("en;q=0, fr;q=0.1", Some(French)),
            ("FR-ch , en", Some(French)),
            ("de", None),
            ("", None),
            ("en;q=x", None),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
    }

    #[test]
    fn gaps_are_filled_as_each_language_does() {
        let long = sentence!("at-most", max = 150_usize, unit = "characters");
        assert_eq!(long.told_in(English), "Ensure this field has no more than 150 characters.");
        assert_eq!(long.told_in(French), "Assurez-vous que ce champ comporte au plus 150\u{a0}caractères.");
        let wait = |seconds: i64| sentence!("throttled", seconds = seconds).told_in(French);
        assert_eq!(wait(1), "Requête ralentie. Disponible à nouveau dans 1 seconde.");
        assert_eq!(wait(60), "Requête ralentie. Disponible à nouveau dans 60 secondes.");
    }
}
