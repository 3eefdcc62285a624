//! A socket whose bytes are written by hand: for frames that no honest client sends, and for readers who do not read.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::in_time;

/// The first byte of a frame that is a whole text message.
pub const TEXT: u8 = 0x81;
/// The first byte of the first of several frames of a text message.
pub const BEGIN: u8 = 0x01;
/// The first byte of a frame that goes on with a message, and does not end it.
pub const MORE: u8 = 0x00;
/// The first byte of a frame that ends a message.
pub const LAST: u8 = 0x80;
/// The first byte of a ping.
pub const PING: u8 = 0x89;
/// The first byte of a pong.
pub const PONG: u8 = 0x8a;
/// The first byte of a close frame.
pub const CLOSE: u8 = 0x88;

/// A socket that was upgraded.
#[derive(Debug)]
pub struct RawSocket {
    /// The connection, for whoever wants only some bytes of it.
    pub stream: TcpStream,
    read: Vec<u8>,
}

/// A frame of a client, masked.
pub fn frame(first: u8, content: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x88];
    let mut bytes = vec![first];
    match content.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..65_536 => bytes.extend([&[0x80 | 126][..], &(len as u16).to_be_bytes()].concat()),
        len => bytes.extend([&[0x80 | 127][..], &(len as u64).to_be_bytes()].concat()),
    }
    bytes.extend(MASK);
    bytes.extend(content.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

impl RawSocket {
    /// Upgrades, with these further header lines and a receive buffer of so many bytes. What the server answered, where
    /// it was no upgrade.
    pub async fn open(server: SocketAddr, headers: &str, buffer: Option<u32>) -> Result<RawSocket, String> {
        in_time("an upgrade", async {
            let socket = TcpSocket::new_v4().expect("a socket");
            if let Some(bytes) = buffer {
                socket.set_recv_buffer_size(bytes).expect("a buffer");
            }
            let mut stream = socket.connect(server).await.map_err(|cause| cause.to_string())?;
            let request = format!(
                "GET /ws HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
            );
            stream.write_all(request.as_bytes()).await.map_err(|cause| cause.to_string())?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(cause) => return Err(format!("{cause} after {:?}", String::from_utf8_lossy(&head))),
                }
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            match head.starts_with("HTTP/1.1 101 ") {
                true => Ok(RawSocket { stream, read: Vec::new() }),
                false => Err(head),
            }
        })
        .await
    }

    /// Upgrades with an access token, and waits for the greeting.
    pub async fn greeted(server: SocketAddr, access: &str) -> RawSocket {
        let opened = RawSocket::open(server, &format!("Authorization: Bearer {access}\r\n"), None).await;
        let mut socket = opened.unwrap_or_else(|answer| panic!("no upgrade: {answer}"));
        let hello = socket.json().await;
        assert!(hello["data"]["user"].is_i64(), "{hello}");
        socket
    }

    /// Writes bytes as they are; whether the connection took them.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        in_time("bytes to be taken", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Writes a text frame.
    pub async fn say(&mut self, text: &str) -> bool {
        self.write(&frame(TEXT, text.as_bytes())).await
    }

    /// The next text message, as JSON. A long one comes in several frames.
    pub async fn json(&mut self) -> Value {
        let mut message = Vec::new();
        loop {
            match self.frame().await {
                Some((TEXT | LAST, content)) => {
                    message.extend(content);
                    return serde_json::from_slice(&message).expect("JSON");
                }
                Some((BEGIN | MORE, content)) => message.extend(content),
                Some((PING | PONG, _)) => {}
                other => {
                    panic!("closed: {:?}", other.map(|(_, content)| String::from_utf8_lossy(&content).into_owned()))
                }
            }
        }
    }

    /// Reads to the end: the close code and its reason, or 0 where none came.
    pub async fn end(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Some((CLOSE, content)) if content.len() >= 2 => {
                    let code = u16::from_be_bytes([content[0], content[1]]);
                    return (code, String::from_utf8_lossy(&content[2..]).into_owned());
                }
                Some(_) => {}
                None => return (0, String::new()),
            }
        }
    }

    /// Reads to the end of the connection; whether the server ended it in order, and not by a reset.
    pub async fn ends(&mut self) -> bool {
        let mut bytes = [0; 1024];
        in_time("the end of the connection", async {
            loop {
                match self.stream.read(&mut bytes).await {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        })
        .await
    }

    /// The next frame of the server: its first byte and its content. None at the end of the connection.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        in_time("a frame", async {
            loop {
                if let Some(frame) = self.take_frame() {
                    return Some(frame);
                }
                let mut bytes = [0; 16 * 1024];
                match self.stream.read(&mut bytes).await {
                    Ok(0) | Err(_) => return None,
                    Ok(count) => self.read.extend(&bytes[..count]),
                }
            }
        })
        .await
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, short) = (*self.read.first()?, *self.read.get(1)?);
        let (begin, len) = match short {
            126 => (4, u64::from(u16::from_be_bytes(self.read.get(2..4)?.try_into().expect("two bytes")))),
            127 => (10, u64::from_be_bytes(self.read.get(2..10)?.try_into().expect("eight bytes"))),
            short => (2, u64::from(short)),
        };
        let end = begin + usize::try_from(len).expect("it fits");
        let content = self.read.get(begin..end)?.to_vec();
        self.read.drain(..end);
        Some((first, content))
    }
}
