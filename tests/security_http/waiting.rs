//! How long a connection may wait, and for what.

use std::time::Duration;

use super::support::{Server, in_time};
use super::{AsyncReadExt, AsyncWriteExt, TcpStream};

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: duet\r\n\r\n";

/// The body of the next answer, which leaves the connection open.
async fn answered(stream: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    while !answer.ends_with(b"{\"detail\":\"ok\"}") {
        match in_time("an answer", stream.read_buf(&mut answer)).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
    answer.starts_with(b"HTTP/1.1 200 ")
}

#[tokio::test(flavor = "multi_thread")]
async fn d06_a_pause_between_requests_may_be_longer_than_a_head() {
    let server = Server::start(&[("header-ms", "1000")]).await;
    let mut stream = TcpStream::connect(server.next_address()).await.expect("connect");
    for round in 0..3 {
        stream.write_all(REQUEST).await.expect("written");
        assert!(answered(&mut stream).await, "round {round}");
        // Longer than a head may take: this is what is tried.
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
    // Two at once are two requests, and a body is none.
    stream.write_all(&[REQUEST, REQUEST].concat()).await.expect("written");
    assert!(answered(&mut stream).await);
    // A head that began has its own time, after a pause too.
    stream.write_all(&REQUEST[..20]).await.expect("written");
    let mut end = Vec::new();
    in_time("half a head to be cut off", stream.read_to_end(&mut end)).await.expect("no reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn d06_a_pause_ends_too() {
    let server = Server::start(&[("keep-alive-ms", "1000")]).await;
    let mut stream = TcpStream::connect(server.next_address()).await.expect("connect");
    stream.write_all(REQUEST).await.expect("written");
    assert!(answered(&mut stream).await);
    let mut rest = Vec::new();
    in_time("the idle connection to end", stream.read_to_end(&mut rest)).await.expect("no reset");
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
}
