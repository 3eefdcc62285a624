//! What happens to the database.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::run::Run;
use crate::support::Client;
use crate::support::proxy::Weather;

/// Until when both sides of a quarrel must have been told all of it.
const TOLD: Duration = Duration::from_secs(5);

/// It is stopped in the middle of everything, and comes back.
pub async fn stopped(run: &mut Run<'_>) {
    run.strike(None).await;
    run.cluster.postgres().stop_at_once().await;
    run.hold().await;
    run.cluster.postgres().restart().await;
}

/// It sleeps, with all its connections.
pub async fn paused(run: &mut Run<'_>) {
    run.strike(None).await;
    run.cluster.postgres().signal_all("STOP");
    run.hold().await;
    run.cluster.postgres().signal_all("CONT");
}

/// It cannot be reached, and nobody is told.
pub async fn silent(run: &mut Run<'_>) {
    run.strike(None).await;
    run.cluster.to_postgres.iter().for_each(|proxy| proxy.set(Weather { silent: true, ..Weather::default() }));
    run.hold_long().await;
    run.cluster.to_postgres.iter().for_each(|proxy| proxy.heal());
}

/// Transactions are committed, and the connections lost before that is known.
pub async fn commit_answers_lost(run: &mut Run<'_>) {
    let node = run.any_node();
    run.strike(Some(node)).await;
    run.cluster.to_postgres[node].set(Weather { loses_commits: true, ..Weather::default() });
    run.hold().await;
    run.cluster.to_postgres[node].heal();
}

/// Sockets are reset again and again while their commands are at work; none may leave a transaction open.
pub async fn transactions_cancelled(run: &mut Run<'_>) {
    let node = run.any_node();
    run.strike(Some(node)).await;
    for _ in 0..10 {
        run.cluster.clients[node].reset();
        // Long enough for some to come back and to have commands at work.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let idle = "FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' \
        AND application_name LIKE 'duet%' AND clock_timestamp() - state_change > interval '1 second'";
    let mut database = run.cluster.server.database().reader().await;
    let left = database.number("count(*)", idle).await;
    if left > 0 {
        run.findings.push(format!("{left} transactions were left open by sockets that went away"));
    }
}

/// Two people write to, block, and like each other on two nodes at once, so that their transactions get into each
/// other's way.
pub async fn quarrel(run: &mut Run<'_>) {
    let server = &run.cluster.server;
    let recorder = server.another_record();
    let number: u32 = rand::random();
    let mut sides = Vec::new();
    for name in ["x", "y"] {
        let account = server.account(&format!("{name}{number}")).await;
        sides.push(Client::connect_recorded(&server.addresses, &recorder, account).await);
    }
    let ids: Vec<i64> = sides.iter().map(|side| side.user).collect();
    let conversation = sides[0].command("conversation.open", json!({ "user": ids[1] })).await["id"].clone();
    run.strike(None).await;
    let (mut y, mut x) = (sides.pop().expect("two"), sides.pop().expect("two"));
    for round in 0..30 {
        let said = json!({ "conversation": conversation, "text": "no", "client_key": format!("{round}") });
        // A block is lifted when both have theirs: the record of one that was lifted before it was answered says nothing.
        for commands in
            [&["like.add", "message.send", "block.add"][..], &["message.send", "block.remove", "like.remove"]]
        {
            let mut asked = [Vec::new(), Vec::new()];
            for ((side, other), asked) in [(&mut x, ids[1]), (&mut y, ids[0])].into_iter().zip(&mut asked) {
                for kind in commands {
                    let data = if *kind == "message.send" { said.clone() } else { json!({ "user": other }) };
                    asked.push((*kind, side.say(kind, data).await));
                }
            }
            for (side, asked) in [&mut x, &mut y].into_iter().zip(asked) {
                for (kind, id) in asked {
                    let reply = side.reply(id).await;
                    if ["internal", "busy", "unknown_outcome"].iter().any(|code| reply["error"]["code"] == *code) {
                        run.findings.push(format!("in a quarrel {kind} was answered with {reply}"));
                    }
                }
            }
        }
    }
    let ended = Instant::now();
    loop {
        // What the other node told may still be under way, until the sweep at the latest.
        x.command("ping", json!({})).await;
        y.command("ping", json!({})).await;
        let verdict = recorder.verdict(run.cluster.server.database()).await;
        if verdict.findings.is_empty() || ended.elapsed() > TOLD {
            run.findings.extend(verdict.findings);
            return;
        }
        // Before the next look.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Its disk is full, and later it is not.
pub async fn disk_full(run: &mut Run<'_>) {
    run.strike(None).await;
    let disk = run.cluster.postgres().disk.as_ref().expect("the nemesis gave it one");
    disk.fill();
    run.hold().await;
    run.cluster.postgres().disk.as_ref().expect("it still has it").free();
}
