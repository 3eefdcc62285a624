//! What is sent to harm somebody, over HTTP: what comes out of it is harmless, or nothing.

use serde_json::{Value, json};

use super::make;
use super::support::files::{get, path_of, put};
use super::support::{Client, Server};

/// All that the server gives out of a file, in every size.
async fn given_out(server: &Server, client: &mut Client, file: &Value) -> Vec<Vec<u8>> {
    let link = client.link(&file["id"]).await.expect("a link");
    let mut all = Vec::new();
    for size in ["url", "medium", "small"].into_iter().filter(|size| link[size].is_string()) {
        let answer = get(server.next_address(), &path_of(&link[size]), &[]).await;
        assert_eq!(answer.status, 200, "{size}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        all.push(answer.body);
    }
    all
}

fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn s42_what_is_two_things_comes_out_as_pixels_or_as_bytes_that_nothing_runs() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let script: &[u8] = b"*/=1;alert(document.domain)//";
    let archive: &[u8] = b"PK\x03\x04the-hidden-archive";
    for (key, bytes, hidden) in [
        ("gif-js", [make::gif(&[make::quarters(32, 32)]), script.to_vec()].concat(), script),
        ("jpeg-zip", [make::jpeg(&make::quarters(64, 64)), archive.to_vec()].concat(), archive),
        ("jpeg-comment", make::with_segment(&make::jpeg(&make::quarters(64, 64)), 0xfe, script), script),
    ] {
        let file = ann.upload(key, &bytes).await;
        assert_eq!(file["kind"], "image", "{key}");
        for size in given_out(&server, &mut ann, &file).await {
            assert!(!holds(&size, hidden), "{key} came out again");
        }
    }
    // What runs somewhere is kept as bytes, whatever it is called.
    let html: &[u8] = b"<!doctype html><script>alert(1)</script>";
    let svg: &[u8] = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    for (key, bytes) in [("page", html), ("drawing", svg)] {
        let called = [("Content-Type", "image/png"), ("Content-Disposition", "attachment; filename=\"cat.png\"")];
        let file = put(server.next_address(), &ann.account.access, key, &called, bytes).await.json();
        assert_eq!((&file["kind"], &file["type"]), (&json!("file"), &json!("application/octet-stream")), "{key}");
        let path = ann.path(&file["id"]).await;
        let answer = get(server.next_address(), &path, &[]).await;
        assert_eq!(answer.headers["content-type"], "application/octet-stream");
        assert!(answer.headers["content-disposition"].starts_with("attachment;"));
        assert_eq!(answer.headers["content-security-policy"], "default-src 'none'; sandbox");
        assert_eq!(ann.refused("profile.update", json!({ "pictures": [file["id"]] })).await["code"], "invalid_field");
    }
    let whole = make::jpeg(&make::quarters(200, 200));
    let answer = put(server.next_address(), &ann.account.access, "cut", &[], &whole[..whole.len() / 2]).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_field"), "a truncated picture is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn s43_bombs_are_refused_and_cost_next_to_nothing() {
    let server = Server::start(&[]).await;
    let ann = server.user("ann").await;
    let before = server.memory_kib();
    let many = make::many_frames(1000, true);
    for (key, bytes) in [
        ("wide", make::claiming_png(60_000, 60_000, &make::bomb(20_000_000))),
        ("jpeg", make::claiming_jpeg(0xc0, 60_000, 60_000, 1000)),
        ("frames", many),
    ] {
        let answer = put(server.next_address(), &ann.account.access, key, &[], &bytes).await;
        let sentence = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_field"), "{key}: {sentence}");
    }
    let more = server.memory_kib().saturating_sub(before);
    assert!(more < 64 * 1024, "refusing bombs took {more} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn s44_nothing_of_a_camera_comes_out() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let secret = b"48.858370,2.294481 Canon 5D serial 12345";
    let plain = make::jpeg(&make::quarters(300, 200));
    let told = make::with_segment(&plain, 0xe1, &[b"Exif\0\0".to_vec(), make::exif(6, secret)].concat());
    let told = make::with_segment(&told, 0xe1, &[b"http://ns.adobe.com/xap/1.0/\0".as_slice(), secret].concat());
    let told = make::with_segment(&told, 0xe2, &[b"ICC_PROFILE\0\x01\x01".as_slice(), secret].concat());
    assert!(holds(&told, secret));
    let file = ann.upload("1", &told).await;
    assert_eq!((&file["width"], &file["height"]), (&json!(200), &json!(300)), "turned as it was held");
    for size in given_out(&server, &mut ann, &file).await {
        assert!(!holds(&size, secret) && !holds(&size, b"Exif") && !holds(&size, b"ICC_PROFILE"), "it came out");
    }
    // Nor does it lie on the disk.
    for object in super::walk(&server.media_dir()) {
        assert!(!holds(&std::fs::read(&object).expect("a file"), secret), "{}", object.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s40_the_name_of_a_file_does_nothing() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    for (number, (given, kept)) in [
        ("..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("a%0D%0ASet-Cookie%3A%20b.txt", "aSet-Cookie: b.txt"),
        ("%22%3E%3Cimg%20onerror%3Dalert(1)%3E", "\"><img onerror=alert(1)>"),
        ("gpj.%E2%80%AEexe", "gpj.exe"),
    ]
    .into_iter()
    .enumerate()
    {
        let file = ann.upload(&format!("n{number}?name={given}"), b"x").await;
        assert_eq!(file["name"], kept, "{given}");
        let path = ann.path(&file["id"]).await;
        let answer = get(server.next_address(), &path, &[]).await;
        assert!(!answer.headers.contains_key("set-cookie"), "{:?}", answer.headers);
        let told = &answer.headers["content-disposition"];
        let plain =
            told.strip_prefix("attachment; filename=\"").and_then(|rest| rest.split_once('"')).expect("a name").0;
        assert!(plain.chars().all(|char| char.is_ascii_alphanumeric() || " -_.()".contains(char)), "{told}");
    }
}
