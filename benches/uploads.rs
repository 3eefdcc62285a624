//! What uploads cost those who talk: `cargo bench --bench uploads [-- UPLOADS] [photos]`.
//!
//! Fifty clients upload files of 5 MB, one after the other, until there were 1,000; meanwhile two people talk. Prints the
//! most memory that the server had, and how long their messages took, against the same talk before. The demands: at
//! most 200 MiB, and a p99 of at most twice that of idle. With `photos` each upload is a photograph of 12 megapixels,
//! which is decoded and written anew in three sizes; otherwise it is a file that is kept as it came.
//!
//! Who uploads does so from a process of its own, with the lowest priority: it stands for other machines, whose work is
//! not to be taken for the server's. With `DUET_TEST_ON=postgres` the two talk over two nodes, one of which has all the
//! uploads.
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program to be run and read by a person"
)]

#[expect(dead_code, unreachable_pub, reason = "it uses its own part of the verbs of the stories")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::json;
use support::{Client, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What the process is told that uploads.
const UPLOAD: &str = "upload-to";
/// Who uploads.
const CLIENTS: usize = 50;
/// How long an upload is, about, in bytes.
const BYTES: usize = 5_000_000;
/// Bytes that a client sends at once, as programs do that read what they send from a disk.
const PIECE: usize = 64 << 10;
/// Width and height of a photograph.
const PHOTO: (u32, u32) = (4000, 3000);
/// Between two messages.
const PACE: Duration = Duration::from_millis(20);
/// Messages that are timed before the uploads begin.
const IDLE: usize = 1000;
/// Most memory that the server may have, in MiB.
const MEMORY: f64 = 200.0;
/// How many times longer messages may take.
const TIMES: f64 = 2.0;

const SETTINGS: &[(&str, &str)] = &[("commands-per-s", "0"), ("files-per-user", "0"), ("file-bytes-per-user", "0")];

#[tokio::main]
async fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let [what, address, uploads, file] = &asked[..]
        && what == UPLOAD
    {
        return upload_all(address.parse().unwrap(), uploads.parse().unwrap(), std::fs::read(file).unwrap()).await;
    }
    let uploads: usize = asked.iter().find_map(|arg| arg.parse().ok()).unwrap_or(1000);
    let photos = asked.iter().any(|arg| arg == "photos");
    let server = Server::start(SETTINGS).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let conversation = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].as_i64().unwrap();
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(said(&mut ann, &mut bob, conversation).await);
    }
    let mut tokens = String::new();
    for number in 0..CLIENTS {
        tokens.push_str(&server.account(&format!("u{number}")).await.access);
        tokens.push('\n');
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("upload");
    let body = if photos { photo() } else { noise() };
    std::fs::write(&file, &body).unwrap();
    println!("{uploads} uploads of {:.1} MB from {CLIENTS} clients", body.len() as f64 / 1e6);

    let begun = Instant::now();
    let mut uploading = Command::new("nice")
        .args(["-n", "19"])
        .arg(std::env::current_exe().unwrap())
        .args([UPLOAD, &server.next_address().to_string(), &uploads.to_string()])
        .arg(&file)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    uploading.stdin.take().unwrap().write_all(tokens.as_bytes()).unwrap();
    let mut busy = Vec::new();
    let ended = loop {
        busy.push(said(&mut ann, &mut bob, conversation).await);
        if let Some(ended) = uploading.try_wait().unwrap() {
            break ended;
        }
    };
    assert!(ended.success(), "the uploads: {ended}");
    let took = begun.elapsed();
    println!("all there after {:.1} s, {:.1} a second", took.as_secs_f64(), uploads as f64 / took.as_secs_f64());
    let memory = server.nodes.iter().map(|node| most_memory(node.pid())).fold(0.0, f64::max);
    println!("most memory of a server: {memory:.0} MiB; demand: at most {MEMORY:.0} MiB: {}", met(memory <= MEMORY));
    let ((idle50, idle99), (busy50, busy99)) = (percentiles(&mut idle), percentiles(&mut busy));
    println!("a message from sent to received, idle: p50 {idle50:?}, p99 {idle99:?}, of {IDLE}");
    println!("beside the uploads: p50 {busy50:?}, p99 {busy99:?}, of {}", busy.len());
    let times = busy99.as_secs_f64() / idle99.as_secs_f64();
    println!("p99 {times:.1} times that of idle; demand: at most {TIMES} times: {}", met(times <= TIMES));
}

/// Uploads a body so many times, for all whose tokens are read from standard input.
async fn upload_all(address: SocketAddr, uploads: usize, body: Vec<u8>) {
    let (body, left) = (Arc::new(body), Arc::new(AtomicUsize::new(uploads)));
    let mut uploading = JoinSet::new();
    for token in std::io::stdin().lines() {
        let (token, body, left) = (token.unwrap(), Arc::clone(&body), Arc::clone(&left));
        uploading.spawn(async move {
            while let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                upload(address, &token, number, &body).await;
            }
        });
    }
    while let Some(done) = uploading.join_next().await {
        done.unwrap();
    }
}

fn met(demand: bool) -> &'static str {
    if demand { "met" } else { "NOT met" }
}

/// One message on its way: how long until the other one has it.
async fn said(from: &mut Client, to: &mut Client, conversation: i64) -> Duration {
    tokio::time::sleep(PACE).await;
    let begun = Instant::now();
    let asked = from.say("message.send", json!({ "conversation": conversation, "text": "hello" })).await;
    to.expect("message.created").await;
    let took = begun.elapsed();
    from.reply(asked).await;
    from.expect("message.created").await;
    took
}

/// Bytes that mean nothing.
fn noise() -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    SmallRng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
}

/// A picture of about as many bytes: a slope of colours with some noise, as of a camera in the dark.
fn photo() -> Vec<u8> {
    let (width, height) = PHOTO;
    let mut dice = SmallRng::seed_from_u64(1);
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
        for colour in [x * 255 / width, y * 255 / height, 128] {
            pixels.push((colour as i32 + dice.random_range(-12..=12)).clamp(0, 255) as u8);
        }
    }
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 88);
    encoder.write_image(&pixels, width, height, ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// Uploads a body as a client does, again where the server is busy.
async fn upload(address: SocketAddr, token: &str, number: usize, body: &[u8]) {
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "PUT /media/uploads/file-{number} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        for piece in body.chunks(PIECE) {
            // A server that refuses may not read to the end.
            if stream.write_all(piece).await.is_err() {
                break;
            }
        }
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        match answer.split_whitespace().nth(1) {
            Some("201" | "200") => return,
            Some("503" | "429") | None => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => panic!("{answer}"),
        }
    }
}

fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    (at(50), at(99))
}

/// The most that was ever resident, in MiB.
fn most_memory(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
