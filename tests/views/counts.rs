//! Counts and last messages are those of what history shows.

use serde_json::{Value, json};

use super::support::{Client, Server};
use super::{group, history, say, users};

/// Fails unless what the conversation tells of its messages is what history has.
async fn must_count(client: &mut Client, conversation: i64) {
    let shown = history(client, conversation).await;
    let view = client.command("conversation.get", json!({ "conversation": conversation })).await;
    let (me, read) = (json!(client.user), view["read"].as_i64());
    let readable =
        |message: &&Value| message["kind"] == "text" && message["deleted"] != true && message["hidden"] != true;
    let unread = shown.iter().filter(readable).filter(|one| one["sender"] != me && one["seq"].as_i64() > read).count();
    assert_eq!(view["unread"], unread, "unread of {me} in {conversation}: {shown:?}");
    let last = shown.iter().rev().find(|message| message["hidden"] != true);
    assert_eq!(view.get("last_message"), last, "last message of {me} in {conversation}");
    // The older API counts the same, and its last message is the last text.
    let path = format!("/api/v1/conversations/{conversation}/");
    let older = client.http("GET", &path, None).await;
    let members = view["members"].as_array().expect("members");
    if members.iter().any(|member| member["gone"] == true) {
        assert_eq!(older.status, 404, "to the older API a conversation with somebody who is gone is none");
        return;
    }
    assert_eq!(older.status, 200, "{}", older.body);
    assert_eq!(older.json["unread_count"], unread, "{}", older.body);
    let last = shown.iter().rev().find(readable).map_or(Value::Null, |message| message["text"].clone());
    assert_eq!(older.json["last_message"]["content"], last, "{}", older.body);
    for word in shown.iter().filter(readable).filter_map(|message| message["text"].as_str()) {
        let found = client.command("message.search", json!({ "query": word, "conversation": conversation })).await;
        assert_eq!(found["messages"].as_array().map(Vec::len), Some(1), "{word}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n14_unread_is_what_history_shows() {
    let server = Server::start(&[]).await;
    let [mut ann, mut bob, mut cem] = users(&server, ["ann", "bob", "cem"]).await;
    let id = group(&mut [&mut ann, &mut bob, &mut cem]).await;
    let direct = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].as_i64().expect("an id");
    say(&mut ann, id, "one").await;
    say(&mut bob, id, "two").await;
    say(&mut cem, id, "three").await;
    say(&mut bob, direct, "four").await;
    say(&mut ann, direct, "five").await;
    // Bob still sees what ann writes in the group, and ann what bob wrote to her; the rest is gone for either.
    ann.command("block.add", json!({ "user": bob.user })).await;
    say(&mut ann, id, "six").await;
    let last = say(&mut bob, id, "seven").await;
    for client in [&mut ann, &mut bob, &mut cem] {
        must_count(client, id).await;
    }
    for client in [&mut ann, &mut bob] {
        must_count(client, direct).await;
    }
    let view = bob.command("conversation.get", json!({ "conversation": id })).await;
    assert_eq!(view["unread"], 3, "{view}");
    ann.command("message.delete", json!({ "conversation": direct, "seq": 1 })).await;
    must_count(&mut ann, direct).await;
    bob.command("block.add", json!({ "user": ann.user })).await;
    ann.command("message.read", json!({ "conversation": id, "seq": last - 2 })).await;
    for client in [&mut ann, &mut bob, &mut cem] {
        must_count(client, id).await;
    }
    must_count(&mut bob, direct).await;
    ann.command("block.remove", json!({ "user": bob.user })).await;
    for client in [&mut ann, &mut bob, &mut cem] {
        must_count(client, id).await;
    }
}
