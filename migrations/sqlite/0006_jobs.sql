-- Work that a transaction left to be done afterwards, in small transactions. A process that takes a row keeps it locked
-- while it works, and writes down how far it came in the same transaction.
CREATE TABLE jobs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,            -- what is to be done
    subject    BIGINT NOT NULL,                 -- to whom or what, by the kind
    progress   TEXT NOT NULL DEFAULT '', -- how far it is, by the kind; empty: not begun
    attempts   BIGINT NOT NULL DEFAULT 0,       -- failures in a row
    due_at     BIGINT NOT NULL,                 -- not before this time
    created_at BIGINT NOT NULL
);
CREATE INDEX jobs_by_due ON jobs (due_at, id);

-- When somebody was first told that the other one likes them, since their last match.
ALTER TABLE pairs ADD COLUMN low_told_at BIGINT;
ALTER TABLE pairs ADD COLUMN high_told_at BIGINT;

-- What belongs to one user is found in slices.
DROP INDEX pairs_by_high;
CREATE INDEX pairs_by_high ON pairs (high, low);
CREATE INDEX reactions_by_user ON reactions (user_id);
CREATE INDEX interests_by_name ON interests (name);
CREATE INDEX messages_without_key ON messages (sender_id, id) WHERE client_key IS NULL;
