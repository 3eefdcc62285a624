-- Numbers of a stream live in the row that owns it (conversations.seq, users.seq) and are raised in the transaction
-- that makes the change. Times are microseconds since 1970. A 0/1 column is BIGINT, so that both databases agree.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE users (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    username           TEXT   NOT NULL,
    username_key       TEXT   UNIQUE,           -- folded; null once the account is deleted
    password_hash      TEXT   NOT NULL,
    email              TEXT   NOT NULL DEFAULT '',
    first_name         TEXT   NOT NULL DEFAULT '',
    last_name          TEXT   NOT NULL DEFAULT '',
    bio                TEXT   NOT NULL DEFAULT '',
    birth_date         TEXT,                    -- YYYY-MM-DD
    gender             TEXT,
    location           TEXT   NOT NULL DEFAULT '',
    cell_lat           BIGINT,                  -- the coarse grid cell, never a point
    cell_lon           BIGINT,
    age_min            BIGINT NOT NULL DEFAULT 18,
    age_max            BIGINT NOT NULL DEFAULT 99,
    distance_km        BIGINT NOT NULL DEFAULT 50,
    seeks              TEXT   NOT NULL DEFAULT 'man,woman,other',
    status             TEXT   NOT NULL DEFAULT 'online',
    last_active_at     BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    disabled_at        BIGINT,
    deleted_at         BIGINT,
    seq                BIGINT NOT NULL DEFAULT 0,   -- head of the personal stream
    notifications_read BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX users_by_activity ON users (last_active_at);
CREATE INDEX users_by_place ON users (cell_lat, cell_lon, last_active_at);

CREATE TABLE interests (
    user_id BIGINT NOT NULL REFERENCES users (id),
    name    TEXT   NOT NULL,
    PRIMARY KEY (user_id, name)
) WITHOUT ROWID;

CREATE TABLE sessions (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id       BIGINT NOT NULL REFERENCES users (id),
    label         TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    last_used_at  BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    ended_at      BIGINT,
    refresh_hash  TEXT   NOT NULL,              -- SHA-256 of the current refresh token's jti
    previous_hash TEXT,                         -- the one before, after a rotation
    rotated_at    BIGINT,
    rotated_by    TEXT                          -- the client that rotated, to answer its own retry alike
);
CREATE INDEX sessions_by_user ON sessions (user_id);

-- The personal stream: a plain log of ids.
CREATE TABLE personal (
    user_id BIGINT NOT NULL REFERENCES users (id),
    seq     BIGINT NOT NULL,
    kind    TEXT   NOT NULL,
    subject BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (user_id, seq)
) WITHOUT ROWID;

-- All that stands between two users. The id is the id of their match.
CREATE TABLE pairs (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    low            BIGINT NOT NULL REFERENCES users (id),
    high           BIGINT NOT NULL REFERENCES users (id),
    low_liked_at   BIGINT,
    high_liked_at  BIGINT,
    low_passed_at  BIGINT,
    high_passed_at BIGINT,
    low_blocked_at  BIGINT,
    high_blocked_at BIGINT,
    matched_at     BIGINT,                      -- of the match, kept when it ends
    match_ended_at BIGINT,
    UNIQUE (low, high),
    CHECK (low < high)
);
CREATE INDEX pairs_by_high ON pairs (high);

CREATE TABLE conversations (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT   NOT NULL,
    title        TEXT   NOT NULL DEFAULT '',
    low          BIGINT REFERENCES users (id),  -- of a direct conversation
    high         BIGINT REFERENCES users (id),
    created_by   BIGINT NOT NULL REFERENCES users (id),
    client_key   TEXT,
    seq          BIGINT NOT NULL DEFAULT 0,
    member_count BIGINT NOT NULL DEFAULT 0,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    UNIQUE (low, high),
    UNIQUE (created_by, client_key)
);

CREATE TABLE members (
    conversation_id BIGINT NOT NULL REFERENCES conversations (id),
    user_id         BIGINT NOT NULL REFERENCES users (id),
    role            TEXT   NOT NULL,
    joined_seq      BIGINT NOT NULL,            -- only messages above it are this member's
    delivered       BIGINT NOT NULL DEFAULT 0,
    read            BIGINT NOT NULL DEFAULT 0,
    muted_until     BIGINT NOT NULL DEFAULT 0,
    archived        BIGINT NOT NULL DEFAULT 0,
    hidden_seq      BIGINT NOT NULL DEFAULT -1, -- out of the list while the last message is not above it
    PRIMARY KEY (conversation_id, user_id)
) WITHOUT ROWID;
CREATE INDEX members_by_user ON members (user_id, conversation_id);

CREATE TABLE messages (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id BIGINT NOT NULL REFERENCES conversations (id),
    seq             BIGINT NOT NULL,
    rev             BIGINT NOT NULL,
    sender_id       BIGINT NOT NULL REFERENCES users (id),
    kind            TEXT   NOT NULL,
    text            TEXT   NOT NULL,
    subject_id      BIGINT,
    reply_to        BIGINT,
    client_key      TEXT,
    content_hash    TEXT,                       -- of what was sent under client_key, kept through edits
    sent_at         BIGINT NOT NULL,
    edited_at       BIGINT,
    deleted_at      BIGINT,
    UNIQUE (conversation_id, seq),
    UNIQUE (sender_id, client_key)
);
CREATE UNIQUE INDEX messages_by_rev ON messages (conversation_id, rev);

CREATE TABLE reactions (
    message_id BIGINT NOT NULL REFERENCES messages (id),
    emoji      TEXT   NOT NULL,
    user_id    BIGINT NOT NULL REFERENCES users (id),
    PRIMARY KEY (message_id, emoji, user_id)
) WITHOUT ROWID;

-- Messages that a member deleted for themselves.
CREATE TABLE removals (
    user_id         BIGINT NOT NULL REFERENCES users (id),
    conversation_id BIGINT NOT NULL,
    seq             BIGINT NOT NULL,
    PRIMARY KEY (user_id, conversation_id, seq)
) WITHOUT ROWID;

CREATE TABLE reports (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    reporter_id BIGINT NOT NULL REFERENCES users (id),
    subject_id  BIGINT NOT NULL REFERENCES users (id),
    reason      TEXT   NOT NULL,
    text        TEXT   NOT NULL,
    evidence    TEXT   NOT NULL,                -- the named messages as they stood, JSON
    created_at  BIGINT NOT NULL
);

-- The folded words of each text and its conversation's id, kept apart from the text; deleted text leaves it.
CREATE VIRTUAL TABLE message_search USING fts5 (folded, conversation, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 0');
