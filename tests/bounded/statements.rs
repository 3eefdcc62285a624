//! How many statements a command runs: as many for a hundred users as for one, and as many for somebody who never
//! existed as for somebody who blocks the caller.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::private::free_address;
use crate::support::server::PASSWORD;
use crate::support::setup::{Because, SetUp};
use crate::support::{Client, Server, http};

/// One node, and where it tells what it counted.
enum Counting {
    File(Server, SocketAddr),
    Shared(Box<Cluster>),
}

impl Counting {
    async fn start() -> Counting {
        match SetUp::of_this_run() {
            SetUp::Alone => {
                let operator = free_address();
                let settings = [("operator-listen", operator.to_string())];
                let settings: Vec<(&str, &str)> =
                    settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
                Counting::File(Server::start_alone(Because::OfTheProcess, &settings).await, operator)
            }
            SetUp::Cluster => Counting::Shared(Box::new(Cluster::start(1, &[]).await)),
        }
    }

    fn server(&self) -> &Server {
        match self {
            Counting::File(server, _) => server,
            Counting::Shared(cluster) => &cluster.server,
        }
    }

    /// Statements that commands of this type ran so far.
    async fn statements(&self, command: &str) -> i64 {
        let operator = match self {
            Counting::File(_, operator) => *operator,
            Counting::Shared(cluster) => cluster.operators[0],
        };
        let numbers = http::call(operator, "GET", "/metrics", None, None).await.body;
        let row = format!("duet_statements_total{{type=\"{command}\"}} ");
        numbers.lines().find_map(|line| line.strip_prefix(&row)?.parse().ok()).unwrap_or_default()
    }

    /// Says a command, and answers its reply and how many statements it ran.
    async fn counted(&self, client: &mut Client, command: &str, data: Value) -> (Value, i64) {
        let before = self.statements(command).await;
        let id = client.say(command, data).await;
        let reply = client.reply(id).await;
        (reply, self.statements(command).await - before)
    }
}

/// Users who never signed in, put into the database at once.
async fn crowd(server: &Server, count: usize) -> Vec<i64> {
    let mut database = server.database().writer().await;
    let first = database.number("coalesce(max(id), 0) + 1", "FROM users").await;
    let made = format!(
        "INSERT INTO users (username, username_key, password_hash, last_active_at, created_at) \
            WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {count}) \
            SELECT 'crowd' || number, 'crowd' || number, '!', 1, 1 FROM numbers"
    );
    database.execute(&made).await;
    (first..).take(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn n05_a_hundred_new_members_take_as_many_statements_as_one() {
    let counting = Counting::start().await;
    let mut ann = counting.server().user("ann").await;
    let people = crowd(counting.server(), 202).await;
    let title = |members: &[i64]| json!({ "title": "all", "members": members });
    let (small, one) = counting.counted(&mut ann, "conversation.create", title(&people[..1])).await;
    let (large, hundred) = counting.counted(&mut ann, "conversation.create", title(&people[..100])).await;
    assert_eq!((&small["data"]["member_count"], &large["data"]["member_count"]), (&json!(2), &json!(101)));
    assert_eq!(one, hundred, "statements of conversation.create with one and with a hundred");
    let group = &small["data"]["id"];
    let add = |users: &[i64]| json!({ "conversation": group, "users": users });
    let (_, one) = counting.counted(&mut ann, "member.add", add(&people[100..101])).await;
    let (added, hundred) = counting.counted(&mut ann, "member.add", add(&people[101..201])).await;
    assert_eq!(added["data"]["seq"], 102, "created, one came, a hundred came: {added}");
    assert_eq!(one, hundred, "statements of member.add with one and with a hundred");
    assert!(hundred < 20, "{hundred} statements for a hundred members");
    // All of it is there, each with the numbers that the others have.
    let history = ann.command("message.history", json!({ "conversation": group, "after": 2, "limit": 100 })).await;
    let told: Vec<(i64, i64)> = history["messages"].as_array().expect("messages").iter().map(subject).collect();
    let wanted: Vec<(i64, i64)> = (3..).zip(people[101..201].iter().copied()).collect();
    assert_eq!(told, wanted);
    let mut database = counting.server().database().reader().await;
    let entries = format!("FROM personal WHERE kind = 'conversation_gained' AND subject = {group}");
    assert_eq!(database.number("count(DISTINCT user_id)", &entries).await, 103);
    let wrong = "FROM users u WHERE u.seq <> (SELECT count(*) FROM personal p WHERE p.user_id = u.id)";
    assert_eq!(database.number("count(*)", wrong).await, 0, "heads and entries of the personal streams agree");
}

fn subject(message: &Value) -> (i64, i64) {
    (message["seq"].as_i64().expect("a number"), message["subject"].as_i64().expect("a subject"))
}

#[tokio::test(flavor = "multi_thread")]
async fn n05_lists_of_a_profile_take_as_many_statements_however_long() {
    let counting = Counting::start().await;
    let mut ann = counting.server().user("ann").await;
    let names = |count: usize| (0..count).map(|number| format!("hobby {number}")).collect::<Vec<_>>();
    let (_, one) = counting.counted(&mut ann, "profile.update", json!({ "interests": names(1) })).await;
    let (reply, thirty) = counting.counted(&mut ann, "profile.update", json!({ "interests": names(30) })).await;
    assert_eq!(reply["data"]["interests"].as_array().map(Vec::len), Some(30));
    assert_eq!(one, thirty, "statements for one interest and for thirty");
    for _ in 0..20 {
        counting.server().login("ann").await;
    }
    let end = json!({ "password": PASSWORD });
    let (_, twenty) = counting.counted(&mut ann, "session.revoke", end.clone()).await;
    counting.server().login("ann").await;
    let (_, one) = counting.counted(&mut ann, "session.revoke", end).await;
    assert_eq!(one, twenty, "statements to end one session and twenty");
}

/// Somebody whom bob may ask for in vain.
async fn away(counting: &Counting, bob: &Client) -> BTreeMap<&'static str, i64> {
    let server = counting.server();
    let mut away = BTreeMap::from([("never there", 999_999)]);
    let mut blocker = server.user("cem").await;
    blocker.command("block.add", json!({ "user": bob.user })).await;
    away.insert("blocker", blocker.user);
    let mut deleted = server.user("dora").await;
    deleted.say("account.delete", json!({ "password": PASSWORD })).await;
    deleted.expect_close().await;
    away.insert("deleted", deleted.user);
    let disabled = server.user("eve").await;
    server.operate(&["user", "disable", "eve"]);
    away.insert("disabled", disabled.user);
    away
}

#[tokio::test(flavor = "multi_thread")]
async fn d15_whoever_is_not_there_takes_as_many_statements_whatever_the_reason() {
    let counting = Counting::start().await;
    let mut bob = counting.server().user("bob").await;
    let group = bob.command("conversation.create", json!({ "title": "bob's" })).await["id"].clone();
    let away = away(&counting, &bob).await;
    let mut different = Vec::new();
    for command in [
        "profile.get",
        "like.add",
        "like.remove",
        "pass.add",
        "match.end",
        "conversation.open",
        "presence.get",
        "member.add",
        "member.remove",
        "member.role",
        "conversation.create",
    ] {
        let mut seen: BTreeMap<(i64, String), Vec<&str>> = BTreeMap::new();
        for (who, user) in &away {
            let data = match command {
                "presence.get" => json!({ "users": [user] }),
                "member.add" => json!({ "conversation": group, "users": [user] }),
                "member.remove" => json!({ "conversation": group, "user": user }),
                "member.role" => json!({ "conversation": group, "user": user, "role": "admin" }),
                "conversation.create" => json!({ "title": "with", "members": [user] }),
                _ => json!({ "user": user }),
            };
            let (reply, statements) = counting.counted(&mut bob, command, data).await;
            seen.entry((statements, reply["error"].to_string())).or_default().push(who);
        }
        if seen.len() > 1 || seen.keys().any(|(statements, _)| *statements == 0) {
            different.push(format!("{command}: {seen:?}"));
        }
    }
    assert!(different.is_empty(), "statements, answer, and for whom:\n{}", different.join("\n"));
}

/// Who blocks and who is gone look alike, also where an account that never was is told apart.
#[tokio::test(flavor = "multi_thread")]
async fn d15_a_blocker_takes_as_many_statements_as_a_deleted_account() {
    let counting = Counting::start().await;
    let mut bob = counting.server().user("bob").await;
    let away = away(&counting, &bob).await;
    for command in ["report.send", "block.add", "block.remove"] {
        let mut counted = Vec::new();
        for who in ["blocker", "deleted"] {
            let mut data = json!({ "user": away[who] });
            if command == "report.send" {
                data["reason"] = "spam".into();
            }
            let (reply, statements) = counting.counted(&mut bob, command, data).await;
            assert_eq!(reply["ok"], true, "{command} {who}: {reply}");
            counted.push(statements);
        }
        assert_eq!(counted[0], counted[1], "statements of {command} for a blocker and for a deleted account");
    }
}

/// The medians of how long a command takes for each of some users, asked in turns and in another order each time, so
/// that whatever else the machine does falls on all alike.
async fn medians(bob: &mut Client, command: &str, away: &BTreeMap<&'static str, i64>) -> Vec<(&'static str, Duration)> {
    const ROUNDS: usize = 200;
    let mut took: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
    for round in 0..ROUNDS {
        for (who, user) in away.iter().cycle().skip(round % away.len()).take(away.len()) {
            let begun = Instant::now();
            bob.refused(command, json!({ "user": user })).await;
            took.entry(who).or_default().push(begun.elapsed());
        }
    }
    let median = |(who, mut times): (&'static str, Vec<Duration>)| {
        times.sort_unstable();
        (who, times[times.len() / 2])
    };
    let mut medians: Vec<_> = took.into_iter().map(median).collect();
    medians.sort_unstable_by_key(|(_, median)| *median);
    medians
}

/// As many statements may still take different times, by what they write. A difference that is there shows each time, one
/// that other work on the machine made does not.
#[tokio::test(flavor = "multi_thread")]
async fn d15_whoever_is_not_there_takes_as_long_whatever_the_reason() {
    let counting = Counting::start().await;
    let mut bob = counting.server().user("bob").await;
    let away = away(&counting, &bob).await;
    for command in ["like.add", "conversation.open"] {
        let mut tries = Vec::new();
        while tries.len() < 5 {
            let medians = medians(&mut bob, command, &away).await;
            println!("{command}: {medians:?}");
            let alike = medians[medians.len() - 1].1 < medians[0].1 * 2;
            tries.push(medians);
            if alike {
                break;
            }
        }
        assert!(tries.len() < 5, "{command}: {tries:#?}");
    }
}
