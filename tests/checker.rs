//! The checker proven: good histories pass, and each of these bad ones is found.

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use serde_json::json;
use support::by_hand::{ANN, BOB, CONVERSATION, Story, acquainted, away, block, edited, shown, three};
use support::checker::database::{Database, DirectPair, PersonalRow};
use support::checker::{Source, Verdict};

#[track_caller]
fn must_pass(story: Story) -> Verdict {
    let verdict = story.judge();
    assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
    verdict
}

#[test]
fn good_histories_pass() {
    let statistics = must_pass(three()).statistics;
    assert_eq!((statistics.acknowledged, statistics.deliveries, statistics.complete_devices), (3, 6, 2));
    let statistics = must_pass(away()).statistics;
    assert_eq!((statistics.resumes, statistics.from_pages, statistics.holes), (1, 2, 0));
    must_pass(block());
}

#[test]
fn a_send_without_an_answer_may_be_stored_or_not() {
    let mut story = three();
    story.send(1, 20, "lost");
    story.line(json!({ "what": "killed" }));
    story.closed(1);
    assert_eq!(must_pass(story).statistics.unanswered_at_kill, [1]);

    let mut story = three();
    story.send(1, 20, "k4");
    story.line(json!({ "what": "killed" }));
    story.stored(4, ANN, "k4");
    story.closed(1);
    story.created(2, 4, ANN, "k4");
    must_pass(story);
}

#[test]
fn an_event_that_does_not_follow_may_be_repaired_while_a_resume_is_under_way() {
    let mut story = away().without("conversation.page", 0).without("\"resume\"", 0).without("moved", 0);
    story.created(4, 3, ANN, "k3");
    story.resume(4, 2, 1, 3);
    story.page(4, (1, 3), vec![shown(2, 2, ANN, "k2"), shown(3, 3, ANN, "k3")]);
    assert_eq!(must_pass(story).statistics.holes, 1);
}

#[test]
fn a_superseded_number_may_be_missing_from_a_page() {
    must_pass(edited());
}

#[test]
fn an_acknowledged_message_that_is_lost_is_found() {
    let mut story = three();
    story.database.messages.pop();
    story.database.heads.insert(CONVERSATION, 2);
    story.must_find("is lost");
}

#[test]
fn a_message_stored_under_another_number_than_acknowledged_is_found() {
    let mut story = three();
    story.database.messages[2].id = 77;
    story.must_find("but is stored as 77");
}

#[test]
fn a_message_stored_with_another_text_is_found() {
    let mut story = three();
    story.database.messages[0].text = "other".to_owned();
    story.must_find("with another text");
}

#[test]
fn a_repeated_key_with_another_answer_is_found() {
    let mut story = three();
    story.send(1, 20, "k3");
    story.acknowledged(1, 20, 4);
    story.must_find("and then with");
}

#[test]
fn a_repeated_key_stored_twice_is_found() {
    let mut story = three();
    story.stored(4, ANN, "k3");
    story.must_find("two messages with the key k3");
}

#[test]
fn two_messages_at_one_place_are_found() {
    let mut story = three();
    story.stored(3, ANN, "k9");
    story.must_find("two messages share");
}

#[test]
fn a_message_that_never_reached_a_device_is_found() {
    three().without("message.created", 5).must_find("bob/1 at 9/3 (rev 3) was never shown");
}

#[test]
fn a_message_that_never_reached_the_senders_own_device_is_found() {
    three().without("message.created", 4).must_find("ann/1 stands at 2");
}

#[test]
fn a_hole_on_a_healthy_socket_is_found() {
    three().without("message.created", 3).must_find("a hole");
}

#[test]
fn events_out_of_order_are_found() {
    let mut story = three();
    let events: Vec<usize> = (0..story.lines.len())
        .filter(|index| story.lines[*index]["socket"] == 2 && story.lines[*index]["frame"]["type"] == "message.created")
        .collect();
    let late = story.lines[events[1]]["frame"].take();
    story.lines[events[1]]["frame"] = story.lines[events[2]]["frame"].take();
    story.lines[events[2]]["frame"] = late;
    story.must_find("bob/1 9/3 (message.created) came on a socket that had only 1: a hole");
}

#[test]
fn an_event_that_comes_twice_is_found() {
    let mut story = three();
    story.created(2, 3, ANN, "k3");
    story.must_find("came again");
}

#[test]
fn a_page_that_leaves_a_message_out_is_found() {
    let mut story = away().without("conversation.page", 0);
    story.page(4, (1, 3), vec![shown(3, 3, ANN, "k3")]);
    story.must_find("was never shown \"text k2\"");
}

#[test]
fn a_resume_that_starts_at_the_head_is_found() {
    let mut story = away().without("conversation.page", 0);
    story.page(4, (3, 3), vec![]);
    story.must_find("bob/1 stands at 1");
}

#[test]
fn a_page_in_the_wrong_order_or_out_of_its_range_is_found() {
    let mut story = away().without("conversation.page", 0);
    story.page(4, (1, 3), vec![shown(3, 3, ANN, "k3"), shown(2, 2, ANN, "k2")]);
    story.must_find("a page has rev 2 after 3");
    let mut story = away().without("conversation.page", 0);
    story.page(4, (1, 2), vec![shown(2, 2, ANN, "k2"), shown(3, 3, ANN, "k3")]);
    story.must_find("its end is 2");
}

#[test]
fn a_message_shown_before_it_is_stored_is_found() {
    let mut story = three();
    story.send(1, 20, "k4");
    story.created(2, 4, ANN, "k4");
    story.line(json!({ "what": "killed" }));
    story.must_find("was shown what is not stored: 9/4");
}

#[test]
fn devices_that_disagree_are_found() {
    let mut story = three().without("message.created", 5);
    let mut other = shown(3, 3, ANN, "k3");
    other["text"] = "other".into();
    story.told(2, "message.created", json!({ "conversation": CONVERSATION, "seq": 3, "message": other }));
    story.must_find("has another message at 9/3");
}

#[test]
fn a_refused_send_that_is_stored_is_found() {
    let mut story = three();
    story.send(1, 20, "k4");
    story.refused(1, 20, "forbidden");
    story.stored(4, ANN, "k4");
    story.must_find("was refused but is stored");
}

#[test]
fn a_stored_message_that_nobody_sent_is_found() {
    let mut story = three();
    story.stored(4, ANN, "ghost");
    story.must_find("nobody sent");
}

#[test]
fn a_number_that_is_missing_is_found() {
    let mut story = three();
    story.send(1, 20, "k5");
    story.stored(5, ANN, "k5");
    story.acknowledged(1, 20, 5);
    story.must_find("has 5 where 4 should stand");
}

#[test]
fn a_counter_that_does_not_stand_at_the_last_number_is_found() {
    let mut story = three();
    story.database.heads.insert(CONVERSATION, 7);
    story.must_find("has the head 7 but the last number 3");
}

#[test]
fn sends_of_one_socket_numbered_in_another_order_are_found() {
    let mut story = acquainted();
    for (id, key) in [(11, "first"), (12, "second")] {
        story.send(1, id, key);
    }
    for (seq, id, key) in [(1, 12, "second"), (2, 11, "first")] {
        story.stored(seq, ANN, key);
        story.acknowledged(1, id, seq);
        story.created(1, seq, ANN, key);
        story.created(2, seq, ANN, key);
    }
    story.must_find("order");
}

#[test]
fn a_message_sent_after_the_block_is_found() {
    let mut story = block();
    story.send(2, 13, "b2");
    story.stored(2, BOB, "b2");
    story.must_find("crossed the block");
}

#[test]
fn a_message_numbered_after_the_block_is_found() {
    let mut story = acquainted();
    story.send(2, 11, "b1");
    story.sent(1, 12, "block.add", json!({ "user": BOB }));
    story.answered(1, 12, json!({}));
    story.look(1, 13, 0);
    story.stored(1, BOB, "b1");
    story.must_find("crossed the block");
}

#[test]
fn a_message_that_crossed_a_block_which_was_lifted_later_is_found() {
    let mut story = acquainted();
    story.send(2, 11, "b1");
    story.sent(1, 12, "block.add", json!({ "user": BOB }));
    story.answered(1, 12, json!({}));
    story.look(1, 13, 0);
    story.stored(1, BOB, "b1");
    story.acknowledged(2, 11, 1);
    story.sent(1, 14, "block.remove", json!({ "user": BOB }));
    story.answered(1, 14, json!({}));
    story.must_find("crossed the block");
}

#[test]
fn what_was_on_its_way_when_a_block_was_lifted_is_no_crossing() {
    let mut story = block();
    story.send(2, 13, "b2");
    story.sent(1, 14, "block.remove", json!({ "user": BOB }));
    story.answered(1, 14, json!({}));
    story.database.blocks.clear();
    story.stored(2, BOB, "b2");
    story.acknowledged(2, 13, 2);
    story.created(1, 2, BOB, "b2");
    story.created(2, 2, BOB, "b2");
    must_pass(story);
}

#[test]
fn what_was_sent_before_and_after_a_block_is_no_crossing() {
    let mut story = block();
    story.look(1, 13, 1);
    story.sent(1, 14, "block.remove", json!({ "user": BOB }));
    story.answered(1, 14, json!({}));
    story.database.blocks.clear();
    story.send(2, 15, "b2");
    story.stored(2, BOB, "b2");
    story.acknowledged(2, 15, 2);
    story.created(1, 2, BOB, "b2");
    story.created(2, 2, BOB, "b2");
    must_pass(story);
}

#[test]
fn a_frame_long_after_the_end_of_its_session_is_found() {
    let late = |story: &mut Story| {
        story.sent(1, 20, "ping", json!({}));
        story.answered(1, 20, json!({ "time": 1 }));
    };
    let mut story = three();
    story.line(json!({ "what": "ended", "session": ANN * 100 }));
    late(&mut story);
    must_pass(story);
    let mut story = three();
    story.line(json!({ "what": "ended", "session": ANN * 100 }));
    let end = story.lines.len();
    late(&mut story);
    story.lines[end..].iter_mut().for_each(|line| line["t"] = (line["t"].as_i64().unwrap() + 1_500_000).into());
    story.must_find("after its session was ended");
}

#[test]
fn a_reset_though_nothing_was_restored_is_found() {
    let mut story = three();
    story.closed(2);
    story.connect(4);
    let data = json!({ "epoch": "e", "conversations": { "9": 3 } });
    story.sent(4, 2, "resume", data);
    story.answered(4, 2, json!({ "moved": {}, "gone": [], "reset_conversations": [9] }));
    story.must_find("was told to reset");
}

#[test]
fn a_lost_edit_is_found() {
    let mut story = edited();
    let message = &mut story.database.messages[1];
    (message.rev, message.text, message.edited) = (2, "text k2".to_owned(), false);
    story.must_find("the change 4 of (9, 2) is lost");
}

#[test]
fn a_device_left_with_the_text_before_an_edit_is_found() {
    let mut story = edited().without("conversation.page", 0);
    story.page(4, (1, 4), vec![shown(2, 2, ANN, "k2"), shown(3, 3, ANN, "k3")]);
    story.must_find("was left with");
}

#[test]
fn a_lost_reaction_is_found() {
    let mut story = three();
    story.database.reactions.insert((1003, "+".to_owned(), BOB));
    story.must_find("was left with the reactions");
}

#[test]
fn a_personal_entry_that_never_came_or_came_wrong_is_found() {
    let entry = |story: &mut Story| {
        let row = PersonalRow { kind: "matched".to_owned(), subject: ANN };
        story.database.personal.insert((BOB, 1), row);
        story.database.personal_heads.insert(BOB, 1);
    };
    let mut story = three();
    entry(&mut story);
    story.told(2, "personal", json!({ "seq": 1, "kind": "matched", "subject": ANN, "at": 1 }));
    must_pass(story);
    let mut story = three();
    entry(&mut story);
    story.must_find("stands at 0 of its personal stream");
    let mut story = three();
    entry(&mut story);
    story.told(2, "personal", json!({ "seq": 1, "kind": "unmatched", "subject": ANN, "at": 1 }));
    story.must_find("came as unmatched");
}

#[test]
fn an_internal_error_is_found() {
    let mut story = three();
    story.send(1, 20, "k4");
    story.refused(1, 20, "internal");
    story.must_find("internal error");
}

#[tokio::test]
async fn the_database_is_read_from_the_tables_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("duet.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql(include_str!("../migrations/sqlite/0001_init.sql")).execute(&pool).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO users (id, username, password_hash, last_active_at, created_at, seq)
             VALUES (1, 'ann', '', 0, 0, 1), (2, 'bob', '', 0, 0, 0);
         INSERT INTO personal VALUES (1, 1, 'matched', 2, 0);
         INSERT INTO pairs (low, high, high_blocked_at) VALUES (1, 2, 5);
         INSERT INTO conversations (id, kind, low, high, created_by, seq, created_at, updated_at)
             VALUES (9, 'direct', 1, 2, 1, 1, 0, 0);
         INSERT INTO members (conversation_id, user_id, role, joined_seq, read) VALUES (9, 1, 'member', 0, 1);
         INSERT INTO messages (id, conversation_id, seq, rev, sender_id, kind, text, client_key, sent_at)
             VALUES (7, 9, 1, 1, 1, 'text', 'hi', 'k', 0);
         INSERT INTO reactions VALUES (7, '+', 2);
         INSERT INTO removals VALUES (2, 9, 1);",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let database = Database::read(&Source::File(file), &[1, 2].into(), &[9].into()).await;
    assert_eq!((database.messages.len(), database.messages[0].client_key.as_deref()), (1, Some("k")));
    assert_eq!((database.heads[&9], database.direct[&9]), (1, DirectPair { low: 1, high: 2 }));
    assert_eq!((database.members[&(9, 1)], database.personal_heads[&1]), ((0, 1), 1));
    assert!(database.blocks.contains(&(2, 1)) && database.removals.contains(&(2, 9, 1)));
    assert!(database.reactions.contains(&(7, "+".to_owned(), 2)));
    assert_eq!(database.personal[&(1, 1)], PersonalRow { kind: "matched".to_owned(), subject: 2 });
}
