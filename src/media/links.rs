//! URLs of files: each for one reader, for a while, and signed, so that nobody makes one up. Whether the reader may
//! still see the file is asked at each request.

use jsonwebtoken::{Algorithm, EncodingKey};
use subtle::ConstantTimeEq;

use super::Size;
use crate::error::{Error, Result};
use crate::model::{Micros, UserId};

/// Microseconds in a second.
const SECOND: Micros = 1_000_000;
/// In how many steps of its life the end of a URL moves on, so that a file keeps its URL for a while.
const STEPS: i64 = 4;

/// What signs URLs.
pub struct Links {
    key: EncodingKey,
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
    /// With a key of their own.
    pub fn new(key: &str, life_s: i64) -> Links {
        Links { key: EncodingKey::from_secret(key.as_bytes()), life_s: life_s.max(1) }
    }

    /// When a URL that is made now ends, in seconds since 1970.
    pub fn until(&self, now: Micros) -> i64 {
        let step = (self.life_s / STEPS).max(1);
        (now / SECOND + self.life_s) / step * step
    }

    /// Path and query of a URL.
    pub fn path(&self, link: &Link<'_>) -> Result<String> {
        let Link { name, size, reader, until } = link;
        let signature = self.signature(link)?;
        Ok(format!("/media/{name}/{}?for={reader}&until={until}&sig={signature}", size.name()))
    }

    /// Whether a URL is one of ours, and good now.
    pub fn judge(&self, link: &Link<'_>, signature: &str, now: Micros) -> bool {
        let wanted = self.signature(link).unwrap_or_default();
        let same: bool = wanted.as_bytes().ct_eq(signature.as_bytes()).into();
        same && !wanted.is_empty() && link.until > now / SECOND
    }

    fn signature(&self, link: &Link<'_>) -> Result<String> {
        let Link { name, size, reader, until } = link;
        let said = format!("{name}/{} for {reader} until {until}", size.name());
        jsonwebtoken::crypto::sign(said.as_bytes(), &self.key, Algorithm::HS256).map_err(Error::internal)
    }
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

    fn signature(path: &str) -> &str {
        path.rsplit_once("sig=").expect("signed").1
    }

    #[test]
    fn s45_nothing_of_a_url_can_be_changed() {
        let links = Links::new("a key", 3600);
        let path = links.path(&LINK).expect("a path");
        let signature = signature(&path);
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
        assert!(!Links::new("another key", 3600).judge(&LINK, signature, now));
        assert!(!links.judge(&LINK, signature, 2000 * SECOND), "its time is over");
    }

    #[test]
    fn a_url_stays_the_same_for_a_while_and_never_lives_longer_than_it_may() {
        let links = Links::new("a key", 3600);
        assert_eq!(links.until(900 * SECOND), links.until(1799 * SECOND));
        for now in [0, 1, 899, 900, 12_345] {
            let life = links.until(now * SECOND) - now;
            assert!((2700..=3600).contains(&life), "{life}");
        }
    }
}
