//! What headers and queries say of files: names, ranges, tags.

use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use warp::http::header::{HeaderMap, IF_NONE_MATCH, IF_RANGE, RANGE};

use crate::media::types;
use crate::model::Attachment;

/// What is escaped in a name: all but letters, digits and three signs that stand for themselves everywhere.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The last value of a name in a query.
pub(super) fn asked_in(query: &str, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.filter(|(given, _)| given == name).last().map(|(_, value)| value.into_owned())
}

/// What a client is to do with a file, and what to call it: pictures, sound and video are shown, all else is saved.
pub(super) fn disposition(file: &Attachment, content_type: &str) -> String {
    let way = if types::is_shown(content_type) { "inline" } else { "attachment" };
    let name = types::file_name(file.name.as_deref(), content_type);
    let plain: String = name
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() || " -_.()".contains(char) { char } else { '_' })
        .collect();
    let exact = utf8_percent_encode(&name, ESCAPED);
    format!("{way}; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

/// Whether a client has these bytes already.
pub(super) fn names_tag(headers: &HeaderMap, tag: &str) -> bool {
    let told = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = told.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|told| told == "*" || told.strip_prefix("W/").unwrap_or(told) == tag)
}

/// One range of bytes as a client asks for it: from and to, where it says so.
pub(super) type Wish = (Option<u64>, Option<u64>);

/// The range that is asked for, if one is; several, or one of other bytes, are as none.
pub(super) fn range(headers: &HeaderMap, tag: &str) -> Option<Wish> {
    if headers.get(IF_RANGE).is_some_and(|value| value.as_bytes() != tag.as_bytes()) {
        return None;
    }
    let told = headers.get(RANGE)?.to_str().ok()?.trim().strip_prefix("bytes=")?;
    let (from, to) = told.split_once('-').filter(|_| !told.contains(','))?;
    let number = |text: &str| match text.trim() {
        "" => Some(None),
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(text.parse().unwrap_or(u64::MAX))),
        _ => None,
    };
    match (number(from)?, number(to)?) {
        (None, None) => None,
        (Some(from), Some(to)) if to < from => None,
        wish => Some(wish),
    }
}

/// What there is of a range.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// These bytes.
    Part(Range<u64>),
    /// None.
    Nothing,
}

/// What a file of this length has of a range.
pub(super) fn asked((from, to): Wish, length: u64) -> Asked {
    let range = match (from, to) {
        (Some(from), to) => from..to.map_or(length, |to| to.saturating_add(1).min(length)),
        (None, last) => length.saturating_sub(last.unwrap_or_default())..length,
    };
    if range.start < range.end { Asked::Part(range) } else { Asked::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FileKind;

    fn told(name: warp::http::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().expect("a header"))])
    }

    #[test]
    fn s45_ranges_are_taken_as_the_standard_has_them() {
        for (said, found) in [
            ("bytes=0-0", Some(Asked::Part(0..1))),
            ("bytes=2-5", Some(Asked::Part(2..6))),
            ("bytes=7-", Some(Asked::Part(7..10))),
            ("bytes=-3", Some(Asked::Part(7..10))),
            ("bytes=-30", Some(Asked::Part(0..10))),
            ("bytes=5-99999999999999999999999", Some(Asked::Part(5..10))),
            ("bytes=10-", Some(Asked::Nothing)),
            ("bytes=-0", Some(Asked::Nothing)),
            ("bytes=5-2", None),
            ("bytes=-", None),
            ("bytes=0-1,3-4", None),
            ("bytes=a-b", None),
            ("bytes=+1-2", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(range(&told(RANGE, said), "\"t\"").map(|wish| asked(wish, 10)), found, "{said}");
        }
        let mut headers = told(RANGE, "bytes=0-1");
        headers.insert(IF_RANGE, "\"other\"".parse().expect("a header"));
        assert_eq!(range(&headers, "\"t\""), None);
    }

    #[test]
    fn s45_a_name_leaves_its_header_never() {
        let mut file = Attachment {
            id: String::new(),
            kind: FileKind::File,
            content_type: String::new(),
            name: Some("a\"; b=\u{e9}.html".to_owned()),
            size: 0,
            width: None,
            height: None,
            duration_ms: None,
            placeholder: None,
        };
        let told = disposition(&file, "application/octet-stream");
        assert_eq!(told, "attachment; filename=\"a__ b__.html\"; filename*=UTF-8''a%22%3B%20b%3D%C3%A9.html");
        file.kind = FileKind::Image;
        assert!(disposition(&file, "image/jpeg").ends_with(".jpg"), "what it is decides over what it is called");
        (file.kind, file.name) = (FileKind::Voice, None);
        assert!(disposition(&file, "audio/ogg").starts_with("inline; filename=\"audio.ogg\""));
    }
}
