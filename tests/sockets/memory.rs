//! What an idle socket costs does not depend on what it has been used for.

use serde_json::json;

use crate::support::Server;
use crate::support::raw::{RawSocket, frame};
use crate::support::setup::Because;

/// Sockets whose memory is compared.
const SOCKETS: usize = 200;
/// Most KiB that each may keep of a long message after it is over.
const KEPT_KIB: usize = 12;
/// A frame of a client of the greatest length.
const FRAME_MAX: usize = 32_768;

/// A server with a conversation whose latest page is long, and sockets of one user who is in it.
async fn sockets(server: &Server) -> (i64, Vec<RawSocket>) {
    let mut ann = server.user("ann").await;
    let created = ann.command("conversation.create", json!({ "title": "long texts" })).await;
    let conversation = created["id"].as_i64().expect("an id");
    let mut sent = Vec::new();
    for _ in 0..60 {
        sent.push(ann.say("message.send", json!({ "conversation": conversation, "text": "x".repeat(4000) })).await);
    }
    for id in sent {
        assert_eq!(ann.reply(id).await["ok"], true);
    }
    let account = ann.account.clone();
    let mut open = Vec::new();
    for _ in 0..SOCKETS {
        open.push(RawSocket::greeted(server.next_address(), &account.access).await);
    }
    (conversation, open)
}

/// How many KiB each socket keeps after this was done on each, one after the other.
async fn kept(server: &Server, sockets: &mut [RawSocket], message: &str) -> usize {
    // Once before, so that what the process itself needs for it is there already.
    for socket in sockets.iter_mut().take(5) {
        socket.say(message).await;
        assert_eq!(socket.json().await["ok"], true);
    }
    let before = server.memory_kib();
    let mut longest = 0;
    for socket in &mut *sockets {
        socket.write(&frame(0x81, message.as_bytes())).await;
        let reply = socket.json().await;
        assert_eq!(reply["ok"], true, "{reply}");
        longest = longest.max(reply.to_string().len());
        // What follows is short, and would let a buffer become small again.
        socket.say(r#"{"type":"ping"}"#).await;
        assert_eq!(socket.json().await["ok"], true);
    }
    let more = server.memory_kib().saturating_sub(before);
    println!("{SOCKETS} sockets keep {more} KiB in all; the longest reply had {longest} bytes");
    more / SOCKETS
}

const PATIENT: &[(&str, &str)] = &[("sockets-per-user", "0"), ("ping-ms", "600000"), ("silent-ms", "1200000")];

#[tokio::test(flavor = "multi_thread")]
async fn n09_a_socket_does_not_keep_the_memory_of_a_long_page_that_it_sent() {
    let server = Server::start_alone(Because::OfTheProcess, PATIENT).await;
    let (conversation, mut sockets) = sockets(&server).await;
    let history = json!({ "id": 1, "type": "message.history", "data": { "conversation": conversation } });
    let kept = kept(&server, &mut sockets, &history.to_string()).await;
    assert!(kept <= KEPT_KIB, "each socket keeps {kept} KiB of a page");
}

#[tokio::test(flavor = "multi_thread")]
async fn n09_a_socket_does_not_keep_the_memory_of_a_long_frame_that_it_received() {
    let server = Server::start_alone(Because::OfTheProcess, PATIENT).await;
    let (_, mut sockets) = sockets(&server).await;
    let ping = r#"{"id":1,"type":"ping"}"#;
    let long = format!("{ping}{}", " ".repeat(FRAME_MAX - ping.len()));
    let kept = kept(&server, &mut sockets, &long).await;
    assert!(kept <= KEPT_KIB, "each socket keeps {kept} KiB of a frame");
}
