//! Nodes whose ways to Postgres and to Redis are encrypted, with certificates that are judged.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::support::certificates::Authority;
use crate::support::cluster::{Cluster, Parts, open};
use crate::support::in_time;
use crate::support::private::{Postgres, Redis};
use crate::support::process::Process;
use crate::support::setup::shared;
use crate::tell;

#[tokio::test(flavor = "multi_thread")]
async fn two_who_talk_on_two_nodes_need_no_way_that_is_not_encrypted() {
    let authority = Authority::make();
    let root = authority.root().to_string_lossy().into_owned();
    let (postgres, redis) = (Postgres::start_with(&authority).await, Redis::start_with(&authority).await);
    let environment = [("SSL_CERT_FILE", root.as_str())];
    let parts = Parts { postgres: Some(postgres), redis: Some(redis), environment: &environment, ..Parts::default() };
    let cluster = Cluster::of(2, parts).await;
    let (mut ann, mut bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    let conversation = open(&mut ann, &bob).await;
    tell(&mut ann, &mut bob, conversation, "nobody else hears this").await;
    tell(&mut bob, &mut ann, conversation, "nor this").await;
    assert!(cluster.counted_everywhere("duet_bus_packets_total").await >= 2.0, "Redis told of both");
    let plain =
        "FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'duet' AND ssl IS NOT TRUE";
    assert_eq!(cluster.server.database().reader().await.number("count(*)", plain).await, 0);
}

/// Starts a node on these, and answers the first line of its output that has all these words.
async fn line_with(words: &[&str], database: &str, settings: &[&str], trusted: &Authority) -> String {
    let data = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", database]).args(settings);
    command.arg("--data-dir").arg(data.path()).env("SSL_CERT_FILE", trusted.root());
    command.env("DUET_SECRET", "one-key-for-all-nodes-of-these-stories");
    let mut node =
        Process::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()), "KILL", None);
    let (output, errors) = (node.output().expect("it is piped"), node.errors().expect("it is piped"));
    let (found, mut lines) = tokio::sync::mpsc::unbounded_channel();
    for output in [Box::new(output) as Box<dyn std::io::Read + Send>, Box::new(errors)] {
        let found = found.clone();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).all(|line| found.send(line).is_ok())
        });
    }
    drop(found);
    let mut said = Vec::new();
    in_time("the node to say it", async {
        while let Some(line) = lines.recv().await {
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
            said.push(line);
        }
        panic!("nothing with {words:?} was said: {said:#?}")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_authority_that_is_not_trusted_is_refused_with_what_to_do() {
    let (authority, another) = (Authority::make(), Authority::make());
    let postgres = Postgres::start_with(&authority).await;
    let url = postgres.url(&postgres.create().await);
    let wrong = url.replace(&*authority.root().to_string_lossy(), &another.root().to_string_lossy());
    let told = line_with(&["cannot open postgres://", "certificate", "sslrootcert"], &wrong, &[], &another).await;
    println!("{told}");
    assert!(!told.contains("127.0.0.1:0"), "it does not begin to listen: {told}");

    let redis = Redis::start_with(&authority).await;
    let shared = &shared().await.postgres;
    let plain = shared.url(&shared.create().await);
    let told =
        line_with(&["certificate of Redis", "SSL_CERT_FILE"], &plain, &["--redis-url", &redis.url()], &another).await;
    println!("{told}");
    assert!(!told.contains("hunter2"), "a password is not shown: {told}");
}
