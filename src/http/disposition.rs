//! The `Content-Disposition` header (RFC 6266 and 7578): what a client calls a file, or a part of a form.

use percent_encoding::percent_decode_str;
use warp::http::HeaderMap;
use warp::http::header::CONTENT_DISPOSITION;

/// The parameters of a `Content-Disposition`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    /// What the part of a form is called.
    pub(super) name: Option<String>,
    /// What the file is called; the extended one before the plain one.
    pub(super) file_name: Option<String>,
}

/// Reads the header; whatever it lacks is none.
pub(super) fn of(headers: &HeaderMap) -> Disposition {
    let Some(header) = headers.get(CONTENT_DISPOSITION) else { return Disposition::default() };
    let header = String::from_utf8_lossy(header.as_bytes());
    let parameters = parameters(&header);
    let value = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let extended = value("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_, name) = rest.split_once('\'')?;
        (charset.eq_ignore_ascii_case("utf-8") && !name.is_empty()).then(|| decoded(name))
    });
    Disposition { name: value("name"), file_name: extended.or_else(|| value("filename")) }
}

/// Names in lower case, and values without their quotes, in their order.
fn parameters(header: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let Some(end) = rest.find(['=', ';']) else { return found };
        let (name, after) = rest.split_at(end);
        // The type itself, or a word alone.
        let Some(value) = after.strip_prefix('=') else {
            rest = after;
            continue;
        };
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim_end().to_owned(), &value[end..])
            }
        };
        found.push((name.trim().to_ascii_lowercase(), value));
        rest = after.find(';').map_or("", |end| &after[end..]);
    }
}

/// A text up to its closing quote, and what follows. Only a quote and a backslash are escaped: some clients write the
/// backslashes of a path as they are.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((place, char)) = chars.next() {
        match char {
            '"' => return (value, &text[place + 1..]),
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            char => value.push(char),
        }
    }
    (value, "")
}

/// A part of a path, or of a header, without its percent signs.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(header: &str) -> Disposition {
        of(&HeaderMap::from_iter([(CONTENT_DISPOSITION, header.parse().expect("a header"))]))
    }

    #[test]
    fn d13_names_come_from_the_header_in_all_ways() {
        for (header, name) in [
            ("attachment; filename=\"a.txt\"", Some("a.txt")),
            ("attachment; filename=a.txt", Some("a.txt")),
            ("attachment; filename=a b.txt ; x=y", Some("a b.txt")),
            ("attachment; filename=\"a.txt\"; filename*=UTF-8''cr%C3%A8me%20+%201.txt", Some("cr\u{e8}me + 1.txt")),
            ("attachment; filename*=ISO-8859-1''x; filename=a.txt", Some("a.txt")),
            ("attachment; filename*=broken; filename=a.txt", Some("a.txt")),
            ("attachment; filename=\"a;b=c.txt\"; filename=second.txt", Some("a;b=c.txt")),
            ("attachment; filename=\"\"", Some("")),
            ("attachment", None),
            ("attachment; filename", None),
            ("", None),
            (";;==;=\"", None),
        ] {
            assert_eq!(told(header).file_name.as_deref(), name, "{header}");
        }
        let part = told("form-data; filename=\"a; name=evil\"; name=\"file\"");
        assert_eq!((part.name.as_deref(), part.file_name.as_deref()), (Some("file"), Some("a; name=evil")));
    }

    proptest! {
        #[test]
        fn d13_whatever_is_quoted_comes_out_again(name in "[ -~\u{e9}\u{20ac}]{0,30}", field in "[a-z]{1,9}") {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("form-data; filename=\"{quoted}\"; name={field}");
            let value = warp::http::HeaderValue::from_bytes(header.as_bytes()).expect("a header");
            let told = of(&HeaderMap::from_iter([(CONTENT_DISPOSITION, value)]));
            prop_assert_eq!((told.name, told.file_name), (Some(field), Some(name)));
        }

        #[test]
        fn d13_any_header_ends_well(header in "[ -~]{0,60}") {
            told(&header);
        }
    }
}
