-- Tables as large as in a large installation, for the planner. :users is how many users there are.
SET session_replication_role = replica;
SET synchronous_commit = off;
INSERT INTO users (username, username_key, password_hash, birth_date, gender, cell_lat, cell_lon, last_active_at, created_at, seq)
    SELECT 'user' || n, 'user' || n, '!', '19' || (60 + n % 40) || '-01-01', (ARRAY['man', 'woman', 'other'])[1 + n % 3],
        CASE WHEN n % 10 > 0 THEN n % 500 END, CASE WHEN n % 10 > 0 THEN n % 700 END, n, n, 20
    FROM generate_series(1, :users) AS n;
INSERT INTO interests (user_id, name) SELECT n, 'interest' || n % 1000 FROM generate_series(1, :users) AS n;
INSERT INTO interest_names (name) SELECT 'interest' || n FROM generate_series(1, 20000) AS n;
INSERT INTO sessions (user_id, label, created_at, last_used_at, expires_at, refresh_hash)
    SELECT n, '', n, n, n, 'hash' || n FROM generate_series(1, :users) AS n;
INSERT INTO personal (user_id, seq, kind, subject, at)
    SELECT 1 + n / 4, 1 + n % 4, 'matched', n, n FROM generate_series(0, 4 * :users - 1) AS n;
-- One user stands in very many pairs.
INSERT INTO pairs (low, high, low_liked_at, high_liked_at, matched_at, low_blocked_at)
    SELECT n, n + k, n, CASE WHEN k = 1 THEN n END, CASE WHEN k = 1 THEN n END, CASE WHEN k = 3 AND n % 10 = 0 THEN n END
    FROM generate_series(1, :users) AS n, generate_series(1, 3) AS k;
INSERT INTO pairs (low, high, high_liked_at)
    SELECT 1, n, n FROM generate_series(10, :users / 2) AS n ON CONFLICT DO NOTHING;
INSERT INTO conversations (kind, low, high, created_by, seq, member_count, created_at, updated_at)
    SELECT 'direct', n, n + 1, n, 5, 2, n, n FROM generate_series(1, :users) AS n;
INSERT INTO conversations (kind, created_by, client_key, seq, member_count, created_at, updated_at)
    SELECT 'group', n, 'key', 500, 100, n, n FROM generate_series(1, :users / 500) AS n;
INSERT INTO members (conversation_id, user_id, role, joined_seq)
    SELECT n, n + k, 'member', 0 FROM generate_series(1, :users) AS n, generate_series(0, 1) AS k;
INSERT INTO members (conversation_id, user_id, role, joined_seq)
    SELECT :users + n, n * 100 + k, 'member', 0 FROM generate_series(1, :users / 500) AS n, generate_series(1, 100) AS k;
INSERT INTO messages (conversation_id, seq, rev, sender_id, kind, text, client_key, sent_at)
    SELECT n, k, k, n, 'text', 'some words', 'key' || k, n FROM generate_series(1, 5) AS k, generate_series(1, :users) AS n;
INSERT INTO message_search (rowid, words) SELECT id, array_to_tsvector(ARRAY['some', 'words']) FROM messages;
INSERT INTO reactions (message_id, emoji, user_id) SELECT n * 5, '+', n FROM generate_series(1, :users) AS n;
INSERT INTO removals (user_id, conversation_id, seq) SELECT n, n, 1 FROM generate_series(1, :users) AS n;
INSERT INTO reports (reporter_id, subject_id, reason, text, evidence, created_at)
    SELECT n, n + 1, '', '', '', n FROM generate_series(1, 20000) AS n;
INSERT INTO changes (at, kind, subject, seq) SELECT n - 1000000, 'conversation', n, 1 FROM generate_series(1, :users) AS n;
INSERT INTO files (name, owner_id, client_key, state, bytes, created_at, used_at)
    SELECT 'file' || n, n, 'key', 'ready', 1, n, n FROM generate_series(1, :users) AS n;
INSERT INTO pictures (user_id, place, file_id) SELECT n, 0, n FROM generate_series(1, :users) AS n;
INSERT INTO imported_files (kind, subject, path) SELECT 'message', n, 'path' FROM generate_series(1, 20000) AS n;
