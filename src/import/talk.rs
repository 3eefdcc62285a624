//! Conversations, their messages, and how far each member has read.

use std::collections::{BTreeSet, HashSet};

use super::journal::{Journal, Note};
use super::{whole, without_zero_bytes};
use crate::error::Result;
use crate::store::Tx;
use crate::store::django::{ConversationRow, MessageRow};
use crate::store::imported::{self, NewConversation, NewFile, NewMember, NewMessage, Reached};

/// Longest title that a group gets, in characters.
const TITLE_MAX: usize = 150;

/// Writes a page of conversations.
pub(super) async fn conversations(tx: &mut Tx, journal: &mut Journal, page: Vec<ConversationRow>) -> Result<()> {
    let (mut all, mut members) = (Vec::with_capacity(page.len()), Vec::new());
    for row in page {
        let Some(conversation) = conversation(journal, &row) else {
            journal.note(Note::NotImportedConversation, row.id);
            continue;
        };
        if row.is_active == 0 {
            journal.note(Note::Left, row.id);
        }
        let is_group = conversation.kind == "group";
        members.extend(row.participants.iter().enumerate().map(|(at, (user, _))| NewMember {
            conversation_id: row.id,
            user_id: *user,
            role: if is_group && at == 0 { "owner" } else { "member" },
            joined_seq: 0,
            hidden_seq: if row.is_active == 0 { 0 } else { -1 },
        }));
        all.push(conversation);
    }
    let count = whole(imported::conversations(tx, &all, &members).await?, all.len())?;
    journal.wrote("conversations", count);
    journal.took("conversations", count.cast_signed());
    journal.took("participants", members.len() as i64);
    Ok(())
}

/// A direct conversation, or a group: of those who are not two, and beside the direct conversation of the same two. None
/// where nobody ever was in it or wrote in it.
fn conversation(journal: &mut Journal, row: &ConversationRow) -> Option<NewConversation> {
    let first = row.participants.first().map(|(user, _)| *user);
    let created_by = first.or(row.first_sender)?;
    let mut ids: Vec<i64> = row.participants.iter().map(|(user, _)| *user).collect();
    ids.sort_unstable();
    let two = match ids[..] {
        [low, high] => Some((low, high)),
        _ => None,
    };
    match two {
        None => journal.note(Note::Group, row.id),
        Some(_) if row.place > 1 => journal.note(Note::SecondDirect, row.id),
        Some(_) => {}
    }
    let two = two.filter(|_| row.place == 1);
    Some(NewConversation {
        id: row.id,
        kind: if two.is_some() { "direct" } else { "group" },
        title: if two.is_some() { String::new() } else { title(&row.participants) },
        low: two.map(|(low, _)| low),
        high: two.map(|(_, high)| high),
        created_by,
        member_count: ids.len() as i64,
        created_at: row.created_at.0,
        updated_at: row.updated_at.0,
    })
}

/// A group needs a title; this one is the same in every language.
fn title(participants: &[(i64, String)]) -> String {
    let names: Vec<String> =
        participants.iter().map(|(_, name)| name.replace('\0', "")).filter(|name| !name.is_empty()).collect();
    let title = names.join(", ");
    match title.chars().count() {
        0 => "-".to_owned(),
        1..=TITLE_MAX => title,
        _ => title.chars().take(TITLE_MAX - 1).chain(['…']).collect(),
    }
}

/// Writes a page of messages, which begins where the page before it ended, be that within a conversation.
pub(super) async fn messages(tx: &mut Tx, journal: &mut Journal, page: Vec<MessageRow>, long: usize) -> Result<()> {
    let places: BTreeSet<i64> = page.iter().map(|row| row.conversation).collect();
    let senders: BTreeSet<i64> = page.iter().map(|row| row.sender).collect();
    let mut reached = imported::reached(tx, &places.into_iter().collect::<Vec<_>>()).await?;
    let known = imported::known_users(tx, &senders.into_iter().collect::<Vec<_>>()).await?;
    let (mut messages, mut files) = (Vec::with_capacity(page.len()), Vec::new());
    for mut row in page {
        let Some(seq) = next_seq(&mut reached, &known, &row) else {
            journal.note(Note::NotImportedMessage, row.id);
            continue;
        };
        read(journal, &mut reached, &row, seq);
        if without_zero_bytes(&mut row.content) {
            journal.note(Note::ZeroBytes, row.id);
        }
        if row.content.len() > long && row.content.chars().count() > long {
            journal.note(Note::LongText, row.id);
        }
        if let Some(path) = row.attachment.filter(|path| !path.is_empty()) {
            files.push(NewFile { kind: "message", subject: row.id, path });
        }
        messages.push(NewMessage {
            id: row.id,
            conversation_id: row.conversation,
            seq,
            rev: seq,
            sender_id: row.sender,
            kind: "text",
            text: row.content,
            sent_at: row.created_at.0,
        });
    }
    let count = whole(imported::messages(tx, &messages, &reached).await?, messages.len())?;
    let with_files = whole(imported::files(tx, &files).await?, files.len())?;
    journal.wrote("messages", count);
    journal.took("messages", count.cast_signed());
    journal.wrote("imported_files", with_files);
    journal.took("message files", with_files.cast_signed());
    Ok(())
}

/// The next number of a message's conversation; none where conversation or author is not there.
fn next_seq(reached: &mut Reached, known: &HashSet<i64>, row: &MessageRow) -> Option<i64> {
    let head = reached.heads.get_mut(&row.conversation).filter(|_| known.contains(&row.sender))?;
    *head += 1;
    Some(*head)
}

/// Moves those on who have read all up to here: everything before, and now this message, or wrote it themselves. A
/// message that somebody has not read stops them for good, so that it stays unread whatever they read behind it.
fn read(journal: &mut Journal, reached: &mut Reached, row: &MessageRow, seq: i64) {
    let readers = row.readers.as_deref().unwrap_or_default();
    let readers: HashSet<i64> = readers.split(',').filter_map(|id| id.parse().ok()).collect();
    let (mut kept, mut is_member) = (0, false);
    for member in reached.read.entry(row.conversation).or_default() {
        let (is_author, has_read) = (member.user == row.sender, readers.contains(&member.user));
        is_member |= is_author;
        if member.read == seq - 1 && (is_author || has_read) {
            member.read = seq;
            kept += i64::from(has_read && !is_author);
        }
        member.head = seq;
    }
    journal.took("read marks", kept);
    (kept..readers.len() as i64).for_each(|_| journal.note(Note::NotImportedReading, row.id));
    if !is_member {
        journal.note(Note::Stranger, row.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::django::Moment;
    use crate::store::imported::Position;
    use std::collections::BTreeMap;

    fn row(participants: &[(i64, &str)], place: i64) -> ConversationRow {
        ConversationRow {
            id: 9,
            is_active: 1,
            place,
            participants: participants.iter().map(|(id, name)| (*id, (*name).to_owned())).collect(),
            first_sender: None,
            created_at: Moment(1),
            updated_at: Moment(2),
        }
    }

    fn came(participants: &[(i64, &str)], place: i64) -> Option<NewConversation> {
        conversation(&mut Journal::begin(BTreeMap::new()), &row(participants, place))
    }

    #[test]
    fn two_have_one_direct_conversation_and_all_others_are_groups() {
        let direct = came(&[(5, "eve"), (3, "ann")], 1).expect("kept");
        assert_eq!((direct.kind, direct.low, direct.high, direct.created_by), ("direct", Some(3), Some(5), 5));
        let second = came(&[(5, "eve"), (3, "ann")], 2).expect("kept");
        assert_eq!((second.kind, second.low, second.title.as_str()), ("group", None, "eve, ann"));
        let alone = came(&[(3, "")], 1).expect("kept");
        assert_eq!((alone.kind, alone.title.as_str(), alone.member_count), ("group", "-", 1));
        let long = "x".repeat(100);
        let many = came(&[(3, &long), (4, &long), (5, "eve")], 1).expect("kept");
        assert_eq!(many.title.chars().count(), TITLE_MAX);
        assert_eq!(came(&[], 1), None);
    }

    #[test]
    fn nobody_has_read_more_than_they_have() {
        let member = |user| Position { conversation: 9, user, read: 0, head: 0 };
        let mut reached = Reached::default();
        reached.heads.insert(9, 0);
        reached.read.insert(9, vec![member(1), member(2)]);
        let known = HashSet::from([1, 2, 3]);
        let mut journal = Journal::begin(BTreeMap::new());
        // Written by whom, read by whom; how far the two are then.
        let story = [(1, None, (1, 0)), (1, Some("2"), (2, 0)), (2, Some("2"), (2, 0)), (2, Some("1"), (2, 0))];
        for (seq, (sender, readers, expected)) in (1..).zip(story) {
            let row = MessageRow {
                id: seq,
                conversation: 9,
                sender,
                content: String::new(),
                attachment: None,
                readers: readers.map(str::to_owned),
                created_at: Moment(seq),
            };
            assert_eq!(next_seq(&mut reached, &known, &row), Some(seq));
            read(&mut journal, &mut reached, &row, seq);
            let far: Vec<i64> = reached.read[&9].iter().map(|member| member.read).collect();
            assert_eq!((far[0], far[1]), expected, "after message {seq}");
        }
    }
}
