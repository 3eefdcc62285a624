//! Who sees what: the SQL of every rule about blocks and visibility, each written once and used by name. History,
//! pages, unread counts, search, last messages, files, live events and lists judge by these fragments, so they agree.
//!
//! - In a group, a reader who blocks the author of a text sees the number of the message and nothing else. What
//!   happens to the group itself (titles, members, roles) the reader sees without the author.
//! - In a direct conversation, the messages of an author who blocks the reader look as those of a deleted account do.
//! - Messages from before the reader joined, and those that the reader deleted for themselves, are not the reader's.
//!
//! The fragments use fixed aliases: `m` the message, `me` the reader's row of `members`, `c` the conversation, `u` the
//! author's row of `users`, `p` the pair of reader and author, `r` the reader's removal of the message. The reader is
//! always `$1`.

/// Joins the row of `pairs` of two users as `$p`; all its columns are null where there is none.
macro_rules! pair_of {
    ($p:literal, $one:literal, $other:literal) => {
        concat!("LEFT JOIN pairs ", $p, " ON ", crate::store::visible::is_pair!($p, $one, $other))
    };
}

/// Whether a row of `pairs` is that of two users.
macro_rules! is_pair {
    ($p:literal, $one:literal, $other:literal) => {
        concat!(
            $p,
            ".low = CASE WHEN ",
            $one,
            " < ",
            $other,
            " THEN ",
            $one,
            " ELSE ",
            $other,
            " END AND ",
            $p,
            ".high = CASE WHEN ",
            $one,
            " < ",
            $other,
            " THEN ",
            $other,
            " ELSE ",
            $one,
            " END"
        )
    };
}

/// Whether `$one` of the pair `$p` blocks the other.
macro_rules! blocks {
    ($p:literal, $one:literal) => {
        concat!(
            "(CASE WHEN ",
            $p,
            ".low = ",
            $one,
            " THEN ",
            $p,
            ".low_blocked_at ELSE ",
            $p,
            ".high_blocked_at END IS NOT NULL)"
        )
    };
}

/// Whether `$one` of the pair `$p` is blocked by the other.
macro_rules! is_blocked {
    ($p:literal, $one:literal) => {
        concat!(
            "(CASE WHEN ",
            $p,
            ".low = ",
            $one,
            " THEN ",
            $p,
            ".high_blocked_at ELSE ",
            $p,
            ".low_blocked_at END IS NOT NULL)"
        )
    };
}

/// Whether neither of the pair `$p` blocks the other.
macro_rules! no_block {
    ($p:literal) => {
        concat!("(", $p, ".low_blocked_at IS NULL AND ", $p, ".high_blocked_at IS NULL)")
    };
}

/// Whether the reader is kept from what the user of the pair `p` says in the conversation `c`.
macro_rules! author_hidden {
    () => {
        concat!("(c.kind = 'group' AND ", crate::store::visible::blocks!("p", "$1"), ")")
    };
}

/// Whether the user `u` of the pair `p` looks to the reader like a deleted account in the conversation `c`.
macro_rules! author_gone {
    () => {
        concat!(
            "(u.deleted_at IS NOT NULL OR (c.kind = 'direct' AND ",
            crate::store::visible::is_blocked!("p", "$1"),
            "))"
        )
    };
}

/// Joins what decides how the reader sees the message `m`: `u`, `p` and `r`.
macro_rules! with_author {
    () => {
        concat!(
            "JOIN users u ON u.id = m.sender_id ",
            crate::store::visible::pair_of!("p", "$1", "m.sender_id"),
            " LEFT JOIN removals r ON r.user_id = $1 AND r.conversation_id = m.conversation_id AND r.seq = m.seq"
        )
    };
}

/// Whether the message `m` is the reader's at all, be it as a number.
macro_rules! is_mine {
    () => {
        "(m.seq > me.joined_seq AND r.seq IS NULL)"
    };
}

/// Whether the reader sees more of the message `m` than its number.
macro_rules! is_shown {
    () => {
        concat!(
            "(",
            crate::store::visible::is_mine!(),
            " AND NOT (m.kind = 'text' AND ",
            crate::store::visible::author_hidden!(),
            "))"
        )
    };
}

/// Whether the message `m` is a text, or a file, that the reader can read.
macro_rules! is_readable {
    () => {
        concat!(
            "(m.kind = 'text' AND m.deleted_at IS NULL AND ",
            crate::store::visible::is_shown!(),
            " AND NOT ",
            crate::store::visible::author_gone!(),
            ")"
        )
    };
}

/// Whether the conversation `c` is there for clients of the older API: a direct one is not once the other account is
/// deleted or blocks the reader.
macro_rules! is_there {
    () => {
        concat!(
            "(c.kind <> 'direct' OR EXISTS (SELECT 1 FROM users ou LEFT JOIN pairs op ON op.low = c.low AND op.high = c.high ",
            "WHERE ou.id = CASE WHEN c.low = $1 THEN c.high ELSE c.low END AND ou.deleted_at IS NULL AND NOT ",
            crate::store::visible::is_blocked!("op", "$1"),
            "))"
        )
    };
}

pub(super) use {
    author_gone, author_hidden, blocks, is_blocked, is_mine, is_pair, is_readable, is_shown, is_there, no_block,
    pair_of, with_author,
};
