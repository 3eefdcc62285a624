-- Pictures, voice notes and other files. Here stands what they are and whose; their bytes lie in the media directory,
-- or in a bucket, under their names.
CREATE TABLE files (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT   NOT NULL UNIQUE,        -- 128 random bits: what clients know it by
    owner_id     BIGINT NOT NULL REFERENCES users (id),
    client_key   TEXT,                          -- makes a repeated upload the same file; null once it is gone
    state        TEXT   NOT NULL,               -- uploading, ready or gone
    kind         TEXT   NOT NULL DEFAULT 'file',
    content_type TEXT   NOT NULL DEFAULT '',
    file_name    TEXT   NOT NULL DEFAULT '',    -- as its owner calls it
    bytes        BIGINT NOT NULL,               -- of all its sizes; while it comes, what is kept free for it
    size         BIGINT NOT NULL DEFAULT 0,     -- of the whole
    hash         TEXT   NOT NULL DEFAULT '',    -- SHA-256 of the whole
    width        BIGINT,
    height       BIGINT,
    duration_ms  BIGINT,
    placeholder  TEXT,
    created_at   BIGINT NOT NULL,
    used_at      BIGINT NOT NULL,               -- when somebody last began to refer to it; 0: not any more
    UNIQUE (owner_id, client_key)
);
CREATE INDEX files_by_use ON files (state, used_at);

-- The pictures of a profile, in their order.
CREATE TABLE pictures (
    user_id BIGINT NOT NULL REFERENCES users (id),
    place   BIGINT NOT NULL,
    file_id BIGINT NOT NULL REFERENCES files (id),
    PRIMARY KEY (user_id, place)
) WITHOUT ROWID;
CREATE INDEX pictures_by_file ON pictures (file_id);

ALTER TABLE messages ADD COLUMN file_id BIGINT REFERENCES files (id);
CREATE INDEX messages_by_file ON messages (file_id) WHERE file_id IS NOT NULL;
