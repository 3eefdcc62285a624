//! Who may do what (S24): every command, for everybody who should not get far with it. Where a command names an object,
//! the refusal is the one for an object that never existed, and nothing changes and nobody is told.
#![expect(clippy::expect_used, clippy::panic, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use duet::protocol::Command;
use serde_json::{Value, json};
use support::raw::RawSocket;
use support::server::PASSWORD;
use support::{Client, Server, http, rows};

/// An id that was never given.
const NEVER: i64 = 4_000_000_000;

/// What somebody names in their commands.
#[derive(Debug, Clone)]
struct Target {
    user: i64,
    conversation: i64,
    /// A message of the user in that conversation.
    seq: i64,
    session: i64,
    found: i64,
    /// What the user sent with the message.
    file: String,
    refresh: String,
    epoch: String,
}

/// How a command must be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Must {
    /// As if nothing of this existed.
    BeAbsent,
    /// With success, but saying the same as if nothing of this existed.
    SayNothing,
    /// With this error, which is about the caller.
    Refuse(&'static str),
    /// With success.
    Allow,
}
use Must::{Allow, BeAbsent, Refuse, SayNothing};

/// Who asks, in the order of the columns below.
const ROLES: [&str; 6] = ["stranger", "exmember", "exmatch", "blocked", "blocking", "bereft"];

type Input = fn(&Target) -> Value;

/// A command, its input for a target, and what each role must be answered.
struct Case(&'static str, Input, [Must; 6]);

/// The same for everybody, since it is about the caller alone.
const fn own(name: &'static str, input: Input) -> Case {
    Case(name, input, [Allow; 6])
}

/// Only for members, whatever became of the other one.
const fn inside(name: &'static str, input: Input) -> Case {
    Case(name, input, [BeAbsent, BeAbsent, Allow, Allow, Allow, Allow])
}

/// Only for members who may write.
const fn writing(name: &'static str, input: Input) -> Case {
    Case(name, input, [BeAbsent, BeAbsent, Allow, BeAbsent, Refuse("blocked"), BeAbsent])
}

/// What members may not do with a conversation of two, or with another's message that they see.
const fn forbidden(name: &'static str, input: Input) -> Case {
    let no = Refuse("forbidden");
    Case(name, input, [BeAbsent, BeAbsent, no, no, no, no])
}

/// Between two people, as long as nothing stands between them.
const fn between(name: &'static str, input: Input) -> Case {
    Case(name, input, [Allow, Allow, Allow, BeAbsent, Refuse("blocked"), BeAbsent])
}

const fn refused(name: &'static str, code: &'static str, input: Input) -> Case {
    Case(name, input, [Refuse(code); 6])
}

fn user(to: &Target) -> Value {
    json!({ "user": to.user })
}

fn conversation(to: &Target) -> Value {
    json!({ "conversation": to.conversation })
}

fn message(to: &Target) -> Value {
    json!({ "conversation": to.conversation, "seq": to.seq })
}

fn with(mut data: Value, more: Value) -> Value {
    data.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    data
}

fn nothing(_: &Target) -> Value {
    json!({})
}

const CASES: &[Case] = &[
    refused("auth", "forbidden", |_| json!({ "token": "again" })),
    refused("auth.refresh", "invalid_credentials", |to| json!({ "refresh": to.refresh })),
    own("ping", nothing),
    Case(
        "resume",
        |to| json!({ "epoch": to.epoch, "conversations": { to.conversation.to_string(): 0 } }),
        [SayNothing, SayNothing, Allow, Allow, Allow, Allow],
    ),
    own("profile.me", nothing),
    Case("profile.get", user, [Allow, Allow, Allow, BeAbsent, BeAbsent, BeAbsent]),
    own("profile.update", |_| json!({ "bio": "me" })),
    own("status.set", |_| json!({ "status": "away" })),
    refused("password.change", "wrong_password", |_| json!({ "old": "a guess", "new": "plum harbour lattice nine" })),
    own("session.list", nothing),
    Case("session.revoke", |to| json!({ "session": to.session, "password": PASSWORD }), [BeAbsent; 6]),
    refused("account.delete", "wrong_password", |_| json!({ "password": "a guess" })),
    own("preferences.get", nothing),
    own("preferences.update", |_| json!({ "age_min": 30 })),
    own("candidate.list", nothing),
    between("like.add", user),
    between("like.remove", user),
    own("like.count", nothing),
    between("pass.add", user),
    Case("match.list", |to| json!({ "before": to.found }), [BeAbsent, BeAbsent, Allow, Allow, Allow, Allow]),
    Case("match.end", user, [BeAbsent; 6]),
    own("block.add", user),
    own("block.remove", user),
    own("block.list", nothing),
    inside("report.send", |to| with(user(to), json!({ "reason": "spam", "messages": [message(to)] }))),
    own("conversation.open", user),
    between("conversation.create", |to| json!({ "title": "ours", "members": [to.user] })),
    own("conversation.list", nothing),
    inside("conversation.get", conversation),
    forbidden("conversation.rename", |to| with(conversation(to), json!({ "title": "mine" }))),
    inside("conversation.leave", conversation),
    inside("conversation.mute", |to| with(conversation(to), json!({ "until": 5 }))),
    inside("conversation.archive", |to| with(conversation(to), json!({ "archived": true }))),
    forbidden("member.add", |to| with(conversation(to), json!({ "users": [to.user] }))),
    forbidden("member.remove", |to| with(conversation(to), json!({ "user": to.user }))),
    forbidden("member.role", |to| with(conversation(to), json!({ "user": to.user, "role": "admin" }))),
    writing("message.send", |to| with(conversation(to), json!({ "text": "let me in", "reply_to": to.seq }))),
    forbidden("message.edit", |to| with(message(to), json!({ "text": "I never said that" }))),
    forbidden("message.delete", |to| with(message(to), json!({ "for_all": true }))),
    writing("message.react", |to| with(message(to), json!({ "emoji": "👍" }))),
    writing("message.unreact", |to| with(message(to), json!({ "emoji": "👍" }))),
    inside("message.history", conversation),
    inside("message.delivered", message),
    inside("message.read", message),
    inside("message.search", |to| with(conversation(to), json!({ "query": "marmalade" }))),
    Case(
        "media.links",
        |to| json!({ "files": [to.file] }),
        [SayNothing, SayNothing, Allow, SayNothing, Allow, SayNothing],
    ),
    writing("typing.set", |to| with(conversation(to), json!({ "typing": true }))),
    Case(
        "presence.get",
        |to| json!({ "users": [to.user] }),
        [SayNothing, SayNothing, Allow, SayNothing, SayNothing, SayNothing],
    ),
    own("notification.list", nothing),
    own("notification.read", |_| json!({ "seq": 0 })),
];

fn case(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.0 == name).unwrap_or_else(|| panic!("{name} has no row in the table"))
}

/// Somebody who asks, and what they ask about.
struct Asker {
    role: &'static str,
    client: Client,
    target: Target,
}

/// Vera, to whom five of the six stand in some relation; Dora, who is gone; and Fay, who is vera's friend.
struct World {
    server: Server,
    vera: Client,
    fay: Client,
    /// Of vera and fay.
    group: i64,
    askers: Vec<Asker>,
}

async fn send(client: &mut Client, conversation: i64, text: &str) -> i64 {
    let sent = client.command("message.send", json!({ "conversation": conversation, "text": text })).await;
    sent["seq"].as_i64().expect("a message has a place")
}

/// A message with a file: its place, and the id of the file.
async fn send_file(client: &mut Client, conversation: i64) -> (i64, String) {
    let file = client.upload(&format!("for {conversation}").replace(' ', "-"), b"marmalade").await["id"].clone();
    let data = json!({ "conversation": conversation, "text": "marmalade", "attachment": file });
    let sent = client.command("message.send", data).await;
    (sent["seq"].as_i64().expect("a message has a place"), file.as_str().expect("an id").to_owned())
}

fn id(value: &Value) -> i64 {
    value["id"].as_i64().expect("it has an id")
}

/// A match and a direct conversation, in which the first one has said something.
async fn acquainted(one: &mut Client, other: &mut Client) -> Target {
    one.command("like.add", json!({ "user": other.user })).await;
    let found = other.command("like.add", json!({ "user": one.user })).await["match"].clone();
    let conversation = id(&one.command("conversation.open", json!({ "user": other.user })).await);
    let sent = send_file(one, conversation).await;
    target(one, conversation, sent, id(&found))
}

fn target(of: &Client, conversation: i64, (seq, file): (i64, String), found: i64) -> Target {
    let epoch = of.hello["epoch"].as_str().expect("an epoch").to_owned();
    let refresh = of.account.refresh.clone();
    Target { user: of.user, conversation, seq, session: of.session, found, file, refresh, epoch }
}

async fn world() -> World {
    let server = Server::start(&[]).await;
    let (mut vera, mut fay, mut dora) =
        (server.user("vera").await, server.user("fay").await, server.user("dora").await);
    let hers = acquainted(&mut vera, &mut fay).await;
    let mut askers = Vec::new();
    for role in ROLES {
        let mut client = server.user(role).await;
        let target = match role {
            "stranger" | "exmember" => hers.clone(),
            "bereft" => acquainted(&mut dora, &mut client).await,
            _ => acquainted(&mut vera, &mut client).await,
        };
        askers.push(Asker { role, client, target });
    }
    let group = json!({ "title": "ours", "members": [fay.user, askers[1].client.user] });
    let group = id(&vera.command("conversation.create", group).await);
    let (seq, file) = send_file(&mut vera, group).await;
    askers[1].target = Target { conversation: group, seq, file, ..hers };
    let out = json!({ "conversation": group, "user": askers[1].client.user });
    vera.command("member.remove", out).await;
    vera.command("match.end", json!({ "user": askers[2].client.user })).await;
    vera.command("block.add", json!({ "user": askers[3].client.user })).await;
    askers[4].client.command("block.add", json!({ "user": vera.user })).await;
    dora.command("account.delete", json!({ "password": PASSWORD })).await;
    World { server, vera, fay, group, askers }
}

/// The same, of things that never existed.
fn never(target: &Target) -> Target {
    let (user, conversation, session, found) = (NEVER, NEVER, NEVER, NEVER);
    Target { user, conversation, session, found, file: "A".repeat(22), ..target.clone() }
}

/// An answer in which what was named has no number.
fn unnamed(value: &Value, named: &Target, key: &str) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), unnamed(value, named, key))).collect(),
        Value::Array(items) => items.iter().map(|item| unnamed(item, named, key)).collect(),
        Value::Number(number) if key == "user" && number.as_i64() == Some(named.user) => "the user".into(),
        Value::String(file) if key == "gone" && *file == named.file => "it".into(),
        Value::Number(number) if key == "gone" && number.as_i64() == Some(named.conversation) => "it".into(),
        other => other.clone(),
    }
}

/// A reply without its number.
async fn ask(client: &mut Client, name: &str, data: Value) -> Value {
    let id = client.say(name, data).await;
    let mut reply = client.reply(id).await;
    reply["id"] = Value::Null;
    reply
}

#[test]
fn s24_every_command_has_its_row() {
    for command in Command::ALL {
        case(command.name);
    }
    assert_eq!(CASES.len(), Command::ALL.len(), "a row of no command, or two of one");
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_what_is_not_yours_does_not_exist() {
    let mut world = world().await;
    // What was set in motion before arrives before the story begins.
    for client in world.askers.iter_mut().map(|asker| &mut asker.client).chain([&mut world.vera, &mut world.fay]) {
        client.command("ping", json!({})).await;
    }
    said(&mut world, "before").await;
    let before = rows::lines_with_sessions(&world.server).await;
    let mut wrong = Vec::new();
    for (column, asker) in world.askers.iter_mut().enumerate() {
        for command in Command::ALL {
            let Case(name, input, must) = case(command.name);
            if must[column] == Allow {
                continue;
            }
            let known = ask(&mut asker.client, name, input(&asker.target)).await;
            let unknown = ask(&mut asker.client, name, input(&never(&asker.target))).await;
            let right = match must[column] {
                BeAbsent => known["ok"] == false && known == unknown,
                Refuse(code) => known["error"]["code"] == code,
                SayNothing | Allow => {
                    known["ok"] == true
                        && unnamed(&known, &asker.target, "") == unnamed(&unknown, &never(&asker.target), "")
                }
            };
            if !right {
                let must = must[column];
                wrong.push(format!("{} {name} must {must:?}:\n  {known}\n  never existed: {unknown}", asker.role));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let after = rows::lines_with_sessions(&world.server).await;
    rows::must_be_unchanged(&before, &after);
    // The next thing that vera hears of anything comes from fay.
    let heard = said(&mut world, "after").await;
    assert!(heard.is_empty(), "vera was told {heard:?}");

    for (column, asker) in world.askers.iter_mut().enumerate() {
        for command in Command::ALL {
            let Case(name, input, must) = case(command.name);
            if must[column] == Allow {
                let reply = ask(&mut asker.client, name, input(&asker.target)).await;
                assert_eq!(reply["ok"], true, "{} {name}: {reply}", asker.role);
            }
        }
    }
}

/// Fay says something in every way there is; what vera was told before that is answered.
async fn said(world: &mut World, text: &str) -> Vec<Value> {
    let (vera, fay, group) = (&mut world.vera, &mut world.fay, world.group);
    fay.command("typing.set", json!({ "conversation": group, "typing": true })).await;
    send(fay, group, text).await;
    fay.command("like.remove", json!({ "user": vera.user })).await;
    fay.command("like.add", json!({ "user": vera.user })).await;
    vera.expect_where("typing", |typing| typing["user"] == fay.user).await;
    vera.expect_where("message.created", |created| created["message"]["text"] == text).await;
    vera.expect_where("personal", |entry| entry["kind"] == "unmatched").await;
    vera.expect_where("personal", |entry| entry["kind"] == "matched" && entry["subject"] == fay.user).await;
    vera.command("ping", json!({})).await;
    let mut heard = Vec::new();
    for kind in [
        "message.created",
        "message.edited",
        "message.deleted",
        "reaction.added",
        "typing",
        "personal",
        "watermark",
        "conversation.page",
        "message.hidden",
    ] {
        heard.extend(vera.take_events(kind));
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_nobody_does_nothing() {
    let world = world().await;
    let target = world.askers[0].target.clone();
    let before = rows::lines_with_sessions(&world.server).await;
    for (number, command) in Command::ALL.iter().enumerate() {
        let mut socket = RawSocket::open(world.server.next_address(), "", None).await.expect("an upgrade");
        let Case(name, input, _) = case(command.name);
        let frame = json!({ "id": number, "type": name, "data": input(&target) });
        let code = if *name == "auth" { "invalid_credentials" } else { "not_authenticated" };
        // Also after a refusal, and with the token of nobody.
        for _ in 0..2 {
            socket.say(&frame.to_string()).await;
            let reply = socket.json().await;
            assert_eq!((&reply["id"], &reply["error"]["code"]), (&json!(number), &json!(code)), "{name}: {reply}");
        }
    }
    for (method, path) in duet::http::django::ROUTES {
        // Anybody may read what the API is.
        if *path == "/api/schema/" {
            continue;
        }
        let path = &path.replace("<id>", "1");
        let answer = http::call(world.server.next_address(), method, path, None, Some(&json!({}))).await;
        // Who they are is asked before anything else; where that is what is to be told, the fields are missing.
        let asks = ["/api/token/", "/api/token/refresh/", "/api/v1/auth/register/"].contains(&path.as_str());
        assert_eq!(answer.status, if asks { 400 } else { 401 }, "{method} {path}: {}", answer.body);
        let forged = http::call(world.server.next_address(), method, path, Some("e30.e30.e30"), Some(&json!({}))).await;
        let unread = path.starts_with("/api/token/");
        assert_eq!(forged.status, if unread { 400 } else { 401 }, "{method} {path}: {}", forged.body);
    }
    rows::must_be_unchanged(&before, &rows::lines_with_sessions(&world.server).await);
}

/// The routes name nobody but the caller, except by a token. Another's token does nothing to them.
#[tokio::test(flavor = "multi_thread")]
async fn s24_routes_know_whose_token_it_is() {
    let mut world = world().await;
    let refresh = json!({ "refresh": world.vera.account.refresh });
    for asker in &mut world.askers {
        let answer = asker.client.http("POST", "/api/v1/auth/logout/", Some(&refresh)).await;
        assert_eq!(answer.status, 400, "{}: {}", asker.role, answer.body);
        let unknown = json!({ "refresh": "e30.e30.e30" });
        let unknown = asker.client.http("POST", "/api/v1/auth/logout/", Some(&unknown)).await;
        assert_eq!((answer.status, answer.body), (unknown.status, unknown.body), "{}", asker.role);
        // Refused as a whole: the caller is still signed in.
        asker.client.command("ping", json!({})).await;
    }
    world.vera.command("ping", json!({})).await;
}
