-- What users of the Django API had and duet had not.

ALTER TABLE users ADD COLUMN phone TEXT NOT NULL DEFAULT '';
-- Until when somebody who has no socket counts as here, because they said so over REST.
ALTER TABLE users ADD COLUMN here_until BIGINT NOT NULL DEFAULT 0;

-- Clients of that API know interests by number. Shared by all users; a name keeps its number.
CREATE TABLE interest_names (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);
INSERT INTO interest_names (name) SELECT DISTINCT name FROM interests ORDER BY name;

-- The session of a token that the Django service signed, by the SHA-256 of the token's jti; made at its first use.
ALTER TABLE sessions ADD COLUMN foreign_jti TEXT;
-- Since then such tokens make no new session: all sessions of the user were ended, and so were those not yet made.
ALTER TABLE users ADD COLUMN foreign_ended_at BIGINT;
CREATE UNIQUE INDEX sessions_by_foreign_jti ON sessions (foreign_jti) WHERE foreign_jti IS NOT NULL;

-- Where imported rows had their files, as paths below the Django media directory.
CREATE TABLE imported_files (
    kind    TEXT   NOT NULL,                    -- profile or message
    subject BIGINT NOT NULL,                    -- the user, or the message
    path    TEXT   NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;
