//! SQLite beside others who use its file (F17): a reader that holds on to its snapshot, and a writer that takes the file
//! again and again, for shorter and for longer than the server waits for it.
#![expect(clippy::print_stdout, reason = "what was counted belongs to the proof")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use support::Server;
use support::flood::{Cast, Flood, Plan, cast};
use support::recorder::Recorder;
use support::setup::Because;
use support::stopwatch::Stopwatch;

/// How often the file is taken for each of the two times.
const ROUNDS: usize = 5;
/// Within what the server waits for.
const SHORT: Duration = Duration::from_secs(1);
/// Beyond it.
const LONG: Duration = Duration::from_secs(6);
/// Until when a send must be acknowledged again once the file is free.
const AGAIN: Duration = Duration::from_secs(2);

/// How often each refusal was given that says that trying again can help.
fn refusals(recorder: &Recorder) -> BTreeMap<String, usize> {
    let mut refusals = BTreeMap::new();
    for frame in recorder.frames("received").iter().filter(|frame| frame["error"]["retryable"] == true) {
        *refusals.entry(frame["error"]["code"].to_string()).or_default() += 1;
    }
    refusals
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_nothing_is_lost_while_others_read_and_hold_the_file() {
    let seed = support::seed();
    let server = Server::start_alone(Because::OfTheFile, &[]).await;
    let recorder = server.recorder.clone();
    let people = Cast { users: 25, devices: 2, direct: 2, groups: 2, group_of: 4 };
    let devices = cast(&server, &recorder, "user", people).await;
    let connected = devices.len();
    let plan = Plan { pace: Duration::from_millis(200), ..Plan::default() };
    let mut flood = Flood::start(&server.addresses, devices, plan, seed);
    for round in 1..=ROUNDS {
        let mut reader = server.database().snapshot().await;
        let seen = reader.number("count(*)", "FROM messages").await;
        let before = refusals(&recorder).values().sum::<usize>();
        for time in [SHORT, LONG] {
            flood.answered(100).await;
            let mut holder = server.database().writer().await;
            holder.hold().await;
            // The trouble itself.
            tokio::time::sleep(time).await;
            let watch = Stopwatch::start();
            flood.tally.begin();
            holder.execute("ROLLBACK").await;
            flood.answered(1).await;
            let again = flood.tally.figures().first_answer.expect("a send was answered");
            println!("round {round}: {time:?} held, acknowledged again after {again:?}");
            watch.must_be_within(AGAIN, "the first acknowledgement after the file was free");
        }
        assert_eq!(reader.number("count(*)", "FROM messages").await, seen, "the reader held its snapshot");
        let refused = refusals(&recorder).values().sum::<usize>() - before;
        assert!(refused > 0, "nobody was refused in round {round}, so little was shown");
    }
    flood.answered(100).await;
    flood.drain();
    let verdict = flood.settle(&recorder, server.database()).await;
    let refusals = refusals(&recorder);
    println!("{:?}; refused: {refusals:?}", verdict.statistics);
    server.must_be_clean(&verdict);
    assert!(refusals.keys().eq(["\"busy\""]), "what others do to the file is no fault of the server: {refusals:?}");
    assert_eq!(verdict.statistics.complete_devices, connected, "every device came back and stayed");
    assert!(verdict.statistics.repeated > 0, "no send was ever repeated, so little was shown");
}

/// Longest that anybody may wait for a refusal while the file is held: for the writer, and then for the file.
const REFUSED_BY: Duration = Duration::from_secs(9);

#[tokio::test(flavor = "multi_thread")]
async fn f17_who_waits_for_a_held_file_is_refused_in_time_and_not_one_after_the_other() {
    const SOCKETS: usize = 50;
    let server = Server::start_alone(Because::OfTheFile, &[("sockets-per-user", "0")]).await;
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let conversation = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    let commands = [
        ("message.send", json!({ "conversation": conversation, "text": "hi" })),
        ("conversation.mute", json!({ "conversation": conversation, "until": 1 })),
    ];
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(ann.second_socket().await);
    }
    let mut holder = server.database().writer().await;
    holder.hold().await;
    let watch = Stopwatch::start();
    let mut asked = Vec::new();
    for (number, socket) in sockets.iter_mut().enumerate() {
        let (kind, data) = &commands[number % 2];
        asked.push(socket.say(kind, data.clone()).await);
    }
    for (socket, id) in sockets.iter_mut().zip(asked) {
        let reply = socket.reply(id).await;
        assert_eq!(reply["error"]["code"], "busy", "{reply}");
    }
    println!("{SOCKETS} were refused within {:?}", watch.elapsed());
    watch.must_be_within(REFUSED_BY, "the refusals");
    holder.execute("ROLLBACK").await;
    for (kind, data) in commands {
        ann.command(kind, data).await;
    }
}
