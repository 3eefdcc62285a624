use super::*;

const NOW: Micros = 1_800_000_000 * SECOND;

fn auth_with(change: impl FnOnce(&mut Config)) -> Auth {
    let mut config = Config { argon2_memory_kib: 64, argon2_passes: 1, hash_queue: 2, ..Config::default() };
    config.set("secret", "0f1e2d3c4b5a69788796a5b4c3d2e1f0-first").expect("a key");
    change(&mut config);
    Auth::open(&config).expect("opens")
}

fn auth() -> Auth {
    auth_with(|_| ())
}

fn claims(kind: TokenKind) -> Claims {
    let now = NOW / SECOND;
    Claims { token_type: kind, exp: now + 60, iat: now, jti: "ab".repeat(16), user_id: 7, sid: 3 }
}

/// Signs any header and payload with a key.
fn forged(header: &str, payload: &str, key: &[u8]) -> String {
    let message = format!("{}.{}", base64(header), base64(payload));
    let signature = jsonwebtoken::crypto::sign(
        message.as_bytes(),
        &EncodingKey::from_secret(key).expect("a key"),
        Algorithm::HS256,
    );
    format!("{message}.{}", signature.expect("signed"))
}

fn base64(text: &str) -> String {
    data_encoding::BASE64URL_NOPAD.encode(text.as_bytes())
}

const KEY: &[u8] = b"0f1e2d3c4b5a69788796a5b4c3d2e1f0-first";
const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

fn payload(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut value = serde_json::to_value(claims(TokenKind::Access)).expect("plain");
    change(&mut value);
    value.to_string()
}

#[test]
fn a_token_is_written_as_clients_know_it_and_read_back() {
    let auth = auth();
    let token = auth.sign(&claims(TokenKind::Access)).expect("signed");
    let expected = r#"{"token_type":"access","exp":1800000060,"iat":1800000000,"jti":"abababababababababababababababab","user_id":"7","sid":3}"#;
    assert!(token.starts_with(&format!("{}.{}.", base64(HEADER), base64(expected))));
    assert_eq!(auth.read(&token, TokenKind::Access, NOW), Ok(claims(TokenKind::Access)));
    assert_eq!(forged(HEADER, expected, KEY), token);
    let number = payload(|claims| claims["user_id"] = 7.into());
    assert_eq!(auth.read(&forged(HEADER, &number, KEY), TokenKind::Access, NOW), Ok(claims(TokenKind::Access)));
}

#[test]
fn s10_only_our_header_and_our_signature_are_taken() {
    let auth = auth();
    let body = payload(|_| ());
    let headers = [
        r#"{"typ":"JWT","alg":"none"}"#,
        r#"{"typ":"JWT","alg":"RS256"}"#,
        r#"{"typ":"JWT","alg":"HS512"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"../../dev/null"}"#,
        r#"{"typ":"JWT","alg":"HS256","jku":"https://evil.test/keys"}"#,
        r#"{"typ":"JWT","alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#,
        r#"{"typ":"JWT","alg":"HS256","x":1}"#,
        r#"{"alg":"HS256"}"#,
        "[]",
    ];
    for header in headers {
        assert_eq!(
            auth.read(&forged(header, &body, KEY), TokenKind::Access, NOW),
            Err(TokenFault::Invalid),
            "{header}"
        );
    }
    let good = forged(HEADER, &body, KEY);
    let (unsigned, _) = good.rsplit_once('.').expect("three parts");
    let long = "a".repeat(1 << 20);
    for token in [&format!("{unsigned}."), unsigned, &forged(HEADER, &body, b"another key"), "", "..", "a.b.c", &long] {
        assert_eq!(
            auth.read(token, TokenKind::Access, NOW),
            Err(TokenFault::Invalid),
            "{}",
            &token[..token.len().min(99)]
        );
    }
}

#[test]
fn s11_wrong_claims_are_refused() {
    let auth = auth();
    let set = |name: &str, value: serde_json::Value| {
        let name = name.to_owned();
        payload(move |claims| claims[name] = value)
    };
    let far: i64 = NOW / SECOND + 3600;
    let refused = [
        (set("aud", "duet".into()), TokenFault::Invalid),
        (set("iss", "evil".into()), TokenFault::Invalid),
        (set("nbf", far.into()), TokenFault::Invalid),
        (set("iat", far.into()), TokenFault::Invalid),
        (set("exp", "1800000060".into()), TokenFault::Invalid),
        (set("exp", 1800000060.5.into()), TokenFault::Invalid),
        (set("exp", (NOW / SECOND).into()), TokenFault::Expired),
        (set("user_id", "seven".into()), TokenFault::Invalid),
        (set("token_type", "refresh".into()), TokenFault::WrongType),
        (set("token_type", "sliding".into()), TokenFault::Invalid),
        (payload(|claims| drop(claims.as_object_mut().and_then(|map| map.remove("exp")))), TokenFault::Invalid),
    ];
    for (body, fault) in refused {
        assert_eq!(auth.read(&forged(HEADER, &body, KEY), TokenKind::Access, NOW), Err(fault), "{body}");
    }
    let access = auth.sign(&claims(TokenKind::Access)).expect("signed");
    assert_eq!(auth.read(&access, TokenKind::Refresh, NOW), Err(TokenFault::WrongType));
    assert_eq!(auth.read(&access, TokenKind::Access, NOW + 60 * SECOND), Err(TokenFault::Expired));
}

#[test]
fn s56_a_former_key_still_verifies_and_a_third_does_not() {
    let old = auth();
    let new = auth_with(|config| {
        config.set("previous_secret", "0f1e2d3c4b5a69788796a5b4c3d2e1f0-first").expect("a key");
        config.set("secret", "0f1e2d3c4b5a69788796a5b4c3d2e1f0-second").expect("a key");
    });
    let third = auth_with(|config| config.set("secret", "0f1e2d3c4b5a69788796a5b4c3d2e1f0-third").expect("a key"));
    let token = old.sign(&claims(TokenKind::Access)).expect("signed");
    assert!(new.read(&token, TokenKind::Access, NOW).is_ok());
    assert_eq!(third.read(&token, TokenKind::Access, NOW), Err(TokenFault::Invalid));
    let token = new.sign(&claims(TokenKind::Access)).expect("signed");
    assert_eq!(old.read(&token, TokenKind::Access, NOW), Err(TokenFault::Invalid));
    // So do the keys that are made of it.
    let keys = |auth: &Auth| auth.derived_keys("a test").expect("keys");
    assert_eq!((keys(&old).len(), keys(&new).len()), (1, 2));
    assert_eq!(keys(&new)[1], keys(&old)[0]);
    assert!(!keys(&new).contains(&keys(&third)[0]));
}

#[test]
fn a_successor_is_the_same_for_the_same_rotation_only() {
    let auth = auth();
    let successor = |jti: &str, at| auth.successor(jti, at).expect("signed");
    assert_eq!(successor("a", 1), successor("a", 1));
    assert_eq!(successor("a", 1).len(), 32);
    assert_ne!(successor("a", 1), successor("a", 2));
    assert_ne!(successor("a", 1), successor("b", 1));
}

#[tokio::test]
async fn passwords_are_hashed_with_argon2id_and_verified() {
    let auth = auth();
    let hash = auth.hash("pässwörd \u{1F511} ").await.expect("hashed");
    assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
    assert!(auth.verify("pässwörd \u{1F511} ", Some(&hash)).await.expect("verified"));
    assert!(!auth.verify("pässwörd \u{1F511}", Some(&hash)).await.expect("verified"));
    assert!(!auth.verify("nobody has this password", None).await.expect("verified"));
    assert!(!auth.verify("", Some("!unusable")).await.expect("verified"));
}

#[tokio::test]
async fn s22_a_huge_password_is_refused_before_hashing_and_a_full_queue_is_busy() {
    let auth = auth_with(|config| config.argon2_memory_kib = 19456);
    let huge = "x".repeat(1 << 20);
    assert_eq!(auth.hash(&huge).await.expect_err("huge").code, ErrorCode::TooLong);
    assert_eq!(auth.verify(&huge, None).await.expect_err("huge").code, ErrorCode::TooLong);
    let all = futures_util::future::join_all((0..200).map(|_| auth.verify("wrong password", None))).await;
    let busy = all.iter().filter(|result| matches!(result, Err(error) if error.code == ErrorCode::Busy)).count();
    assert!((190..200).contains(&busy), "{busy} of 200 were refused");
}

#[tokio::test]
async fn s23_common_passwords_are_refused_and_long_ones_allowed() {
    let auth = auth();
    for common in ["password", "12345678", "Password1", "qwertyuiop", "iloveyou1", "aaaaaaaa", "abcdefgh", "p@ssw0rd"] {
        assert!(auth.judge(common, "ann").await.is_err(), "{common}");
    }
    assert!(auth.judge("marguerite.d", "Marguerite.D").await.is_err(), "the user name itself");
    assert_eq!(auth.judge("Xk4", "ann").await.expect_err("short").message.name(), "password-short");
    let phrase = "correct horse battery staple and sixty-four characters of passph";
    for good in [
        phrase,
        "tR9$kq2!zzW",
        "пароль-собаки-летят",
        "\u{1F40E}\u{1F50B}\u{1F4CE}\u{2705}\u{1F40E}\u{1F50B}\u{1F4CE}\u{2705}",
    ] {
        auth.judge(good, "ann").await.unwrap_or_else(|error| panic!("{good}: {error}"));
    }
}

#[test]
fn tokens_of_the_service_before_are_read_until_the_time_of_its_key() {
    let (until, key) = (NOW + 30 * SECOND, b"insecure, but it signs nothing");
    let old = OldKey { key: "insecure, but it signs nothing".to_owned().into(), until };
    let both = auth().with_old_key(Some(old));
    let payload = |user: &str, more: &str| {
        let (iat, exp) = (NOW / SECOND - 5, NOW / SECOND + 60);
        format!(
            r#"{{"token_type":"access","exp":{exp},"iat":{iat},"jti":"{}","user_id":{user}{more}}}"#,
            "cd".repeat(16)
        )
    };
    // A text since SimpleJWT 5.5, a number before; more than that does not matter. It ends with its key at the latest.
    let expected = OldToken { user: UserId(7), jti: "cd".repeat(16), exp: until / SECOND };
    for claims in [payload("\"7\"", ""), payload("7", ""), payload("7", r#","name":"ann""#)] {
        let token = forged(HEADER, &claims, key);
        assert_eq!(both.read_any(&token, TokenKind::Access, NOW), Ok(Shown::Old(expected.clone())), "{claims}");
        assert_eq!(both.read_any(&token, TokenKind::Refresh, NOW), Err(TokenFault::WrongType));
        assert_eq!(both.read_any(&token, TokenKind::Access, until), Err(TokenFault::Invalid), "its time is over");
        assert_eq!(auth().read_any(&token, TokenKind::Access, NOW), Err(TokenFault::Invalid), "without the key");
        assert_eq!(both.read(&token, TokenKind::Access, NOW), Err(TokenFault::Invalid), "it is none of ours");
    }
    let ours = both.sign(&claims(TokenKind::Access)).expect("signed");
    assert_eq!(both.read_any(&ours, TokenKind::Access, NOW), Ok(Shown::Ours(claims(TokenKind::Access))));
    assert_eq!(both.read_any(&ours, TokenKind::Access, NOW + 60 * SECOND), Err(TokenFault::Expired));
    for (header, claims) in [
        (r#"{"typ":"JWT","alg":"none"}"#, payload("7", "")),
        (r#"{"typ":"JWT","alg":"HS256","kid":"x"}"#, payload("7", "")),
        (HEADER, payload("\"seven\"", "")),
        (HEADER, payload("7", "").replace("iat", "at")),
        (HEADER, payload("7", "").replace(&(NOW / SECOND - 5).to_string(), &(NOW / SECOND + 50).to_string())),
    ] {
        let token = forged(header, &claims, key);
        assert_eq!(both.read_any(&token, TokenKind::Access, NOW), Err(TokenFault::Invalid), "{header} {claims}");
    }
    let over = payload("7", "").replace(&(NOW / SECOND + 60).to_string(), &(NOW / SECOND).to_string());
    assert_eq!(both.read_any(&forged(HEADER, &over, key), TokenKind::Access, NOW), Err(TokenFault::Expired));
}
