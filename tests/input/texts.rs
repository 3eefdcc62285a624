//! A text means the same whichever way it is written: passwords, searches, emoji, names; and what nobody sees is blank.

use serde_json::{Value, json};

use crate::support::server::PASSWORD;
use crate::support::{Client, Server, http};

async fn direct(one: &mut Client, other: i64) -> i64 {
    one.command("conversation.open", json!({ "user": other })).await["id"].as_i64().expect("an id")
}

/// Whether a name and a password open a session.
async fn opens(server: &Server, username: &str, password: &str) -> bool {
    let body = json!({ "username": username, "password": password });
    http::call(server.next_address(), "POST", "/api/token/", None, Some(&body)).await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn d03_a_password_is_the_same_at_every_door() {
    let server = Server::start(&[("login-account-burst", "100000"), ("login-prefix-burst", "100000")]).await;
    let mut ann = server.user("ann").await;
    let mut old = PASSWORD.to_owned();
    // With spaces at the ends, composed and not, in Hangul that is taken apart.
    for new in [
        "  spaces at both ends  ",
        "cafe\u{301} noir et sucre",
        "un th\u{e9} \u{e0} la menthe",
        "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af} du mot",
    ] {
        ann.command("password.change", json!({ "old": old, "new": new })).await;
        assert!(opens(&server, "ann", new).await, "{new:?}");
        old = new.to_owned();
    }
    for (at, (registered, typed)) in [
        ("  with spaces around ", "  with spaces around "),
        ("e\u{301}te\u{301} comme hiver", "\u{e9}t\u{e9} comme hiver"),
        ("\u{e9}t\u{e9} comme printemps", "e\u{301}te\u{301} comme printemps"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("user{at}");
        let body = json!({ "username": name, "password": registered, "password2": registered });
        let made = http::call(server.next_address(), "POST", "/api/v1/auth/register/", None, Some(&body)).await;
        assert_eq!(made.status, 201, "{}", made.body);
        assert!(opens(&server, &name, typed).await && opens(&server, &name, registered).await, "{registered:?}");
        assert!(!opens(&server, &name, "another one entirely").await);
    }
    // By the older API's own door, and that of the operator.
    let (before, after) = ("un th\u{e9} e\u{301}tait l\u{e0}", "  la derni\u{e8}re fois  ");
    ann.command("password.change", json!({ "old": old, "new": before })).await;
    let body = json!({ "old_password": before, "new_password": after, "new_password2": after });
    let changed = ann.http("PUT", "/api/v1/auth/change-password/", Some(&body)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert!(opens(&server, "ann", after).await);
    let error = ann.refused("password.change", json!({ "old": after, "new": "with a nul \0 inside" })).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("invalid_field"), &json!("new")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn d07_words_are_found_in_every_writing() {
    let server = Server::start(&[]).await;
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let chat = direct(&mut ann, bob.user).await;
    let stories = [
        ("Straße nach Łódź", vec!["STRASSE", "lodz", "strasse łódź"]),
        ("un œuvre de Søren et Đorđe", vec!["oeuvre", "soren", "DORDE"]),
        ("co\u{ad}ope\u{ad}ra\u{ad}tion", vec!["cooperation"]),
        ("मुझे किताब पढ़नी है", vec!["किताब", "मुझे"]),
        ("我喜欢吃苹果", vec!["苹果", "喜欢", "果", "我喜欢吃苹果"]),
        ("東京都に住んでいます", vec!["東京", "住んで"]),
        ("ฉันรักประเทศไทย", vec!["ประเทศ", "รัก"]),
        ("i̇stanbul İSTANBUL", vec!["istanbul"]),
    ];
    for (text, _) in &stories {
        ann.command("message.send", json!({ "conversation": chat, "text": text })).await;
    }
    let texts = |found: &Value| -> Vec<String> {
        let list = found["messages"].as_array().expect("messages").iter();
        list.map(|message| message["text"].as_str().expect("a text").to_owned()).collect()
    };
    for (text, queries) in &stories {
        for query in queries {
            let found = ann.command("message.search", json!({ "query": query })).await;
            assert_eq!(texts(&found), [*text], "{query}");
        }
    }
    // Another vowel sign, another voicing mark, another order make other words.
    for query in ["कुताब", "果苹", "strase", "ไทย ลาว"] {
        let found = ann.command("message.search", json!({ "query": query })).await;
        assert_eq!(texts(&found), Vec::<String>::new(), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d07_what_an_older_version_indexed_is_indexed_anew() {
    let mut server = Server::start(&[]).await;
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let chat = direct(&mut ann, bob.user).await;
    let mut waiting = Vec::new();
    for number in 0..1200 {
        let text = if number == 3 { "苹果 in der Straße".to_owned() } else { format!("plum {number}") };
        waiting.push(ann.say("message.send", json!({ "conversation": chat, "text": text })).await);
        if waiting.len() == 50 {
            for id in waiting.drain(..) {
                assert_eq!(ann.reply(id).await["ok"], true);
            }
        }
    }
    server.stop().await;
    let mut database = server.database().writer().await;
    let older = match server.nodes.len() {
        1 => "UPDATE meta SET value = '1:0' WHERE key = 'words'; DELETE FROM message_search",
        _ => "UPDATE meta SET value = '1:0' WHERE key = 'words'; UPDATE message_search SET words = 'old'::TSVECTOR",
    };
    database.execute(older).await;
    drop(database);
    server.restart().await;
    let mut ann = Client::connect(&server, server.login("ann").await).await;
    for query in ["苹果", "strasse"] {
        let found = || json!({ "query": query });
        crate::support::in_time("the old message to be found", async {
            while ann.command("message.search", found()).await["messages"].as_array().is_none_or(Vec::is_empty) {
                // Before the next look.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    let mut reader = server.database().snapshot().await;
    crate::support::in_time("all to be done", async {
        while reader.rows("value", "FROM meta WHERE key = 'words'").await[0][0] != "2:0" {
            reader = server.database().snapshot().await;
        }
    })
    .await;
    let all = ann.command("message.search", json!({ "query": "plum", "limit": 100 })).await;
    assert_eq!(all["messages"].as_array().map(Vec::len), Some(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn d08_one_emoji_is_one_reaction_however_it_is_written() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let chat = direct(&mut ann, bob.user).await;
    ann.command("message.send", json!({ "conversation": chat, "text": "hi" })).await;
    let react = |emoji: &str| json!({ "conversation": chat, "seq": 1, "emoji": emoji });
    let longest = "\u{1F469}\u{1F3FB}\u{200D}\u{2764}\u{FE0F}\u{200D}\u{1F48B}\u{200D}\u{1F468}\u{1F3FB}";
    ann.command("message.react", react(longest)).await;
    ann.command("message.react", react("\u{2764}")).await;
    bob.command("message.react", react("\u{2764}\u{fe0f}")).await;
    let history = ann.command("message.history", json!({ "conversation": chat })).await;
    let both = json!({ "emoji": "\u{2764}\u{fe0f}", "users": [ann.user, bob.user] });
    let one = json!({ "emoji": longest, "users": [ann.user] });
    assert_eq!(history["messages"][0]["reactions"], json!([both, one]));
    // And taken back in either form.
    ann.command("message.unreact", react("\u{2764}\u{fe0f}")).await;
    bob.command("message.unreact", react("\u{2764}")).await;
    let history = ann.command("message.history", json!({ "conversation": chat })).await;
    assert_eq!(history["messages"][0]["reactions"], json!([one]));
}

#[tokio::test(flavor = "multi_thread")]
async fn d09_what_nobody_sees_is_blank_everywhere() {
    let server = Server::start(&[]).await;
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let chat = direct(&mut ann, bob.user).await;
    let group = ann.command("conversation.create", json!({ "title": "ours" })).await["id"].clone();
    for blank in [
        "\u{200b}",
        "\u{2060}",
        "\u{3164}",
        "\u{2800}",
        "\u{feff}",
        "\u{ad}",
        "\u{fe0f}",
        " \u{200d}\u{a0}",
        "\u{115f}",
    ] {
        for (name, data, field) in [
            ("message.send", json!({ "conversation": chat, "text": blank }), "text"),
            ("conversation.create", json!({ "title": blank }), "title"),
            ("conversation.rename", json!({ "conversation": group, "title": blank }), "title"),
            ("profile.update", json!({ "interests": [blank] }), "interests[0]"),
            ("profile.update", json!({ "username": blank }), "username"),
            ("message.search", json!({ "query": blank }), "query"),
            ("report.send", json!({ "user": bob.user, "reason": blank }), "reason"),
        ] {
            let error = ann.refused(name, data).await;
            let told = (&error["code"], &error["field"]);
            assert_eq!(told, (&json!("invalid_field"), &json!(field)), "{name} {blank:?}: {error}");
        }
        let names = json!({ "first_name": blank, "last_name": blank, "bio": blank, "location": blank });
        let own = ann.command("profile.update", names).await;
        for field in ["first_name", "last_name", "bio", "location"] {
            assert_eq!(own[field], "", "{field} {blank:?}");
        }
        let path = format!("/api/v1/conversations/{chat}/messages/");
        let answer = ann.http("POST", &path, Some(&json!({ "content": blank }))).await;
        assert_eq!(answer.status, 400, "{blank:?}: {}", answer.body);
    }
    ann.command("message.send", json!({ "conversation": chat, "text": "\u{200b}seen" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d16_names_of_staff_are_for_the_operator_to_give() {
    let server = Server::start(&[("reserved-names", "admin,Cop,help desk")]).await;
    let mut ann = server.user("ann").await;
    for name in ["Admin", "a_d_m_i_n", "ａｄｍｉｎ", "adrnin", "cop", "сор", "h.e.l.p-desk"] {
        let body = json!({ "username": name, "password": PASSWORD, "password2": PASSWORD });
        let made = http::call(server.next_address(), "POST", "/api/v1/auth/register/", None, Some(&body)).await;
        assert_eq!(
            (made.status, made.json["username"].as_array().map(Vec::len)),
            (400, Some(1)),
            "{name}: {}",
            made.body
        );
        let error = ann.refused("profile.update", json!({ "username": name })).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("invalid_field"), &json!("username")), "{name}");
    }
    server.account("moderator").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d16_who_has_a_reserved_name_keeps_it() {
    let mut server = Server::start(&[("reserved-names", "")]).await;
    drop(server.account("admin").await);
    server.stop().await;
    for node in &mut server.nodes {
        let settings = &mut node.launch.settings;
        settings
            .iter_mut()
            .filter(|(name, _)| name == "reserved-names")
            .for_each(|(_, value)| *value = "admin".to_owned());
    }
    server.restart().await;
    let mut admin = Client::connect(&server, server.login("admin").await).await;
    let own = admin.command("profile.update", json!({ "username": "admin", "first_name": "Ada" })).await;
    assert_eq!((&own["username"], &own["first_name"]), (&json!("admin"), &json!("Ada")));
    assert_eq!(admin.refused("profile.update", json!({ "username": "Admin" })).await["field"], "username");
}
