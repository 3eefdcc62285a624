//! URLs of files: each for one reader, for a while, and signed, so that nobody makes one up. Whether the reader may
//! still see the file is asked at each request.

use data_encoding::BASE64URL_NOPAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use subtle::ConstantTimeEq;

use super::Size;
use crate::error::{Error, Result};
use crate::model::{Micros, UserId};

/// Microseconds in a second.
const SECOND: Micros = 1_000_000;
/// In how many steps of its life the end of a URL moves on, so that a file keeps its URL for a while.
const STEPS: i64 = 4;

/// What is escaped in a segment of a path (RFC 3986): all but the unreserved characters.
const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What signs URLs.
pub struct Links {
    /// The first signs. A URL may be of any: of the one before, or of one that other nodes have already.
    keys: Vec<hmac::Key>,
    life_s: i64,
}

/// What a URL says.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The file.
    pub name: &'a str,
    /// In which size.
    pub size: Size,
    /// For whom.
    pub reader: UserId,
    /// Until when, in seconds since 1970.
    pub until: i64,
}

impl Links {
    /// With keys of their own.
    pub fn new(keys: &[String], life_s: i64) -> Links {
        let keys = keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()));
        Links { keys: keys.collect(), life_s: life_s.max(1) }
    }

    /// When a URL that is made now ends, in seconds since 1970.
    pub fn until(&self, now: Micros) -> i64 {
        let step = (self.life_s / STEPS).max(1);
        (now / SECOND + self.life_s) / step * step
    }

    /// Path and query of a URL that ends with what the file is called, for clients that take its name from there. The
    /// name is not signed: it changes nothing.
    pub fn path(&self, link: &Link<'_>, called: &str) -> Result<String> {
        let Link { name, size, reader, until } = link;
        let called = utf8_percent_encode(called, PATH_SEGMENT);
        let key = self.keys.first().ok_or_else(|| Error::internal("there is no key for URLs"))?;
        let signature = signature(link, key);
        Ok(format!("/media/{name}/{}/{called}?for={reader}&until={until}&sig={signature}", size.name()))
    }

    /// Whether a URL is one of ours, and good now.
    pub fn judge(&self, link: &Link<'_>, signed: &str, now: Micros) -> bool {
        let is_by = |key: &hmac::Key| bool::from(signature(link, key).as_bytes().ct_eq(signed.as_bytes()));
        self.keys.iter().any(is_by) && link.until > now / SECOND
    }
}

fn signature(link: &Link<'_>, key: &hmac::Key) -> String {
    let Link { name, size, reader, until } = link;
    let said = format!("{name}/{} for {reader} until {until}", size.name());
    BASE64URL_NOPAD.encode(hmac::sign(key, said.as_bytes()).as_ref())
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("life_s", &self.life_s).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link<'_> = Link { name: "AAAAAAAAAAAAAAAAAAAAAA", size: Size::Small, reader: UserId(7), until: 2000 };

    fn with(keys: &[&str]) -> Links {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        Links::new(&keys, 3600)
    }

    #[test]
    fn s45_nothing_of_a_url_can_be_changed() {
        let links = with(&["a key"]);
        let path = links.path(&LINK, "me & you.jpg").expect("a path");
        assert!(path.contains("/small/me%20%26%20you.jpg?"), "{path}");
        let signature = path.rsplit_once("sig=").expect("signed").1;
        let now = 1000 * SECOND;
        assert!(links.judge(&LINK, signature, now));
        for other in [
            Link { name: "BAAAAAAAAAAAAAAAAAAAAA", ..LINK },
            Link { size: Size::Whole, ..LINK },
            Link { reader: UserId(8), ..LINK },
            Link { until: 2001, ..LINK },
        ] {
            assert!(!links.judge(&other, signature, now), "{other:?}");
        }
        assert!(!links.judge(&LINK, "", now) && !links.judge(&LINK, &signature[1..], now));
        assert!(!with(&["another key"]).judge(&LINK, signature, now) && !with(&[]).judge(&LINK, signature, now));
        assert!(with(&["another key", "a key"]).judge(&LINK, signature, now), "the key before");
        assert!(!links.judge(&LINK, signature, 2000 * SECOND), "its time is over");
    }

    #[test]
    fn a_url_stays_the_same_for_a_while_and_never_lives_longer_than_it_may() {
        let links = with(&["a key"]);
        assert_eq!(links.until(900 * SECOND), links.until(1799 * SECOND));
        for now in [0, 1, 899, 900, 12_345] {
            let life = links.until(now * SECOND) - now;
            assert!((2700..=3600).contains(&life), "{life}");
        }
    }
}
