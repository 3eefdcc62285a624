//! Uploads that come at once: places are few, and nobody holds up another.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::files::{Answer, exchange, head, jpeg, put};
use super::support::http::{Part, multipart};
use super::support::server::Account;
use super::support::setup::Because;
use super::support::{Server, in_time};

/// Begins an upload of so many bytes and sends one of them, as whoever the proxy says.
async fn begun(server: &Server, account: &Account, key: usize, from: &str) -> TcpStream {
    let bearer = format!("Bearer {}", account.access);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Length", "1000000"),
        ("Expect", "100-continue"),
        ("X-Forwarded-For", from),
    ];
    let mut stream = TcpStream::connect(server.next_address()).await.expect("connect");
    stream.write_all(&head("PUT", &format!("/media/uploads/slow{key}"), &headers)).await.expect("written");
    let mut word = [0; 12];
    // Those who are one too many are refused instead.
    in_time("a word", stream.read_exact(&mut word)).await.expect("a word");
    // It may have had to give way already.
    let _ = stream.write_all(b"x").await;
    stream
}

async fn brought(server: &Server, account: &Account, key: &str, from: &str) -> Answer {
    put(server.next_address(), &account.access, key, &[("X-Forwarded-For", from)], b"a few bytes").await
}

async fn accounts(server: &Server, name: &str, count: usize) -> Vec<Account> {
    let mut accounts = Vec::new();
    for number in 0..count {
        accounts.push(server.account(&format!("{name}{number}")).await);
    }
    accounts
}

#[tokio::test(flavor = "multi_thread")]
async fn n06_users_who_hold_all_places_give_way_to_others() {
    let server = Server::start_alone(Because::OfTheProcess, &[]).await;
    let (slow, others) = (accounts(&server, "slow", 10).await, accounts(&server, "other", 5).await);
    // Eighty, eight of each, where there is room for sixty-four.
    let all = (0..80).map(|number| begun(&server, &slow[number % 10], number, "192.0.2.1"));
    let held = join_all(all).await;
    for other in &others {
        let answer = brought(&server, other, "mine", "192.0.2.1").await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        // So does what comes with a form.
        let file = Part { name: "profile_picture", file: Some(("a.jpg", "image/jpeg")), content: &jpeg(8, 8) };
        let (media, body) = multipart(&[file]);
        let bearer = format!("Bearer {}", other.access);
        let length = body.len().to_string();
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", &media), ("Content-Length", &length)];
        let request = [head("PATCH", "/api/v1/auth/profile/", &headers), body].concat();
        let answer = exchange(server.next_address(), &request).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
    // Who gave way was told.
    let mut told = 0;
    for mut stream in held {
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        in_time("the end", stream.read_to_end(&mut rest)).await.expect("no reset");
        let rest = String::from_utf8_lossy(&rest).to_lowercase();
        told += usize::from(rest.contains("http/1.1 503 ") && rest.contains("retry-after: ") && rest.contains("busy"));
    }
    assert!(told > 0, "nobody was told to give way");
}

#[tokio::test(flavor = "multi_thread")]
async fn n06_an_address_that_holds_all_places_gives_way_to_others() {
    let settings = [("uploads", "8"), ("trusted-proxies", "127.0.0.1/32")];
    let server = Server::start_alone(Because::OfTheProcess, &settings).await;
    let (crowd, other) = (accounts(&server, "crowd", 8).await, server.account("other").await);
    let held = join_all(crowd.iter().enumerate().map(|(key, one)| begun(&server, one, key, "2001:db8::1"))).await;
    let answer = brought(&server, &other, "mine", "198.51.100.7").await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn n06_an_upload_keeps_a_pace() {
    let settings = [("upload-idle-ms", "1500"), ("upload-bytes-per-s", "10000"), ("upload-ms", "600000")];
    let server = Server::start_alone(Because::OfTheProcess, &settings).await;
    let ann = server.account("ann").await;
    let bearer = format!("Bearer {}", ann.access);
    let plain = [("Authorization", bearer.as_str()), ("Content-Length", "1000000")];
    let file = Part { name: "profile_picture", file: Some(("a.jpg", "image/jpeg")), content: &[b'x'; 1000] };
    let (media, body) = multipart(&[file]);
    let form = [("Authorization", bearer.as_str()), ("Content-Length", "1000000"), ("Content-Type", media.as_str())];
    let in_file = &body[..body.len() - 100];
    let after_file = [&body[..body.len() - 4], b"\r\nContent-Disposition: form-data; name=\"bio\"\r\n\r\n"].concat();
    for (what, begin) in [
        ("a file", head("PUT", "/media/uploads/slow", &plain)),
        ("a file in a form", [&head("PATCH", "/api/v1/auth/profile/", &form)[..], in_file].concat()),
        ("a text after a file", [head("PATCH", "/api/v1/auth/profile/", &form), after_file].concat()),
    ] {
        let stream = TcpStream::connect(server.next_address()).await.expect("connect");
        let (mut from, mut to) = stream.into_split();
        to.write_all(&begin).await.expect("written");
        let dripping = tokio::spawn(async move {
            // A byte now and then is no pause, and no pace either. The write fails once the server has gone.
            while to.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let mut answer = Vec::new();
        in_time(what, from.read_to_end(&mut answer)).await.expect("no reset");
        dripping.abort();
        assert_eq!(Answer::of(&answer).status, 408, "{what}: {}", String::from_utf8_lossy(&answer));
    }
    // Who keeps it may go on for longer than a pause may be.
    let mut stream = TcpStream::connect(server.next_address()).await.expect("connect");
    let steady = [("Authorization", bearer.as_str()), ("Content-Length", "200000")];
    stream.write_all(&head("PUT", "/media/uploads/steady", &steady)).await.expect("written");
    for _ in 0..20 {
        stream.write_all(&[b'x'; 10_000]).await.expect("written");
        // Ten times the pace that is asked for.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut answer = Vec::new();
    in_time("an answer", stream.read_to_end(&mut answer)).await.expect("no reset");
    assert_eq!(Answer::of(&answer).status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn d13_a_file_keeps_its_name_whatever_is_in_it() {
    let server = Server::start(&[]).await;
    let ann = server.account("ann").await;
    for (number, (header, name)) in [
        ("attachment; filename=\"a;b.txt\"", "a;b.txt"),
        ("attachment; filename=\"a \\\"b\\\"; c=d.txt\"; size=3", "a \"b\"; c=d.txt"),
        ("attachment;FileName = plain.txt ;x=y", "plain.txt"),
        ("attachment; filename=\"EURO.txt\"; filename*=UTF-8''%e2%82%ac%3B%22.txt", "\u{20ac};\".txt"),
        ("attachment; filename*=utf-8'en'x%20y.txt; filename=\"z.txt\"", "x y.txt"),
        ("attachment; filename*=UTF-8''; filename=\"kept.txt\"", "kept.txt"),
        ("attachment; x=\"filename=evil.txt\"; filename=good.txt", "good.txt"),
        ("filename=\"no type; at all.txt\"", "no type; at all.txt"),
        ("attachment; filename=\"C:\\Users\\ann\\cv.pdf\"", "cv.pdf"),
        ("attachment; filename=\"unfinished.txt", "unfinished.txt"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = number.to_string();
        let answer = put(server.next_address(), &ann.access, &key, &[("Content-Disposition", header)], b"x").await;
        assert_eq!((answer.status, &answer.json()["name"]), (201, &json!(name)), "{header}");
    }
    // In a form too, where browsers write it so.
    let mut bob = server.user("bob").await;
    let opened = bob.command("conversation.create", json!({ "title": "Notes", "members": [] })).await;
    let bearer = format!("Bearer {}", bob.account.access);
    for (given, name) in [("a; name=\\\"content\\\".txt", "a; name=\"content\".txt"), ("b;c.txt", "b;c.txt")] {
        let file = Part { name: "attachment", file: Some((given, "text/plain")), content: b"x" };
        let (media, body) = multipart(&[Part { name: "content", file: None, content: b"look" }, file]);
        let length = body.len().to_string();
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", &media), ("Content-Length", &length)];
        let path = format!("/api/v1/conversations/{}/messages/", opened["id"]);
        let answer = exchange(server.next_address(), &[head("POST", &path, &headers), body].concat()).await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        let told = loop {
            let event = bob.expect("message.created").await;
            if event["message"]["attachment"] != Value::Null {
                break event;
            }
        };
        assert_eq!(told["message"]["attachment"]["name"], name, "{told}");
    }
}
