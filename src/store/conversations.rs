//! Conversations and their members: who may do what, and how a member sees them.

use std::collections::HashMap;

use sqlx::FromRow;

use super::messages::{self, MessageRow, last_of_each};
use super::visible::{author_gone, blocks, is_blocked, is_pair, is_readable, is_shown, no_block, pair_of, with_author};
use super::{Conn, json_list, on, run};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{
    Conversation, ConversationId, ConversationKind, Member, Message, MessageId, MessageKind, Micros, Role, Text, UserId,
};
use crate::sentence;

/// What a member is in a conversation, read under its lock.
#[derive(Debug, Clone, FromRow)]
pub struct Membership {
    /// Direct or group.
    pub kind: ConversationKind,
    /// The title of a group.
    pub title: String,
    /// The number of the latest change.
    pub head: i64,
    /// How many members there are.
    pub member_count: i64,
    /// The member's role.
    pub role: Role,
    /// Only messages above it are the member's.
    pub joined_seq: i64,
    /// How far the member has received.
    pub delivered: i64,
    /// How far the member has read.
    pub read: i64,
    blocks_other: bool,
    is_blocked: bool,
    other_deleted_at: Option<Micros>,
}

impl Membership {
    /// Whether the member may write here now: in a direct conversation a block or a deleted account ends that.
    pub fn may_write(&self) -> Result<()> {
        if self.kind == ConversationKind::Group {
            return Ok(());
        }
        if self.is_blocked || self.other_deleted_at.is_some() {
            return Err(Error::not_found("conversation"));
        }
        if self.blocks_other {
            return Err(Error::new(ErrorCode::Blocked, sentence!("you-blocked")));
        }
        Ok(())
    }

    /// Whether this is a group in which the member has at least a role.
    pub fn at_least(&self, role: Role) -> Result<()> {
        if self.kind == ConversationKind::Direct {
            return Err(Error::forbidden(sentence!("direct-has-none")));
        }
        match self.role >= role {
            true => Ok(()),
            false => Err(Error::forbidden(sentence!("role-too-low"))),
        }
    }
}

/// Locks conversations: until the end of the transaction nobody else writes into them or changes who is in them. What is
/// judged by them is read in a later statement.
pub async fn lock(tx: &mut Conn, conversations: &[ConversationId]) -> Result<()> {
    const SQL: &str = "SELECT c.id FROM conversations c WHERE c.id IN (SELECT j.value FROM json_each($1) j) \
        ORDER BY c.id FOR NO KEY UPDATE";
    if tx.is_shared() {
        run!(tx, sqlx::query(SQL).bind(json_list(conversations)))?;
    }
    Ok(())
}

/// What a user is in a conversation; not found if they are not in it. In a transaction that locked the conversation
/// nothing of it can change before the commit, but for how far the member has received and read.
pub async fn membership(conn: &mut Conn, conversation: ConversationId, user: UserId) -> Result<Membership> {
    const SQL: &str = concat!(
        "SELECT c.kind, c.title, c.seq AS head, c.member_count, m.role, m.joined_seq, m.delivered, m.read, ",
        blocks!("p", "$1"),
        " AS blocks_other, ",
        is_blocked!("p", "$1"),
        " AS is_blocked, o.deleted_at AS other_deleted_at \
        FROM members m JOIN conversations c ON c.id = m.conversation_id \
        JOIN users s ON s.id = m.user_id AND s.deleted_at IS NULL AND s.disabled_at IS NULL \
        LEFT JOIN pairs p ON p.low = c.low AND p.high = c.high \
        LEFT JOIN users o ON o.id = CASE WHEN c.low = $1 THEN c.high ELSE c.low END \
        WHERE m.user_id = $1 AND m.conversation_id = $2"
    );
    let found = on!(conn, c => sqlx::query_as(SQL).bind(user).bind(conversation).fetch_optional(c))?;
    found.ok_or_else(|| Error::not_found("conversation"))
}

/// The direct conversation of two users, if there is one.
pub async fn direct(conn: &mut Conn, a: UserId, b: UserId) -> Result<Option<ConversationId>> {
    const SQL: &str = "SELECT id FROM conversations WHERE low = $1 AND high = $2";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(a.min(b)).bind(a.max(b)).fetch_optional(c))?)
}

/// Makes the direct conversation of two users, who have none.
pub async fn create_direct(tx: &mut Conn, creator: UserId, other: UserId, at: Micros) -> Result<ConversationId> {
    const SQL: &str = "INSERT INTO conversations (kind, low, high, created_by, member_count, created_at, updated_at) \
        VALUES ('direct', $1, $2, $3, 2, $4, $4) RETURNING id";
    let (low, high) = (creator.min(other), creator.max(other));
    let id = on!(tx, c => sqlx::query_scalar(SQL).bind(low).bind(high).bind(creator).bind(at).fetch_one(c))?;
    add_members(tx, id, &[(creator, Role::Member), (other, Role::Member)], 0).await?;
    Ok(id)
}

/// Makes a group with its creator as owner.
pub async fn create_group(
    tx: &mut Conn,
    creator: UserId,
    title: &Text,
    client_key: Option<&Text>,
    at: Micros,
) -> Result<ConversationId> {
    const SQL: &str = "INSERT INTO conversations (kind, title, created_by, client_key, created_at, updated_at) \
        VALUES ('group', $1, $2, $3, $4, $4) RETURNING id";
    let id = on!(tx, c => sqlx::query_scalar(SQL).bind(title).bind(creator).bind(client_key).bind(at).fetch_one(c))?;
    Ok(id)
}

/// The group that a user created under a key.
pub async fn created_under(conn: &mut Conn, creator: UserId, client_key: &Text) -> Result<Option<ConversationId>> {
    const SQL: &str = "SELECT id FROM conversations WHERE created_by = $1 AND client_key = $2";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(creator).bind(client_key).fetch_optional(c))?)
}

/// Puts users into a conversation; what has a `seq` up to `joined_seq` is not theirs. The caller keeps the count.
pub async fn add_members(
    tx: &mut Conn,
    conversation: ConversationId,
    members: &[(UserId, Role)],
    joined_seq: i64,
) -> Result<()> {
    const SQL: [&str; 2] = [
        "INSERT INTO members (conversation_id, user_id, role, joined_seq, delivered, read) \
            SELECT $1, value ->> 0, value ->> 1, $3, $3, $3 FROM json_each($2)",
        "INSERT INTO members (conversation_id, user_id, role, joined_seq, delivered, read) \
            SELECT $1, (item ->> 0)::BIGINT, item ->> 1, $3, $3, $3 FROM json_array_elements($2::JSON) AS list (item)",
    ];
    let sql = tx.sql(SQL);
    run!(tx, sqlx::query(sql).bind(conversation).bind(json_list(members)).bind(joined_seq))?;
    Ok(())
}

/// Takes a user out of a conversation. The caller keeps the count.
pub async fn remove_member(tx: &mut Conn, conversation: ConversationId, user: UserId) -> Result<()> {
    const SQL: &str = "DELETE FROM members WHERE conversation_id = $1 AND user_id = $2";
    run!(tx, sqlx::query(SQL).bind(conversation).bind(user))?;
    Ok(())
}

/// Counts the members again, after some came or went.
pub async fn count_members(tx: &mut Conn, conversation: ConversationId) -> Result<()> {
    const SQL: &str = "UPDATE conversations SET member_count = \
        (SELECT count(*) FROM members WHERE conversation_id = $1) WHERE id = $1";
    run!(tx, sqlx::query(SQL).bind(conversation))?;
    Ok(())
}

/// Gives a member a role.
pub async fn set_role(tx: &mut Conn, conversation: ConversationId, user: UserId, role: Role) -> Result<()> {
    const SQL: &str = "UPDATE members SET role = $3 WHERE conversation_id = $1 AND user_id = $2";
    run!(tx, sqlx::query(SQL).bind(conversation).bind(user).bind(role))?;
    Ok(())
}

/// Gives a group a title.
pub async fn set_title(tx: &mut Conn, conversation: ConversationId, title: &Text) -> Result<()> {
    const SQL: &str = "UPDATE conversations SET title = $2 WHERE id = $1";
    run!(tx, sqlx::query(SQL).bind(conversation).bind(title))?;
    Ok(())
}

/// Members by role, the highest first, then the longest there: the first is the heir of a group whose owner leaves.
pub async fn members_by_rank(conn: &mut Conn, conversation: ConversationId) -> Result<Vec<(UserId, Role)>> {
    const SQL: &str = "SELECT user_id, role FROM members WHERE conversation_id = $1 \
        ORDER BY CASE role WHEN 'owner' THEN 0 WHEN 'admin' THEN 1 ELSE 2 END, joined_seq, user_id";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(conversation).fetch_all(c))?)
}

/// The member of the highest role, of several the longest there: the heir of a group whose owner has left.
pub async fn first_by_rank(conn: &mut Conn, conversation: ConversationId) -> Result<Option<(UserId, Role)>> {
    const SQL: &str = "SELECT user_id, role FROM members WHERE conversation_id = $1 \
        ORDER BY CASE role WHEN 'owner' THEN 0 WHEN 'admin' THEN 1 ELSE 2 END, joined_seq, user_id LIMIT 1";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(conversation).fetch_optional(c))?)
}

/// The role of a member, whether or not their account is there.
pub async fn role_of(conn: &mut Conn, conversation: ConversationId, user: UserId) -> Result<Option<Role>> {
    const SQL: &str = "SELECT role FROM members WHERE conversation_id = $1 AND user_id = $2";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(conversation).bind(user).fetch_optional(c))?)
}

/// A member's own settings; what is none stays. Answers whether anything changed.
pub async fn set_settings(
    tx: &mut Conn,
    conversation: ConversationId,
    user: UserId,
    muted_until: Option<Micros>,
    archived: Option<bool>,
    hidden_seq: Option<i64>,
) -> Result<bool> {
    const SQL: &str = "UPDATE members SET muted_until = coalesce($3, muted_until), archived = coalesce($4, archived), \
            hidden_seq = coalesce($5, hidden_seq) \
        WHERE conversation_id = $1 AND user_id = $2 AND (muted_until <> coalesce($3, muted_until) \
            OR archived <> coalesce($4, archived) OR hidden_seq <> coalesce($5, hidden_seq))";
    let done = run!(
        tx,
        sqlx::query(SQL).bind(conversation).bind(user).bind(muted_until).bind(archived.map(i64::from)).bind(hidden_seq)
    )?;
    Ok(done > 0)
}

/// Takes the next number of a conversation.
pub async fn next_seq(tx: &mut Conn, conversation: ConversationId) -> Result<i64> {
    const SQL: &str = "UPDATE conversations SET seq = seq + 1 WHERE id = $1 RETURNING seq";
    Ok(on!(tx, c => sqlx::query_scalar(SQL).bind(conversation).fetch_one(c))?)
}

/// Writes messages that tell of one change of the conversation itself, one about each of the subjects, in their order.
pub async fn append_changes(
    tx: &mut Conn,
    conversation: ConversationId,
    sender: UserId,
    kind: MessageKind,
    text: &Text,
    subjects: &[Option<UserId>],
    at: Micros,
) -> Result<Vec<Message>> {
    const NUMBER: &str = "UPDATE conversations SET seq = seq + $2, updated_at = $3 WHERE id = $1 RETURNING seq - $2";
    const WRITE: &str = "INSERT INTO messages (conversation_id, seq, rev, sender_id, kind, text, subject_id, sent_at) \
        SELECT $1, $2 + 1 + j.key, $2 + 1 + j.key, $3, $4, $5, j.value, $6 FROM json_each($7) j ORDER BY j.key \
        RETURNING seq, id";
    let count = subjects.len() as i64;
    let before: i64 = on!(tx, c => sqlx::query_scalar(NUMBER).bind(conversation).bind(count).bind(at).fetch_one(c))?;
    let ids: Vec<(i64, MessageId)> = on!(tx, c => sqlx::query_as(WRITE).bind(conversation).bind(before).bind(sender)
        .bind(kind).bind(text).bind(at).bind(json_list(subjects)).fetch_all(c))?;
    let ids: HashMap<i64, MessageId> = ids.into_iter().collect();
    let message = |(seq, subject): (i64, &Option<UserId>)| Message {
        id: ids.get(&seq).copied(),
        sender: Some(sender),
        kind: Some(kind),
        text: Some(text.to_string()),
        subject: *subject,
        sent_at: Some(at),
        hidden: false,
        ..Message::hidden(conversation, seq, seq)
    };
    Ok((before + 1..).zip(subjects).map(message).collect())
}

/// Members who see no more than the number of a change of the message at `seq`: those who came after it, and those who
/// block one of the `authors` of the message and its change.
pub async fn hidden_from(
    conn: &mut Conn,
    conversation: ConversationId,
    seq: i64,
    authors: &[UserId],
) -> Result<Vec<UserId>> {
    const SQL: &str = concat!(
        "SELECT m.user_id FROM members m WHERE m.conversation_id = $1 AND (m.joined_seq >= $2 \
            OR EXISTS (SELECT 1 FROM json_each($3) j JOIN pairs p ON ",
        is_pair!("p", "m.user_id", "j.value"),
        " WHERE ",
        blocks!("p", "m.user_id"),
        "))"
    );
    let authors = json_list(authors);
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(conversation).bind(seq).bind(&authors).fetch_all(c))?)
}

/// Members between whom and `user` there is a block, either way.
pub async fn blocked_with(conn: &mut Conn, conversation: ConversationId, user: UserId) -> Result<Vec<UserId>> {
    const SQL: &str = concat!(
        "SELECT m.user_id FROM members m JOIN pairs p ON ",
        is_pair!("p", "m.user_id", "$2"),
        " WHERE m.conversation_id = $1 AND NOT ",
        no_block!("p")
    );
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(conversation).bind(user).fetch_all(c))?)
}

/// A block between two users.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct Block {
    /// Who blocked.
    pub by: UserId,
    /// Whom.
    pub of: UserId,
}

/// The blocks between a user and some others, either way.
pub async fn blocks_among(conn: &mut Conn, user: UserId, others: &[UserId]) -> Result<Vec<Block>> {
    const SQL: &str = concat!(
        "SELECT $1 AS by, j.value AS of FROM json_each($2) j JOIN pairs p ON ",
        is_pair!("p", "$1", "j.value"),
        " WHERE ",
        blocks!("p", "$1"),
        " UNION SELECT j.value AS by, $1 AS of FROM json_each($2) j JOIN pairs p ON ",
        is_pair!("p", "$1", "j.value"),
        " WHERE ",
        is_blocked!("p", "$1")
    );
    let others = json_list(others);
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(user).bind(&others).fetch_all(c))?)
}

/// A place in the list of conversations: when the last one of the page changed, and which it was.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct ListPosition {
    /// When it last got a message.
    pub updated_at: Micros,
    /// Which.
    pub id: ConversationId,
}

/// A page of the list of a user's conversations, the latest first.
pub async fn list(
    conn: &mut Conn,
    user: UserId,
    archived: bool,
    after: Option<ListPosition>,
    limit: usize,
) -> Result<Vec<ListPosition>> {
    const SQL: &str = "SELECT c.updated_at, c.id FROM members m JOIN conversations c ON c.id = m.conversation_id \
        WHERE m.user_id = $1 AND m.archived = $2 \
            AND (m.hidden_seq < 0 OR EXISTS \
                (SELECT 1 FROM messages x WHERE x.conversation_id = c.id AND x.seq > m.hidden_seq)) \
            AND (c.updated_at < $3 OR (c.updated_at = $3 AND c.id < $4)) \
        ORDER BY c.updated_at DESC, c.id DESC LIMIT $5";
    let after = after.unwrap_or(ListPosition { updated_at: Micros::MAX, id: ConversationId(i64::MAX) });
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(user).bind(i64::from(archived)).bind(after.updated_at).bind(after.id)
        .bind(limit as i64).fetch_all(c))?)
}

#[derive(FromRow)]
struct ViewRow {
    id: ConversationId,
    kind: ConversationKind,
    title: String,
    head: i64,
    role: Role,
    member_count: i64,
    delivered: i64,
    read: i64,
    muted_until: Micros,
    archived: i64,
    created_at: Micros,
    updated_at: Micros,
    unread: i64,
}

/// Messages that are looked at for each unread one that is counted: others may be the reader's own, or not be theirs.
const SCANNED_FOR_EACH: i64 = 10;
/// Messages of a conversation that are looked at to count those unread.
const UNREAD_SCANNED: i64 = 10_000;

/// Some conversations as one of their members sees them, in the order asked for; those the reader is not in are left
/// out. Each shows at most `members_max` members and counts at most `unread_cap` unread messages.
pub async fn view(
    conn: &mut Conn,
    reader: UserId,
    ids: &[ConversationId],
    members_max: usize,
    unread_cap: i64,
) -> Result<Vec<Conversation>> {
    const SQL: &str = concat!(
        "SELECT c.id, c.kind, c.title, c.seq AS head, me.role, c.member_count, me.delivered, me.read, \
            me.muted_until, me.archived, c.created_at, c.updated_at, \
            (SELECT count(*) FROM (SELECT 1 FROM (SELECT x.* FROM messages x \
                WHERE x.conversation_id = c.id AND x.seq > me.read ORDER BY x.seq DESC LIMIT $4) m ",
        with_author!(),
        " WHERE m.sender_id <> $1 AND ",
        is_readable!(),
        " LIMIT $3) AS capped) AS unread \
        FROM json_each($2) j JOIN members me ON me.conversation_id = j.value AND me.user_id = $1 \
        JOIN conversations c ON c.id = me.conversation_id ORDER BY j.key"
    );
    let list = json_list(ids);
    let scanned = unread_cap.saturating_mul(SCANNED_FOR_EACH).min(UNREAD_SCANNED);
    let rows: Vec<ViewRow> =
        on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(&list).bind(unread_cap).bind(scanned).fetch_all(c))?;
    let mut members = members(conn, reader, &list, members_max).await?;
    let mut last = last_messages(conn, reader, &list).await?;
    let view = |row: ViewRow| Conversation {
        members: members.remove(&row.id).unwrap_or_default(),
        last_message: last.remove(&row.id),
        id: row.id,
        kind: row.kind,
        title: row.title,
        head: row.head,
        role: row.role,
        member_count: row.member_count,
        unread: row.unread,
        delivered: row.delivered,
        read: row.read,
        muted_until: row.muted_until,
        archived: row.archived != 0,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    Ok(rows.into_iter().map(view).collect())
}

/// The first members of each conversation, by id. Reads no others, however many there are. Whoever blocks the reader looks like a deleted account where the
/// conversation is direct; in a group both stay, and only their positions are kept from each other.
async fn members(
    conn: &mut Conn,
    reader: UserId,
    ids: &str,
    members_max: usize,
) -> Result<HashMap<ConversationId, Vec<Member>>> {
    const SQL: &str = concat!(
        "SELECT m.conversation_id, m.user_id AS user, u.username, m.role, \
            CASE WHEN u.deleted_at IS NULL AND ",
        no_block!("p"),
        " THEN m.delivered ELSE 0 END AS delivered, CASE WHEN u.deleted_at IS NULL AND ",
        no_block!("p"),
        " THEN m.read ELSE 0 END AS read, ",
        author_gone!(),
        " AS gone \
        FROM json_each($2) j JOIN members me ON me.conversation_id = j.value AND me.user_id = $1 \
        JOIN members m ON m.conversation_id = me.conversation_id AND m.user_id < coalesce((SELECT x.user_id \
            FROM members x WHERE x.conversation_id = me.conversation_id ORDER BY x.user_id LIMIT 1 OFFSET $3), \
            9223372036854775807) \
        JOIN conversations c ON c.id = m.conversation_id JOIN users u ON u.id = m.user_id ",
        pair_of!("p", "$1", "m.user_id"),
        " ORDER BY m.conversation_id, m.user_id"
    );
    #[derive(FromRow)]
    struct Row {
        conversation_id: ConversationId,
        #[sqlx(flatten)]
        member: Member,
    }
    let rows: Vec<Row> =
        on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(ids).bind(members_max as i64).fetch_all(c))?;
    let mut members: HashMap<ConversationId, Vec<Member>> = HashMap::new();
    for mut row in rows {
        if row.member.gone {
            row.member.username.clear();
        }
        members.entry(row.conversation_id).or_default().push(row.member);
    }
    Ok(members)
}

/// The latest message of each conversation that the reader may see.
async fn last_messages(conn: &mut Conn, reader: UserId, ids: &str) -> Result<HashMap<ConversationId, Message>> {
    const SQL: [&str; 2] = last_of_each!(is_shown!());
    let sql = conn.sql(SQL);
    let rows: Vec<MessageRow> = on!(conn, c => sqlx::query_as(sql).bind(reader).bind(ids).fetch_all(c))?;
    let messages = messages::render(conn, reader, rows).await?;
    Ok(messages.into_iter().map(|message| (message.conversation, message)).collect())
}
