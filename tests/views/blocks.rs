//! Blocks inside a group: what is hidden, and what is told although its author is hidden.

use serde_json::{Value, json};

use super::support::{Client, Server};
use super::{group, history, must_agree, say, users};

async fn change(client: &mut Client, kind: &str, conversation: i64, more: Value) {
    let mut data = more;
    data["conversation"] = json!(conversation);
    client.command(kind, data).await;
}

/// Cem blocks bob, who is an admin. Each kind of change is told to cem as history shows it afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn n11_what_changes_ones_own_view_is_told_whoever_does_it() {
    let server = Server::start(&[]).await;
    let [mut ann, mut bob, mut cem] = users(&server, ["ann", "bob", "cem"]).await;
    let id = group(&mut [&mut ann, &mut bob, &mut cem]).await;
    change(&mut ann, "member.role", id, json!({ "user": bob.user, "role": "admin" })).await;
    let of_cem = say(&mut cem, id, "cem's").await;
    let of_ann = say(&mut ann, id, "ann's").await;
    let of_bob = say(&mut bob, id, "bob's").await;
    let another = say(&mut bob, id, "bob's other one").await;
    cem.command("block.add", json!({ "user": bob.user })).await;
    cem.command("ping", json!({})).await;
    cem.forget_events();

    // What hidden authors do with what is hidden, or put beside what is not, is a number.
    for (by_bob, kind, more) in [
        (true, "message.edit", json!({ "seq": of_bob, "text": "bob's, again" })),
        (true, "message.react", json!({ "seq": of_cem, "emoji": "👍" })),
        (true, "message.unreact", json!({ "seq": of_cem, "emoji": "👍" })),
        (false, "message.react", json!({ "seq": of_bob, "emoji": "👍" })),
        (false, "message.delete", json!({ "seq": of_bob, "for_all": true })),
        (true, "message.delete", json!({ "seq": another, "for_all": true })),
    ] {
        change(if by_bob { &mut bob } else { &mut ann }, kind, id, more).await;
        cem.expect_next("message.hidden").await;
    }
    // What cem sees is told as it changes, and names nobody whom cem blocks.
    change(&mut ann, "message.react", id, json!({ "seq": of_cem, "emoji": "👍" })).await;
    assert_eq!(cem.expect_next("reaction.added").await["user"], ann.user);
    for (place, seq) in [("cem's", of_cem), ("ann's", of_ann)] {
        change(&mut bob, "message.delete", id, json!({ "seq": seq, "for_all": true })).await;
        let told = cem.expect_next("message.deleted").await;
        assert_eq!(told["message"], seq, "{place}");
        assert!(told.get("user").is_none() && told.get("sender").is_none(), "{told}");
    }
    let shown = history(&mut cem, id).await;
    let at = |seq: i64| shown.iter().find(|message| message["seq"] == seq).unwrap_or(&Value::Null);
    assert!(at(of_cem)["deleted"] == true && at(of_ann)["deleted"] == true, "{shown:?}");
    assert!(at(of_bob)["hidden"] == true && at(another)["hidden"] == true, "{shown:?}");
    for client in [&mut ann, &mut bob, &mut cem] {
        must_agree(client, id).await;
    }
}

/// Who cannot see a message cannot answer it, and can do nothing else with it.
#[tokio::test(flavor = "multi_thread")]
async fn n11_a_hidden_message_is_there_for_nothing() {
    let server = Server::start(&[]).await;
    let [mut ann, mut bob, mut cem] = users(&server, ["ann", "bob", "cem"]).await;
    let id = group(&mut [&mut ann, &mut bob, &mut cem]).await;
    let of_bob = say(&mut bob, id, "bob's").await;
    cem.command("block.add", json!({ "user": bob.user })).await;
    let answer = json!({ "conversation": id, "text": "what?", "reply_to": of_bob });
    assert_eq!(cem.refused("message.send", answer).await["field"], "reply_to");
    let place = json!({ "conversation": id, "seq": of_bob, "emoji": "👍" });
    assert_eq!(cem.refused("message.react", place).await["code"], "not_found");
    let place = json!({ "conversation": id, "seq": of_bob });
    assert_eq!(cem.refused("message.delete", place).await["code"], "not_found");
}

/// Everything that happens to the group reaches those who block the one who does it, without the author.
#[tokio::test(flavor = "multi_thread")]
async fn n12_what_happens_to_the_group_is_told_to_all_its_members() {
    let server = Server::start(&[]).await;
    let [mut bob, mut cem, mut eve] = users(&server, ["bob", "cem", "eve"]).await;
    let (dora, bob_id, cem_id) = (server.user("dora").await, bob.user, cem.user);
    let id = group(&mut [&mut bob, &mut cem, &mut eve]).await;
    cem.command("block.add", json!({ "user": bob.user })).await;
    change(&mut bob, "conversation.rename", id, json!({ "title": "renamed" })).await;
    change(&mut bob, "member.add", id, json!({ "users": [dora.user] })).await;
    change(&mut bob, "member.role", id, json!({ "user": dora.user, "role": "admin" })).await;
    change(&mut bob, "member.remove", id, json!({ "user": dora.user })).await;
    change(&mut bob, "member.role", id, json!({ "user": cem.user, "role": "admin" })).await;
    change(&mut bob, "conversation.leave", id, json!({})).await;
    for (kind, text, subject) in [
        ("renamed", "renamed", None),
        ("member_added", "", Some(dora.user)),
        ("role_changed", "admin", Some(dora.user)),
        ("member_removed", "", Some(dora.user)),
        ("role_changed", "admin", Some(cem_id)),
        ("member_left", "", Some(bob_id)),
        ("role_changed", "owner", Some(cem_id)),
    ] {
        let (to_cem, to_eve) = (cem.expect_next("message.created").await, eve.expect_next("message.created").await);
        let told = &to_cem["message"];
        let subject = subject.map_or(Value::Null, Value::from);
        assert_eq!((&told["kind"], &told["text"], &told["subject"]), (&json!(kind), &json!(text), &subject));
        assert!(told.get("sender").is_none(), "the blocked author is named: {told}");
        // The same in all else as to those who see the author.
        let mut without = to_eve["message"].clone();
        assert_eq!(without.as_object_mut().and_then(|message| message.remove("sender")), Some(json!(bob_id)));
        assert_eq!(*told, without);
    }
    let view = cem.command("conversation.get", json!({ "conversation": id })).await;
    assert_eq!((&view["title"], &view["role"]), (&json!("renamed"), &json!("owner")));
    assert_eq!(view["last_message"]["kind"], "role_changed", "{view}");
    for client in [&mut cem, &mut eve] {
        must_agree(client, id).await;
    }
    let shown = history(&mut cem, id).await;
    let named: Vec<&Value> = shown.iter().filter_map(|message| message.get("sender")).collect();
    assert!(named.is_empty(), "all of it was bob's: {named:?}");
}

/// Those who came later agree with themselves, too: what was before is not in their pages.
#[tokio::test(flavor = "multi_thread")]
async fn n12_a_newcomers_pages_are_their_history() {
    let server = Server::start(&[]).await;
    let [mut ann, mut bob, mut eve] = users(&server, ["ann", "bob", "eve"]).await;
    let id = group(&mut [&mut ann, &mut bob]).await;
    let old = say(&mut ann, id, "before eve").await;
    change(&mut ann, "member.add", id, json!({ "users": [eve.user] })).await;
    assert_eq!(eve.expect_next("message.created").await["message"]["kind"], "member_added");
    change(&mut ann, "message.edit", id, json!({ "seq": old, "text": "changed" })).await;
    eve.expect_next("message.hidden").await;
    must_agree(&mut eve, id).await;
    change(&mut ann, "member.remove", id, json!({ "user": eve.user })).await;
    say(&mut bob, id, "while eve is away").await;
    change(&mut ann, "member.add", id, json!({ "users": [eve.user] })).await;
    must_agree(&mut eve, id).await;
    assert_eq!(history(&mut eve, id).await.len(), 1);
}

/// Eve brings together two who block each other: a refusal would tell her of the block. Only they themselves cannot.
#[tokio::test(flavor = "multi_thread")]
async fn n15_a_third_person_learns_of_no_block() {
    let server = Server::start(&[]).await;
    let [mut ann, mut bob, mut eve] = users(&server, ["ann", "bob", "eve"]).await;
    ann.command("block.add", json!({ "user": bob.user })).await;
    let id = group(&mut [&mut eve, &mut ann, &mut bob]).await;
    say(&mut bob, id, "hello ann").await;
    ann.expect_next("message.hidden").await;
    let alone = group(&mut [&mut eve]).await;
    change(&mut eve, "member.add", alone, json!({ "users": [ann.user] })).await;
    change(&mut eve, "member.add", alone, json!({ "users": [bob.user] })).await;
    let view = bob.command("conversation.get", json!({ "conversation": alone })).await;
    assert_eq!(view["member_count"], 3);

    // Neither of the two brings the other in; the one who is blocked hears that there is no such user.
    let own = group(&mut [&mut ann]).await;
    let both = json!({ "title": "x", "members": [bob.user] });
    assert_eq!(ann.refused("conversation.create", both).await["code"], "blocked");
    let add = json!({ "conversation": own, "users": [bob.user] });
    assert_eq!(ann.refused("member.add", add).await["code"], "blocked");
    let own = group(&mut [&mut bob]).await;
    let add = json!({ "conversation": own, "users": [ann.user] });
    let refused = bob.refused("member.add", add).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("not_found"), &json!("users[0]")));
    let both = json!({ "title": "x", "members": [eve.user, ann.user] });
    let refused = bob.refused("conversation.create", both).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("not_found"), &json!("members[1]")));
}

/// Every block and its end puts an entry into the personal stream of whoever sees something else by it, and of nobody
/// else.
#[tokio::test(flavor = "multi_thread")]
async fn n13_both_sides_are_told_of_the_end_of_a_block() {
    let server = Server::start(&[]).await;
    let [mut ann, mut bob, mut eve] = users(&server, ["ann", "bob", "eve"]).await;
    let direct = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].as_i64().expect("an id");
    say(&mut ann, direct, "hello bob").await;
    group(&mut [&mut eve, &mut ann, &mut bob]).await;
    for client in [&mut ann, &mut bob, &mut eve] {
        client.command("ping", json!({})).await;
        client.forget_events();
    }
    // Eve shares a group with ann, who blocks her: as with a deletion, she is told nothing by her own stream.
    ann.command("block.add", json!({ "user": eve.user })).await;
    ann.command("block.remove", json!({ "user": eve.user })).await;
    for kind in ["block_added", "block_removed"] {
        assert_eq!(ann.expect_next("personal").await["kind"], kind);
    }
    ann.command("block.add", json!({ "user": bob.user })).await;
    let told = bob.expect_next("personal").await;
    assert_eq!((&told["kind"], &told["subject"]), (&json!("user_gone"), &json!(ann.user)));
    assert_eq!(history(&mut bob, direct).await[0]["deleted"], true);
    ann.command("block.remove", json!({ "user": bob.user })).await;
    let told = bob.expect_next("personal").await;
    assert_eq!((&told["kind"], &told["subject"]), (&json!("user_changed"), &json!(ann.user)));
    assert_eq!(history(&mut bob, direct).await[0]["text"], "hello bob");
    // A repeat changes nothing and tells nothing.
    ann.command("block.remove", json!({ "user": bob.user })).await;
    eve.command("like.add", json!({ "user": bob.user })).await;
    assert_eq!(bob.expect_next("personal").await["kind"], "like_received");
    bob.command("like.add", json!({ "user": eve.user })).await;
    for client in [&mut bob, &mut eve] {
        client.expect_where("personal", |entry| entry["kind"] == "matched").await;
        client.command("ping", json!({})).await;
        client.forget_events();
    }
    // A match that ends by a block, without a conversation.
    eve.command("block.add", json!({ "user": bob.user })).await;
    assert_eq!(bob.expect_next("personal").await["kind"], "user_gone");
    eve.command("block.remove", json!({ "user": bob.user })).await;
    assert_eq!(bob.expect_next("personal").await["kind"], "user_changed");
    // Who blocks back sees a name go from the list of blocks, and come back.
    eve.command("block.add", json!({ "user": ann.user })).await;
    ann.command("block.add", json!({ "user": eve.user })).await;
    assert_eq!(eve.expect_where("personal", |entry| entry["kind"] == "user_gone").await["subject"], ann.user);
    assert_eq!(eve.command("block.list", json!({})).await["users"][0]["username"], "");
    ann.command("block.remove", json!({ "user": eve.user })).await;
    assert_eq!(eve.expect_where("personal", |entry| entry["kind"] == "user_changed").await["subject"], ann.user);
    assert_eq!(eve.command("block.list", json!({})).await["users"][0]["username"], "ann");
}

/// What tells of titles, members and roles is found by every device: it cannot be deleted, not even for oneself.
#[tokio::test(flavor = "multi_thread")]
async fn n13_what_happened_to_a_group_stays_for_all_devices() {
    let server = Server::start(&[]).await;
    let [mut ann, mut bob] = users(&server, ["ann", "bob"]).await;
    let id = group(&mut [&mut ann, &mut bob]).await;
    change(&mut ann, "conversation.rename", id, json!({ "title": "renamed" })).await;
    for for_all in [false, true] {
        let refused = json!({ "conversation": id, "seq": 2, "for_all": for_all });
        assert_eq!(bob.refused("message.delete", refused).await["code"], "forbidden");
    }
    must_agree(&mut bob, id).await;
}
