//! REST and WebSocket are two doors to one house: the same story ends in the same database whichever of them is taken,
//! and what is done at one of them is heard at the other.
#![expect(clippy::expect_used, reason = "a story that cannot go on says why")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use support::http::{Response, call};
use support::node::Addresses;
use support::server::Account;
use support::{Client, Server, rows};

/// By which door an act is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Rest,
    Socket,
}
use Door::{Rest, Socket};

/// Somebody in the story.
struct Person {
    user: i64,
    account: Account,
    addresses: Arc<Addresses>,
    /// Opened before the first act that needs it.
    socket: Option<Client>,
    recorded: Arc<support::recorder::Recorder>,
}

impl Person {
    async fn new(server: &Server, name: &str) -> Person {
        let account = server.account(name).await;
        // An id is in the token, so that nobody has to ask for it.
        let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(&account.access).expect("claims");
        let user = claims["user_id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
        let (addresses, recorded) = (Arc::clone(&server.addresses), Arc::clone(&server.recorder));
        Person { user, account, addresses, socket: None, recorded }
    }

    async fn rest(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = call(self.addresses.next(), method, path, Some(&self.account.access), Some(&body)).await;
        assert!(answer.status < 300, "{} {method} {path}: {} {}", self.account.username, answer.status, answer.body);
        answer.json
    }

    async fn say(&mut self, kind: &str, data: Value) -> Value {
        if self.socket.is_none() {
            let socket = Client::connect_recorded(&self.addresses, &self.recorded, self.account.clone()).await;
            self.socket = Some(socket);
        }
        self.socket.as_mut().expect("just opened").command(kind, data).await
    }

    async fn introduce(&mut self, door: Door, born: &str) {
        match door {
            Rest => {
                let profile =
                    json!({ "bio": "me", "date_of_birth": born, "interests": ["go", "Chess"], "location": "Paris" });
                self.rest("PUT", "/api/v1/auth/profile/", profile).await;
                let wanted = json!({ "min_age": 20, "max_age": 60, "max_distance": 25, "gender_preference": "F" });
                self.rest("PATCH", "/api/v1/matching/preferences/", wanted).await;
            }
            Socket => {
                let profile =
                    json!({ "bio": "me", "birth_date": born, "interests": ["go", "Chess"], "location": "Paris" });
                self.say("profile.update", profile).await;
                let wanted = json!({ "age_min": 20, "age_max": 60, "distance_km": 25, "genders": ["woman"] });
                self.say("preferences.update", wanted).await;
            }
        }
    }

    /// One of the acts that name a user: by REST under the first name, over the socket under the second.
    async fn act(&mut self, door: Door, names: (&str, &str), on: i64) -> Value {
        match door {
            Rest => self.rest("POST", &format!("/api/v1/matching/{}/", names.0), json!({ "user_id": on })).await,
            Socket => self.say(names.1, json!({ "user": on })).await,
        }
    }

    /// Begins to talk; answers the conversation.
    async fn begin(&mut self, door: Door, with: i64, text: &str) -> i64 {
        let conversation = match door {
            Rest => {
                self.rest("POST", "/api/v1/conversations/", json!({ "participant_id": with, "message": text })).await
            }
            Socket => self.say("conversation.open", json!({ "user": with })).await,
        };
        let conversation = conversation["id"].as_i64().expect("a conversation");
        if door == Socket {
            self.say("message.send", json!({ "conversation": conversation, "text": text })).await;
        }
        conversation
    }

    /// Says something; answers the id of the message.
    async fn talk(&mut self, door: Door, conversation: i64, text: &str) -> i64 {
        let sent = match door {
            Rest => self.rest("POST", &messages(conversation), json!({ "content": text })).await,
            Socket => self.say("message.send", json!({ "conversation": conversation, "text": text })).await,
        };
        sent["id"].as_i64().expect("a message")
    }

    async fn edit(&mut self, door: Door, conversation: i64, (id, seq): (i64, i64), text: &str) {
        match door {
            Rest => self.rest("PATCH", &format!("{}{id}/", messages(conversation)), json!({ "content": text })).await,
            Socket => {
                let edit = json!({ "conversation": conversation, "seq": seq, "text": text });
                self.say("message.edit", edit).await
            }
        };
    }

    async fn delete(&mut self, door: Door, conversation: i64, (id, seq): (i64, i64)) {
        match door {
            Rest => self.rest("DELETE", &format!("{}{id}/", messages(conversation)), json!({})).await,
            Socket => {
                let delete = json!({ "conversation": conversation, "seq": seq, "for_all": true });
                self.say("message.delete", delete).await
            }
        };
    }

    async fn read(&mut self, door: Door, conversation: i64, (id, seq): (i64, i64)) {
        match door {
            Rest => self.rest("POST", &format!("{}{id}/mark_read/", messages(conversation)), json!({})).await,
            Socket => self.say("message.read", json!({ "conversation": conversation, "seq": seq })).await,
        };
    }

    async fn leave(&mut self, door: Door, conversation: i64) {
        match door {
            Rest => self.rest("DELETE", &format!("/api/v1/conversations/{conversation}/leave/"), json!({})).await,
            Socket => self.say("conversation.leave", json!({ "conversation": conversation })).await,
        };
    }
}

fn messages(conversation: i64) -> String {
    format!("/api/v1/conversations/{conversation}/messages/")
}

/// Register two, like, match, talk, read, block; and what else both doors have. `doors` are taken in turn.
async fn tell(doors: &[Door]) -> Vec<String> {
    let server = Server::start(&[]).await;
    let mut doors = doors.iter().copied().cycle();
    let mut door = || doors.next().expect("for ever");
    let (mut ann, mut bob) = (Person::new(&server, "ann").await, Person::new(&server, "bob").await);
    ann.introduce(door(), "1990-01-01").await;
    bob.introduce(door(), "1991-12-31").await;
    ann.act(door(), ("like", "like.add"), bob.user).await;
    ann.act(door(), ("unlike", "like.remove"), bob.user).await;
    ann.act(door(), ("like", "like.add"), bob.user).await;
    bob.act(door(), ("like", "like.add"), ann.user).await;
    let conversation = ann.begin(door(), bob.user, "hello bob").await;
    let second = (bob.talk(door(), conversation, "hello ann").await, 2);
    let third = (bob.talk(door(), conversation, "how are you?").await, 3);
    ann.read(door(), conversation, second).await;
    let fourth = (ann.talk(door(), conversation, "fin, thanks").await, 4);
    ann.edit(door(), conversation, fourth, "fine, thanks").await;
    bob.delete(door(), conversation, third).await;
    bob.read(door(), conversation, fourth).await;
    bob.leave(door(), conversation).await;
    ann.talk(door(), conversation, "are you still there?").await;
    ann.act(door(), ("block", "block.add"), bob.user).await;
    ann.act(door(), ("unblock", "block.remove"), bob.user).await;
    ann.act(door(), ("block", "block.add"), bob.user).await;
    plain(&server).await
}

/// All rows, without what is another one in every run: ids become names, times become marks.
async fn plain(server: &Server) -> Vec<String> {
    let tables = rows::all(server).await;
    let number = |row: &Map<String, Value>, name: &str| row[name].as_i64().unwrap_or_default();
    let name_of = |row: &Map<String, Value>| (number(row, "id"), row["username"].clone());
    let users: Map<String, Value> =
        tables["users"].iter().map(name_of).map(|(id, name)| (id.to_string(), name)).collect();
    let places: Map<String, Value> =
        tables["messages"].iter().map(|row| (number(row, "id").to_string(), row["seq"].clone())).collect();
    let named = |names: &Map<String, Value>, id: &Value| names.get(&id.to_string()).cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for (table, rows) in &tables {
        for row in rows {
            let kind = row.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
            let of_table = |(column, value): (&String, &Value)| {
                let plain = match (*table, column.as_str()) {
                    (_, "password_hash") | ("interest_names" | "pairs" | "conversations", "id") => json!("some"),
                    (_, "conversation_id") => json!("the one"),
                    ("users", "id") | (_, "user_id" | "sender_id" | "low" | "high" | "created_by") => {
                        named(&users, value)
                    }
                    ("messages", "id") => named(&places, value),
                    ("personal", "subject") => match kind.as_str() {
                        _ if kind.starts_with("conversation") => json!("the one"),
                        _ if kind.starts_with("session") => json!("some"),
                        "message_removed" => named(&places, value),
                        "like_received" => value.clone(),
                        _ => named(&users, value),
                    },
                    (_, column) if column == "at" || column.ends_with("_at") => {
                        json!(if value.is_null() { "never" } else { "then" })
                    }
                    _ => value.clone(),
                };
                (column.clone(), plain)
            };
            lines.push(format!("{table} {}", Value::Object(row.iter().map(of_table).collect())));
        }
    }
    lines.sort();
    lines
}

#[track_caller]
fn must_agree(one: &[String], other: &[String], which: &str) {
    let lacking: Vec<&String> = one.iter().filter(|line| !other.contains(line)).collect();
    let more: Vec<&String> = other.iter().filter(|line| !one.contains(line)).collect();
    assert!(lacking.is_empty() && more.is_empty(), "{which}: over the socket {lacking:#?}\n  but {more:#?}");
    assert_eq!(one.len(), other.len(), "{which}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_story_ends_in_the_same_database() {
    let over_the_socket = tell(&[Socket]).await;
    assert!(over_the_socket.len() > 30, "{over_the_socket:#?}");
    must_agree(&over_the_socket, &tell(&[Rest]).await, "by REST alone");
    must_agree(&over_the_socket, &tell(&[Rest, Socket]).await, "mixed, REST first");
    must_agree(&over_the_socket, &tell(&[Socket, Rest]).await, "mixed, the socket first");
    must_agree(&over_the_socket, &tell(&[Rest, Rest, Socket]).await, "mixed otherwise");
}

async fn rest(client: &Client, method: &str, path: &str, body: Value) -> Value {
    let answer: Response = client.http(method, path, Some(&body)).await;
    assert!(answer.status < 300, "{} {method} {path}: {} {}", client.account.username, answer.status, answer.body);
    answer.json
}

async fn act(client: &Client, act: &str, on: &Client) -> Value {
    rest(client, "POST", &format!("/api/v1/matching/{act}/"), json!({ "user_id": on.user })).await
}

async fn personal(client: &mut Client, kind: &str, subject: i64) {
    client.expect_where("personal", |entry| entry["kind"] == kind && entry["subject"] == subject).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn likes_and_blocks_by_rest_reach_open_sockets() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let mut phone = ann.second_socket().await;
    act(&ann, "like", &bob).await;
    personal(&mut phone, "like_sent", bob.user).await;
    personal(&mut bob, "like_received", 0).await;
    let made = act(&bob, "like", &ann).await;
    assert_eq!(made["is_match"], true, "{made}");
    personal(&mut ann, "matched", bob.user).await;
    personal(&mut phone, "matched", bob.user).await;
    personal(&mut bob, "matched", ann.user).await;
    act(&ann, "unlike", &bob).await;
    personal(&mut ann, "like_withdrawn", bob.user).await;
    personal(&mut bob, "unmatched", ann.user).await;
    act(&ann, "like", &bob).await;
    personal(&mut bob, "matched", ann.user).await;
    act(&ann, "block", &bob).await;
    personal(&mut phone, "block_added", bob.user).await;
    personal(&mut bob, "user_gone", ann.user).await;
    act(&ann, "unblock", &bob).await;
    personal(&mut phone, "block_removed", bob.user).await;
    rest(&ann, "PATCH", "/api/v1/auth/profile/", json!({ "bio": "new" })).await;
    personal(&mut phone, "profile_changed", ann.user).await;
    rest(&ann, "PUT", "/api/v1/matching/preferences/", json!({ "min_age": 30 })).await;
    personal(&mut phone, "profile_changed", ann.user).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_by_rest_reach_open_sockets() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let hello = json!({ "participant_id": bob.user, "message": "hello bob" });
    let made = rest(&ann, "POST", "/api/v1/conversations/", hello).await;
    let conversation = made["id"].as_i64().expect("an id");
    let first = made["last_message"]["id"].as_i64().expect("an id");
    for client in [&mut ann, &mut bob] {
        personal(client, "conversation_gained", conversation).await;
        let created = client.expect("message.created").await;
        assert_eq!((&created["message"]["id"], &created["message"]["text"]), (&json!(first), &json!("hello bob")));
    }
    let path = messages(conversation);
    rest(&bob, "POST", &format!("{path}{first}/mark_read/"), json!({})).await;
    let read = ann.expect("watermark").await;
    assert_eq!((&read["user"], &read["read"]), (&json!(bob.user), &json!(1)), "{read}");
    let said = rest(&bob, "POST", &path, json!({ "content": "hi" })).await["id"].clone();
    ann.expect_where("message.created", |created| created["message"]["id"] == said).await;
    rest(&ann, "GET", &path, json!({})).await;
    let read = bob.expect_where("watermark", |moved| moved["user"] == ann.user).await;
    assert_eq!(read["read"], 2, "{read}");
    rest(&bob, "PATCH", &format!("{path}{said}/"), json!({ "content": "hi ann" })).await;
    let edited = ann.expect("message.edited").await;
    assert_eq!((&edited["message"], &edited["text"]), (&json!(2), &json!("hi ann")));
    rest(&bob, "DELETE", &format!("{path}{said}/"), json!({})).await;
    assert_eq!(ann.expect("message.deleted").await["message"], 2);
    let mut phone = ann.second_socket().await;
    rest(&ann, "DELETE", &format!("/api/v1/conversations/{conversation}/leave/"), json!({})).await;
    personal(&mut phone, "conversation_changed", conversation).await;
}

/// Somebody without a socket is there while they call, and away when they sign out.
#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_by_rest_reach_open_sockets() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (Person::new(&server, "ann").await, server.user("bob").await);
    ann.begin(Rest, bob.user, "hello").await;
    let is =
        |user: i64, presence: &'static str| move |told: &Value| told["user"] == user && told["presence"] == presence;
    ann.rest("POST", "/api/v1/auth/update-status/", json!({})).await;
    bob.expect_where("presence", is(ann.user, "online")).await;
    let seen = bob.command("presence.get", json!({ "users": [ann.user] })).await;
    assert_eq!(seen["users"][0]["presence"], "online", "{seen}");
    ann.rest("POST", "/api/v1/auth/logout/", json!({})).await;
    bob.expect_where("presence", is(ann.user, "offline")).await;
}

/// What only sockets can make does not show in shapes that REST clients do not know.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_sockets_make_keeps_the_shapes_of_rest() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let group =
        ann.command("conversation.create", json!({ "title": "ours", "members": [bob.user] })).await["id"].clone();
    ann.command("conversation.rename", json!({ "conversation": group, "title": "still ours" })).await;
    let direct = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    for conversation in [&group, &direct] {
        let said = ann.command("message.send", json!({ "conversation": conversation, "text": "a" })).await;
        let answer = json!({ "conversation": conversation, "text": "b", "reply_to": said["seq"], "client_key": "k".to_owned() + &conversation.to_string() });
        bob.command("message.send", answer).await;
        bob.command("message.react", json!({ "conversation": conversation, "seq": said["seq"], "emoji": "👍" })).await;
        ann.command("message.delete", json!({ "conversation": conversation, "seq": said["seq"] })).await;
    }
    ann.command("conversation.archive", json!({ "conversation": direct, "archived": true })).await;
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let of_message =
        ["attachment", "content", "conversation", "created_at", "id", "is_read", "is_read_by_recipient", "sender"];
    let of_conversation =
        ["created_at", "id", "is_active", "last_message", "participants", "unread_count", "updated_at"];
    for client in [&ann, &bob] {
        let list = rest(client, "GET", "/api/v1/conversations/", json!({})).await;
        for conversation in list.as_array().expect("a list") {
            assert_eq!(keys(conversation), of_conversation, "{conversation}");
            for participant in conversation["participants"].as_array().expect("a list") {
                assert_eq!(keys(participant), ["id", "profile_picture", "username"], "{participant}");
                assert!(participant["username"].is_string(), "{participant}");
            }
            if !conversation["last_message"].is_null() {
                assert_eq!(keys(&conversation["last_message"]), of_message, "{conversation}");
            }
        }
        for conversation in [&group, &direct] {
            let list = rest(client, "GET", &messages(conversation.as_i64().expect("an id")), json!({})).await;
            for message in list.as_array().expect("a list") {
                assert_eq!(keys(message), of_message, "{message}");
                assert!(message["content"].is_string() && message["sender"]["id"].is_i64(), "{message}");
            }
        }
    }
    let hers = rest(&ann, "GET", &messages(direct.as_i64().expect("an id")), json!({})).await;
    let contents: Vec<&Value> = hers.as_array().expect("a list").iter().map(|message| &message["content"]).collect();
    assert_eq!(contents, ["b"], "what she deleted for herself is not hers to see");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_ended_by_rest_lose_their_sockets() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let mut other = Client::connect(&server, server.login("ann").await).await;
    let next = "plum harbour lattice nine";
    let change = json!({ "old_password": support::server::PASSWORD, "new_password": next, "new_password2": next });
    rest(&ann, "PUT", "/api/v1/auth/change-password/", change).await;
    assert_eq!(other.expect_close().await.code, 4003);
    ann.command("ping", json!({})).await;
    rest(&ann, "POST", "/api/v1/auth/logout/", json!({ "refresh": ann.account.refresh })).await;
    assert_eq!(ann.expect_close().await.code, 4003);
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_over_the_socket_are_seen_by_rest() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    ann.command("profile.update", json!({ "bio": "about me", "birth_date": "1990-01-01", "interests": ["go"] })).await;
    ann.command("preferences.update", json!({ "age_min": 30, "genders": ["man"] })).await;
    let profile = rest(&ann, "GET", "/api/v1/auth/profile/", json!({})).await;
    assert_eq!((&profile["bio"], &profile["date_of_birth"]), (&json!("about me"), &json!("1990-01-01")));
    assert_eq!(profile["interests"][0]["name"], "go");
    let wanted = json!({ "min_age": 30, "max_age": 99, "max_distance": 50, "gender_preference": "M" });
    assert_eq!(profile["preferences"], wanted);
    ann.command("like.add", json!({ "user": bob.user })).await;
    let found = bob.command("like.add", json!({ "user": ann.user })).await["match"]["id"].clone();
    assert_eq!(rest(&ann, "GET", "/api/v1/matches/", json!({})).await[0]["id"], found);
    let conversation = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    let sent = ann.command("message.send", json!({ "conversation": conversation, "text": "hello" })).await;
    let list = rest(&bob, "GET", "/api/v1/conversations/", json!({})).await;
    assert_eq!((&list[0]["id"], &list[0]["unread_count"]), (&conversation, &json!(1)), "{list}");
    assert_eq!((&list[0]["last_message"]["id"], &list[0]["last_message"]["is_read"]), (&sent["id"], &json!(false)));
    bob.command("message.read", json!({ "conversation": conversation, "seq": 1 })).await;
    let path = messages(conversation.as_i64().expect("an id"));
    let seen = rest(&ann, "GET", &path, json!({})).await;
    assert_eq!((&seen[0]["is_read"], &seen[0]["is_read_by_recipient"]), (&json!(true), &json!(true)), "{seen}");
    ann.command("message.edit", json!({ "conversation": conversation, "seq": 1, "text": "hello bob" })).await;
    assert_eq!(rest(&bob, "GET", &path, json!({})).await[0]["content"], "hello bob");
    ann.command("message.delete", json!({ "conversation": conversation, "seq": 1, "for_all": true })).await;
    assert_eq!(rest(&bob, "GET", &path, json!({})).await, json!([]));
    ann.command("conversation.leave", json!({ "conversation": conversation })).await;
    assert_eq!(rest(&ann, "GET", "/api/v1/conversations/", json!({})).await, json!([]));
    ann.command("block.add", json!({ "user": bob.user })).await;
    assert_eq!(rest(&bob, "GET", "/api/v1/matches/", json!({})).await, json!([]));
    let gone = bob.http("GET", &format!("/api/v1/auth/users/{}/", ann.user), None).await;
    assert_eq!(gone.status, 404, "{}", gone.body);
}
