//! Every field of every command and of every request takes any value: with an answer, and without harm to others. The
//! fields come from the types and from the API's own document, so that a new one is tried as soon as it is there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use duet::protocol::Command;
use futures_util::StreamExt;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::files::{head, jpeg};
use crate::support::raw::RawSocket;
use crate::support::{Client, Server, http, in_time};

/// Frames and bodies of a megabyte reach the fields, and nobody is slowed down.
const SETTINGS: &[(&str, &str)] = &[
    ("frame-max", "4194304"),
    ("body-max", "4194304"),
    ("bad-frames", "0"),
    ("reports-per-hour", "0"),
    ("login-account-burst", "100000"),
    ("login-prefix-burst", "100000"),
    ("argon2-memory-kib", "8"),
];
/// Longer than any limit.
const LONG: usize = 1 << 20;
/// Frames that are sent before their replies are read.
const WINDOW: usize = 16;

/// Values as they stand in JSON: what databases, parsers and screens have stumbled over.
fn odd_values() -> Vec<String> {
    let texts = [
        "\0",
        "a\0b",
        "",
        " ",
        "\u{200b}",
        "\u{2060}\u{feff}\u{ad}",
        "\u{3164}",
        "\u{2800}",
        "\u{fe0f}",
        "\u{202e}x",
        "a\u{2028}b\r\n",
        "\u{1}\u{1b}[31m",
        "\u{fffe}\u{10ffff}",
        "\u{fdfa}\u{fdfa}\u{fdfa}",
        "e\u{301}\u{301}\u{301}",
        "\u{301}",
        "\u{344}\u{390}",
        "Straße İı ŁÓDŹ ﬁ",
        "नमस्ते ក្ញុំ ประเทศ 苹果",
        "\u{1F469}\u{1F3FB}\u{200D}\u{2764}\u{FE0F}\u{200D}\u{1F48B}\u{200D}\u{1F468}\u{1F3FB}",
        "'); DROP TABLE users; --",
        "\" OR \"\" NEAR * ^ : ( ) & | ! <-> \\",
        "%00 %s ${x} {{x}} ../../etc/passwd",
        "null",
        "-1",
        "1e400",
        "99999999999999999999",
        "2000-02-30",
        "admin",
    ];
    let mut values: Vec<String> = texts.iter().map(|text| json!(text).to_string()).collect();
    values.extend(
        [
            r#""\ud800""#,
            r#""\udc00\ud800a""#,
            r#""\ud83d""#,
            "null",
            "true",
            "0",
            "-1",
            "1.5",
            "1e308",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "[]",
            "[[]]",
            "[null]",
            r#"["\u0000"]"#,
            r#"["\ud800"]"#,
            "[-1,0,9223372036854775807]",
            "{}",
            r#"{"\u0000":1}"#,
            r#"{"1":"\u0000"}"#,
        ]
        .map(str::to_owned),
    );
    values.push(json!("x".repeat(LONG)).to_string());
    values.push(json!("\u{fdfa}".repeat(LONG / 3)).to_string());
    values.push(json!("e\u{301}".repeat(5000)).to_string());
    values.push(json!(vec!["a\0"; 3000]).to_string());
    values
}

/// A value that a field may have.
fn plain(name: &str, schema: &Value, group: i64, other: i64) -> Value {
    match name {
        "conversation" => return json!(group),
        "user" => return json!(other),
        "users" | "members" => return json!([other]),
        _ => {}
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(false),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!("x"),
    }
}

/// The frames to try for a command: its plain input with one field replaced at a time, and nested ones.
fn frames(name: &str, schema: &Value, defs: &Value, group: i64, other: i64, odd: &[String]) -> Vec<String> {
    let resolve = |schema: &Value| -> Value {
        match schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            Some(name) => defs[name].clone(),
            None => schema.clone(),
        }
    };
    let schema = resolve(schema);
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let base = |but: &str| -> Vec<String> {
        let needed = properties.iter().filter(|(name, _)| required.contains(&name.as_str()) && *name != but);
        needed.map(|(name, of)| format!("{}:{}", json!(name), plain(name, &resolve(of), group, other))).collect()
    };
    let mut inputs = vec![format!("{{{}}}", base("").join(","))];
    for (field, of) in properties {
        let mut values: Vec<String> = odd.to_vec();
        // One more level: items of lists, fields of objects, whatever may be null.
        let mut inner = vec![resolve(of)];
        inner.extend(of["anyOf"].as_array().into_iter().flatten().map(&resolve));
        for of in inner {
            let items = resolve(&of["items"]);
            if !items.is_null() {
                values.extend(odd.iter().filter(|value| value.len() < 10_000).map(|value| format!("[{value}]")));
            }
            let objects = [(&of, "{", "}"), (&items, "[{", "}]")];
            for (object, open, close) in objects {
                let fields = object["properties"].as_object().unwrap_or(&none);
                for name in fields.keys() {
                    let small = odd.iter().filter(|value| value.len() < 10_000);
                    let others = fields.iter().filter(|(other, _)| *other != name);
                    let others = others
                        .map(|(name, of)| format!(",{}:{}", json!(name), plain(name, &resolve(of), group, other)));
                    let others: String = others.collect();
                    values.extend(small.map(|value| format!("{open}{}:{value}{others}{close}", json!(name))));
                }
            }
        }
        let base = base(field);
        for value in values {
            let fields: Vec<String> = base.iter().cloned().chain([format!("{}:{value}", json!(field))]).collect();
            inputs.push(format!("{{{}}}", fields.join(",")));
        }
    }
    inputs.into_iter().map(|data| format!(r#""type":"{name}","data":{data}"#)).collect()
}

/// Two who talk all the while; neither is refused or closed. Answers how many messages they sent.
fn bystanders(mut one: Client, mut other: Client, group: i64, over: Arc<AtomicBool>) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let mut said = 0;
        while !over.load(Ordering::Relaxed) {
            for client in [&mut one, &mut other] {
                let text = format!("still here {said}");
                client
                    .command("message.send", json!({ "conversation": group, "text": text, "client_key": text }))
                    .await;
                client.forget_events();
                said += 1;
            }
        }
        said
    })
}

/// Mallory, and two who share a group with her.
async fn three(server: &Server) -> (Client, Client, Client, i64) {
    let mut mallory = server.user("mallory").await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let all = json!({ "title": "all", "members": [ann.user, bob.user] });
    let group = mallory.command("conversation.create", all).await["id"].as_i64().expect("an id");
    mallory.upload("a-file", &jpeg(64, 64)).await;
    (mallory, ann, bob, group)
}

#[tokio::test(flavor = "multi_thread")]
async fn n01_every_field_of_every_command_takes_anything() {
    let server = Server::start(SETTINGS).await;
    let (mallory, ann, bob, group) = three(&server).await;
    let (other, over) = (bob.user, Arc::new(AtomicBool::new(false)));
    let talking = bystanders(ann, bob, group, Arc::clone(&over));
    let odd = odd_values();
    let mut schemas = SchemaGenerator::default();
    let inputs: Vec<_> = Command::ALL.iter().map(|one| (one.name, (one.input)(&mut schemas))).collect();
    let defs = Value::Object(schemas.take_definitions(true));
    let mut socket = RawSocket::greeted(server.next_address(), &mallory.account.access).await;
    let mut tried = 0;
    for (name, schema) in inputs {
        let frames = frames(name, &schema.to_value(), &defs, group, other, &odd);
        for window in frames.chunks(WINDOW) {
            let mut waiting: Vec<&str> = Vec::new();
            for (id, frame) in window.iter().enumerate() {
                socket.say(&format!(r#"{{"id":{id},{frame}}}"#)).await;
                waiting.push(frame);
            }
            tried += waiting.len();
            let mut left = waiting.len();
            while left > 0 {
                let reply = socket.json().await;
                let Some(id) = reply["id"].as_u64() else { continue };
                let frame: String = window[id as usize].chars().take(300).collect();
                assert_ne!(reply["error"]["code"], "internal", "{frame}: {reply}");
                left -= 1;
            }
        }
    }
    over.store(true, Ordering::Relaxed);
    let said = talking.await.expect("nobody else is refused or closed");
    println!("{tried} frames; the others sent {said} messages meanwhile");
    assert!(tried > 3000 && said > 10, "{tried} {said}");
}

/// What a request brings besides its method and path.
struct Request {
    method: String,
    path: String,
    media: &'static str,
    body: String,
}

/// The requests to try, by the API's own document.
fn requests(document: &Value, group: i64, odd: &[String]) -> Vec<Request> {
    let mut found = Vec::new();
    let ids = ["1", "0", "99999999999999999999", "%00", "%ED%A0%80", "a%20b", "-1", "%E2%80%8B"];
    let queries = ["%00", "", "%ED%A0%80", "-1", "99999999999999999999", "last", "%F0%9F%98%80", "a%26b"];
    for (path, verbs) in document["paths"].as_object().into_iter().flatten() {
        let here = path.replace("{id}", &group.to_string()).replace("{message_id}", "1");
        for (method, verb) in verbs.as_object().into_iter().flatten().filter(|(name, _)| *name != "parameters") {
            let method = method.to_uppercase();
            let request = |path: String, media, body| Request { method: method.clone(), path, media, body };
            for id in ids.iter().filter(|_| path.contains('{')) {
                let path = path.replace("{id}", id).replace("{message_id}", id);
                found.push(request(path, "application/json", "{}".to_owned()));
            }
            for name in ["page", "page_size", "limit", "offset", "format", "search", "\u{0}"] {
                let name = if name == "\u{0}" { "%00" } else { name };
                for value in queries {
                    found.push(request(format!("{here}?{name}={value}"), "application/json", String::new()));
                }
            }
            let schema = &verb["requestBody"]["content"]["application/json"]["schema"];
            let fields = schema["properties"].as_object();
            for field in fields.into_iter().flatten().map(|(name, _)| name) {
                for value in odd {
                    found.push(request(here.clone(), "application/json", format!("{{{}:{value}}}", json!(field))));
                }
                for value in ["%00", "a%00b", "%ED%A0%80", "%FF", "", "%E2%80%8B"] {
                    let form = "application/x-www-form-urlencoded";
                    found.push(request(here.clone(), form, format!("{field}={value}")));
                }
            }
            // All at once, so that what stops at the first missing field is passed.
            for value in odd {
                let all: Vec<String> =
                    fields.into_iter().flatten().map(|(name, _)| format!("{}:{value}", json!(name))).collect();
                let body = if all.is_empty() { value.clone() } else { format!("{{{}}}", all.join(",")) };
                if value.len() < 10_000 {
                    found.push(request(here.clone(), "application/json", body));
                }
            }
        }
    }
    found
}

/// Sends a request and reads all that comes.
async fn ask(address: SocketAddr, request: Vec<u8>) -> String {
    in_time("an answer", async {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let (mut from, mut to) = stream.split();
        let mut answer = Vec::new();
        // The answer may come while the request is under way.
        let _ = tokio::join!(to.write_all(&request), from.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn n01_every_field_of_every_request_takes_anything() {
    let server = Server::start(SETTINGS).await;
    let (mallory, ann, bob, group) = three(&server).await;
    let over = Arc::new(AtomicBool::new(false));
    let talking = bystanders(ann, bob, group, Arc::clone(&over));
    let document = http::call(server.next_address(), "GET", "/api/schema/", None, None).await.json;
    let requests = requests(&document, group, &odd_values());
    let tried = requests.len();
    let bearer = format!("Bearer {}", mallory.account.access);
    // What ends a session ends one that nothing else is asked with.
    let leaving = format!("Bearer {}", server.account("eve").await.access);
    let asked = requests.into_iter().map(|request| {
        let bearer = if request.path.contains("logout") { &leaving } else { &bearer };
        let address = server.next_address();
        async move {
            let Request { method, path, media, body } = request;
            let headers = [
                ("Content-Type", media),
                ("Content-Length", &body.len().to_string()),
                ("Authorization", bearer.as_str()),
                ("User-Agent", "\u{200b}a\u{301}\u{fe0f}"),
                ("Accept-Language", "\u{e9},%00;q=x"),
                ("X-Forwarded-For", "\u{e9}, %00, 999.1.1.1"),
            ];
            let shown: String = body.chars().take(200).collect();
            let answer = ask(address, [head(&method, &path, &headers), body.into_bytes()].concat()).await;
            assert!(!answer.starts_with("HTTP/1.1 500"), "{method} {path} {shown}: {answer}");
            assert!(!answer.contains("fault of the server"), "{method} {path} {shown}: {answer}");
            // Who is refused before the end of a long body may be cut off.
            assert!(answer.starts_with("HTTP/1.1 ") || shown.len() >= 200, "{method} {path} {shown}: no answer");
        }
    });
    futures_util::stream::iter(asked).buffer_unordered(8).collect::<()>().await;
    over.store(true, Ordering::Relaxed);
    let said = talking.await.expect("nobody else is refused or closed");
    println!("{tried} requests; the others sent {said} messages meanwhile");
    assert!(tried > 1000 && said > 10, "{tried} {said}");
}
