//! Every table and every column, and what the end of an account does with it. Erasing and copying go by this list, and a
//! test compares it with the schema of both databases: a column that nobody thought of fails there.

/// What the end of an account does with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays: an id, a number, a time, or what belongs to others.
    Kept,
    /// It gets the value of this SQL expression, in which `$1` is the user.
    Emptied(&'static str),
    /// It goes with its row.
    Deleted,
}

/// Which rows of a table belong to a user, and how they are erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// None.
    Nobodys,
    /// Those with the user in column `owner` are deleted. They are found by `key`, a unique key that begins with it.
    Deleted {
        /// Whose they are.
        owner: &'static str,
        /// The columns of the key.
        key: &'static str,
    },
    /// Those with the user in this column are emptied, by their `id`.
    Emptied(&'static str),
    /// `store::ending` has statements of its own for them.
    ByHand,
}

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Whether `duet copy-store` copies its rows.
    pub copied: bool,
    /// Whose rows they are.
    pub rows: Rows,
    /// All its columns.
    pub columns: &'static [(&'static str, Fate)],
}

use Fate::{Deleted, Emptied, Kept};

const NULL: Fate = Emptied("NULL");
const BLANK: Fate = Emptied("''");

/// All tables, each after those that it refers to.
pub const TABLES: &[Table] = &[
    Table { name: "meta", copied: true, rows: Rows::Nobodys, columns: &[("key", Kept), ("value", Kept)] },
    Table {
        name: "users",
        copied: true,
        rows: Rows::ByHand,
        columns: &[
            ("id", Kept),
            ("username", BLANK),
            ("username_key", NULL),
            ("password_hash", Emptied("'!'")),
            ("email", BLANK),
            ("first_name", BLANK),
            ("last_name", BLANK),
            ("bio", BLANK),
            ("birth_date", NULL),
            ("gender", NULL),
            ("location", BLANK),
            ("cell_lat", NULL),
            ("cell_lon", NULL),
            ("age_min", Emptied("18")),
            ("age_max", Emptied("99")),
            ("distance_km", Emptied("50")),
            ("seeks", BLANK),
            ("status", Emptied("'invisible'")),
            ("last_active_at", Kept),
            ("created_at", Kept),
            ("disabled_at", Kept),
            ("deleted_at", Emptied("$2")),
            ("seq", Kept),
            ("notifications_read", Kept),
            ("phone", BLANK),
            ("here_until", Emptied("0")),
            // Tokens of the Django service make no new session from here on.
            ("foreign_ended_at", Emptied("$2")),
            ("lone_latitude", NULL),
            ("lone_longitude", NULL),
        ],
    },
    Table { name: "interests", copied: true, rows: Rows::ByHand, columns: &[("user_id", Deleted), ("name", Deleted)] },
    // Names that nobody else has go with the interests.
    Table { name: "interest_names", copied: true, rows: Rows::Nobodys, columns: &[("id", Kept), ("name", Kept)] },
    Table {
        name: "sessions",
        copied: true,
        // The rows stay, so that a token of theirs is answered as one of a user who is gone.
        rows: Rows::Emptied("user_id"),
        columns: &[
            ("id", Kept),
            ("user_id", Kept),
            ("label", BLANK),
            ("created_at", Kept),
            ("last_used_at", Kept),
            ("expires_at", Kept),
            ("ended_at", Kept),
            ("refresh_hash", BLANK),
            ("previous_hash", NULL),
            ("rotated_at", Kept),
            ("rotated_by", NULL),
            ("foreign_jti", NULL),
            ("origin", NULL),
            ("refresh_used_at", Kept),
        ],
    },
    Table {
        name: "personal",
        copied: true,
        rows: Rows::Deleted { owner: "user_id", key: "user_id, seq" },
        columns: &[("user_id", Deleted), ("seq", Deleted), ("kind", Deleted), ("subject", Deleted), ("at", Deleted)],
    },
    Table {
        name: "pairs",
        copied: true,
        rows: Rows::ByHand,
        columns: &[
            ("id", Kept),
            ("low", Kept),
            ("high", Kept),
            ("low_liked_at", Emptied("CASE WHEN low = $1 THEN NULL ELSE low_liked_at END")),
            ("high_liked_at", Emptied("CASE WHEN high = $1 THEN NULL ELSE high_liked_at END")),
            ("low_passed_at", Emptied("CASE WHEN low = $1 THEN NULL ELSE low_passed_at END")),
            ("high_passed_at", Emptied("CASE WHEN high = $1 THEN NULL ELSE high_passed_at END")),
            ("low_blocked_at", Emptied("CASE WHEN low = $1 THEN NULL ELSE low_blocked_at END")),
            ("high_blocked_at", Emptied("CASE WHEN high = $1 THEN NULL ELSE high_blocked_at END")),
            ("matched_at", Kept),
            ("match_ended_at", Emptied("CASE WHEN matched_at IS NULL THEN NULL ELSE COALESCE(match_ended_at, $2) END")),
            ("low_told_at", NULL),
            ("high_told_at", NULL),
        ],
    },
    Table {
        name: "conversations",
        copied: true,
        rows: Rows::Emptied("created_by"),
        columns: &[
            ("id", Kept),
            ("kind", Kept),
            // Of a group, which stays to its members.
            ("title", Kept),
            ("low", Kept),
            ("high", Kept),
            ("created_by", Kept),
            ("client_key", NULL),
            ("seq", Kept),
            ("member_count", Kept),
            ("created_at", Kept),
            ("updated_at", Kept),
        ],
    },
    Table {
        name: "members",
        copied: true,
        // A group is left; a direct conversation keeps both, for the other one.
        rows: Rows::ByHand,
        columns: &[
            ("conversation_id", Kept),
            ("user_id", Kept),
            ("role", Kept),
            ("joined_seq", Kept),
            ("delivered", Kept),
            ("read", Kept),
            ("muted_until", Emptied("0")),
            ("archived", Emptied("0")),
            ("hidden_seq", Emptied("-1")),
        ],
    },
    Table {
        name: "files",
        copied: true,
        // The collector removes the bytes, by the name, and then the row.
        rows: Rows::Emptied("owner_id"),
        columns: &[
            ("id", Kept),
            ("name", Kept),
            ("owner_id", Kept),
            ("client_key", NULL),
            ("state", Emptied("'gone'")),
            ("kind", Kept),
            ("content_type", BLANK),
            ("file_name", BLANK),
            ("bytes", Kept),
            ("size", Kept),
            ("hash", BLANK),
            ("width", Kept),
            ("height", Kept),
            ("duration_ms", Kept),
            ("placeholder", NULL),
            ("created_at", Kept),
            ("used_at", Kept),
        ],
    },
    Table {
        name: "pictures",
        copied: true,
        rows: Rows::Deleted { owner: "user_id", key: "user_id, place" },
        columns: &[("user_id", Deleted), ("place", Deleted), ("file_id", Deleted)],
    },
    Table {
        name: "messages",
        copied: true,
        // Places stay, and so does what happened to a group.
        rows: Rows::ByHand,
        columns: &[
            ("id", Kept),
            ("conversation_id", Kept),
            ("seq", Kept),
            ("rev", Kept),
            ("sender_id", Kept),
            ("kind", Kept),
            ("text", Emptied("CASE WHEN kind = 'text' THEN '' ELSE text END")),
            ("subject_id", Kept),
            ("reply_to", Kept),
            ("client_key", NULL),
            ("content_hash", NULL),
            ("sent_at", Kept),
            ("edited_at", Kept),
            ("deleted_at", Kept),
            ("file_id", NULL),
        ],
    },
    Table {
        name: "reactions",
        copied: true,
        rows: Rows::Deleted { owner: "user_id", key: "message_id, emoji, user_id" },
        columns: &[("message_id", Deleted), ("emoji", Deleted), ("user_id", Deleted)],
    },
    Table {
        name: "removals",
        copied: true,
        rows: Rows::Deleted { owner: "user_id", key: "user_id, conversation_id, seq" },
        columns: &[("user_id", Deleted), ("conversation_id", Deleted), ("seq", Deleted)],
    },
    Table {
        name: "reports",
        copied: true,
        // The operator's record of what was reported, by whom and of whom.
        rows: Rows::Nobodys,
        columns: &[
            ("id", Kept),
            ("reporter_id", Kept),
            ("subject_id", Kept),
            ("reason", Kept),
            ("text", Kept),
            ("evidence", Kept),
            ("created_at", Kept),
        ],
    },
    Table {
        name: "imported_files",
        copied: true,
        rows: Rows::ByHand,
        columns: &[("kind", Deleted), ("subject", Deleted), ("path", Deleted)],
    },
    Table {
        name: "changes",
        copied: false,
        // Rows live for minutes and hold ids.
        rows: Rows::Nobodys,
        columns: &[("id", Kept), ("at", Kept), ("kind", Kept), ("subject", Kept), ("seq", Kept), ("xid", Kept)],
    },
    Table {
        name: "jobs",
        copied: true,
        rows: Rows::Nobodys,
        columns: &[
            ("id", Kept),
            ("kind", Kept),
            ("subject", Kept),
            ("progress", Kept),
            ("attempts", Kept),
            ("due_at", Kept),
            ("created_at", Kept),
        ],
    },
    Table {
        name: "message_search",
        // Made anew.
        copied: false,
        rows: Rows::ByHand,
        // On SQLite `folded` and `conversation`, on Postgres `rowid` and `words`.
        columns: &[("folded", Deleted), ("conversation", Deleted), ("rowid", Deleted), ("words", Deleted)],
    },
];

/// A table by its name.
pub fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

/// The assignments that empty a row of a table, for `UPDATE … SET`.
pub(super) fn emptied(name: &str) -> String {
    let columns = table(name).map_or(&[][..], |table| table.columns);
    let set = columns.iter().filter_map(|(column, fate)| match fate {
        Emptied(value) => Some(format!("{column} = {value}")),
        Kept | Deleted => None,
    });
    set.collect::<Vec<_>>().join(", ")
}
