//! The key of the Django service that users came from, kept for as long as its tokens are taken.

use super::{Conn, Purpose, Store, on, run};
use crate::error::{Error, Result};
use crate::model::Micros;

const KEY: &str = "old_key";
const UNTIL: &str = "old_key_until";

/// Keeps a key until a time, in place of what was kept.
pub async fn keep(tx: &mut Conn, key: &str, until: Micros) -> Result<()> {
    const SQL: &str = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2";
    for (name, value) in [(KEY, key), (UNTIL, until.to_string().as_str())] {
        run!(tx, sqlx::query(SQL).bind(name).bind(value))?;
    }
    Ok(())
}

impl Store {
    /// The key and its time; none where there is none, or where its time is over, and then it is removed.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub async fn old_key(&self, now: Micros) -> std::result::Result<Option<(String, Micros)>, String> {
        self.kept_or_over(now).await.map_err(|cause| format!("cannot read the key of the Django service: {cause}"))
    }

    async fn kept_or_over(&self, now: Micros) -> Result<Option<(String, Micros)>> {
        const OVER: &str = "DELETE FROM meta WHERE key IN ($1, $2)";
        let mut tx = self.begin(Purpose::Server).await?;
        let (key, until) = (value(&mut tx, KEY).await?, value(&mut tx, UNTIL).await?);
        let Some((key, until)) = key.zip(until) else { return Ok(None) };
        let until: Micros = until.parse().map_err(Error::internal)?;
        if until > now {
            return Ok(Some((key, until)));
        }
        run!(&mut *tx, sqlx::query(OVER).bind(KEY).bind(UNTIL))?;
        tx.commit(|| ()).await?;
        Ok(None)
    }
}

async fn value(conn: &mut Conn, key: &str) -> Result<Option<String>> {
    const SQL: &str = "SELECT value FROM meta WHERE key = $1";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(key).fetch_optional(c))?)
}
