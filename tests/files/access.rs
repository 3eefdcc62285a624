//! Who may fetch a file, and until when.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::support::files::{get, jpeg, path_of};
use super::support::server::PASSWORD;
use super::support::setup::Because;
use super::support::{Client, Server, http, in_time};
use super::{send, two_who_talk};

/// The status with which a path is answered, by any of the nodes.
async fn status(server: &Server, path: &str) -> u16 {
    let (one, other) = (get(server.next_address(), path, &[]).await, get(server.next_address(), path, &[]).await);
    assert_eq!(one.status, other.status, "the nodes agree");
    one.status
}

/// A group of these people, in which the first one sends a file.
async fn group_with_file(owner: &mut Client, members: &[i64], title: &str) -> (i64, Value) {
    let group = json!({ "title": title, "members": members });
    let group = owner.command("conversation.create", group).await["id"].as_i64().expect("an id");
    let file = owner.upload(&title.replace(' ', "-"), b"for the group").await["id"].clone();
    send(owner, group, &file).await;
    (group, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_a_block_closes_files_at_once() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob, id) = two_who_talk(&server).await;
    let file = ann.upload("1", b"for Bob").await["id"].clone();
    let picture = ann.upload("2", &jpeg(20, 20)).await["id"].clone();
    send(&mut ann, id, &file).await;
    ann.command("profile.update", json!({ "pictures": [picture] })).await;
    let theirs = bob.upload("1", b"for Ann").await["id"].clone();
    send(&mut bob, id, &theirs).await;
    let paths = [bob.path(&file).await, bob.path(&picture).await];
    let (own, anns) = (bob.path(&theirs).await, ann.path(&theirs).await);
    for path in &paths {
        assert_eq!(status(&server, path).await, 200);
    }
    ann.command("block.add", json!({ "user": bob.user })).await;
    for (path, file) in paths.iter().zip([&file, &picture]) {
        assert_eq!(status(&server, path).await, 404, "{file}");
        assert_eq!(bob.link(file).await, None);
    }
    // What stands on the device of the blocker stays there, and what is one's own is one's own.
    assert_eq!((status(&server, &anns).await, status(&server, &own).await), (200, 200));
    ann.command("block.remove", json!({ "user": bob.user })).await;
    for path in &paths {
        assert_eq!(status(&server, path).await, 200);
    }
    bob.command("block.add", json!({ "user": ann.user })).await;
    assert_eq!(status(&server, &paths[1]).await, 404, "a profile is closed both ways");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_see_what_came_while_they_were_there() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob, mut cem, mut dora) =
        (server.user("ann").await, server.user("bob").await, server.user("cem").await, server.user("dora").await);
    let (group, file) = group_with_file(&mut ann, &[bob.user, cem.user], "one").await;
    let (bobs, cems) = (bob.path(&file).await, cem.path(&file).await);
    assert_eq!(dora.link(&file).await, None, "a stranger");
    bob.command("conversation.leave", json!({ "conversation": group })).await;
    ann.command("member.remove", json!({ "conversation": group, "user": cem.user })).await;
    assert_eq!((status(&server, &bobs).await, status(&server, &cems).await), (404, 404));
    // Who comes later, or again, does not see what came before.
    ann.command("member.add", json!({ "conversation": group, "users": [dora.user, bob.user] })).await;
    assert_eq!((dora.link(&file).await, bob.link(&file).await), (None, None));
    let again = ann.upload("again", b"for all").await["id"].clone();
    send(&mut ann, group, &again).await;
    let doras = dora.path(&again).await;
    assert_eq!(status(&server, &doras).await, 200);
    // In a group it is the blocker who does not see the other.
    dora.command("block.add", json!({ "user": ann.user })).await;
    assert_eq!((status(&server, &doras).await, bob.link(&again).await.is_some()), (404, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_gone_and_then_its_bytes_are() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob, id) = two_who_talk(&server).await;
    let (one, two) = (ann.upload("1", b"one").await["id"].clone(), ann.upload("2", b"two").await["id"].clone());
    let (first, second) = (send(&mut ann, id, &one).await, send(&mut ann, id, &two).await);
    let paths = [bob.path(&one).await, bob.path(&two).await];
    // For oneself: others keep it.
    bob.command("message.delete", json!({ "conversation": id, "seq": first })).await;
    let anns = ann.path(&one).await;
    assert_eq!((status(&server, &paths[0]).await, status(&server, &anns).await), (404, 200));
    // For all.
    ann.command("message.delete", json!({ "conversation": id, "seq": second, "for_all": true })).await;
    assert_eq!(status(&server, &paths[1]).await, 404);
    let history = bob.command("message.history", json!({ "conversation": id })).await;
    assert_eq!(
        (&history["messages"][0]["deleted"], &history["messages"][0]["attachment"]),
        (&json!(true), &Value::Null)
    );
    let name = two.as_str().expect("an id").to_owned();
    let lies = move |server: &Server| super::objects(server).iter().any(|object| object.starts_with(&name));
    in_time("its bytes to go", async {
        while lies(&server) {
            // Before the next look.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    // With the account everything goes.
    ann.command("account.delete", json!({ "password": PASSWORD })).await;
    assert_eq!((status(&server, &anns).await, bob.link(&one).await), (404, None));
    server.at_rest().await;
    super::agree(&server).await;
    assert!(super::objects(&server).is_empty(), "the bytes of a deleted account stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_messages_with_a_file_keeps_it() {
    let server = Server::start(&[("media-collect-ms", "50"), ("media-unused-s", "0")]).await;
    let (mut ann, mut bob, id) = two_who_talk(&server).await;
    let group = json!({ "title": "all", "members": [bob.user] });
    let group = ann.command("conversation.create", group).await["id"].as_i64().expect("an id");
    // It is collected as soon as nothing refers to it, so it is tried until it was quick enough.
    let file = in_time("a file to be sent before it is collected", async {
        for try_ in 0.. {
            let file = ann.upload(&format!("t{try_}"), b"twice").await["id"].clone();
            let message = json!({ "conversation": id, "text": "", "attachment": file });
            let sent = ann.say("message.send", message).await;
            if ann.reply(sent).await["ok"] == true {
                return file;
            }
        }
        Value::Null
    })
    .await;
    send(&mut ann, group, &file).await;
    ann.command("message.delete", json!({ "conversation": id, "seq": 1, "for_all": true })).await;
    // A file that is given up after this one was collected: so a round has gone by.
    let other = ann.upload("other", b"nobody's").await["id"].clone();
    in_time("a round", async { while ann.link(&other).await.is_some() {} }).await;
    let path = bob.path(&file).await;
    assert_eq!(status(&server, &path).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn s45_a_url_is_for_one_reader_and_nothing_else_opens_a_file() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob, id) = two_who_talk(&server).await;
    let mut eve = server.user("eve").await;
    let file = ann.upload("1", &jpeg(300, 300)).await["id"].clone();
    send(&mut ann, id, &file).await;
    let name = file.as_str().expect("an id");
    let path = bob.path(&file).await;
    let wrong = get(server.next_address(), &format!("/media/{name}/whole"), &[]).await;
    assert_eq!((wrong.status, wrong.code().as_str()), (404, "not_found"));
    let mine = eve.upload("1", b"hers").await["id"].clone();
    let hers = eve.path(&mine).await;
    let query = path.split_once('?').expect("a query").1;
    for other in [
        path.replace(&format!("for={}", bob.user), &format!("for={}", eve.user)),
        path.replace("until=", "until=9"),
        path.replace("/whole", "/small"),
        path.replace("/whole", "/WHOLE"),
        path.replace("sig=", "sig=A"),
        path.replace("sig=", "gis="),
        hers.replace(mine.as_str().expect("an id"), name),
        format!("/media/AAAAAAAAAAAAAAAAAAAAAA/whole?{query}"),
        format!("/media/{}/whole?{query}", name.to_lowercase()),
        format!("/media/%2e%2e/duet.db?{query}"),
        format!("/media/..%2f..%2fsecret/whole?{query}"),
    ] {
        let answer = get(server.next_address(), &other, &[("Authorization", "Bearer e30.e30.e30")]).await;
        assert_eq!((answer.status, &answer.body), (404, &wrong.body), "{other}");
    }
    let up = path.replace("/whole", "/../whole");
    for outside in [&up, "/media/../secret", "/media/%2e%2e/%2e%2e/secret", "/media//etc/passwd", "/media/", "/media"] {
        assert_eq!(get(server.next_address(), outside, &[]).await.status, 404, "{outside}");
    }
    assert_eq!(status(&server, &path).await, 200);
    assert_eq!(eve.link(&file).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_ids_of_files_are_not_to_be_guessed() {
    let server = Server::start(&[]).await;
    let (ann, mut eve) = (server.user("ann").await, server.user("eve").await);
    let mut names = std::collections::BTreeSet::new();
    for number in 0..20 {
        let file = ann.upload(&format!("k{number}"), b"the same").await;
        let name = file["id"].as_str().expect("an id").to_owned();
        assert!(name.len() == 22 && names.insert(name), "{file}");
    }
    let mut asked: Vec<Value> = names.iter().map(|name| json!(name)).collect();
    asked.extend([json!("1"), json!(""), json!("' OR 1=1"), json!("A".repeat(22))]);
    let answer = eve.command("media.links", json!({ "files": asked })).await;
    assert_eq!((&answer["links"], &answer["gone"]), (&json!([]), &json!(asked)), "another's look like none");
    let many: Vec<&str> = vec!["x"; 101];
    assert_eq!(eve.refused("media.links", json!({ "files": many })).await["code"], "too_long");
}

#[tokio::test(flavor = "multi_thread")]
async fn s45_bytes_come_in_ranges_and_under_headers_that_keep_them_quiet() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let bytes: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
    let named = ann.upload("p?name=%3Cscript%3E.html", &bytes).await;
    assert_eq!((&named["kind"], &named["name"]), (&json!("file"), &json!("<script>.html")));
    let path = ann.path(&named["id"]).await;
    let whole = get(server.next_address(), &path, &[]).await;
    assert_eq!((whole.status, &whole.body), (200, &bytes));
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment; filename=\"_script_.html\"; filename*=UTF-8''%3Cscript%3E.html"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("cache-control", "private, max-age=60"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(whole.headers[name], value, "{name}");
    }
    let tag = whole.headers["etag"].clone();
    for (range, status, told, body) in [
        ("bytes=0-9", 206, "bytes 0-9/100000", &bytes[..10]),
        ("bytes=99990-", 206, "bytes 99990-99999/100000", &bytes[99_990..]),
        ("bytes=-1", 206, "bytes 99999-99999/100000", &bytes[99_999..]),
        ("bytes=100000-", 416, "bytes */100000", &[]),
    ] {
        let part = get(server.next_address(), &path, &[("Range", range)]).await;
        assert_eq!((part.status, part.headers["content-range"].as_str()), (status, told), "{range}");
        assert_eq!(part.body, body, "{range}");
    }
    for ignored in [[("Range", "bytes=0-1,5-6"), ("X", "")], [("Range", "bytes=0-1"), ("If-Range", "\"other\"")]] {
        let answer = get(server.next_address(), &path, &ignored).await;
        assert_eq!((answer.status, answer.body.len()), (200, bytes.len()), "{ignored:?}");
    }
    let same = get(server.next_address(), &path, &[("If-None-Match", &tag)]).await;
    assert_eq!((same.status, same.body.len(), &same.headers["etag"]), (304, 0, &tag));
    let head = http::call(server.next_address(), "HEAD", &path, None, None).await;
    assert_eq!((head.status, head.headers["content-length"].as_str(), head.body.as_str()), (200, "100000", ""));
    let part = get(server.next_address(), &path, &[("Range", "bytes=5-5"), ("If-Range", &tag)]).await;
    assert_eq!((part.status, part.body), (206, vec![5]));
    let picture = ann.upload("q?name=evil.html", &jpeg(300, 200)).await;
    let link = ann.link(&picture["id"]).await.expect("a link");
    assert_eq!(link.get("medium"), None, "it would be no smaller");
    let small = get(server.next_address(), &path_of(&link["small"]), &[("Range", "bytes=0-1")]).await;
    assert_eq!((small.status, small.body.as_slice()), (206, &[0xff, 0xd8][..]));
    assert_eq!(small.headers["content-disposition"], "inline; filename=\"evil.jpg\"; filename*=UTF-8''evil.jpg");
    // The same URL comes for a while, so that it can be kept.
    assert_eq!(ann.path(&named["id"]).await, path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_ends_by_itself() {
    let server = Server::start(&[("link-s", "1")]).await;
    let mut ann = server.user("ann").await;
    let file = ann.upload("1", b"x").await["id"].clone();
    let path = ann.path(&file).await;
    in_time("the URL to end", async { while get(server.next_address(), &path, &[]).await.status == 200 {} }).await;
    assert_eq!(status(&server, &path).await, 404);
    // Another one is there.
    assert_ne!(ann.path(&file).await, path);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_a_file_is_let_go() {
    const LONG: usize = 20 << 20;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let settings = [("operator-listen", free.to_string()), ("write-ms", "3000".to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let server = Server::start_alone(Because::OfTheProcess, &settings).await;
    let mut ann = server.user("ann").await;
    let file = ann.upload("1", &vec![b'x'; LONG]).await["id"].clone();
    let path = ann.path(&file).await;
    drop(ann);
    let has = async |connections: usize| {
        let numbers = http::call(free, "GET", "/metrics", None, None).await.body;
        numbers.contains(&format!("duet_connections {connections}\n"))
    };
    in_time("ann to be gone", async { while !has(0).await {} }).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    // What the system buffers of a connection must not be all of it.
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut reader = socket.connect(server.next_address()).await.expect("connect");
    let asking = format!("GET {path} HTTP/1.1\r\nHost: duet\r\n\r\n");
    reader.write_all(asking.as_bytes()).await.expect("ask");
    in_time("a reader to be there", async { while !has(1).await {} }).await;
    in_time("a reader who takes nothing to be let go", async { while !has(0).await {} }).await;
    let mut came = Vec::new();
    // What was under way comes yet, or a reset.
    let _ = reader.read_to_end(&mut came).await;
    assert!(came.len() < LONG / 2, "{} bytes came", came.len());
}
