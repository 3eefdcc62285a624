//! Conversations, groups and what is done to messages, told over real sockets.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use serde_json::{Value, json};
use support::{Client, Server};

/// Ann and Bob, and the number of their direct conversation.
async fn two_who_talk(server: &Server) -> (Client, Client, i64) {
    let mut ann = server.user("ann").await;
    let mut bob = server.user("bob").await;
    let opened = ann.command("conversation.open", json!({ "user": bob.user })).await;
    bob.expect_where("personal", |entry| entry["kind"] == "conversation_gained").await;
    (ann, bob, opened["id"].as_i64().expect("an id"))
}

async fn say(client: &mut Client, conversation: i64, text: &str) -> i64 {
    let sent = client.command("message.send", json!({ "conversation": conversation, "text": text })).await;
    sent["seq"].as_i64().expect("a number")
}

fn texts(page: &Value) -> Vec<&str> {
    let messages = page["messages"].as_array().expect("messages");
    messages.iter().map(|message| message["text"].as_str().unwrap_or_default()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_reaches_every_socket_of_both_and_can_be_changed_and_deleted() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob, id) = two_who_talk(&server).await;
    let mut tablet = ann.second_socket().await;
    let seq = say(&mut ann, id, "helo").await;
    for socket in [&mut ann, &mut tablet, &mut bob] {
        assert_eq!(socket.expect("message.created").await["message"]["text"], "helo");
    }
    ann.command("message.edit", json!({ "conversation": id, "seq": seq, "text": "hello" })).await;
    let edited = bob.expect("message.edited").await;
    assert_eq!((&edited["message"], &edited["seq"], &edited["text"]), (&json!(1), &json!(2), &json!("hello")));
    // The same text again changes nothing, and takes no number.
    let same = ann.command("message.edit", json!({ "conversation": id, "seq": seq, "text": "hello" })).await;
    assert_eq!(same["seq"], 2);
    let error = bob.refused("message.edit", json!({ "conversation": id, "seq": seq, "text": "mine" })).await;
    assert_eq!(error["code"], "forbidden");

    bob.command("message.react", json!({ "conversation": id, "seq": seq, "emoji": "👍" })).await;
    assert_eq!(ann.expect("reaction.added").await["user"], bob.user);
    let again = bob.command("message.react", json!({ "conversation": id, "seq": seq, "emoji": "👍" })).await;
    assert_eq!(again["seq"], 3);
    let history = ann.command("message.history", json!({ "conversation": id })).await;
    assert_eq!(history["messages"][0]["reactions"], json!([{ "emoji": "👍", "users": [bob.user] }]));
    bob.command("message.unreact", json!({ "conversation": id, "seq": seq, "emoji": "👍" })).await;
    ann.expect("reaction.removed").await;

    bob.command("message.delete", json!({ "conversation": id, "seq": seq })).await;
    bob.expect_where("personal", |entry| entry["kind"] == "message_removed").await;
    let gone = bob.command("message.history", json!({ "conversation": id })).await;
    assert!(texts(&gone).is_empty());
    let kept = ann.command("message.history", json!({ "conversation": id })).await;
    assert_eq!(texts(&kept), ["hello"]);

    ann.command("message.delete", json!({ "conversation": id, "seq": seq, "for_all": true })).await;
    assert_eq!(tablet.expect("message.deleted").await["message"], seq);
    let tombstone = ann.command("message.history", json!({ "conversation": id })).await;
    let tombstone = &tombstone["messages"][0];
    assert_eq!((&tombstone["deleted"], &tombstone["text"]), (&json!(true), &Value::Null));
    let found = ann.command("message.search", json!({ "query": "hello" })).await;
    assert!(texts(&found).is_empty(), "deleted text leaves the index");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_key_is_the_same_message_for_ever_and_another_text_is_an_error() {
    let mut server = Server::start(&[]).await;
    let (mut ann, _bob, id) = two_who_talk(&server).await;
    let data = json!({ "conversation": id, "text": "once", "client_key": "k" });
    let first = ann.command("message.send", data.clone()).await;
    assert_eq!(ann.command("message.send", data.clone()).await, first);
    let other = json!({ "conversation": id, "text": "twice", "client_key": "k" });
    assert_eq!(ann.refused("message.send", other).await["code"], "key_reused");
    ann.command("message.edit", json!({ "conversation": id, "seq": first["seq"], "text": "edited" })).await;
    server.kill();
    server.restart().await;
    let mut ann = Client::connect(&server, ann.account.clone()).await;
    assert_eq!(ann.command("message.send", data).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_counts_come_from_watermarks_and_are_told_to_the_other_side() {
    let server = Server::start(&[("unread-cap", "3")]).await;
    let (mut ann, mut bob, id) = two_who_talk(&server).await;
    for text in ["one", "two"] {
        say(&mut ann, id, text).await;
    }
    let unread = |view: Value| view["unread"].as_i64().expect("a count");
    assert_eq!(unread(bob.command("conversation.get", json!({ "conversation": id })).await), 2);
    assert_eq!(unread(ann.command("conversation.get", json!({ "conversation": id })).await), 0);
    bob.command("message.read", json!({ "conversation": id, "seq": 1 })).await;
    let moved = ann.expect("watermark").await;
    assert_eq!((&moved["user"], &moved["delivered"], &moved["read"]), (&json!(bob.user), &json!(1), &json!(1)));
    // Going back changes nothing; going on is told, and nothing in between.
    bob.command("message.read", json!({ "conversation": id, "seq": 0 })).await;
    bob.command("message.delivered", json!({ "conversation": id, "seq": 2 })).await;
    let moved = ann.expect_next("watermark").await;
    assert_eq!((&moved["delivered"], &moved["read"]), (&json!(2), &json!(1)));
    let beyond = bob.refused("message.read", json!({ "conversation": id, "seq": 99 })).await;
    assert_eq!((&beyond["code"], &beyond["field"]), (&json!("invalid_field"), &json!("seq")));
    for text in ["three", "four", "five"] {
        say(&mut ann, id, text).await;
    }
    assert_eq!(unread(bob.command("conversation.get", json!({ "conversation": id })).await), 3, "counting stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_both_ways_in_pages_and_the_list_too() {
    let server = Server::start(&[]).await;
    let (mut ann, _bob, id) = two_who_talk(&server).await;
    for number in 1..=5 {
        say(&mut ann, id, &number.to_string()).await;
    }
    let latest = ann.command("message.history", json!({ "conversation": id, "limit": 2 })).await;
    assert_eq!((texts(&latest), &latest["more"], &latest["head"]), (vec!["4", "5"], &json!(true), &json!(5)));
    let before = ann.command("message.history", json!({ "conversation": id, "before": 4, "limit": 9 })).await;
    assert_eq!((texts(&before), &before["more"]), (vec!["1", "2", "3"], &json!(false)));
    let after = ann.command("message.history", json!({ "conversation": id, "after": 1, "limit": 2 })).await;
    assert_eq!((texts(&after), &after["more"]), (vec!["2", "3"], &json!(true)));

    let mut ids = vec![id];
    for number in 0..4 {
        let made = ann.command("conversation.create", json!({ "title": format!("g{number}") })).await;
        ids.insert(0, made["id"].as_i64().expect("an id"));
    }
    let (mut listed, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = ann.command("conversation.list", json!({ "limit": 2, "after": after })).await;
        listed.extend(page["conversations"].as_array().expect("a list").iter().filter_map(|one| one["id"].as_i64()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(listed, ids);
    ann.command("conversation.archive", json!({ "conversation": id, "archived": true })).await;
    let away = ann.command("conversation.list", json!({ "archived": true })).await;
    assert_eq!(away["conversations"][0]["id"], id);
    ann.command("conversation.mute", json!({ "conversation": id, "until": 5 })).await;
    let muted = ann.command("conversation.get", json!({ "conversation": id })).await;
    assert_eq!((&muted["muted_until"], &muted["archived"]), (&json!(5), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_conversation_that_was_left_comes_back_with_its_next_message() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob, id) = two_who_talk(&server).await;
    say(&mut ann, id, "hi").await;
    bob.command("conversation.leave", json!({ "conversation": id })).await;
    let count = |list: Value| list["conversations"].as_array().expect("a list").len();
    assert_eq!(count(bob.command("conversation.list", json!({})).await), 0);
    assert_eq!(count(ann.command("conversation.list", json!({})).await), 1);
    ann.command("message.edit", json!({ "conversation": id, "seq": 1, "text": "hello" })).await;
    assert_eq!(count(bob.command("conversation.list", json!({})).await), 0, "an edit is no message");
    say(&mut ann, id, "still there?").await;
    assert_eq!(count(bob.command("conversation.list", json!({})).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_roles_and_tells_each_change_as_a_message() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let mut bob = server.user("bob").await;
    let mut eve = server.user("eve").await;
    let key = json!({ "title": "Climbing", "members": [bob.user], "client_key": "g" });
    let group = ann.command("conversation.create", key.clone()).await;
    let id = group["id"].as_i64().expect("an id");
    assert_eq!(ann.command("conversation.create", key).await["id"], id, "a repeat finds the same group");
    assert_eq!(bob.expect("message.created").await["message"]["kind"], "created");
    say(&mut ann, id, "before eve").await;

    let member = json!({ "conversation": id, "users": [eve.user] });
    assert_eq!(bob.refused("member.add", member.clone()).await["code"], "forbidden");
    ann.command("member.role", json!({ "conversation": id, "user": bob.user, "role": "admin" })).await;
    bob.command("member.add", member).await;
    // A newcomer reads from the start, and finds what is theirs: the message that tells that they came.
    assert_eq!(eve.expect_next("message.created").await["message"]["kind"], "member_added");
    let history = eve.command("message.history", json!({ "conversation": id })).await;
    assert_eq!(history["messages"].as_array().expect("messages").len(), 1);

    // What is older than a member stays a bare number for them, also when it changes.
    ann.command("message.edit", json!({ "conversation": id, "seq": 2, "text": "changed" })).await;
    eve.expect_next("message.hidden").await;
    bob.command("conversation.rename", json!({ "conversation": id, "title": "Bouldering" })).await;
    let renamed = eve.expect_next("message.created").await;
    assert_eq!((&renamed["message"]["kind"], &renamed["message"]["text"]), (&json!("renamed"), &json!("Bouldering")));
    assert_eq!(
        eve.refused("conversation.rename", json!({ "conversation": id, "title": "X" })).await["code"],
        "forbidden"
    );
    let error = bob.refused("member.remove", json!({ "conversation": id, "user": ann.user })).await;
    assert_eq!(error["code"], "forbidden");

    bob.command("member.remove", json!({ "conversation": id, "user": eve.user })).await;
    eve.expect_where("personal", |entry| entry["kind"] == "conversation_lost").await;
    assert_eq!(eve.refused("message.send", json!({ "conversation": id, "text": "?" })).await["code"], "not_found");
    let last = ann.refused("member.role", json!({ "conversation": id, "user": ann.user, "role": "member" })).await;
    assert_eq!(last["code"], "forbidden", "a group keeps an owner");
    ann.command("conversation.leave", json!({ "conversation": id })).await;
    let view = bob.command("conversation.get", json!({ "conversation": id })).await;
    assert_eq!((&view["role"], &view["member_count"]), (&json!("owner"), &json!(1)), "the heir owns it");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_the_blocked_ones_words_are_bare_numbers_to_the_blocker() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let mut bob = server.user("bob").await;
    let mut eve = server.user("eve").await;
    let members = json!({ "title": "G", "members": [bob.user, eve.user] });
    let id = ann.command("conversation.create", members).await["id"].as_i64().expect("an id");
    ann.expect("message.created").await;
    say(&mut bob, id, "seen").await;
    assert_eq!(ann.expect_next("message.created").await["message"]["text"], "seen");
    ann.command("block.add", json!({ "user": bob.user })).await;
    say(&mut bob, id, "a secret word").await;
    assert_eq!(ann.expect_next("message.hidden").await["seq"], 3);
    assert_eq!(eve.expect_where("message.created", |one| one["seq"] == 3).await["message"]["text"], "a secret word");
    let history = ann.command("message.history", json!({ "conversation": id })).await;
    assert!(!history.to_string().contains("secret") && !history.to_string().contains("seen"));
    let found = ann.command("message.search", json!({ "query": "secret" })).await;
    assert!(texts(&found).is_empty());
    let view = ann.command("conversation.get", json!({ "conversation": id })).await;
    assert_eq!((&view["unread"], &view["last_message"]["kind"]), (&json!(0), &json!("created")));
    bob.command("typing.set", json!({ "conversation": id, "typing": true })).await;
    eve.expect("typing").await;
    eve.command("typing.set", json!({ "conversation": id, "typing": true })).await;
    assert_eq!(ann.expect_next("typing").await["user"], eve.user);
    let apart = json!({ "title": "H", "members": [bob.user] });
    assert_eq!(ann.refused("conversation.create", apart).await["code"], "blocked");
    let apart = json!({ "title": "H", "members": [ann.user] });
    assert_eq!(bob.refused("conversation.create", apart).await["code"], "not_found");
    let apart = json!({ "title": "H", "members": [ann.user, bob.user] });
    assert_eq!(eve.command("conversation.create", apart).await["member_count"], 3, "eve learns of no block");
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_told_to_acquaintances_and_ends_with_the_last_socket() {
    let server = Server::start(&[("presence-linger-ms", "50")]).await;
    let (mut ann, bob, id) = two_who_talk(&server).await;
    let mut eve = server.user("eve").await;
    let users = json!({ "users": [bob.user, eve.user] });
    let here = ann.command("presence.get", users.clone()).await;
    assert_eq!(here["users"][0]["presence"], "online");
    assert_eq!(here["users"][1]["presence"], "offline", "a stranger's presence is nobody's business");
    let account = bob.account.clone();
    bob.cut(support::socket::Cut::Close).await;
    let gone = ann.expect_where("presence", |one| one["presence"] == "offline").await;
    let mut bob = Client::connect(&server, account).await;
    assert_eq!(gone["user"], bob.user);
    assert_eq!(ann.expect_next("presence").await["presence"], "online");
    bob.command("status.set", json!({ "status": "busy" })).await;
    assert_eq!(ann.expect_next("presence").await["presence"], "busy");
    bob.command("status.set", json!({ "status": "invisible" })).await;
    assert_eq!(ann.expect_next("presence").await["presence"], "offline");
    assert_eq!(ann.command("presence.get", users).await["users"][0]["presence"], "offline");
    bob.command("typing.set", json!({ "conversation": id, "typing": true })).await;
    assert_eq!(ann.expect("typing").await["typing"], true);
    assert!(eve.take_events("presence").is_empty() && bob.take_events("typing").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_has_a_read_mark_that_all_devices_share() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob, _) = two_who_talk(&server).await;
    let mut tablet = bob.second_socket().await;
    ann.command("like.add", json!({ "user": bob.user })).await;
    let liked = tablet.expect_where("personal", |entry| entry["kind"] == "like_received").await;
    assert_eq!(liked["subject"], 0, "who it was is told by the match");
    let inbox = bob.command("notification.list", json!({})).await;
    let kinds: Vec<_> = inbox["notifications"].as_array().expect("a list").iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["like_received", "conversation_gained", "session_started"]);
    assert_eq!(inbox["unread"], 3);
    bob.command("notification.read", json!({ "seq": liked["seq"] })).await;
    tablet.expect_where("personal", |entry| entry["kind"] == "notifications_read").await;
    assert_eq!(bob.command("notification.list", json!({ "limit": 1 })).await["unread"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_matches_talk_a_stranger_cannot_open_a_conversation() {
    let server = Server::start(&[("contact-policy", "match")]).await;
    let mut ann = server.user("ann").await;
    let mut bob = server.user("bob").await;
    let error = ann.refused("conversation.open", json!({ "user": bob.user })).await;
    assert_eq!(error["code"], "match_required");
    ann.command("like.add", json!({ "user": bob.user })).await;
    bob.command("like.add", json!({ "user": ann.user })).await;
    let opened = ann.command("conversation.open", json!({ "user": bob.user })).await;
    ann.command("match.end", json!({ "user": bob.user })).await;
    let again = bob.command("conversation.open", json!({ "user": ann.user })).await;
    assert_eq!(again["id"], opened["id"], "it existed before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_dies_without_a_word_is_noticed_and_its_user_is_gone() {
    let quick = [("ping-ms", "300"), ("silent-ms", "2000"), ("presence-linger-ms", "50")];
    let server = Server::start(&quick).await;
    let (anns, bobs) = (server.account("ann").await, server.account("bob").await);
    let user = server.database().reader().await.number("id", "FROM users WHERE username = 'bob'").await;
    let mut ann = Client::connect(&server, anns).await;
    ann.command("conversation.open", json!({ "user": user })).await;
    // Bob's client reads no more than its greeting, so that it answers no ping; its end of the connection stays open.
    // Ann's reads all the time.
    let offline = ann.expect_where("presence", |one| one["presence"] == "offline");
    let (bob, gone) = tokio::join!(Client::connect(&server, bobs), offline);
    assert_eq!(gone["user"], bob.user);
    ann.command("ping", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_direct_conversations_have_a_rate_and_finding_one_costs_nothing() {
    let server = Server::start(&[("direct-per-hour", "2")]).await;
    let mut ann = server.user("ann").await;
    let (bob, mut carol) = (server.user("bob").await, server.user("carol").await);
    let dan = server.user("dan").await;
    assert_eq!(ann.refused("conversation.open", json!({ "user": 999 })).await["code"], "not_found");
    let opened = carol.command("conversation.open", json!({ "user": ann.user })).await;
    for _ in 0..3 {
        let found = ann.command("conversation.open", json!({ "user": carol.user })).await;
        assert_eq!(found["id"], opened["id"]);
        ann.command("conversation.open", json!({ "user": bob.user })).await;
    }
    ann.command("conversation.open", json!({ "user": dan.user })).await;
    let eve = server.user("eve").await;
    assert_eq!(ann.refused("conversation.open", json!({ "user": eve.user })).await["code"], "rate_limited");
    assert_eq!(ann.refused("conversation.open", json!({ "user": 999 })).await["code"], "not_found");
}
