-- When the current refresh token was first used, other than to be replaced: from then on the one before it is no longer
-- taken for that of a client whose answer was lost. `rotated_by` is not used any more.
ALTER TABLE sessions ADD COLUMN refresh_used_at BIGINT;
