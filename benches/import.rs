//! How fast messages move in from the Django service: `cargo bench --bench import [-- MESSAGES]`.
//!
//! Django itself makes the database. It is on SQLite and moves to SQLite; with `DUET_TEST_ON=postgres` both are on a
//! Postgres. The demand is 20,000 messages a second. As a reference for the speed of the machine, the database copies
//! the messages that came by one statement into a table without indexes.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program to be run and read by a person")]

#[expect(dead_code, unreachable_pub, reason = "it uses its own part of the verbs of the stories")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use support::django::{Service, Target};

/// Messages a second that an import has to bring.
const DEMAND: f64 = 20_000.0;
const USERS: usize = 3_000;

#[tokio::main]
async fn main() {
    let messages: usize = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(100_000);
    println!("Django makes {messages} messages of {USERS} users; this takes a while");
    let service = Service::make(USERS, messages).await;
    let target = Target::new().await;
    let done = target.command(&service, &[]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    let parts: Vec<&str> = told.lines().filter(|line| line.contains(": done, ")).collect();
    parts.iter().for_each(|line| println!("{line}"));
    let line = parts.iter().find(|line| line.contains("conversations_message:")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    // "..., N a second"
    let rate: f64 = words[words.len() - 3].parse().unwrap();
    let copied = copy_rate(&target, messages).await;
    println!(
        "messages: {rate:.0} a second; a copy by the database: {copied:.0} a second, {:.1} times that",
        copied / rate
    );
    println!("demand: at least {DEMAND:.0} a second: {}", if rate >= DEMAND { "met" } else { "NOT met" });
}

/// How many messages a second the database itself copies.
async fn copy_rate(target: &Target, messages: usize) -> f64 {
    let mut writer = target.database.writer().await;
    let began = Instant::now();
    writer
        .execute("CREATE TABLE copied AS SELECT id, conversation_id, seq, sender_id, text, sent_at FROM messages")
        .await;
    messages as f64 / began.elapsed().as_secs_f64()
}
