//! Attacks on tokens, sessions and logins, each named after its row in the security checklist.
#![expect(clippy::expect_used, reason = "a story that cannot go on says why")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use support::http::{Response, call, call_with};
use support::server::PASSWORD;
use support::setup::Because;
use support::stopwatch::Stopwatch;
use support::tokens::signed;
use support::{Client, Server};

const SECRET: &str = "k3Jw9-0f1e2d3c4b5a69788796a5b4c3d2e1f0";

async fn post(server: &Server, path: &str, body: Value) -> Response {
    call(server.next_address(), "POST", path, None, Some(&body)).await
}

/// Logs in as if from another address, through a proxy that is trusted.
async fn login_from(server: &Server, address: &str, username: &str, password: &str) -> Response {
    login_at(server.next_address(), address, username, password).await
}

async fn login_at(node: SocketAddr, address: &str, username: &str, password: &str) -> Response {
    let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", address)];
    let body = json!({ "username": username, "password": password }).to_string();
    call_with(node, "POST", "/api/token/", &headers, &body).await
}

async fn rotate(server: &Server, client: &str, token: &str) -> Response {
    let headers = [("Content-Type", "application/json"), ("User-Agent", client)];
    let body = json!({ "refresh": token, "rotate": true }).to_string();
    call_with(server.next_address(), "POST", "/api/token/refresh/", &headers, &body).await
}

/// The same without a word of rotation.
async fn refresh(server: &Server, client: &str, token: &str) -> Response {
    let headers = [("Content-Type", "application/json"), ("User-Agent", client)];
    let body = json!({ "refresh": token }).to_string();
    call_with(server.next_address(), "POST", "/api/token/refresh/", &headers, &body).await
}

fn claims(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode_claims(token).expect("claims")
}

#[tokio::test]
async fn s10_s11_forged_tokens_open_nothing() {
    let server = Server::start_with(&[], &[("DUET_SECRET", SECRET)]).await;
    let ann = server.account("ann").await;
    let good = claims(&ann.access);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let plain = Header::new(Algorithm::HS256);
    let (mut with_kid, mut with_jku) = (plain.clone(), plain.clone());
    with_kid.kid = Some("/dev/null".to_owned());
    with_jku.jku = Some("https://evil.test/keys".to_owned());
    let later = good["exp"].as_i64().expect("a time");
    let (message, _) = ann.access.rsplit_once('.').expect("three parts");
    let (_, payload) = message.split_once('.').expect("three parts");
    let forged = [
        format!("{message}."),
        format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.{payload}."),
        signed(&plain, &good, "another key, which is long enough too"),
        signed(&Header::new(Algorithm::HS512), &good, SECRET),
        signed(&with_kid, &good, SECRET),
        signed(&with_jku, &good, SECRET),
        signed(&plain, &with("aud", "duet".into()), SECRET),
        signed(&plain, &with("iss", "evil".into()), SECRET),
        signed(&plain, &with("exp", later.to_string().into()), SECRET),
        signed(&plain, &with("nbf", later.into()), SECRET),
        signed(&plain, &with("iat", later.into()), SECRET),
        signed(&plain, &with("sid", 999.into()), SECRET),
        signed(&plain, &with("user_id", "999".into()), SECRET),
        ann.refresh.clone(),
    ];
    for token in &forged {
        let answer = call(server.next_address(), "POST", "/api/v1/auth/logout/", Some(token), None).await;
        assert_eq!((answer.status, answer.json["code"].as_str()), (401, Some("token_not_valid")), "{token}");
    }
    let mut ann = Client::connect(&server, ann).await;
    // The forger's pen writes like ours: what is refused above is refused for what it says.
    ann.command("auth.refresh", json!({ "token": signed(&plain, &good, SECRET) })).await;
    for token in &forged {
        let error = ann.refused("auth.refresh", json!({ "token": token })).await;
        assert_eq!(error["code"], "invalid_credentials", "{token}");
    }
    let access = post(&server, "/api/token/refresh/", json!({ "refresh": ann.account.access })).await;
    assert_eq!((access.status, access.json["detail"].as_str()), (401, Some("Token has wrong type")));
}

#[tokio::test]
async fn s12_a_socket_does_not_outlive_its_token() {
    let server = Server::start(&[("access-token-s", "8"), ("expiry-notice-s", "6")]).await;
    let mut idle = server.user("idle").await;
    let mut active = server.user("active").await;
    idle.expect("auth.expiring").await;
    active.expect("auth.expiring").await;
    let refresh = active.account.refresh.clone();
    // Renewed until the other socket, which does nothing, was closed.
    let closed = tokio::spawn(async move { (idle.expect_close().await.code, idle.hello["expires_at"].clone()) });
    let mut last = 0;
    while !closed.is_finished() {
        let renewed = active.command("auth.refresh", json!({ "refresh": refresh })).await;
        assert!(renewed["access"].is_string() && renewed.get("refresh").is_none(), "{renewed}");
        last = renewed["expires_at"].as_i64().expect("a time");
        active.expect("auth.expiring").await;
    }
    let (code, expired_at) = closed.await.expect("closed");
    assert_eq!(code, 4002);
    let now = active.command("ping", json!({})).await["time"].as_i64().expect("a time");
    let late = now - expired_at.as_i64().expect("a time");
    assert!((0..30_000_000).contains(&late), "closed {late} microseconds after its end, as another's clock tells");
    assert!(last > now, "the renewed one lives");
}

#[tokio::test]
async fn s13_ended_sessions_close_their_sockets_at_once() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let others = join_all((0..3).map(|_| async { Client::connect(&server, server.login("ann").await).await })).await;
    let watch = Stopwatch::start();
    ann.command("session.revoke", json!({ "password": PASSWORD })).await;
    for mut other in others {
        assert_eq!(other.expect_close().await.code, 4003);
    }
    watch.must_be_within(Duration::from_secs(2), "the end of three sockets, with a hash of a password,");
    ann.command("ping", json!({})).await;
}

#[tokio::test]
async fn s14_a_replaced_refresh_token_ends_the_session_unless_the_answer_was_lost() {
    let server = Server::start(&[]).await;
    let login = server.account("ann").await;
    let mut socket = Client::connect(&server, login.clone()).await;
    let first = rotate(&server, "phone", &login.refresh).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let again = rotate(&server, "phone", &login.refresh).await;
    assert_eq!(again.json["refresh"], first.json["refresh"], "the same client gets the same successor");
    let successor = first.json["refresh"].as_str().expect("a token");
    assert_ne!(successor, login.refresh);
    socket.command("ping", json!({})).await;
    assert_eq!(refresh(&server, "phone", successor).await.status, 200, "the successor is used");
    let stolen = rotate(&server, "thief", &login.refresh).await;
    assert_eq!((stolen.status, stolen.json["detail"].as_str()), (401, Some("Token is blacklisted")));
    assert_eq!(socket.expect_close().await.code, 4003);
    assert_eq!(rotate(&server, "phone", successor).await.status, 401, "the whole family is dead");
    let older = server.login("ann").await;
    let next = rotate(&server, "phone", &older.refresh).await.json["refresh"].clone();
    let third = rotate(&server, "phone", next.as_str().expect("a token")).await;
    assert_eq!(third.status, 200);
    assert_eq!(rotate(&server, "phone", &older.refresh).await.status, 401, "two rotations ago is no lost answer");
}

#[tokio::test]
async fn d17_a_lost_answer_is_given_again_on_another_network_and_by_another_library() {
    let server = Server::start(&[]).await;
    let login = server.account("ann").await;
    let mut socket = Client::connect(&server, login.clone()).await;
    let first = rotate(&server, "library/1 over wifi", &login.refresh).await.json["refresh"].clone();
    for client in ["library/2", "library/1 over mobile", ""] {
        let again = rotate(&server, client, &login.refresh).await;
        assert_eq!((again.status, &again.json["refresh"]), (200, &first), "{client}");
    }
    // On the socket too, and whether or not it asks for another one.
    let renewed = socket.command("auth.refresh", json!({ "refresh": login.refresh, "rotate": true })).await;
    assert_eq!(renewed["refresh"], first);
    let renewed = refresh(&server, "library/3", &login.refresh).await;
    assert_eq!((renewed.status, &renewed.json["refresh"]), (200, &first), "without a word of rotation");
    // The successor is good, and its use is the end of the one before.
    let successor = first.as_str().expect("a token");
    let second = rotate(&server, "library/2", successor).await;
    assert_eq!(second.status, 200);
    assert_ne!(second.json["refresh"], first);
    assert_eq!(rotate(&server, "library/1", successor).await.json["refresh"], second.json["refresh"]);
    socket.command("ping", json!({})).await;
    assert_eq!(rotate(&server, "library/1", &login.refresh).await.status, 401);
    assert_eq!(socket.expect_close().await.code, 4003);
    assert_eq!(rotate(&server, "library/1", second.json["refresh"].as_str().expect("a token")).await.status, 401);
}

#[tokio::test]
async fn d17_a_successor_that_was_used_in_any_way_ends_what_was_before() {
    let server = Server::start(&[]).await;
    for on_a_socket in [false, true] {
        let login = if on_a_socket { server.account("bob").await } else { server.account("ann").await };
        let mut socket = Client::connect(&server, login.clone()).await;
        let first = rotate(&server, "phone", &login.refresh).await.json["refresh"].clone();
        if on_a_socket {
            socket.command("auth.refresh", json!({ "refresh": first })).await;
        } else {
            assert_eq!(refresh(&server, "phone", first.as_str().expect("a token")).await.status, 200);
        }
        assert_eq!(rotate(&server, "phone", &login.refresh).await.status, 401, "even for the same client");
        assert_eq!(socket.expect_close().await.code, 4003);
    }
}

#[tokio::test]
async fn s14_the_same_client_is_forgiven_only_for_a_moment() {
    let server = Server::start(&[("rotation-retry-s", "0")]).await;
    let login = server.account("ann").await;
    assert_eq!(rotate(&server, "phone", &login.refresh).await.status, 200);
    assert_eq!(rotate(&server, "phone", &login.refresh).await.status, 401);
}

#[tokio::test]
async fn s15_parallel_refreshes_make_one_successor() {
    let server = Server::start(&[]).await;
    let login = server.account("ann").await;
    let answers = join_all((0..20).map(|_| rotate(&server, "phone", &login.refresh))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let successors: BTreeSet<&str> = answers.iter().filter_map(|answer| answer.json["refresh"].as_str()).collect();
    assert_eq!(successors.len(), 1);
}

#[tokio::test]
async fn s16_only_a_digest_of_a_refresh_token_is_kept_and_sessions_end_by_themselves() {
    let settings = [("refresh-token-s", "1000"), ("session-max-s", "1001"), ("access-token-s", "5000")];
    let server = Server::start_alone(Because::OfTheFile, &settings).await;
    let login = server.account("ann").await;
    let (access, refresh) = (claims(&login.access), claims(&login.refresh));
    let number = |claims: &Value, name: &str| claims[name].as_i64().expect("a number");
    assert_eq!(number(&refresh, "exp") - number(&refresh, "iat"), 1000, "idle lifetime");
    assert!(number(&access, "exp") <= number(&refresh, "exp"), "no access token outlives its session");
    let mut token = login.refresh.clone();
    let born = number(&refresh, "iat");
    while number(&claims(&token), "iat") < born + 2 {
        token = rotate(&server, "phone", &token).await.json["refresh"].as_str().expect("a token").to_owned();
    }
    assert_eq!(number(&claims(&token), "exp"), born + 1001, "absolute lifetime");
    let jti = refresh["jti"].as_str().expect("a name");
    assert_eq!(jti.len(), 32, "128 bits");
    for file in [server.file(), server.file().with_extension("db-wal")] {
        let bytes = std::fs::read(&file).expect("the database");
        for secret in [jti, login.refresh.as_str(), login.access.as_str(), PASSWORD] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds a secret", file.display());
        }
    }
}

#[tokio::test]
async fn s17_other_sessions_are_listed_and_ended_with_the_password_only() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let mut other = Client::connect(&server, server.login("ann").await).await;
    let mut bob = server.user("bob").await;
    let sessions = ann.command("session.list", json!({})).await["sessions"].clone();
    let ids: BTreeSet<i64> = sessions.as_array().expect("a list").iter().filter_map(|one| one["id"].as_i64()).collect();
    assert_eq!(ids, BTreeSet::from([ann.session, other.session]));
    let wrong = ann.refused("session.revoke", json!({ "session": other.session, "password": "wrong" })).await;
    assert_eq!(wrong["code"], "wrong_password");
    let foreign = json!({ "session": other.session, "password": PASSWORD });
    assert_eq!(bob.refused("session.revoke", foreign.clone()).await["code"], "not_found");
    other.command("ping", json!({})).await;
    ann.command("session.revoke", foreign.clone()).await;
    assert_eq!(other.expect_close().await.code, 4003);
    assert_eq!(ann.refused("session.revoke", foreign).await["code"], "not_found");
}

#[tokio::test]
async fn s17_guessing_the_password_on_a_stolen_session_is_slowed() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let mut limited = 0;
    for _ in 0..20 {
        let error = ann.refused("session.revoke", json!({ "password": "guess" })).await;
        limited += i32::from(error["code"] == "rate_limited");
    }
    assert!(limited >= 8, "{limited} of 20 guesses were slowed");
}

#[tokio::test]
async fn s19_guesses_from_many_addresses_are_slowed_and_the_victim_gets_in() {
    let server = Server::start(&[("trusted-proxies", "127.0.0.0/8")]).await;
    server.account("ann").await;
    assert_eq!(login_from(&server, "192.0.2.10", "ann", PASSWORD).await.status, 200, "the known device");
    let mut judged = 0;
    for number in 0..60 {
        let answer = login_from(&server, &format!("198.{}.{number}.1", 18 + number % 2), "ann", "guess").await;
        match answer.status {
            401 => judged += 1,
            429 => assert!(answer.headers["retry-after"].parse::<u32>().expect("seconds") > 0),
            other => panic!("{other}: {}", answer.body),
        }
    }
    assert!((10..=20).contains(&judged), "{judged} of 60 guesses were judged");
    let stranger = login_from(&server, "203.0.113.5", "ann", PASSWORD).await;
    assert_eq!(stranger.status, 429);
    assert!(
        stranger.body.starts_with(r#"{"detail":"Requête ralentie. Disponible à nouveau dans "#),
        "{}",
        stranger.body
    );
    for node in server.addresses.all() {
        let known = login_at(*node, "192.0.2.99", "ann", PASSWORD).await;
        assert_eq!(known.status, 200, "the same prefix as before, on {node}: {}", known.body);
    }
}

#[tokio::test]
async fn s20_s8_one_prefix_over_many_accounts_is_slowed_whatever_it_writes() {
    let server = Server::start(&[("trusted-proxies", "127.0.0.0/8")]).await;
    let mut judged = 0;
    for number in 0..80 {
        // Everything left of what the trusted proxy added is the client's own invention.
        let forwarded = format!("10.9.8.{number}, 198.51.100.{}", number % 250);
        let answer = login_from(&server, &forwarded, &format!("user{number}"), "Winter2026!").await;
        judged += i32::from(answer.status == 401);
    }
    assert!((50..=60).contains(&judged), "{judged} of 80 accounts were tried");
    let elsewhere = login_from(&server, "203.0.113.5", "user79", "Winter2026!").await;
    assert_eq!(elsewhere.status, 401, "another prefix is not slowed");
    let trusting = Server::start(&[]).await;
    let mut judged = 0;
    for number in 0..80 {
        let answer = login_from(&trusting, &format!("198.51.{number}.1"), &format!("user{number}"), "x").await;
        judged += i32::from(answer.status == 401);
    }
    assert!((50..=60).contains(&judged), "an untrusted peer is not believed: {judged} of 80 were tried");
}

#[tokio::test]
async fn s21_unknown_names_and_wrong_passwords_cannot_be_told_apart() {
    let settings = [("argon2-memory-kib", "8192"), ("login-account-burst", "0"), ("login-prefix-burst", "0")];
    let server = Server::start(&settings).await;
    server.account("ann").await;
    let try_one = async |username: &str| {
        let begun = Instant::now();
        let answer = login_from(&server, "", username, "a wrong password").await;
        (begun.elapsed(), answer.status, answer.body, answer.headers.into_keys().collect::<Vec<_>>())
    };
    let known = try_one("ann").await;
    let unknown = try_one("nobody-has-it").await;
    assert_eq!((known.1, &known.2, &known.3), (unknown.1, &unknown.2, &unknown.3));
    assert_eq!(known.2, r#"{"detail":"No active account found with the given credentials"}"#);
    // The machine is not ours alone, so the tries are interleaved, in turns in either order, judged by their quieter
    // half, and go on until both agree. Noise goes away with more tries; a difference that is in the server does not.
    let (mut with_account, mut without) = (Vec::new(), Vec::new());
    let mut differences = Vec::new();
    for _ in 0..12 {
        for turn in 0..40 {
            if turn % 2 == 0 {
                with_account.push(try_one("ann").await.0);
            }
            without.push(try_one("nobody-has-it").await.0);
            if turn % 2 == 1 {
                with_account.push(try_one("ann").await.0);
            }
        }
        let (one, other) = (quiet_median(&mut with_account), quiet_median(&mut without));
        let difference = (one - other).abs() / one.max(other);
        differences.push((one - other) / one.max(other));
        if difference < 0.05 && differences.len() > 2 {
            return;
        }
    }
    panic!("the medians differ, after each 40 tries, by {differences:?}");
}

/// The median of the quieter half.
fn quiet_median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 4].as_secs_f64()
}

#[tokio::test]
async fn s22_a_flood_of_logins_is_bounded_and_sockets_do_not_feel_it() {
    let settings = [("hash-queue", "4"), ("argon2-memory-kib", "4096"), ("login-prefix-burst", "0")];
    let server = Server::start(&settings).await;
    let mut ann = server.user("ann").await;
    let huge = post(&server, "/api/token/", json!({ "username": "ann", "password": "x".repeat(1 << 20) })).await;
    assert_eq!(huge.status, 413);
    let long = post(&server, "/api/token/", json!({ "username": "ann", "password": "x".repeat(257) })).await;
    assert_eq!(long.status, 400, "{}", long.body);
    let guesses = (0..200).map(|number| {
        let server = &server;
        async move { login_from(server, "", &format!("user{number}"), "guess").await }
    });
    let (answers, pongs) = tokio::join!(join_all(guesses), async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let begun = Instant::now();
            ann.command("ping", json!({})).await;
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    });
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!busy.is_empty() && busy.iter().all(|answer| answer.headers["retry-after"] == "1"));
    let others: Vec<_> = answers.iter().filter(|answer| !matches!(answer.status, 401 | 503)).collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(pongs < Duration::from_secs(10), "a ping waited {pongs:?}");
}

#[tokio::test]
async fn s23_common_passwords_are_refused_and_unusual_ones_taken_as_they_are() {
    let server = Server::start(&[]).await;
    let register = async |username: &str, password: &str| {
        let body = json!({ "username": username, "password": password, "password2": password });
        post(&server, "/api/v1/auth/register/", body).await
    };
    for common in ["password", "12345678", "football1", "Iloveyou", "eve.from.work"] {
        let answer = register("eve.from.work", common).await;
        assert_eq!(answer.json, json!({ "password": ["Ce mot de passe est trop courant."] }), "{common}");
    }
    let short = register("eve", "x7$kQ").await;
    let text = "Ce mot de passe est trop court. Il doit contenir au minimum 8 caractères.";
    assert_eq!(short.json, json!({ "password": [text] }));
    let passphrase = "sixty-four characters of passphrase, with spaces and punctuation";
    for (username, password) in [("eve1", passphrase), ("eve2", "пароль собаки летят"), ("eve3", "🐎🔋📎✅🐎🔋📎✅")]
    {
        assert_eq!(register(username, password).await.status, 201, "{password}");
        let answer = post(&server, "/api/token/", json!({ "username": username, "password": password })).await;
        assert_eq!(answer.status, 200, "{password}");
        let other = password.to_uppercase();
        if other != password {
            let answer = post(&server, "/api/token/", json!({ "username": username, "password": other })).await;
            assert_eq!(answer.status, 401, "{other}");
        }
    }
}

#[tokio::test]
async fn s38_names_that_look_like_anothers_are_refused() {
    let server = Server::start(&[]).await;
    server.account("paypal").await;
    let register = async |username: &str| {
        let body = json!({ "username": username, "password": PASSWORD, "password2": PASSWORD });
        post(&server, "/api/v1/auth/register/", body).await
    };
    let refused = [
        "PayPal",
        "ｐａｙｐａｌ",
        "p\u{430}ypal",
        "pay\u{200b}pal",
        "\u{202e}lapyap",
        "a\u{328}\u{331}\u{310}b",
        "Admin",
        "r00t",
        "su\u{ad}pport",
        "a b",
    ];
    for username in refused {
        let answer = register(username).await;
        assert_eq!(answer.status, 400, "{username:?}: {}", answer.body);
        assert!(answer.json["username"].is_array(), "{username:?}: {}", answer.body);
    }
    for username in ["иван", "山田太郎", "zoë"] {
        assert_eq!(register(username).await.status, 201, "{username}");
    }
}
