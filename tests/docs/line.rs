//! One connection of a speaker. What arrives is put aside as it comes, unless the speaker stops reading.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

/// Something that arrived.
#[derive(Debug)]
pub enum Arrived {
    /// A text frame.
    Frame(String),
    /// A close frame.
    Closed(u16, String),
    /// The end of the connection.
    Ended(String),
}

/// A refusal to open a socket: the status, and the body as it came.
#[derive(Debug)]
pub struct Refused(pub u16, pub String);

/// An open connection.
#[derive(Debug)]
pub struct Line {
    sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    /// A second handle to the same connection, for bytes that are no frame.
    raw: std::net::TcpStream,
    arrived: mpsc::UnboundedReceiver<Arrived>,
    reading: watch::Sender<bool>,
}

impl Line {
    /// Connects, with an `Authorization` header where one is given.
    pub async fn open(server: SocketAddr, path: &str, authorization: Option<&str>) -> Result<Line, Refused> {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Small, so that a reader who stops is soon noticed.
        socket.set_recv_buffer_size(16 * 1024).expect("a buffer");
        let stream = socket.connect(server).await.expect("connect").into_std().expect("a plain stream");
        let raw = stream.try_clone().expect("a second handle");
        let stream = TcpStream::from_std(stream).expect("an asynchronous stream");
        let mut request = format!("ws://{server}{path}").into_client_request().expect("a request");
        if let Some(value) = authorization {
            request.headers_mut().insert("Authorization", value.parse().expect("a header"));
        }
        let stream = match tokio_tungstenite::client_async(request, stream).await {
            Ok((stream, _)) => stream,
            Err(Error::Http(answer)) => {
                let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
                return Err(Refused(answer.status().as_u16(), body));
            }
            Err(cause) => return Err(Refused(0, cause.to_string())),
        };
        let (sink, mut stream) = stream.split();
        let (arriving, arrived) = mpsc::unbounded_channel();
        let (reading, mut may_read) = watch::channel(true);
        tokio::spawn(async move {
            while may_read.wait_for(|reading| *reading).await.is_ok() {
                let next = tokio::select! {
                    next = stream.next() => next,
                    _ = may_read.changed() => continue,
                };
                let came = match next {
                    Some(Ok(Message::Text(text))) => Arrived::Frame(text.to_string()),
                    Some(Ok(Message::Close(frame))) => {
                        let (code, reason) =
                            frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                        Arrived::Closed(code, reason)
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(cause)) => Arrived::Ended(cause.to_string()),
                    None => Arrived::Ended("end of stream".to_owned()),
                };
                let ended = matches!(came, Arrived::Ended(_));
                if arriving.send(came).is_err() || ended {
                    return;
                }
            }
        });
        Ok(Line { sink, raw, arrived, reading })
    }

    /// Sends a text frame. A server that has closed meanwhile is seen in what arrives.
    pub async fn say(&mut self, text: String) {
        let _ = self.sink.send(Message::text(text)).await;
    }

    /// Sends a binary frame.
    pub async fn say_binary(&mut self) {
        let _ = self.sink.send(Message::Binary(Bytes::from_static(b"duet"))).await;
    }

    /// Sends a text frame without the mask that every client must use.
    pub fn say_unmasked(&mut self) {
        self.raw.write_all(&[0x81, 2, b'{', b'}']).expect("a few bytes can be written");
    }

    /// Reads nothing more, or reads on.
    pub fn read_on(&self, reading: bool) {
        // The task that reads is there as long as the connection.
        let _ = self.reading.send(reading);
    }

    /// The next thing that arrives; none when nothing came in time.
    pub async fn next(&mut self, within: Duration) -> Option<Arrived> {
        tokio::time::timeout(within, self.arrived.recv()).await.ok().flatten()
    }
}
