//! A client that closes its socket is answered with a close frame, before the connection ends (RFC 6455, 5.5.1).

use serde_json::json;

use crate::support::Server;
use crate::support::raw::{BEGIN, CLOSE, RawSocket, frame};

/// A close frame: its code, if it has one, and its reason.
fn close(code: Option<u16>, reason: &str) -> Vec<u8> {
    let code = code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
    frame(CLOSE, &[code, reason.as_bytes().to_vec()].concat())
}

/// The content of the close frame that answers, and then the end of the connection, with nothing lost to a reset.
async fn farewell(mut socket: RawSocket) -> Vec<u8> {
    let answer = loop {
        match socket.frame().await {
            Some((CLOSE, content)) => break content,
            Some(_) => {}
            None => panic!("the connection ended without a close frame, which clients show as 1006"),
        }
    };
    assert!(socket.ends().await, "after the close frame the server ends the connection");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn d02_a_close_frame_is_answered_with_the_same_code() {
    let server = Server::start(&[]).await;
    let ann = server.account("ann").await;
    let wanted = [(Some(1000), "bye"), (Some(1001), ""), (Some(4321), "a code of the client's own"), (None, "")];
    for greeted in [true, false] {
        for (code, reason) in wanted {
            let mut socket = match greeted {
                true => RawSocket::greeted(server.next_address(), &ann.access).await,
                false => RawSocket::open(server.next_address(), "", None).await.expect("an upgrade"),
            };
            socket.write(&close(code, reason)).await;
            let answer = farewell(socket).await;
            let expected = code.map(|code| [&code.to_be_bytes(), reason.as_bytes()].concat()).unwrap_or_default();
            assert_eq!(answer, expected, "{code:?}, signed in: {greeted}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d02_a_close_frame_is_answered_whatever_is_under_way() {
    let server = Server::start(&[]).await;
    let (mut ann, bob) = (server.user("ann").await, server.account("bob").await);
    let mut raw = RawSocket::greeted(server.next_address(), &bob.access).await;
    let bob_id = ann.command("conversation.create", json!({ "title": "talk" })).await;
    assert!(bob_id["id"].is_i64());
    // In the middle of a message of its own.
    raw.write(&[frame(BEGIN, b"{\"type\":"), close(Some(1000), "changed my mind")].concat()).await;
    assert_eq!(farewell(raw).await[..2], 1000_u16.to_be_bytes());
    // Commands are at work, and their replies are due.
    let mut raw = RawSocket::greeted(server.next_address(), &bob.access).await;
    let commands: Vec<u8> = (0..20)
        .flat_map(|id| frame(0x81, json!({"id": id, "type": "conversation.list"}).to_string().as_bytes()))
        .collect();
    raw.write(&[commands, close(Some(1000), "")].concat()).await;
    assert_eq!(farewell(raw).await[..2], 1000_u16.to_be_bytes());
    // A code that nobody may send is answered with 1002.
    for code in [999, 1005, 1006, 1015, 5000] {
        let mut raw = RawSocket::greeted(server.next_address(), &bob.access).await;
        raw.write(&close(Some(code), "")).await;
        assert_eq!(farewell(raw).await[..2], 1002_u16.to_be_bytes(), "{code}");
    }
}
