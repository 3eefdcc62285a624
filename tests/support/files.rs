//! Files over HTTP: bytes up, bytes down, and pictures to send.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Client, in_time};

/// An answer with its bytes.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// As it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code of a refusal.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Takes bytes apart.
    pub fn of(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("the end of a head");
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        Answer { status, headers, body: bytes[end + 4..].to_vec() }
    }
}

/// Whether an answer came whole.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let length = Answer::of(bytes).headers.get("content-length").and_then(|length| length.parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() >= end + 4 + length)
}

/// Sends bytes as they are, and reads an answer, which may come at any time.
pub async fn exchange(server: SocketAddr, request: &[u8]) -> Answer {
    in_time("an answer", async {
        let stream = TcpStream::connect(server).await.expect("connect");
        let (mut from, mut to) = stream.into_split();
        let request = request.to_vec();
        let sending = tokio::spawn(async move {
            // Who is refused may be cut off.
            let _ = to.write_all(&request).await;
            to
        });
        let mut answer = Vec::new();
        while !is_whole(&answer) && from.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {}
        sending.abort();
        Answer::of(&answer)
    })
    .await
}

/// The head of a request.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: duet\r\nConnection: close\r\n{headers}\r\n").into_bytes()
}

/// Fetches something.
pub async fn get(server: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    exchange(server, &head("GET", path, headers)).await
}

/// Puts bytes under a key, with these further headers.
pub async fn put(server: SocketAddr, token: &str, key: &str, headers: &[(&str, &str)], bytes: &[u8]) -> Answer {
    let (bearer, length) = (format!("Bearer {token}"), bytes.len().to_string());
    let all = [&[("Authorization", bearer.as_str()), ("Content-Length", &length)], headers].concat();
    let request = [head("PUT", &format!("/media/uploads/{key}"), &all), bytes.to_vec()].concat();
    exchange(server, &request).await
}

/// The same with a server that may die meanwhile: then there is no answer.
pub async fn try_put(server: SocketAddr, token: &str, key: &str, bytes: &[u8]) -> Option<Answer> {
    let (bearer, length) = (format!("Bearer {token}"), bytes.len().to_string());
    let all = [("Authorization", bearer.as_str()), ("Content-Length", &length)];
    let mut stream = TcpStream::connect(server).await.ok()?;
    stream.write_all(&head("PUT", &format!("/media/uploads/{key}"), &all)).await.ok()?;
    stream.write_all(bytes).await.ok()?;
    let mut answer = Vec::new();
    while !is_whole(&answer) && stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {}
    is_whole(&answer).then(|| Answer::of(&answer))
}

impl Client {
    /// Uploads something that must be taken, and answers what it is.
    pub async fn upload(&self, key: &str, bytes: &[u8]) -> Value {
        let answer = put(self.addresses.next(), &self.account.access, key, &[], bytes).await;
        assert_eq!(answer.status, 201, "{key}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// Uploads something to a server that may die meanwhile.
    pub async fn try_upload(&self, key: &str, bytes: &[u8]) -> Option<Answer> {
        try_put(self.addresses.next(), &self.account.access, key, bytes).await
    }

    /// Begins an upload of so many bytes, and sends one of them; it ends with the connection.
    pub async fn upload_begun(&self, key: &str, bytes: usize) -> TcpStream {
        let (bearer, length) = (format!("Bearer {}", self.account.access), bytes.to_string());
        let asking = [("Authorization", bearer.as_str()), ("Content-Length", &length), ("Expect", "100-continue")];
        in_time("the word to go on", async {
            let mut stream = TcpStream::connect(self.addresses.next()).await.expect("connect");
            stream.write_all(&head("PUT", &format!("/media/uploads/{key}"), &asking)).await.expect("written");
            let mut word = [0; 25];
            stream.read_exact(&mut word).await.expect("the word to go on");
            assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
            stream.write_all(b"x").await.expect("written");
            stream
        })
        .await
    }

    /// Where a file can be fetched; none where it is not there for this user.
    pub async fn link(&mut self, file: &Value) -> Option<Value> {
        let found = self.command("media.links", json!({ "files": [file] })).await;
        found["links"].as_array().expect("links").first().cloned()
    }

    /// The path of a file that is there for this user.
    pub async fn path(&mut self, file: &Value) -> String {
        let link = self.link(file).await.unwrap_or_else(|| panic!("{file} is not there"));
        path_of(&link["url"])
    }
}

/// Path and query of a URL.
pub fn path_of(url: &Value) -> String {
    let url = url.as_str().expect("a URL");
    let at = url.find("/media/").expect("a path");
    url[at..].to_owned()
}

/// A picture with something to see in it.
pub fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x ^ y) as u8]));
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    encoder.write_image(&picture, width, height, ExtendedColorType::Rgb8).expect("encoded");
    bytes
}

/// Films and sounds that are no voice notes, as far as their beginnings say: name, bytes, media type.
pub fn films_and_sounds() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let with = |head: &[u8]| [head, &[0; 600]].concat();
    vec![
        ("film.mp4", with(b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2"), "video/mp4"),
        ("film.mov", with(b"\0\0\0\x14ftypqt  \0\0\0\0qt  "), "video/quicktime"),
        ("film.webm", with(b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm"), "video/webm"),
        ("song.mp3", with(b"ID3\x04\0\0\0\0\0\0"), "audio/mpeg"),
        ("song.wav", with(b"RIFF\x24\0\0\0WAVEfmt "), "audio/wav"),
        ("song.flac", with(b"fLaC\0\0\0\x22"), "audio/flac"),
        ("song.ogg", with(b"OggS\0\x02\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\x01\x1e\x01vorbis"), "audio/ogg"),
    ]
}
