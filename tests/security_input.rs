//! Attacks by what is said (S29, S34, S35, S36, S39, S59): fields that are not the client's to set, lists without an
//! end, JSON that parsers disagree about, searches that should run for ever, texts that break out of their line, and
//! frames that were good yesterday and somebody else's.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use duet::protocol::Command;
use serde_json::{Value, json};
use support::raw::RawSocket;
use support::{Client, Server, http};

async fn open(client: &mut Client, user: i64) -> i64 {
    let opened = client.command("conversation.open", json!({ "user": user })).await;
    opened["id"].as_i64().expect("a conversation has an id")
}

/// The code and the field of a refusal.
async fn refusal(client: &mut Client, name: &str, data: Value) -> (String, Option<String>) {
    let error = client.refused(name, data).await;
    let text = |name: &str| error[name].as_str().map(str::to_owned);
    (text("code").expect("a code"), text("field"))
}

fn is(code: &str, field: &str) -> (String, Option<String>) {
    (code.to_owned(), Some(field.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn s29_no_command_takes_a_field_that_it_does_not_know() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let before = ann.command("profile.me", json!({})).await;
    let fields =
        ["sender", "created_at", "sent_at", "rev", "is_staff", "user_id", "verified", "__proto__", "disabled_at"];
    for command in Command::ALL {
        for field in fields {
            let told = refusal(&mut ann, command.name, json!({ field: 1 })).await;
            assert_eq!(told, is("unknown_field", field), "{} takes {field}", command.name);
        }
        ann.command("ping", json!({})).await;
    }
    // Nor does the envelope, where a misplaced client_key would be lost without a word.
    let mut raw = RawSocket::greeted(server.next_address(), &ann.account.access).await;
    for field in ["sender", "user", "client_key", "role"] {
        raw.say(&json!({ "id": 7, "type": "profile.me", field: 1 }).to_string()).await;
        let reply = raw.json().await;
        assert_eq!((&reply["id"], &reply["error"]["code"]), (&json!(7), &json!("invalid_frame")), "{reply}");
        assert!(reply["error"]["message"].as_str().is_some_and(|text| text.contains(field)), "{reply}");
    }
    assert_eq!(ann.command("profile.me", json!({})).await, before);
    // REST ignores what it does not know, as it always did; nothing of it is taken.
    let body = json!({ "username": "eve", "password": support::server::PASSWORD, "is_staff": true, "id": 1, "role": "admin",
        "password2": support::server::PASSWORD, "disabled_at": 0, "created_at": 0 });
    let made = http::call(server.next_address(), "POST", "/api/v1/auth/register/", None, Some(&body)).await;
    let shown = json!({ "username": "eve", "email": "", "first_name": "", "last_name": "" });
    assert_eq!((made.status, made.json), (201, shown));
    let eve = Client::connect(&server, server.login("eve").await).await;
    assert!(eve.user > ann.user);
}

#[tokio::test(flavor = "multi_thread")]
async fn s34_every_list_has_its_end() {
    let server = Server::start(&[]).await;
    let (mut ann, bob, mut eve) = (server.user("ann").await, server.user("bob").await, server.user("eve").await);
    let direct = open(&mut ann, bob.user).await;
    let group =
        ann.command("conversation.create", json!({ "title": "ours", "members": [bob.user] })).await["id"].clone();
    let ids: Vec<i64> = (1..=2000).collect();
    let names: Vec<String> = ids.iter().map(i64::to_string).collect();
    let messages: Vec<Value> = ids[..500].iter().map(|seq| json!({ "conversation": direct, "seq": seq })).collect();
    let cursors: serde_json::Map<String, Value> = names.iter().map(|name| (name.clone(), json!(0))).collect();
    for (name, data, field) in [
        ("conversation.create", json!({ "title": "all", "members": ids }), "members"),
        ("member.add", json!({ "conversation": group, "users": ids }), "users"),
        ("presence.get", json!({ "users": ids }), "users"),
        ("profile.update", json!({ "interests": names }), "interests"),
        ("report.send", json!({ "user": bob.user, "reason": "spam", "messages": messages }), "messages"),
        ("resume", json!({ "epoch": ann.hello["epoch"], "conversations": cursors }), "conversations"),
    ] {
        assert_eq!(refusal(&mut ann, name, data).await, is("too_long", field), "{name}");
    }
    // Genders are no more than there are, however often they are named.
    let genders = json!({ "genders": vec!["woman"; 2000] });
    assert_eq!(ann.command("preferences.update", genders).await["genders"], json!(["woman"]));

    // To name everything is to be told nothing: neither now nor when something happens there.
    let some: serde_json::Map<String, Value> = cursors.into_iter().take(500).collect();
    let all = json!({ "epoch": eve.hello["epoch"], "conversations": some });
    let resumed = eve.command("resume", all).await;
    assert_eq!((resumed["gone"].as_array().map(Vec::len), &resumed["moved"]), (Some(500), &json!({})));
    for conversation in [json!(direct), group] {
        ann.command("message.send", json!({ "conversation": conversation, "text": "between us" })).await;
        ann.command("typing.set", json!({ "conversation": conversation, "typing": true })).await;
    }
    let hers = open(&mut ann, eve.user).await;
    ann.command("typing.set", json!({ "conversation": hers, "typing": true })).await;
    ann.command("message.send", json!({ "conversation": hers, "text": "for eve" })).await;
    assert_eq!(eve.expect_next("typing").await["conversation"], hers);
    assert_eq!(eve.expect_next("message.created").await["message"]["text"], "for eve");
}

/// What parsers disagree about, and what this one must say.
#[tokio::test(flavor = "multi_thread")]
async fn s35_hostile_json_gets_a_named_error_and_the_socket_lives() {
    let server = Server::start_plain(&[]).await;
    let account = server.account("mallory").await;
    let mut socket = RawSocket::greeted(server.next_address(), &account.access).await;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(129), close.repeat(129));
    let send = |rest: &str| format!(r#"{{"id":1,"type":"message.send","data":{{"conversation":1,{rest}}}}}"#);
    let ping = |data: &str| format!(r#"{{"id":1,"type":"ping","data":{data}}}"#);
    let place = r#"{"id":1,"type":"profile.update","data":{"place":{"latitude":1e400,"longitude":0}}}"#;
    for (frame, code, field) in [
        (ping(&deep("[", "]")), "invalid_field", "data"),
        (ping(&deep(r#"{"a":"#, "}").replace("{}", "{\"a\":1}")), "invalid_json", ""),
        (ping(&format!(r#"{{"a":{}}}"#, deep("[", "]"))), "unknown_field", "a"),
        (ping(&"[".repeat(30_000)), "invalid_json", ""),
        (ping(r#""text""#), "invalid_field", "data"),
        (send(&format!(r#""text":{}"#, deep("[", "]"))), "invalid_field", "text"),
        (send(r#""text":"a","text":"b""#), "invalid_field", "text"),
        (send(r#""text":"a","conversation":2"#), "invalid_field", "conversation"),
        (r#"{"id":1,"type":"ping","type":"profile.me"}"#.to_owned(), "invalid_frame", ""),
        (r#"{"id":1,"id":2,"type":"ping"}"#.to_owned(), "invalid_frame", ""),
        (send(r#""text":"a","reply_to":1e400"#), "invalid_field", "reply_to"),
        (send(r#""text":"a","reply_to":1.5"#), "invalid_field", "reply_to"),
        (send(r#""text":"a","reply_to":9223372036854775808"#), "invalid_field", "reply_to"),
        (place.to_owned(), "invalid_field", "place.latitude"),
        (r#"{"id":1e400,"type":"ping"}"#.to_owned(), "invalid_frame", ""),
        (r#"{"id":9223372036854775808,"type":"ping"}"#.to_owned(), "invalid_frame", ""),
        (send(r#""text":"\ud800""#), "invalid_field", "text"),
        (send(r#""text":"\udc00\ud800""#), "invalid_field", "text"),
        (r#"{"id":1,"type":"\ud800"}"#.to_owned(), "invalid_frame", ""),
        (send(r#""text":"a\u0000b""#), "invalid_field", "text"),
        (send("\"text\":\"a\u{0}b\""), "invalid_json", ""),
        (format!("\u{feff}{}", ping("{}")), "invalid_json", ""),
        (send(r#""text":NaN"#), "invalid_json", ""),
        (ping("{},"), "invalid_json", ""),
        (r#"[1,"ping",{}]"#.to_owned(), "invalid_frame", ""),
        (ping("[]"), "invalid_field", "data"),
        (String::new(), "invalid_json", ""),
    ] {
        let shown: String = frame.chars().take(100).collect();
        socket.say(&frame).await;
        let reply = socket.json().await;
        let error = &reply["error"];
        assert_eq!(
            (&error["code"], error["field"].as_str().unwrap_or_default()),
            (&json!(code), field),
            "{shown}: {reply}"
        );
        assert!(error["message"].as_str().is_some_and(|text| text.len() > 10 && text.len() < 400), "{reply}");
        socket.say(r#"{"id":"good","type":"ping"}"#).await;
        assert_eq!(socket.json().await["ok"], true, "{shown}");
    }
    for _ in 0..11 {
        socket.say("{").await;
    }
    for _ in 0..10 {
        assert_eq!(socket.json().await["error"]["code"], "invalid_json");
    }
    assert_eq!(socket.end().await.0, 4005);
}

#[tokio::test(flavor = "multi_thread")]
async fn s36_a_search_is_words_and_nothing_else() {
    let server = Server::start(&[]).await;
    let (mut ann, bob, mut eve) = (server.user("ann").await, server.user("bob").await, server.user("eve").await);
    let private = open(&mut ann, bob.user).await;
    ann.command("message.send", json!({ "conversation": private, "text": "marmalade secret" })).await;
    let own = open(&mut ann, eve.user).await;
    for text in ["a plum and a pear", "100% sure", "not or and near"] {
        eve.command("message.send", json!({ "conversation": own, "text": text })).await;
    }
    for (query, found) in [
        ("plum pear", 1),
        ("PLUM", 1),
        ("pl*", 0),
        ("plu", 0),
        ("%", -1),
        ("100%", 1),
        ("_lum", 0),
        ("plum OR secret", 0),
        ("secret", 0),
        ("marmalade\" OR \"plum", 0),
        ("plum NOT pear", 0),
        ("NEAR(plum pear)", 0),
        ("folded:plum", 0),
        ("conversation:1", 0),
        ("^plum", 1),
        ("plum\"", 1),
        ("'; DROP TABLE messages; --", 0),
        ("-plum", 1),
        ("(((", -1),
        ("\"\"", -1),
        ("*", -1),
        ("", -1),
        ("not or and near", 1),
        ("{plum}", 1),
        ("plum + pear", 1),
        ("a\\u0000", 0),
    ] {
        let id = eve.say("message.search", json!({ "query": query })).await;
        let reply = eve.reply(id).await;
        if found < 0 {
            assert_eq!(
                (&reply["error"]["code"], &reply["error"]["field"]),
                (&json!("invalid_field"), &json!("query")),
                "{query}"
            );
        } else {
            assert_eq!(reply["data"]["messages"].as_array().map(Vec::len), Some(found as usize), "{query}: {reply}");
        }
    }
    for query in ["a".repeat(10_000), "a ".repeat(5000), "a b c d e f g h i".to_owned(), "\"".repeat(10_000)] {
        assert_eq!(refusal(&mut eve, "message.search", json!({ "query": query })).await, is("too_long", "query"));
    }
    let data = json!({ "query": "secret", "conversation": private });
    assert_eq!(refusal(&mut eve, "message.search", data).await.0, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn s36_pages_are_short_however_they_are_asked_for() {
    let server = Server::start(&[]).await;
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let own = open(&mut ann, bob.user).await;
    let mut waiting = Vec::new();
    for number in 0..150 {
        let data = json!({ "conversation": own, "text": format!("plum {number}") });
        waiting.push(ann.say("message.send", data).await);
    }
    for id in waiting {
        assert_eq!(ann.reply(id).await["ok"], true);
    }
    let commands = [
        ("message.history", json!({ "conversation": own }), "messages"),
        ("message.search", json!({ "query": "plum" }), "messages"),
        ("notification.list", json!({}), "notifications"),
        ("conversation.list", json!({}), "conversations"),
        ("match.list", json!({}), "matches"),
        ("candidate.list", json!({}), "candidates"),
    ];
    for (name, data, list) in &commands {
        for (limit, fine) in
            [(i64::MAX, false), (101, false), (100, true), (1, true), (0, false), (-1, false), (i64::MIN, false)]
        {
            let mut data = data.clone();
            data["limit"] = json!(limit);
            if fine {
                let page = ann.command(name, data).await;
                let most = usize::try_from(limit).unwrap_or(100).min(100);
                assert!(page[list].as_array().is_some_and(|items| items.len() <= most), "{name} {limit}");
            } else {
                assert_eq!(refusal(&mut ann, name, data).await, is("invalid_field", "limit"), "{name} {limit}");
            }
        }
    }
    // A page far away is a page like any other, or an empty one.
    for (name, place) in [
        ("message.history", json!({ "conversation": own, "before": i64::MIN })),
        ("message.history", json!({ "conversation": own, "after": i64::MAX })),
        ("message.search", json!({ "query": "plum", "before": i64::MIN })),
        ("notification.list", json!({ "before": i64::MIN })),
        ("conversation.list", json!({ "after": format!("{}.{}", i64::MIN, i64::MAX) })),
    ] {
        let page = ann.command(name, place).await;
        let list = page.as_object().expect("a page").values().find_map(Value::as_array).expect("a list");
        assert!(list.is_empty() || name == "notification.list", "{name}: {page}");
    }
    for after in ["", ".", "1", "1.1.1", "1;2", "99999999999999999999.1", "' OR 1=1"] {
        let told = refusal(&mut ann, "conversation.list", json!({ "after": after })).await;
        assert_eq!(told, is("invalid_field", "after"), "{after}");
    }
}

/// All that eve's search matches was said by somebody she blocks, so that it could read everything to find nothing.
#[tokio::test(flavor = "multi_thread")]
async fn s36_a_search_looks_at_so_many_messages_and_says_where_to_go_on() {
    let server = Server::start(&[("search-scanned", "100")]).await;
    let (mut ann, mut eve) = (server.user("ann").await, server.user("eve").await);
    let group = json!({ "title": "ours", "members": [eve.user] });
    let group = ann.command("conversation.create", group).await["id"].clone();
    let mut waiting = Vec::new();
    for number in 0..1000 {
        let text = if number == 10 { "a peach".to_owned() } else { format!("plum {number}") };
        waiting.push(ann.say("message.send", json!({ "conversation": group, "text": text })).await);
    }
    for id in waiting {
        assert_eq!(ann.reply(id).await["ok"], true);
    }
    let (calls, found) = search_on(&mut eve, "peach").await;
    assert_eq!(found, ["a peach"], "what is rare and old is found by going on");
    assert!(calls > 5, "no call looked at more than its share: {calls}");
    eve.command("block.add", json!({ "user": ann.user })).await;
    let (calls, found) = search_on(&mut eve, "plum").await;
    assert!(found.is_empty() && calls > 5, "{calls} calls found {found:?}");
}

/// Searches until everything was looked at. Answers how many calls that took, and the texts.
async fn search_on(client: &mut Client, query: &str) -> (usize, Vec<Value>) {
    let (mut calls, mut found, mut before) = (0, Vec::new(), json!(i64::MAX));
    while !before.is_null() {
        let page = client.command("message.search", json!({ "query": query, "before": before })).await;
        found.extend(page["messages"].as_array().expect("messages").iter().map(|message| message["text"].clone()));
        before = page["next"].clone();
        calls += 1;
    }
    (calls, found)
}

#[tokio::test(flavor = "multi_thread")]
async fn s39_texts_stay_within_their_lines() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let own = open(&mut ann, bob.user).await;
    let say = |text: &str| json!({ "conversation": own, "text": text });
    // People who write from right to left need these; who shows a message isolates it.
    let kept = [
        "a \u{202e}b\u{202c} c",
        "\u{2067}שלום\u{2069}",
        "\u{200f}x",
        "👩\u{200d}👩\u{200d}👧",
        "ก็็",
        "e\u{301}\u{302}\u{303}",
    ];
    for text in kept {
        ann.command("message.send", say(text)).await;
        assert_eq!(bob.expect_where("message.created", |_| true).await["message"]["text"], text);
    }
    let tower = format!("a{}", "\u{301}".repeat(9));
    for (text, code) in [
        (format!("a{}", "\u{301}".repeat(10_000)), "too_long"),
        (format!("a{}", "\u{301}".repeat(1000)), "invalid_field"),
        (tower.clone(), "invalid_field"),
        ("a\u{1b}[2Jb".to_owned(), "invalid_field"),
        ("a\u{9b}b".to_owned(), "invalid_field"),
        ("\u{301}".repeat(9), "invalid_field"),
        ("🦀".repeat(4097), "too_long"),
    ] {
        assert_eq!(refusal(&mut ann, "message.send", say(&text)).await, is(code, "text"));
    }
    // A single line in somebody else's screen: no turning round, no line ends, no towers.
    for bad in ["a\u{202e}b", "a\u{2066}b", "a\nb", "a\u{2028}b", "a\tb", tower.as_str(), "a\u{0}"] {
        for (name, data, field) in [
            ("conversation.create", json!({ "title": bad }), "title"),
            ("profile.update", json!({ "first_name": bad }), "first_name"),
            ("profile.update", json!({ "location": bad }), "location"),
            ("profile.update", json!({ "interests": [bad] }), "interests[0]"),
            ("report.send", json!({ "user": bob.user, "reason": bad }), "reason"),
            ("message.react", json!({ "conversation": own, "seq": 1, "emoji": bad }), "emoji"),
        ] {
            assert_eq!(refusal(&mut ann, name, data).await, is("invalid_field", field), "{name} {bad:?}");
        }
    }
    for bad in ["ann\u{202e}", "аnn", "a nn", "ann\u{200d}"] {
        let body =
            json!({ "username": bad, "password": support::server::PASSWORD, "password2": support::server::PASSWORD });
        let answer = http::call(server.next_address(), "POST", "/api/v1/auth/register/", None, Some(&body)).await;
        assert_eq!(answer.status, 400, "{bad:?}: {}", answer.body);
    }
}

/// Ann used this device before; bob signs in on it and sends what is left of hers in the app's store.
#[tokio::test(flavor = "multi_thread")]
async fn s59_what_was_anns_is_worth_nothing_to_bob() {
    let server = Server::start(&[]).await;
    let (mut ann, mut friend) = (server.user("ann").await, server.user("friend").await);
    let direct = open(&mut ann, friend.user).await;
    let sent = json!({ "conversation": direct, "text": "for my friend", "client_key": "k1" });
    let first = ann.command("message.send", sent.clone()).await;
    ann.command("like.add", json!({ "user": friend.user })).await;
    let personal = ann.expect_where("personal", |entry| entry["kind"] == "like_sent").await["seq"].clone();
    let place = json!({ "conversation": direct, "seq": first["seq"] });
    let mut edit = place.clone();
    edit["text"] = json!("for anybody");
    let phone = server.login("ann").await;
    let logout = ann.http("POST", "/api/v1/auth/logout/", Some(&json!({}))).await;
    assert_eq!(logout.status, 200, "{}", logout.body);
    ann.expect_close().await;
    friend.command("ping", json!({})).await;
    friend.forget_events();

    let mut bob = server.user("bob").await;
    for (name, data) in [
        ("message.send", sent.clone()),
        ("message.edit", edit),
        ("message.delete", place.clone()),
        ("message.read", place.clone()),
        ("message.react", json!({ "conversation": direct, "seq": first["seq"], "emoji": "👍" })),
        ("typing.set", json!({ "conversation": direct, "typing": true })),
        ("message.history", json!({ "conversation": direct })),
        ("session.revoke", json!({ "session": ann.session + 1, "password": support::server::PASSWORD })),
    ] {
        assert_eq!(bob.refused(name, data).await["code"], "not_found", "{name}");
    }
    // Neither ann's tokens, ended or not, nor her cursors fit bob's socket.
    for data in [
        json!({ "token": ann.account.access }),
        json!({ "refresh": ann.account.refresh }),
        json!({ "token": phone.access }),
        json!({ "refresh": phone.refresh, "rotate": true }),
    ] {
        assert_eq!(bob.refused("auth.refresh", data).await["code"], "invalid_credentials");
    }
    assert_eq!(bob.refused("auth", json!({ "token": phone.access })).await["code"], "forbidden");
    assert_eq!(bob.refused("notification.read", json!({ "seq": personal })).await["field"], "seq");
    let cursors = json!({ "epoch": ann.hello["epoch"], "conversations": { direct.to_string(): 0 } });
    let resumed = bob.command("resume", cursors).await;
    assert_eq!((&resumed["gone"], &resumed["moved"]), (&json!([direct]), &json!({})));
    let ahead =
        json!({ "epoch": ann.hello["epoch"], "personal": personal, "conversations": { direct.to_string(): 0 } });
    assert_eq!(bob.command("resume", ahead).await["reset"], "cursor_above_head");
    // A key is bob's own: it neither finds ann's message nor is taken.
    let own = open(&mut bob, friend.user).await;
    let mut again = sent;
    again["conversation"] = json!(own);
    assert_ne!(bob.command("message.send", again).await["id"], first["id"]);
    assert_eq!(friend.expect_next("message.created").await["conversation"], own);
    assert!(bob.take_events("conversation.page").is_empty());
    // All this time ann's other session stands.
    let ann = Client::connect(&server, phone).await;
    assert_ne!(ann.user, bob.user);
}
