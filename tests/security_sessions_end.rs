//! Sessions that end while their sockets are open (S13): every socket of them closes within a second, and nothing more
//! crosses it, in either direction.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::time::Duration;

use serde_json::json;
use support::raw::RawSocket;
use support::server::{Account, PASSWORD};
use support::stopwatch::Stopwatch;
use support::{Client, Server, http};

const AT_ONCE: Duration = Duration::from_secs(1);

/// A user with two sessions, of two sockets each, and a friend with whom they share a conversation.
struct Home {
    server: Server,
    first: Vec<Client>,
    second: Vec<Client>,
    friend: Client,
    conversation: i64,
}

async fn home() -> Home {
    let server = Server::start_plain(&[]).await;
    let ann = server.user("ann").await;
    let phone = Client::connect(&server, server.login("ann").await).await;
    let mut friend = server.user("friend").await;
    let opened = friend.command("conversation.open", json!({ "user": ann.user })).await;
    let conversation = opened["id"].as_i64().expect("a conversation has an id");
    let first = vec![ann.second_socket().await, ann];
    let second = vec![phone.second_socket().await, phone];
    Home { server, first, second, friend, conversation }
}

/// Every one of the sockets is closed as revoked, in time; what they try to say meanwhile is not heard.
async fn must_end(sockets: Vec<Client>, since: Stopwatch) {
    for mut socket in sockets {
        let ended = socket.expect_close().await;
        assert_eq!(ended.code, 4003, "{ended:?}");
        since.must_be_within(AT_ONCE, "the end of a socket");
    }
}

async fn must_live(sockets: &mut [Client]) {
    for socket in sockets {
        socket.command("ping", json!({})).await;
    }
}

/// Neither token of the session opens anything any more.
async fn must_be_shut_out(server: &Server, account: &Account) {
    let mut socket = RawSocket::open(server.next_address(), "", None).await.expect("an upgrade");
    socket.say(&json!({ "type": "auth", "data": { "token": account.access } }).to_string()).await;
    assert_eq!(socket.json().await["error"]["code"], "invalid_credentials");
    let refresh = json!({ "refresh": account.refresh });
    assert_eq!(
        http::call(server.next_address(), "POST", "/api/token/refresh/", None, Some(&refresh)).await.status,
        401
    );
    let logout = http::call(server.next_address(), "POST", "/api/v1/auth/logout/", Some(&account.access), None).await;
    assert_eq!(logout.status, 401);
}

impl Home {
    /// What the friend says next is the next thing in the conversation, and whoever is still there hears it.
    async fn must_go_on(&mut self, listeners: &mut [Client]) {
        let at = json!({ "conversation": self.conversation });
        let head = self.friend.command("conversation.get", at).await["head"].as_i64().expect("a head");
        let data = json!({ "conversation": self.conversation, "text": "still there?" });
        assert_eq!(self.friend.command("message.send", data).await["seq"], head + 1);
        for listener in listeners {
            listener.expect_where("message.created", |data| data["seq"] == head + 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_logout_ends_its_session_and_no_other() {
    let mut home = home().await;
    let account = home.first[0].account.clone();
    let answer = home.first[0].http("POST", "/api/v1/auth/logout/", Some(&json!({}))).await;
    let since = Stopwatch::start();
    assert_eq!(answer.status, 200, "{}", answer.body);
    // Whatever the sockets say from now on is not even begun.
    for socket in &mut home.first {
        let _ = socket.try_say("message.send", json!({ "conversation": home.conversation, "text": "late" })).await;
    }
    must_end(std::mem::take(&mut home.first), since).await;
    must_be_shut_out(&home.server, &account).await;
    must_live(&mut home.second).await;
    let head = home.friend.command("conversation.get", json!({ "conversation": home.conversation })).await;
    assert_eq!(head["head"], 0, "something was said after the logout");
    let mut listeners = std::mem::take(&mut home.second);
    home.must_go_on(&mut listeners).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_a_new_password_ends_all_other_sessions() {
    let mut home = home().await;
    let account = home.second[0].account.clone();
    let data = json!({ "old": PASSWORD, "new": "another battery staple horse" });
    home.first[0].command("password.change", data).await;
    let since = Stopwatch::start();
    must_end(std::mem::take(&mut home.second), since).await;
    must_be_shut_out(&home.server, &account).await;
    let mut listeners = std::mem::take(&mut home.first);
    must_live(&mut listeners).await;
    home.must_go_on(&mut listeners).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_a_revoked_session_ends_and_one_that_revokes_itself_is_answered_first() {
    let mut home = home().await;
    let account = home.second[0].account.clone();
    let data = json!({ "session": home.second[0].session, "password": PASSWORD });
    home.first[0].command("session.revoke", data).await;
    must_end(std::mem::take(&mut home.second), Stopwatch::start()).await;
    must_be_shut_out(&home.server, &account).await;
    must_live(&mut home.first).await;
    for _ in 0..20 {
        let mut own = Client::connect(&home.server, home.server.login("ann").await).await;
        own.command("session.revoke", json!({ "session": own.session, "password": PASSWORD })).await;
        must_end(vec![own], Stopwatch::start()).await;
    }
    home.first[0].command("account.delete", json!({ "password": PASSWORD })).await;
    must_end(std::mem::take(&mut home.first), Stopwatch::start()).await;
}

/// The operator's command is another process; it is told to nobody but the database.
#[tokio::test(flavor = "multi_thread")]
async fn s13_a_disabled_account_is_out_within_a_second() {
    let mut home = home().await;
    let accounts = [home.first[0].account.clone(), home.second[0].account.clone()];
    home.server.operate(&["user", "disable", "ann"]);
    let since = Stopwatch::start();
    for socket in home.first.iter_mut().chain(&mut home.second) {
        let _ = socket.try_say("message.send", json!({ "conversation": home.conversation, "text": "late" })).await;
    }
    must_end(home.first.drain(..).chain(home.second.drain(..)).collect(), since).await;
    for account in &accounts {
        must_be_shut_out(&home.server, account).await;
    }
    let body = json!({ "username": "ann", "password": PASSWORD });
    let login = http::call(home.server.next_address(), "POST", "/api/token/", None, Some(&body)).await;
    assert_eq!(login.status, 401, "{}", login.body);
    let head = home.friend.command("conversation.get", json!({ "conversation": home.conversation })).await;
    assert_eq!(head["head"], 0, "something was said after the account was disabled");
    home.must_go_on(&mut []).await;
    // Enabled again, the account opens with its password, and only with that.
    home.server.operate(&["user", "enable", "ann"]);
    must_be_shut_out(&home.server, &accounts[0]).await;
    let again = Client::connect(&home.server, home.server.login("ann").await).await;
    home.server.operate(&["user", "revoke", "ann"]);
    must_end(vec![again], Stopwatch::start()).await;
}

/// A reader who holds its socket open by not reading gets nothing that came after its session ended.
#[tokio::test(flavor = "multi_thread")]
async fn s13_not_reading_does_not_put_off_the_end() {
    let server = Server::start(&[("write-ms", "60000")]).await;
    let thief = server.account("ann").await;
    let owner = Client::connect(&server, thief.clone()).await;
    let mut friend = server.user("friend").await;
    let opened = friend.command("conversation.open", json!({ "user": owner.user })).await;
    let authorization = format!("Authorization: Bearer {}\r\n", thief.access);
    let mut stalled = RawSocket::open(server.next_address(), &authorization, Some(4096)).await.expect("an upgrade");
    assert_eq!(stalled.json().await["ok"], true);
    let say = |text: String| json!({ "conversation": opened["id"], "text": text });
    // More than the buffers of a connection hold, so that the server waits for the reader.
    for _ in 0..360 {
        friend.command("message.send", say("🦀".repeat(4000))).await;
    }
    let connections = server.open_connections();
    let answer = owner.http("POST", "/api/v1/auth/logout/", Some(&json!({}))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let since = Stopwatch::start();
    friend.command("message.send", say("the secret".to_owned())).await;
    // The owner's socket and the thief's.
    support::in_time("both sockets to be cut", async {
        while server.open_connections() > connections - 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    since.must_be_within(AT_ONCE, "the end of both sockets");
    let mut read = 0;
    while let Some((_, content)) = stalled.frame().await {
        read += content.len();
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains("the secret"), "read after the logout");
    }
    assert!(read < 360 * 16_000, "the reader was never behind");
}
