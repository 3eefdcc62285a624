-- The same column as on Postgres, where sweeps go by it; nobody else writes here, and nobody sweeps.
ALTER TABLE changes ADD COLUMN xid BIGINT NOT NULL DEFAULT 0;
CREATE INDEX changes_by_transaction ON changes (xid);
