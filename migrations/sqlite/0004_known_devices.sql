-- Where a session began, so that every node knows the devices of an account: a keyed digest of the address prefix and
-- the account. NULL where that is not known.
ALTER TABLE sessions ADD COLUMN origin TEXT;
