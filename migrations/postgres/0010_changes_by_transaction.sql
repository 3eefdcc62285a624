-- Which transaction noted a change: so a sweep finds each row once, whenever it became visible, by comparing two
-- snapshots of the database.
ALTER TABLE changes ADD COLUMN xid XID8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX changes_by_transaction ON changes (xid);
