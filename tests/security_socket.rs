//! Attacks on a socket as such (S7, S18, S32, S33, S37): frames that no honest client sends, too many of anything, and
//! readers who do not read. With the limits that users get.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a story that cannot go on fails, and says what it measured"
)]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::raw::{BEGIN, LAST, MORE, PING, PONG, RawSocket, frame};
use support::setup::Because;
use support::{Client, Server, in_time};
use tokio::io::AsyncReadExt;

const FRAME_MAX: usize = 32_768;

/// A command that is padded to so many bytes.
fn padded(len: usize) -> String {
    let mut text = r#"{"id":1,"type":"ping"}"#.to_owned();
    text.extend(std::iter::repeat_n(' ', len - text.len()));
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn s7_what_is_too_big_or_no_frame_ends_its_socket_and_no_other() {
    let server = Server::start_plain(&[]).await;
    let mallory = server.account("mallory").await;
    let mut witness = server.user("witness").await;
    let mut at_limit = RawSocket::greeted(server.next_address(), &mallory.access).await;
    at_limit.say(&padded(FRAME_MAX)).await;
    assert_eq!(at_limit.json().await["ok"], true);
    // Cut into fragments with a ping in between, it is the same message.
    let text = padded(FRAME_MAX);
    let (head, tail) = text.as_bytes().split_at(FRAME_MAX / 2);
    let whole = [frame(BEGIN, head), frame(PING, b"?"), frame(MORE, b""), frame(LAST, tail)].concat();
    at_limit.write(&whole).await;
    assert_eq!(at_limit.json().await["ok"], true);

    let fragments =
        |count: usize| [vec![frame(BEGIN, b" ")], vec![frame(MORE, &[b' '; 1024]); count]].concat().concat();
    let attacks: [(&str, Vec<u8>, u16); 9] = [
        ("one byte over the limit", frame(0x81, padded(FRAME_MAX + 1).as_bytes()), 1009),
        ("a length of 2^63 - 1", [&[0x81, 0xff, 0x7f][..], &[0xff; 7], &[1, 2, 3, 4]].concat(), 1009),
        ("fragments without an end", fragments(64), 1009),
        ("a frame without a mask", vec![0x81, 2, b'{', b'}'], 1002),
        ("a reserved bit", frame(0xc1, b"{}"), 1002),
        ("a reserved kind of frame", frame(0x83, b"{}"), 1002),
        ("a long ping", frame(PING, &[0; 126]), 1002),
        ("a fragment of nothing", frame(MORE, b"{}"), 1002),
        ("no UTF-8", frame(0x81, &[0xff, 0xfe]), 1002),
    ];
    for (what, bytes, code) in attacks {
        for access in [Some(mallory.access.as_str()), None] {
            let mut socket = match access {
                Some(access) => RawSocket::greeted(server.next_address(), access).await,
                None => RawSocket::open(server.next_address(), "", None).await.expect("an upgrade"),
            };
            socket.write(&bytes).await;
            assert_eq!(socket.end().await.0, code, "{what}, signed in: {}", access.is_some());
        }
    }
    witness.command("ping", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s7_empty_fragments_cost_nothing_and_have_an_end() {
    let server = Server::start_plain(&[("ping-ms", "500"), ("silent-ms", "5000")]).await;
    let mallory = server.account("mallory").await;
    let witness = server.account("witness").await;
    let empty = frame(MORE, b"").repeat(1000);
    let mut patient = RawSocket::greeted(server.next_address(), &mallory.access).await;
    // What the first sign-ins cost, such as connections to the database, is none of this.
    Client::connect(&server, witness.clone()).await;
    let before = server.memory_kib();
    patient.write(&frame(BEGIN, b"")).await;
    patient.write(&empty).await;
    Client::connect(&server, witness.clone()).await;
    assert!(server.memory_kib() < before + 1024, "from {before} to {} KiB", server.memory_kib());
    // A thousand are still a message, if somebody ends it. To end none is silence, whatever else is on the line.
    patient.write(&frame(LAST, br#"{"type":"ping"}"#)).await;
    assert_eq!(patient.json().await["ok"], true);
    patient.write(&frame(BEGIN, b"")).await;
    assert_eq!(patient.end().await.0, 4008);

    // Endless ones end, also for somebody who answers pings in between.
    let mut endless = RawSocket::greeted(server.next_address(), &mallory.access).await;
    endless.write(&frame(BEGIN, b"")).await;
    for _ in 0..40 {
        if !endless.write(&empty).await {
            break;
        }
    }
    assert_eq!(endless.end().await.0, 1009);
    Client::connect(&server, witness.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s7_a_flood_of_control_frames_is_a_flood() {
    let server = Server::start_plain(&[]).await;
    for (name, first) in [("pinger", PING), ("ponger", PONG)] {
        let account = server.account(name).await;
        let mut socket = RawSocket::greeted(server.next_address(), &account.access).await;
        let flood = frame(first, b"").repeat(100);
        for _ in 0..200 {
            if !socket.write(&flood).await {
                break;
            }
        }
        assert_eq!(socket.end().await.0, 4006, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s18_the_oldest_socket_gives_way_and_is_told_why() {
    const MOST: usize = 20;
    let server = Server::start_plain(&[]).await;
    let ann = server.account("ann").await;
    let mut bob = server.user("bob").await;
    let mut sockets = Vec::new();
    for number in 0..MOST + 3 {
        // Half of them belong to another session; it is the user who has too many.
        let session = if number % 2 == 0 { ann.clone() } else { server.login("ann").await };
        sockets.push(Client::connect(&server, session).await);
        if number >= MOST {
            let ended = sockets[number - MOST].expect_close().await;
            assert_eq!(
                (ended.code, ended.why.as_str()),
                (4004, "This user has too many sockets, and this was the oldest.")
            );
        }
    }
    for socket in &mut sockets[3..] {
        socket.command("ping", json!({})).await;
    }
    bob.command("ping", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s32_the_rate_is_of_the_user_not_of_the_socket() {
    const BURST: usize = 200;
    const PER_S: f64 = 50.0;
    let server = Server::start_plain(&[]).await;
    let ann = server.user("ann").await;
    let mut bob = server.user("bob").await;
    let mut sockets = [ann.second_socket().await, ann];
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for number in 0..300 {
        let socket = number % sockets.len();
        waiting.push((socket, sockets[socket].say("ping", json!({})).await));
    }
    // Two sockets are judged side by side, so the reply that is read last need not be of the command judged last. Nobody
    // has to wait for longer than the longest wait told, counted from when all were judged.
    let (mut let_through, mut wait) = (0, 0);
    for (socket, id) in waiting {
        let reply = sockets[socket].reply(id).await;
        if reply["ok"] == true {
            let_through += 1;
            continue;
        }
        let error = &reply["error"];
        assert_eq!((&error["code"], &error["retryable"]), (&json!("rate_limited"), &json!(true)), "{reply}");
        let told = error["retry_after_ms"].as_u64().expect("how long to wait");
        assert!((1..=1000).contains(&told), "{reply}");
        wait = wait.max(told);
    }
    let most = BURST + (begun.elapsed().as_secs_f64() * PER_S) as usize + 1;
    assert!((BURST..=most).contains(&let_through), "{let_through} of at most {most}");
    if wait > 0 {
        // Not waiting for an event: the wait is the promise.
        tokio::time::sleep(Duration::from_millis(wait)).await;
        sockets[0].command("ping", json!({})).await;
    }
    bob.command("ping", json!({})).await;
}

/// However slow the server, and however many commands it lets through in between.
#[tokio::test(flavor = "multi_thread")]
async fn s32_who_goes_on_flooding_is_closed() {
    let server = Server::start_plain(&[]).await;
    let account = server.account("mallory").await;
    let mut witness = server.user("witness").await;
    let mut socket = RawSocket::greeted(server.next_address(), &account.access).await;
    // Short answers: what a reader who does not read leaves in the line would be lost with the close frame behind it.
    let flood = frame(0x81, br#"{"type":"ping"}"#).repeat(10);
    let flooding = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(30));
        let mut flooded = 0;
        // 333 commands a second: more than six times the rate, and far from what would be 200 refusals between two turns.
        while socket.write(&flood).await && flooded < 3000 {
            flooded += 10;
            ticks.tick().await;
        }
        socket.end().await
    };
    let ((code, _), ()) = tokio::join!(flooding, async {
        for _ in 0..20 {
            witness.command("profile.me", json!({})).await;
        }
    });
    assert_eq!(code, 4006);
}

#[tokio::test(flavor = "multi_thread")]
async fn s33_a_thousand_sockets_of_one_user_are_twenty() {
    const ALL: usize = 1000;
    // Sockets that are told to close and do not answer count for their address until they are left.
    let server = Server::start_plain(&[("close-ms", "200")]).await;
    let account = server.account("many").await;
    let mut witness = server.user("witness").await;
    let mut sockets = Vec::new();
    for _ in 0..ALL {
        sockets.push(RawSocket::greeted(server.next_address(), &account.access).await);
    }
    let kept = sockets.split_off(ALL - 20);
    for mut socket in sockets {
        assert_eq!(socket.end().await.0, 4004);
    }
    for mut socket in kept {
        socket.say(r#"{"type":"ping"}"#).await;
        assert_eq!(socket.json().await["ok"], true);
    }
    witness.command("ping", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s33_an_address_holds_so_many_who_have_not_said_who_they_are() {
    const MOST: usize = 100;
    let settings = [("unauthenticated-per-address", "100")];
    let server = Server::start_alone(Because::OfTheProcess, &settings).await;
    let ann = server.account("ann").await;
    let mut waiting = Vec::new();
    for _ in 0..MOST {
        waiting.push(RawSocket::open(server.next_address(), "", None).await.expect("an upgrade"));
    }
    // One more comes in, and the one that has said nothing for longest gives way.
    let _newest = RawSocket::open(server.next_address(), "", None).await.expect("an upgrade");
    assert_eq!(waiting[0].end().await.0, 4010);
    // A client that says who it is makes room.
    waiting[1].say(&json!({ "type": "auth", "data": { "token": ann.access } }).to_string()).await;
    assert_eq!(waiting[1].json().await["ok"], true);
    let _more = RawSocket::open(server.next_address(), "", None).await.expect("there is room for one");
    waiting[2].say(r#"{"type":"ping"}"#).await;
    assert_eq!(waiting[2].json().await["error"]["code"], "not_authenticated", "nobody gave way for it");
}

/// Behind a proxy, addresses are those that it tells; a /64 of IPv6 is one.
#[tokio::test(flavor = "multi_thread")]
async fn s33_a_household_of_addresses_is_one_address() {
    let settings =
        [("trusted-proxies", "127.0.0.1/32"), ("unauthenticated-per-address", "2"), ("sockets-per-address", "1")];
    let server = Server::start_alone(Because::OfTheProcess, &settings).await;
    let from = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    let mut inside = Vec::new();
    for address in ["2001:db8::1", "2001:db8::ffff:1:2:3"] {
        inside.push(RawSocket::open(server.next_address(), &from(address), None).await.expect("an upgrade"));
    }
    // A third of the same /64 is let in, and the first gives way.
    inside.push(RawSocket::open(server.next_address(), &from("2001:db8::7"), None).await.expect("an upgrade"));
    assert_eq!(inside.remove(0).end().await.0, 4010);
    for address in ["2001:db8:0:1::1", "192.0.2.7", "192.0.2.8"] {
        inside.push(RawSocket::open(server.next_address(), &from(address), None).await.expect("an upgrade"));
    }
    // Known ones have a limit of their own: here one for each address.
    for (socket, code) in [(0, None), (1, Some(4010)), (3, None), (4, None)] {
        let account = server.account(&format!("user{socket}")).await;
        let hello = json!({ "type": "auth", "data": { "token": account.access } });
        inside[socket].say(&hello.to_string()).await;
        match code {
            None => assert_eq!(inside[socket].json().await["ok"], true, "{socket}"),
            Some(code) => assert_eq!(inside[socket].end().await.0, code, "{socket}"),
        }
    }
}

/// A hundred sockets that do not read or read a byte a second, while the others chat.
#[tokio::test(flavor = "multi_thread")]
async fn s37_readers_who_do_not_read_slow_nobody_down_and_lose_nothing() {
    const SLOW: usize = 100;
    const MESSAGES: usize = 360;
    let server = Server::start_plain(&[("write-ms", "2000"), ("close-ms", "300")]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let connections = server.open_connections();
    let mut slow = Vec::new();
    let mut members = vec![bob.user];
    for number in 0..SLOW / 20 {
        let client = server.user(&format!("slow{number}")).await;
        members.push(client.user);
        slow.push(client.account.clone());
        client.cut(support::socket::Cut::Close).await;
    }
    let group = ann.command("conversation.create", json!({ "title": "all", "members": members })).await;
    let group = group["id"].as_i64().expect("a group has an id");
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..SLOW {
        let authorization = format!("Authorization: Bearer {}\r\n", slow[number % slow.len()].access);
        let opened = RawSocket::open(server.next_address(), &authorization, Some(4096)).await;
        let mut socket = opened.expect("an upgrade");
        assert_eq!(socket.json().await["ok"], true);
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            while number % 4 == 0 && socket.stream.read_u8().await.is_ok() {
                ticks.tick().await;
            }
            std::future::pending::<()>().await;
        });
    }
    let before = server.memory_kib();
    // Each message is 16 KiB, more than all of them than a connection's buffers in the system hold.
    let begun = Instant::now();
    for number in 0..MESSAGES {
        let text = format!("{number} {}", "🦀".repeat(4000));
        let talker = if number % 2 == 0 { &mut ann } else { &mut bob };
        talker
            .command("message.send", json!({ "conversation": group, "text": text, "client_key": format!("k{number}") }))
            .await;
        let (event, other) = (number as i64 + 2, if number % 2 == 0 { &mut bob } else { &mut ann });
        other.expect_where("message.created", |data| data["seq"] == event).await;
    }
    // Of the last message, only its sender was not asked.
    bob.expect_where("message.created", |data| data["seq"] == MESSAGES as i64 + 1).await;
    let grown = server.memory_kib().saturating_sub(before);
    println!("{MESSAGES} messages in {:?}, memory grew by {grown} KiB", begun.elapsed());
    assert!(grown <= SLOW * 512, "{grown} KiB for {SLOW} slow readers");
    in_time("the slow readers to be cut", async {
        while server.open_connections() > connections {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    ann.command("ping", json!({})).await;
    tasks.abort_all();
    for account in slow {
        let mut client = Client::connect(&server, account).await;
        let head = catch_up(&mut client, group).await;
        assert_eq!(head, MESSAGES as i64 + 1);
    }
    let verdict = server.verdict().await;
    server.must_be_clean(&verdict);
}

/// Resumes a conversation from its begin; every message must come, once. Answers where it ended.
async fn catch_up(client: &mut Client, conversation: i64) -> i64 {
    let cursors = json!({ "epoch": client.hello["epoch"], "conversations": { conversation.to_string(): 0 } });
    let head = client.command("resume", cursors).await["moved"][conversation.to_string()].as_i64().expect("it moved");
    let (mut cursor, mut seen) = (0, Vec::new());
    while cursor < head {
        let page = client.expect_where("conversation.page", |page| page["after"] == cursor).await;
        let messages = page["messages"].as_array().expect("messages");
        seen.extend(messages.iter().map(|message: &Value| message["seq"].as_i64().expect("a place")));
        cursor = page["upto"].as_i64().expect("where it ends");
    }
    assert_eq!(seen, (1..=head).collect::<Vec<_>>());
    cursor
}
