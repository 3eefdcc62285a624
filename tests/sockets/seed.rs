//! Conversations that are written straight into the database, since making them by commands is not what is shown.

use crate::support::Server;

/// 200 users, from 1001 on, who never connect.
pub(super) const USERS: &str = "INSERT INTO users (id, username, password_hash, last_active_at, created_at) \
    SELECT n, 'member' || n, '', 0, 0 FROM (WITH RECURSIVE s (n) AS (SELECT 1001 UNION ALL SELECT n + 1 FROM s \
    WHERE n < 1200) SELECT n FROM s) AS numbers";

/// 60 groups of user 1 and all 200, from 5001 on, and 10 of user 1 and the first 40, from 6001 on. All members have read
/// the only message.
pub(super) const GROUPS: &str = "INSERT INTO conversations \
    (id, kind, title, created_by, member_count, seq, created_at, updated_at) \
    SELECT n, 'group', CASE WHEN n < 6000 THEN 'large' ELSE 'small' END, 1, CASE WHEN n < 6000 THEN 201 ELSE 41 END, 1, 0, 0 \
    FROM (WITH RECURSIVE s (n) AS (SELECT 5001 UNION ALL SELECT CASE WHEN n = 5060 THEN 6001 ELSE n + 1 END FROM s \
    WHERE n < 6010) SELECT n FROM s) AS numbers; \
    INSERT INTO members (conversation_id, user_id, role, joined_seq, delivered, read) \
    SELECT c.id, u.id, 'member', 0, 1, 1 FROM conversations c JOIN users u \
    ON u.id = 1 OR (u.id > 1000 AND (c.title = 'large' OR u.id <= 1040))";

/// Two groups of user 1 with 2,000 messages each, 7001 and 7002, and eight with one each, from 7003 on.
pub(super) const TALK: &str = "INSERT INTO conversations \
    (id, kind, title, created_by, member_count, seq, created_at, updated_at) \
    SELECT n, 'group', 'talk', 1, 1, CASE WHEN n <= 7002 THEN 2000 ELSE 1 END, 0, 0 \
    FROM (WITH RECURSIVE s (n) AS (SELECT 7001 UNION ALL SELECT n + 1 FROM s WHERE n < 7010) SELECT n FROM s) AS numbers; \
    INSERT INTO members (conversation_id, user_id, role, joined_seq) SELECT id, 1, 'owner', 0 FROM conversations; \
    INSERT INTO messages (conversation_id, seq, rev, sender_id, kind, text, sent_at) \
    SELECT c.id, n, n, 1, 'text', 'one of many', 0 FROM conversations c JOIN (WITH RECURSIVE s (n) AS \
    (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 2000) SELECT n FROM s) AS numbers ON n <= c.seq";

/// Writes these.
pub(super) async fn seed(server: &Server, statements: &[&'static str]) {
    let mut database = server.database().writer().await;
    for statement in statements {
        database.execute(statement).await;
    }
}
