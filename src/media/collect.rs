//! What nobody refers to goes, as far as bytes are concerned: those of files that are over, those that no file has, and
//! what was begun and never ended.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::{Shelf, Spool};
use crate::error::Result;
use crate::model::Micros;

/// Names that are looked at together.
const TOGETHER: usize = 500;

/// The names of all bytes that are older than a time, a few hundred after the other.
pub struct Old {
    names: BoxStream<'static, Result<(String, Micros)>>,
    before: Micros,
}

impl Old {
    /// Of all that is on a shelf.
    pub fn on(shelf: &Shelf, before: Micros) -> Old {
        Old { names: shelf.names(), before }
    }

    /// The next names; none at the end.
    pub async fn next(&mut self) -> Result<Vec<String>> {
        let mut found: Vec<String> = Vec::new();
        while found.len() < TOGETHER
            && let Some(next) = self.names.next().await
        {
            let (name, at) = next?;
            if at < self.before && found.last() != Some(&name) {
                found.push(name);
            }
        }
        Ok(found)
    }
}

/// Removes what uploads left behind that ended with their process.
pub async fn leftovers(shelf: &Shelf, spool: &Spool, age: Duration) {
    for swept in [spool.sweep(age).await, shelf.sweep(age).await] {
        if let Err(error) = swept {
            tracing::warn!(%error, "cannot look for what broken uploads left behind");
        }
    }
}

impl std::fmt::Debug for Old {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Old").field("before", &self.before).finish_non_exhaustive()
    }
}
