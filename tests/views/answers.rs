//! What a client author had to guess: limits of pages, limits that are told, and commands that may be repeated.

use serde_json::{Value, json};

use super::support::Server;
use super::{group, say, users};

#[tokio::test(flavor = "multi_thread")]
async fn n16_a_limit_above_the_page_is_refused_and_not_cut() {
    let server = Server::start(&[("page-max", "10")]).await;
    let [mut ann, mut bob] = users(&server, ["ann", "bob"]).await;
    let id = group(&mut [&mut ann, &mut bob]).await;
    ann.command("profile.update", json!({ "birth_date": "1990-01-05" })).await;
    for (kind, data) in [
        ("message.history", json!({ "conversation": id })),
        ("message.search", json!({ "query": "word" })),
        ("conversation.list", json!({})),
        ("candidate.list", json!({})),
        ("match.list", json!({})),
        ("notification.list", json!({})),
    ] {
        let with = |limit: i64| {
            let mut data = data.clone();
            data["limit"] = json!(limit);
            data
        };
        ann.command(kind, with(10)).await;
        for limit in [11, 105, i64::MAX, 0, -1] {
            let refused = ann.refused(kind, with(limit)).await;
            assert_eq!((&refused["code"], &refused["field"]), (&json!("invalid_field"), &json!("limit")), "{kind}");
        }
    }
}

/// Whatever is refused for its size is told before.
#[tokio::test(flavor = "multi_thread")]
async fn n16_the_greeting_tells_every_limit_that_refuses_a_text_or_a_list() {
    let server =
        Server::start(&[("name-max", "12"), ("bio-max", "13"), ("interests-max", "2"), ("search-words", "2")]).await;
    let mut ann = server.user("ann").await;
    let limits = ann.hello["limits"].clone();
    let limit = |name: &str| limits[name].as_u64().unwrap_or_else(|| panic!("{name} is not told")) as usize;
    let interests = |count: usize| (0..count).map(|number| format!("interest {number}")).collect::<Vec<_>>();
    let words = |count: usize| vec!["word"; count].join(" ");
    for (kind, name, fits, over) in [
        (
            "profile.update",
            "name_max",
            json!({ "location": "x".repeat(limit("name_max")) }),
            json!({ "location": "x".repeat(13) }),
        ),
        ("profile.update", "bio_max", json!({ "bio": "x".repeat(limit("bio_max")) }), json!({ "bio": "x".repeat(14) })),
        (
            "profile.update",
            "interests_max",
            json!({ "interests": interests(limit("interests_max")) }),
            json!({ "interests": interests(3) }),
        ),
        (
            "message.search",
            "search_words",
            json!({ "query": words(limit("search_words")) }),
            json!({ "query": "a b c" }),
        ),
    ] {
        ann.command(kind, fits).await;
        assert_eq!(ann.refused(kind, over).await["code"], "too_long", "{name}");
    }
    for name in ["emoji_max", "emojis_per_message", "members_listed", "unread_cap", "blocks_max", "page_max"] {
        assert!(limit(name) > 0);
    }
}

/// What is done already changes nothing and is answered well.
#[tokio::test(flavor = "multi_thread")]
async fn n16_commands_may_be_repeated() {
    let server = Server::start(&[]).await;
    let [mut ann, mut bob, mut cem] = users(&server, ["ann", "bob", "cem"]).await;
    let id = group(&mut [&mut ann, &mut bob]).await;
    let seq = say(&mut ann, id, "hello").await;
    let place = json!({ "conversation": id, "seq": seq });
    let with = |name: &str, value: Value| {
        let mut data = place.clone();
        data[name] = value;
        data
    };
    let own = json!({ "conversation": id });
    let inside = |name: &str, value: Value| {
        let mut data = own.clone();
        data[name] = value;
        data
    };
    for (kind, data) in [
        ("message.edit", with("text", json!("hello, again"))),
        ("message.react", with("emoji", json!("👍"))),
        ("message.unreact", with("emoji", json!("👍"))),
        ("message.read", place.clone()),
        ("message.delivered", place.clone()),
        ("conversation.rename", inside("title", json!("renamed"))),
        ("member.add", inside("users", json!([cem.user]))),
        ("conversation.mute", inside("until", json!(5))),
        ("conversation.archive", inside("archived", json!(true))),
        ("message.delete", place.clone()),
        ("message.delete", with("for_all", json!(true))),
        ("conversation.open", json!({ "user": bob.user })),
        ("like.add", json!({ "user": bob.user })),
        ("like.remove", json!({ "user": bob.user })),
        ("pass.add", json!({ "user": bob.user })),
        ("block.add", json!({ "user": bob.user })),
        ("block.remove", json!({ "user": bob.user })),
        ("status.set", json!({ "status": "away" })),
        ("notification.read", json!({ "seq": 1 })),
    ] {
        let first = ann.command(kind, data.clone()).await;
        let head = ann.command("conversation.get", own.clone()).await["head"].clone();
        let again = ann.command(kind, data).await;
        if kind != "message.delete" && again.get("seq").is_some() {
            assert_eq!(again["seq"], head, "{kind}: {first}");
        }
        assert_eq!(ann.command("conversation.get", own.clone()).await["head"], head, "{kind} again took a number");
    }
    for (kind, data) in [
        ("member.remove", inside("user", json!(cem.user))),
        ("conversation.leave", own.clone()),
        ("match.end", json!({ "user": cem.user })),
    ] {
        if kind == "match.end" {
            ann.command("like.add", json!({ "user": cem.user })).await;
            cem.command("like.add", json!({ "user": ann.user })).await;
        }
        ann.command(kind, data.clone()).await;
        assert_eq!(ann.refused(kind, data).await["code"], "not_found", "{kind}");
    }
}
