-- A coordinate that a client of the older API sent without the other one, in millionths of a degree: the place is known
-- once both are there, and is then kept as a cell alone.
ALTER TABLE users ADD COLUMN lone_latitude BIGINT;
ALTER TABLE users ADD COLUMN lone_longitude BIGINT;
