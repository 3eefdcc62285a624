-- Postgres keeps the words that duet makes of a text as they are, so only their versions differ: what was indexed is made
-- anew after the start, newest first. SQLite gets another tokenizer under this number.
SELECT 1;
