//! Just enough HTTP to call the REST surface: one request, one connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::in_time;

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// By lower-case name; the last of a name.
    pub headers: BTreeMap<String, String>,
    /// As it came.
    pub body: String,
    /// The body, or null when it is no JSON.
    pub json: Value,
}

/// Calls `method path` with a JSON body and an access token, where given.
pub async fn call(server: SocketAddr, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Response {
    let body = body.map_or_else(String::new, Value::to_string);
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
    call_with(server, method, path, &headers, &body).await
}

/// Calls `method path` with these headers and this body.
pub async fn call_with(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Response {
    let body = body.as_ref();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    in_time(&format!("the answer to {method} {path}"), exchange(server, &request)).await
}

/// One part of a multipart body: a field, or a file with its name and media type.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The field.
    pub name: &'a str,
    /// The name and the media type of a file.
    pub file: Option<(&'a str, &'a str)>,
    /// What it holds.
    pub content: &'a [u8],
}

/// What stands between the parts.
const BOUNDARY: &str = "between-the-parts-of-a-story";

/// Media type and body of a form.
pub fn form(fields: &[(&str, &str)]) -> (String, String) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    ("application/x-www-form-urlencoded".to_owned(), body)
}

/// Media type and body of a form in parts.
pub fn multipart(parts: &[Part<'_>]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for Part { name, file, content } in parts {
        let file =
            file.map_or_else(String::new, |(name, media)| format!("; filename=\"{name}\"\r\nContent-Type: {media}"));
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend([head.as_bytes(), content, b"\r\n"].concat());
    }
    body.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

async fn exchange(server: SocketAddr, request: &[u8]) -> Response {
    let mut stream = TcpStream::connect(server).await.expect("connect");
    stream.write_all(request).await.expect("write the request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read the answer");
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer: {answer}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    let json = serde_json::from_str(&body).unwrap_or_default();
    Response { status: status.unwrap_or_else(|| panic!("no status: {head}")), headers, json, body }
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        if size == 0 {
            break;
        }
        body.push_str(&tail[..size]);
        rest = &tail[size + 2..];
    }
    body
}
