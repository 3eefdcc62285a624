//! A database of the Django service, made by Django itself, comes over whole, and its users go on: with their
//! passwords, and with the tokens they have. On SQLite, or from a Postgres to a Postgres.
#![expect(clippy::expect_used, clippy::panic, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::Server;
use support::checker::Source;
use support::django::{Service, Target};
use support::files::{self, jpeg, path_of};
use support::http;
use support::process::Process;

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_over_once_and_a_dry_run_writes_nothing() {
    let service = Service::make(3000, 6000).await;
    let target = Target::new().await;
    let dry = target.import(&service, &["--dry-run"]);
    assert!(dry.contains("nothing was written"), "{dry}");
    match &target.database {
        Source::File(_) => assert!(!target.home.path().join("data").exists(), "a dry run made a database"),
        Source::Url(_) => {
            let tables = "FROM pg_tables WHERE schemaname = 'public'";
            let tables = target.database.reader().await.number("count(*)", tables).await;
            assert_eq!(tables, 0, "a dry run made tables");
        }
    }

    let summary = target.import(&service, &[]);
    // The dry run had said the same.
    let table = |text: &str| {
        text.lines().filter(|line| line.contains("  ") || line.contains(" x ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(table(&dry), table(&summary));
    counts(&service, &target, &summary).await;
    odd_people(&service, &target).await;
    odd_talk(&service, &target, &summary).await;
    all_messages(&service, &target).await;
    let before = target.everything().await;
    let again = target.import(&service, &["--old-tokens-until", "2000-01-01"]);
    assert!(again.contains("nothing was changed"), "{again}");
    assert_eq!(table(&again), table(&summary));
    assert_eq!(target.everything().await, before, "a second run changed something");

    let change = "INSERT INTO matching_userinterest (name) VALUES ('one more')";
    service.database.writer().await.execute(change).await;
    let refused = target.refused(&service, &[]);
    assert!(refused.contains("not as it was"), "{refused}");
}

async fn counts(service: &Service, target: &Target, summary: &str) {
    let mut reader = target.database.reader().await;
    let there = |table: &str| service.id(&["counts", table]);
    let likes = "FROM (SELECT low_liked_at AS at FROM pairs UNION ALL SELECT high_liked_at FROM pairs) AS likes";
    let blocks = "FROM (SELECT low_blocked_at AS at FROM pairs UNION ALL SELECT high_blocked_at FROM pairs) AS blocks";
    // One liked themselves, two liked across a block, two likes ended with their match; two came with a match.
    let expected = [
        ("count(*)", "FROM users", there("accounts_user")),
        ("count(*)", "FROM interests", there("matching_userinterestrelation")),
        ("count(*)", "FROM interest_names", there("matching_userinterest")),
        ("count(at)", likes, there("accounts_user_liked_users") - 1 - 2 - 2 + 2),
        ("count(at)", blocks, there("accounts_user_blocked_users")),
        ("count(matched_at)", "FROM pairs", there("matching_match") + 1),
        ("count(*)", "FROM conversations", there("conversations_conversation") - 1),
        ("count(*)", "FROM members", there("conversations_conversation_participants")),
        ("count(*)", "FROM messages", there("conversations_message")),
        ("count(*)", "FROM imported_files", 3000 / 20 - 1 + 1 + 1 + (6000 - 13) / 50 + 1),
        ("count(*)", "FROM message_search", there("conversations_message")),
        (
            "count(*)",
            "FROM conversations c WHERE c.seq <> (SELECT count(*) FROM messages m \
            WHERE m.conversation_id = c.id AND m.seq BETWEEN 1 AND c.seq)",
            0,
        ),
        (
            "count(*)",
            "FROM messages a JOIN messages b ON b.conversation_id = a.conversation_id AND b.seq = a.seq + 1 \
            WHERE (a.sent_at, a.id) > (b.sent_at, b.id)",
            0,
        ),
        ("count(*)", "FROM members WHERE delivered <> read", 0),
        // The rules of duet: two likes are a match, and a block ends everything.
        (
            "count(*)",
            "FROM pairs WHERE (low_liked_at IS NOT NULL AND high_liked_at IS NOT NULL) \
            <> (matched_at IS NOT NULL AND match_ended_at IS NULL)",
            0,
        ),
        (
            "count(*)",
            "FROM pairs WHERE (low_blocked_at IS NOT NULL OR high_blocked_at IS NOT NULL) \
            AND (low_liked_at IS NOT NULL OR high_liked_at IS NOT NULL)",
            0,
        ),
    ];
    for (column, rest, count) in expected {
        assert_eq!(reader.number(column, rest).await, count, "{column} {rest}");
    }
    let line = |what: &str, count: i64| format!("{what:<14} {count:>10} {count:>10}");
    assert!(summary.contains(&line("users", 3000)) && summary.contains(&line("messages", 6000)), "{summary}");
    let ids = "FROM conversations_message m ORDER BY m.id";
    assert_eq!(
        service.database.reader().await.rows("m.id", ids).await,
        reader.rows("m.id", "FROM messages m ORDER BY m.id").await
    );
}

/// What is odd about the first users, as `fill.py` says beside them.
async fn odd_people(service: &Service, target: &Target) {
    let mut reader = target.database.reader().await;
    let mut row = async |columns: &str, rest: String| reader.rows(columns, &rest).await.pop().unwrap_or_default();
    let (ann, bob) = (service.id(&["users", "ann"]), service.id(&["users", "bob"]));
    let columns = "username, username_key, email, first_name, last_name, bio, phone, location, birth_date, cell_lat, \
        seeks IN ('man', 'woman', 'other', 'man,woman,other'), disabled_at, last_active_at";
    let profile = row(columns, format!("FROM users WHERE id = {ann}")).await;
    let yes = if matches!(target.database, Source::File(_)) { json!(1) } else { json!(true) };
    let day_100 = 1_746_532_800_000_000_i64 + 100 * 86_400_000_000;
    let expected = json!([
        "ann",
        "ann",
        "Ann@Example.org",
        "Ann",
        "Été",
        "Hi\nthere",
        "+33 1 23",
        "Paris",
        "1990-02-03",
        6942,
        yes,
        null,
        day_100
    ]);
    assert_eq!(json!(profile), expected);
    let wanted = row("cell_lat, age_min, age_max, distance_km, seeks", format!("FROM users WHERE id = {bob}")).await;
    assert_eq!(json!(wanted), json!([null, 0, 0, -1, "woman"]));
    for (name, key) in
        [("Zoe", "zoe"), ("zoe", "=zoe"), ("ZOE", "=ZOE"), ("zOE", "=zOE"), ("p\u{430}ypal", "p\u{430}ypal")]
    {
        let id = service.id(&["users", name]);
        assert_eq!(
            json!(row("username, username_key", format!("FROM users WHERE id = {id}")).await),
            json!([name, key])
        );
    }
    let superuser = row("age_min, age_max, distance_km, seeks", "FROM users WHERE username = 'admin'".to_owned()).await;
    assert_eq!(json!(superuser), json!([18, 99, 50, "man,woman,other"]));
    let zero = row("count(*)", "FROM users WHERE username = 'zerobytes'".to_owned()).await;
    assert_eq!(json!(zero), json!([1]));
}

/// The same of the first conversations.
async fn odd_talk(service: &Service, target: &Target, summary: &str) {
    let mut reader = target.database.reader().await;
    let mut row = async |columns: &str, rest: String| reader.rows(columns, &rest).await.pop().unwrap_or_default();
    let ann = service.id(&["users", "ann"]);
    let talk = |place: &str| service.id(&["conversations", place]);
    let kinds =
        [("0", "group", "ann, bob"), ("1", "direct", ""), ("3", "group", "ann, bob, eve"), ("4", "group", "ann")];
    for (place, kind, title) in kinds {
        let found = row("kind, title, low", format!("FROM conversations WHERE id = {}", talk(place))).await;
        let low = if kind == "direct" { json!(ann) } else { Value::Null };
        assert_eq!(json!(found), json!([kind, title, low]), "conversation {place}");
    }
    let nobody = row("kind, member_count, created_by", format!("FROM conversations WHERE id = {}", talk("5"))).await;
    assert_eq!(json!(nobody), json!(["group", 0, ann]));
    assert!(row("id", format!("FROM conversations WHERE id = {}", talk("6"))).await.is_empty());
    let hidden = row("min(hidden_seq), max(hidden_seq)", format!("FROM members WHERE conversation_id = {}", talk("2")));
    assert_eq!(json!(hidden.await), json!([2, 2]));
    let read = row(
        "read, (SELECT m.read FROM members m WHERE m.user_id = 2 AND m.conversation_id = me.conversation_id)",
        format!("FROM members me WHERE user_id = {ann} AND conversation_id = {}", talk("1")),
    );
    assert_eq!(json!(read.await), json!([3, 6]), "read by Ann and by Bob");
    let first = row("id, sent_at", format!("FROM messages WHERE conversation_id = {} AND seq = 1", talk("1"))).await;
    assert_eq!(json!(first), json!([service.id(&["messages", "1"]), 1_746_532_860_000_000_i64]));
    let files = row(
        "(SELECT path FROM imported_files WHERE kind = 'message' AND subject = 5)",
        "FROM imported_files WHERE kind = 'profile' AND subject = 1 AND path = 'profile_pictures/ann.jpg'".to_owned(),
    );
    assert_eq!(json!(files.await), json!(["message_attachments/menu.pdf"]));
    let told = [
        "same two: a group of two (conversation 1",
        "(user 9, 10, 11)",
        "log in after duet user set-password (user 7)",
        "a block",
        "was left: out of everybody's list until its next message (conversation 3, 21, 22)",
    ];
    for part in told {
        assert!(summary.contains(part), "{part}: {summary}");
    }
}

/// All messages by both databases' own words, and how far everybody has read, counted once more from the read marks.
async fn all_messages(service: &Service, target: &Target) {
    let (mut old, mut new) = (service.database.reader().await, target.database.reader().await);
    let ordered = "FROM conversations_message m ORDER BY m.conversation_id, m.created_at, m.id";
    let there = old.rows("m.id, m.conversation_id, m.sender_id, m.content", ordered).await;
    let here = "FROM messages m ORDER BY m.conversation_id, m.seq";
    assert_eq!(there, new.rows("m.id, m.conversation_id, m.sender_id, m.text", here).await);
    let marks = old.rows("r.message_id, r.user_id", "FROM conversations_messageread r").await;
    let marks: BTreeSet<(i64, i64)> = marks.iter().map(|row| (number(&row[0]), number(&row[1]))).collect();
    let members = "FROM members WHERE conversation_id > 8";
    let members = new.rows("conversation_id, user_id, read", members).await;
    assert!(members.len() > 1900);
    let mut by_conversation: BTreeMap<i64, Vec<&Vec<Value>>> = BTreeMap::new();
    there.iter().for_each(|row| by_conversation.entry(number(&row[1])).or_default().push(row));
    for member in members {
        let (conversation, user) = (number(&member[0]), number(&member[1]));
        let all = by_conversation.get(&conversation).map_or(&[][..], Vec::as_slice);
        let read = |row: &&&Vec<Value>| number(&row[2]) == user || marks.contains(&(number(&row[0]), user));
        assert_eq!(all.iter().take_while(read).count() as i64, number(&member[2]), "{user} in {conversation}");
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_goes_on_and_comes_to_the_same() {
    let service = Service::make(600, 9000).await;
    let whole = Target::new().await;
    whole.import(&service, &[]);
    let killed = Target::new().await;
    let mut kills = 0;
    // Longer each time, so that it comes to an end, wherever the first ones are hit.
    for pause in successors(Some(Duration::from_millis(40)), |pause| Some(pause.mul_f64(1.15))) {
        let mut command = killed.command(&service, &[]);
        let mut run = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()), "KILL", None);
        // The time after which it is killed.
        tokio::time::sleep(pause).await;
        if run.ended().is_some_and(|status| status.success()) {
            break;
        }
        run.kill();
        kills += 1;
    }
    assert!(kills >= 3, "it was at work for longer than 40 ms");
    assert_eq!(killed.everything().await, whole.everything().await);
    assert!(killed.import(&service, &[]).contains("nothing was changed"));
}

/// Why an import into the database of a server is refused.
fn refused_at(server: &Server, service: &Service) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.args(["import-django", "--from", &service.url, "--secret-key-file"]).arg(&service.key_file);
    if let Source::Url(url) = server.database() {
        command.args(["--database-url", url]);
    }
    let done = command.arg("--data-dir").arg(server.data_dir()).stdin(Stdio::null()).output().expect("run duet");
    assert!(!done.status.success());
    String::from_utf8_lossy(&done.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_source_and_no_target_is_refused() {
    let service = Service::make(30, 100).await;
    let target = Target::new().await;
    let nowhere = Service { url: "sqlite:///nowhere/django.sqlite3".to_owned(), ..Service::make(30, 100).await };
    assert!(target.refused(&nowhere, &[]).contains("no database at /nowhere"));
    let no_url = Service { url: "mysql://localhost/x".to_owned(), ..nowhere };
    assert!(target.refused(&no_url, &[]).contains("begins with sqlite: or postgres:"));
    std::fs::write(&no_url.key_file, " \n").expect("write");
    assert!(target.refused(&no_url, &[]).contains("is empty"));
    assert!(target.refused(&service, &["--old-tokens-until", "tomorrow"]).contains("no day like"));

    let mut server = target.serve().await;
    let told = refused_at(&server, &service);
    assert!(told.contains("another duet") || told.contains("a server"), "{told}");
    server.account("fay").await;
    server.stop().await;
    let told = refused_at(&server, &service);
    assert!(told.contains("what no import wrote (1 rows of users, 1 rows of sessions, 1 rows of personal)"), "{told}");
    // A database of duet is none of Django.
    let url = match server.database() {
        Source::File(file) => format!("sqlite://{}", file.display()),
        Source::Url(url) => url.clone(),
    };
    let other = Target::new().await;
    assert!(other.refused(&Service { url, ..service }, &[]).contains("no database of the Django API"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_over_through_the_gate_and_only_those_below_the_directory() {
    let service = Service::make(100, 200).await;
    let (media, menu) = (service.home.path().join("media"), b"%PDF-1.7 what there is to eat");
    for folder in ["profile_pictures", "message_attachments"] {
        std::fs::create_dir_all(media.join(folder)).expect("a folder");
    }
    let write = |path: &str, bytes: &[u8]| std::fs::write(media.join(path), bytes).expect("a file");
    write("profile_pictures/ann.jpg", &jpeg(300, 200));
    write("profile_pictures/40.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>");
    std::fs::write(service.home.path().join("outside.png"), jpeg(30, 20)).expect("a file");
    std::os::unix::fs::symlink("../../outside.png", media.join("profile_pictures/60.png")).expect("a link");
    write("message_attachments/menu.pdf", menu);

    let target = Target::new().await;
    let given = media.to_str().expect("a path").to_owned();
    let summary = target.import(&service, &["--media", &given]);
    assert!(summary.contains("Of the files, 2 came now and 0 before."), "{summary}");
    assert!(summary.contains("1 x left out (user 40): "), "{summary}");
    // One outside, and those that are not there: two pictures, and what came with four messages.
    assert!(summary.contains("7 x left out (message "), "{summary}");
    let again = target.import(&service, &["--media", &given]);
    assert!(again.contains("Of the files, 0 came now and 2 before."), "{again}");

    let server = target.serve().await;
    let token = service.token("ann", "access");
    let ask = async |path: String| http::call(server.next_address(), "GET", &path, Some(&token), None).await.json;
    let picture = ask("/api/v1/auth/profile/".to_owned()).await["profile_picture"].clone();
    let got = files::get(server.next_address(), &path_of(&picture), &[]).await;
    assert_eq!((got.status, got.headers["content-type"].as_str()), (200, "image/jpeg"));
    let talk = service.id(&["conversations", "1"]);
    let messages = ask(format!("/api/v1/conversations/{talk}/messages/")).await;
    let messages = messages.as_array().expect("messages");
    let with_file = messages.iter().find(|message| message["attachment"].is_string()).expect("a message with a file");
    assert_eq!(with_file["content"], "Crème brûlée");
    let got = files::get(server.next_address(), &path_of(&with_file["attachment"]), &[]).await;
    assert_eq!((got.status, got.body.as_slice()), (200, &menu[..]));
}
