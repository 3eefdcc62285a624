-- What changed lately, for processes that share the database: a doorbell that was not heard is made good by looking
-- here. Rows live for minutes.
CREATE TABLE changes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      BIGINT NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    kind    TEXT   NOT NULL,                    -- personal, conversation, positions or sessions
    subject BIGINT NOT NULL,
    seq     BIGINT NOT NULL                     -- how far the stream moved; 0 where there is no number
);
CREATE INDEX changes_by_time ON changes (at);
