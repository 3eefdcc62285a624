//! One WebSocket whose every frame is recorded, in both directions, before anybody acts on it.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::recorder::Recorder;

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    recorder: Arc<Recorder>,
    number: u64,
    next_id: i64,
    open: bool,
}

/// The end of a socket: the code and reason of a close frame, or code 0 and what else it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The close code, or 0 where none came.
    pub code: u16,
    /// In words.
    pub why: String,
}

/// How a client may vanish.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// The process is gone; the kernel ends the connection.
    Drop,
    /// In the middle of a frame.
    HalfFrame,
    /// A reset, which throws away what was on its way in both directions.
    Reset,
    /// A clean close, while replies are still due.
    Close,
}

impl Socket {
    /// Connects; says nothing yet. An error is how the connection failed.
    pub async fn open(
        address: SocketAddr,
        recorder: &Arc<Recorder>,
        user: &str,
        device: &str,
    ) -> Result<Socket, Ended> {
        let stream = TcpStream::connect(address).await.map_err(|cause| ended(0, &cause))?;
        stream.set_nodelay(true).map_err(|cause| ended(0, &cause))?;
        let upgraded = tokio_tungstenite::client_async(format!("ws://{address}/ws"), stream).await;
        let (stream, _) = upgraded.map_err(|cause| ended(0, &cause))?;
        let number = recorder.opened(user, device);
        Ok(Socket { stream, recorder: Arc::clone(recorder), number, next_id: 1, open: true })
    }

    /// Sends a command and returns the id it was given.
    pub async fn send(&mut self, kind: &str, data: &Value) -> Result<i64, Ended> {
        let id = self.next_id;
        self.next_id += 1;
        let frame = json!({ "id": id, "type": kind, "data": data }).to_string();
        // Recorded before it leaves: what was not written counts as unanswered, never as unsent.
        self.recorder.frame(self.number, "sent", &frame);
        match self.stream.send(Message::text(frame)).await {
            Ok(()) => Ok(id),
            Err(cause) => Err(self.close_record(ended(0, &cause))),
        }
    }

    /// Sends text as it is, recorded only as text. For frames that are no commands.
    pub async fn send_raw(&mut self, message: Message) -> Result<(), Ended> {
        let sent = self.stream.send(message).await;
        sent.map_err(|cause| self.close_record(ended(0, &cause)))
    }

    /// The next text frame, as JSON.
    pub async fn next(&mut self) -> Result<Value, Ended> {
        loop {
            let end = match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    self.recorder.frame(self.number, "received", &text);
                    return Ok(serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{text}: {cause}")));
                }
                Some(Ok(Message::Close(Some(frame)))) => ended(frame.code.into(), &frame.reason),
                Some(Ok(Message::Close(None))) => ended(1005, &"closed without a code"),
                Some(Ok(_)) => continue,
                Some(Err(cause)) => ended(0, &cause),
                None => ended(0, &"end of stream"),
            };
            return Err(self.close_record(end));
        }
    }

    /// Vanishes in the given way.
    pub async fn cut(mut self, how: Cut) {
        match how {
            Cut::Drop => {}
            Cut::HalfFrame => {
                // A masked text frame of 120 bytes, of which only the beginning leaves.
                let half = [0x81, 0x80 | 120, 1, 2, 3, 4, b'{' ^ 1, b'"' ^ 2];
                // The server may have gone first; then there is nothing to cut.
                let _ = self.stream.get_mut().write_all(&half).await;
            }
            Cut::Reset => {
                let _ = self.stream.get_ref().set_zero_linger();
            }
            Cut::Close => {
                let _ = self.stream.close(None).await;
            }
        }
        self.close_record(ended(0, &format!("cut: {how:?}")));
    }

    fn close_record(&mut self, end: Ended) -> Ended {
        if std::mem::take(&mut self.open) {
            self.recorder.closed(self.number, &format!("{} {}", end.code, end.why));
        }
        end
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close_record(ended(0, &"dropped"));
    }
}

fn ended(code: u16, why: &dyn std::fmt::Display) -> Ended {
    Ended { code, why: why.to_string() }
}
