//! The users among whom somebody may find one to like, narrowed as far as columns can tell. What is decided is decided
//! by the ranking engine.

use sqlx::FromRow;

use super::accounts::Wanted;
use super::visible::{no_block, pair_of};
use super::{Conn, json_list, on};
use crate::error::Result;
use crate::model::{Gender, Micros, UserId};

/// A user as the filters look at them.
#[derive(Debug, Clone, FromRow)]
pub struct PersonRow {
    /// Who.
    pub id: UserId,
    /// `YYYY-MM-DD`.
    pub birth_date: Option<String>,
    /// As told.
    pub gender: Option<Gender>,
    /// Whom they look for.
    #[sqlx(flatten)]
    pub wanted: Wanted,
    /// Row of the grid.
    pub cell_lat: Option<i64>,
    /// Place in the row.
    pub cell_lon: Option<i64>,
    /// When they were last seen.
    pub last_active_at: Micros,
}

/// One user.
pub async fn person(conn: &mut Conn, user: UserId) -> Result<PersonRow> {
    const SQL: &str = "SELECT id, birth_date, gender, seeks, age_min, age_max, distance_km, cell_lat, cell_lon, \
        last_active_at FROM users WHERE id = $1";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(user).fetch_one(c))?)
}

/// What columns can tell of whom a reader looks for.
#[derive(Debug, Clone)]
pub struct Narrowed<'a> {
    /// The reader.
    pub reader: &'a PersonRow,
    /// The reader's age in years, where it is known.
    pub age: Option<i64>,
    /// Whether users without a birth date are left out.
    pub age_required: bool,
    /// Nobody born before is looked for.
    pub born_from: String,
    /// Nobody born after is looked for.
    pub born_to: String,
    /// The cells within reach, as rows with their first and last place; none when places do not matter.
    pub spans: Option<Vec<(i64, i64, i64)>>,
}

/// Users between whom and reader `$1` nothing stands yet, and whose ages and genders fit both ways.
macro_rules! candidates {
    ($from:literal, $where:literal) => {
        concat!(
            "SELECT u.id, u.birth_date, u.gender, u.seeks, u.age_min, u.age_max, u.distance_km, ",
            "u.cell_lat, u.cell_lon, u.last_active_at ",
            $from,
            " ",
            pair_of!("p", "$1", "u.id"),
            " WHERE u.id <> $1 AND u.deleted_at IS NULL AND u.disabled_at IS NULL AND ",
            no_block!("p"),
            " AND p.matched_at IS NULL ",
            "AND CASE WHEN p.low = $1 THEN p.low_liked_at ELSE p.high_liked_at END IS NULL ",
            "AND CASE WHEN p.low = $1 THEN p.low_passed_at ELSE p.high_passed_at END IS NULL ",
            "AND coalesce($2 BETWEEN u.age_min AND u.age_max, TRUE) ",
            "AND (u.birth_date BETWEEN $3 AND $4 OR (u.birth_date IS NULL AND $9 = 0)) ",
            "AND ($5 IS NULL OR ',' || u.seeks || ',' LIKE '%,' || $5 || ',%') ",
            "AND (u.gender IS NULL OR ',' || $6 || ',' LIKE '%,' || u.gender || ',%') ",
            $where
        )
    };
}

/// How many users are looked at for each that is kept.
const LOOKED_AT: i64 = 10;

/// Of those who were active last, the ones who may fit: at most `limit` near the reader and as many whose place is not
/// known. Looks at [`LOOKED_AT`] times as many, so whoever looks for something rare may be shown fewer. Of those near
/// the reader the nearest rows of the grid are looked at first.
pub async fn candidates(conn: &mut Conn, narrowed: &Narrowed<'_>, limit: usize) -> Result<Vec<PersonRow>> {
    const ANYWHERE: &str = candidates!(
        "FROM (SELECT x.* FROM users x ORDER BY x.last_active_at DESC LIMIT $8) u",
        "ORDER BY u.last_active_at DESC LIMIT $7"
    );
    const NOWHERE: &str = candidates!(
        "FROM (SELECT x.* FROM users x WHERE x.cell_lat IS NULL AND x.cell_lon IS NULL \
            ORDER BY x.last_active_at DESC LIMIT $8) u",
        "ORDER BY u.last_active_at DESC LIMIT $7"
    );
    const NEAR: [&str; 2] = [
        candidates!(
            "FROM (SELECT x.* FROM json_each($10) j CROSS JOIN users x ON x.cell_lat = j.value ->> 0 \
                AND x.cell_lon BETWEEN j.value ->> 1 AND j.value ->> 2 LIMIT $8) u",
            "ORDER BY u.last_active_at DESC LIMIT $7"
        ),
        candidates!(
            "FROM (SELECT x.* FROM json_array_elements($10::JSON) AS j (value) CROSS JOIN LATERAL \
                (SELECT * FROM users y WHERE y.cell_lat = (j.value ->> 0)::BIGINT \
                    AND y.cell_lon BETWEEN (j.value ->> 1)::BIGINT AND (j.value ->> 2)::BIGINT OFFSET 0) x LIMIT $8) u",
            "ORDER BY u.last_active_at DESC LIMIT $7"
        ),
    ];
    let reader = narrowed.reader;
    macro_rules! ask {
        ($sql:expr) => {
            sqlx::query_as($sql)
                .bind(reader.id)
                .bind(narrowed.age)
                .bind(&narrowed.born_from)
                .bind(&narrowed.born_to)
                .bind(reader.gender)
                .bind(&reader.wanted.seeks)
                .bind(limit as i64)
                .bind(limit as i64 * LOOKED_AT)
                .bind(i64::from(narrowed.age_required))
        };
    }
    let Some(spans) = &narrowed.spans else {
        return Ok(on!(conn, c => ask!(ANYWHERE).fetch_all(c))?);
    };
    let mut spans = spans.clone();
    spans.sort_by_key(|(row, _, _)| row.abs_diff(reader.cell_lat.unwrap_or_default()));
    let (near, spans) = (conn.sql(NEAR), json_list(&spans));
    let mut found: Vec<PersonRow> = on!(conn, c => ask!(near).bind(&spans).fetch_all(c))?;
    let nowhere: Vec<PersonRow> = on!(conn, c => ask!(NOWHERE).fetch_all(c))?;
    found.extend(nowhere);
    Ok(found)
}
