//! Bringing files: once, again, too much, too slowly.

use serde_json::json;

use super::support::files::{self, Answer, exchange, get, head, jpeg, path_of, put};
use super::support::{Client, Server, http, in_time};
use super::{send, two_who_talk};

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_brought_sent_and_fetched() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob, id) = two_who_talk(&server).await;
    let named = [("Content-Disposition", "attachment; filename=\"beach.png\"")];
    let answer = put(server.next_address(), &ann.account.access, "p1", &named, &jpeg(1600, 1200)).await;
    let brought = answer.json();
    assert_eq!(answer.status, 201, "{brought}");
    assert_eq!((&brought["kind"], &brought["type"]), (&json!("image"), &json!("image/jpeg")));
    assert_eq!(
        (&brought["width"], &brought["height"], &brought["name"]),
        (&json!(1600), &json!(1200), &json!("beach.png"))
    );
    assert!(brought["placeholder"].is_string() && brought["size"].as_i64() > Some(1000), "{brought}");

    let seq = send(&mut ann, id, &brought["id"]).await;
    for socket in [&mut ann, &mut bob] {
        let message = &socket.expect("message.created").await["message"];
        assert_eq!((&message["attachment"], &message["text"]), (&brought, &json!("")));
    }
    // As the same shape everywhere.
    let history = bob.command("message.history", json!({ "conversation": id })).await;
    assert_eq!(history["messages"][0]["attachment"], brought);
    ann.command("message.edit", json!({ "conversation": id, "seq": seq, "text": "the beach" })).await;
    ann.command("message.edit", json!({ "conversation": id, "seq": seq, "text": "the sea" })).await;
    let found = bob.command("message.search", json!({ "query": "sea" })).await;
    assert_eq!(found["messages"][0]["attachment"], brought, "an edit keeps it");
    let epoch = bob.hello["epoch"].clone();
    bob.command("resume", json!({ "epoch": epoch, "conversations": { id.to_string(): 0 } })).await;
    assert_eq!(bob.expect("conversation.page").await["messages"][0]["attachment"], brought);

    let link = bob.link(&brought["id"]).await.expect("it is there for Bob");
    let mut sizes = Vec::new();
    for size in ["url", "medium", "small"] {
        let answer = get(server.next_address(), &path_of(&link[size]), &[]).await;
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "image/jpeg"), "{size}");
        assert_eq!(answer.headers["content-length"], answer.body.len().to_string());
        sizes.push(image::load_from_memory(&answer.body).expect("a picture").width());
    }
    assert_eq!(sizes, [1600, 1024, 256]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_upload_is_the_same_file_and_its_body_is_not_read() {
    let server = Server::start(&[]).await;
    let ann = server.user("ann").await;
    let notes = vec![b'a'; 300_000];
    let first = ann.upload("n%201", &notes).await;
    assert_eq!(
        (&first["kind"], &first["size"], &first["type"]),
        (&json!("file"), &json!(300_000), &json!("application/octet-stream"))
    );
    let again = put(server.next_address(), &ann.account.access, "n%201", &[], &notes).await;
    assert_eq!((again.status, again.json()), (200, first.clone()));
    // Whoever asks before sending is answered at once.
    let token = format!("Bearer {}", ann.account.access);
    let asking = [("Authorization", token.as_str()), ("Content-Length", "300000"), ("Expect", "100-continue")];
    let answer = exchange(server.next_address(), &head("PUT", "/media/uploads/n%201", &asking)).await;
    assert_eq!((answer.status, answer.json()), (200, first.clone()));
    // The keys of others are theirs.
    let bob = server.user("bob").await;
    assert_ne!(bob.upload("n%201", &notes).await["id"], first["id"]);
    // And who asks about something new is told to go on.
    let asking = [asking[0], asking[1], asking[2]];
    let answer = in_time("the word to go on", async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(server.next_address()).await.expect("connect");
        stream.write_all(&head("PUT", "/media/uploads/n2", &asking)).await.expect("written");
        let mut word = [0; 25];
        stream.read_exact(&mut word).await.expect("read");
        assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(&notes).await.expect("written");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("read");
        Answer::of(&rest)
    })
    .await;
    assert_eq!(answer.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_send_with_another_file_is_another_message() {
    let server = Server::start(&[]).await;
    let (mut ann, bob, id) = two_who_talk(&server).await;
    let (one, two) = (ann.upload("1", b"one").await, ann.upload("2", b"two").await);
    let message =
        |file: &serde_json::Value| json!({ "conversation": id, "text": "", "attachment": file, "client_key": "k" });
    let first = ann.command("message.send", message(&one["id"])).await;
    assert_eq!(ann.command("message.send", message(&one["id"])).await, first);
    let error = ann.refused("message.send", message(&two["id"])).await;
    assert_eq!(error["code"], "key_reused");
    let bare = json!({ "conversation": id, "text": "", "client_key": "k" });
    assert_eq!(ann.refused("message.send", bare).await["code"], "invalid_field", "nothing at all is no message");
    // Nobody sends what is not theirs, or not there.
    for file in [bob.upload("1", b"his").await["id"].clone(), json!("AAAAAAAAAAAAAAAAAAAAAA"), json!("../../x")] {
        let error = ann.refused("message.send", json!({ "conversation": id, "text": "x", "attachment": file })).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("not_found"), &json!("attachment")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused_before_it_is_read() {
    let server = Server::start(&[("upload-max", "1000")]).await;
    let ann = server.account("ann").await;
    let token = format!("Bearer {}", ann.access);
    // Only heads: an answer comes though no byte of the body does.
    for (headers, status, code) in [
        (vec![("Content-Length", "1001")], 401, "not_authenticated"),
        (vec![("Content-Length", "10"), ("Authorization", "Bearer e30.e30.e30")], 401, "invalid_credentials"),
        (vec![("Content-Length", "1001"), ("Authorization", &token)], 413, "too_long"),
    ] {
        let answer = exchange(server.next_address(), &head("PUT", "/media/uploads/big", &headers)).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{headers:?}");
    }
    let long = "k".repeat(65);
    let answer = put(server.next_address(), &ann.access, &long, &[], b"x").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "too_long"));
    // Without a length it is counted as it comes.
    let chunked = [("Authorization", token.as_str()), ("Transfer-Encoding", "chunked")];
    let mut request = head("PUT", "/media/uploads/big", &chunked);
    for _ in 0..3 {
        request.extend(format!("190\r\n{}\r\n", "x".repeat(400)).bytes());
    }
    request.extend(b"0\r\n\r\n");
    let answer = exchange(server.next_address(), &request).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_long"));
    // The key is free again.
    assert_eq!(put(server.next_address(), &ann.access, "big", &[], b"x").await.status, 201);
    for (method, path, status) in [
        ("GET", "/media/uploads/big", 405),
        ("PUT", "/media/a/b/c/d", 404),
        ("DELETE", "/media/a/whole", 405),
        ("OPTIONS", "/media/uploads/x", 200),
    ] {
        let answer = http::call(server.next_address(), method, path, Some(&ann.access), None).await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stops_or_breaks_off_leaves_nothing_and_can_be_begun_again() {
    let server = Server::start(&[("upload-idle-ms", "1000")]).await;
    let ann = server.user("ann").await;
    let token = format!("Bearer {}", ann.account.access);
    let headers = [("Authorization", token.as_str()), ("Content-Length", "1000")];
    let mut request = head("PUT", "/media/uploads/slow", &headers);
    request.extend([b'x'; 400]);
    let answer = exchange(server.next_address(), &request).await;
    assert_eq!(answer.status, 408, "{}", answer.json());
    // Cut off, once it has begun.
    drop(ann.upload_begun("slow", 1000).await);
    let answer = put(server.next_address(), &ann.account.access, "slow", &[], &[b'x'; 1000]).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    in_time("what broke off to be forgotten", async {
        let mut database = server.database().reader().await;
        while database.number("count(*)", "FROM files WHERE state <> 'ready'").await > 0 {
            // Before the next look.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let left = std::fs::read_dir(server.media_dir().join("incoming")).expect("a folder").count();
    assert_eq!(left, 0, "temporary files stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_never_held_in_memory() {
    const EACH: usize = 5 << 20;
    let server = Server::start(&[("upload-disk-share", "100")]).await;
    let mut accounts = Vec::new();
    for name in ["ann", "bob", "cem", "dora", "eve", "fay", "gil", "hana", "ivo", "jan"] {
        accounts.push(server.account(name).await);
    }
    let bytes: std::sync::Arc<Vec<u8>> = std::sync::Arc::new((0..EACH).map(|place| (place * 31 / 7) as u8).collect());
    let before = server.memory_kib();
    let uploads: Vec<_> = (0..50)
        .map(|number| {
            let (address, token, bytes) = (server.next_address(), accounts[number % 10].access.clone(), bytes.clone());
            tokio::spawn(async move { put(address, &token, &format!("m{number}"), &[], &bytes).await.status })
        })
        .collect();
    for upload in uploads {
        assert_eq!(upload.await.expect("it ran"), 201);
    }
    let more = server.memory_kib().saturating_sub(before) / 1024;
    assert!(more < 100, "250 MiB that came at once took {more} MiB of memory");
}

/// A picture of a profile.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_a_profile_are_seen_in_their_order() {
    let server = Server::start(&[("pictures-max", "2")]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let one = ann.upload("1", &jpeg(40, 30)).await;
    let two = ann.upload("2", &jpeg(30, 40)).await;
    let notes = ann.upload("3", b"notes").await;
    let own = ann.command("profile.update", json!({ "pictures": [two["id"], one["id"]] })).await;
    assert_eq!(own["pictures"], json!([two, one]));
    assert_eq!(bob.command("profile.get", json!({ "user": ann.user })).await["pictures"], json!([two, one]));
    let path = bob.path(&two["id"]).await;
    assert_eq!(get(server.next_address(), &path, &[]).await.status, 200);
    for (pictures, code, field) in [
        (json!([one["id"], two["id"], one["id"]]), "too_long", "pictures"),
        (json!([one["id"], one["id"]]), "invalid_field", "pictures[1]"),
        (json!([notes["id"]]), "invalid_field", "pictures[0]"),
        (json!(["AAAAAAAAAAAAAAAAAAAAAA"]), "not_found", "pictures[0]"),
    ] {
        let error = ann.refused("profile.update", json!({ "pictures": pictures })).await;
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(field)), "{error}");
    }
    assert_eq!(bob.refused("profile.update", json!({ "pictures": [one["id"]] })).await["code"], "not_found");
    assert_eq!(ann.command("profile.me", json!({})).await["pictures"], json!([two, one]), "nothing changed");
    ann.command("profile.update", json!({ "pictures": [one["id"]] })).await;
    in_time("the picture that was taken out to be gone for Bob", async {
        while bob.link(&two["id"]).await.is_some() {}
    })
    .await;
    assert_eq!(get(server.next_address(), &path, &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn s46_nobody_fills_the_disk() {
    let settings = [("files-per-user", "3"), ("file-bytes-per-user", "2000"), ("uploads-per-user", "1")];
    let server = Server::start(&settings).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    ann.upload("1", &[b'x'; 1500]).await;
    let token = format!("Bearer {}", ann.account.access);
    let headers = [("Authorization", token.as_str()), ("Content-Length", "501")];
    let answer = exchange(server.next_address(), &head("PUT", "/media/uploads/2", &headers)).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "limit_reached"), "refused before its body came");
    ann.upload("2", &[b'x'; 10]).await;
    ann.upload("3", &[b'x'; 10]).await;
    let answer = put(server.next_address(), &ann.account.access, "4", &[], b"x").await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "limit_reached"));
    assert_eq!(
        put(server.next_address(), &ann.account.access, "3", &[], b"x").await.status,
        200,
        "what is there stays"
    );

    // Those that come at once are counted before they are there.
    let slow = Client::upload_begun(&bob, "slow", 1000).await;
    let answer = put(server.next_address(), &bob.account.access, "other", &[], b"x").await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "limit_reached"));
    drop(slow);
    in_time("the place of what broke off", async {
        while put(server.next_address(), &bob.account.access, "other", &[], b"x").await.status != 201 {}
    })
    .await;
    let answer: files::Answer = put(server.next_address(), &bob.account.access, "heavy", &[], &[b'x'; 2000]).await;
    assert_eq!(answer.status, 409, "a byte too many in all");
}
