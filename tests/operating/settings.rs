//! Settings as people write them: taken where they mean something, refused at the start where they do not.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::support::http;
use super::support::setup::shared;
use super::{duet, refusal, said, serving};

/// What `duet config` says of a setting, with these arguments.
fn effective(name: &str, args: &[&str]) -> Option<String> {
    let shown = said(&duet(Path::new("/nowhere"), &[&["config"], args].concat()));
    let line = shown.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")).map(str::to_owned));
    line.map(|value| value.trim_matches('"').to_owned())
}

#[test]
fn d12_the_file_of_settings_is_named_by_a_variable_too() {
    let home = tempfile::tempdir().expect("a directory");
    let (one, other) = (home.path().join("one.toml"), home.path().join("other.toml"));
    std::fs::write(&one, "text_max = 5\n").expect("write");
    std::fs::write(&other, "text_max = 6\n").expect("write");
    let config = |variable: &Path, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
        said(&command.arg("config").args(args).env("DUET_CONFIG", variable).output().expect("run duet"))
    };
    assert!(config(&one, &[]).contains("text_max = \"5\""));
    assert!(
        config(&one, &["--config", &other.display().to_string()]).contains("text_max = \"6\""),
        "the flag goes first"
    );
    assert!(config(Path::new(""), &[]).contains("text_max = \"4096\""), "an empty one names none");
    let missing = config(&home.path().join("missing.toml"), &[]);
    assert!(missing.contains("missing.toml") && !missing.contains("text_max"), "{missing}");
}

#[test]
fn d12_no_password_of_a_url_is_shown() {
    for url in [
        "postgres://ann:hunter2@db/duet",
        "postgres://db/duet?user=ann&password=hunter2",
        "postgres://db:5432/duet?password=hunter2&user=ann",
        "postgres://db/duet?PassWord=hunter2",
        "postgres://db/duet?pass%77ord=hunter2",
        "postgres://db/duet?password=a@hunter2",
        "postgres://ann@db/duet?sslpassword=hunter2#x",
        "postgres://ann:x@db/duet?password=hunter2",
        "postgres://ann:p?hunter2@db/duet",
        "postgres://ann:p/hunter2@db/duet",
        "postgres://ann:p#hunter2@db/duet",
        "postgres://ann:a@hunter2@db/duet",
        "postgres://ann:hunter2@/duet?host=/var/run",
        "redis+unix:///run/redis?pass=hunter2&user=ann",
        "redis://:hunter2@db:6379/0",
        "s3://bucket/folder?secret_access_key=hunter2",
        "s3://bucket/folder?token=hunter2",
    ] {
        for name in ["database-url", "redis-url", "media-url"] {
            let shown = effective(&name.replace('-', "_"), &[&format!("--{name}"), url]).expect("a value");
            assert!(!shown.contains("hunter2") && shown.contains("(hidden)"), "{shown}");
        }
    }
    for url in ["postgres://ann@db:5432/duet?sslmode=verify-full", "s3://bucket/folder", "redis://db:6379/1"] {
        assert_eq!(effective("database_url", &["--database-url", url]).as_deref(), Some(url), "nothing else is hidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_addresses_to_listen_on_are_taken_as_people_write_them() {
    let home = tempfile::tempdir().expect("a directory");
    for (number, listen) in [":0", "localhost:0", "127.0.0.1:0", "0.0.0.0:0", "[::]:0"].into_iter().enumerate() {
        let data = home.path().join(number.to_string());
        let (_server, address) = serving(&data, &["--listen", listen], Stdio::null()).await;
        let here = SocketAddr::from(([127, 0, 0, 1], address.port()));
        let answer = http::call(here, "GET", "/api/schema/", None, None).await;
        assert_eq!(answer.status, 200, "{listen}");
        // Clients are told where it is.
        let told = answer.json["servers"][0]["url"].as_str().expect("a URL").to_owned();
        let hosts = [format!("http://127.0.0.1:{}", here.port()), format!("http://localhost:{}", here.port())];
        assert!(hosts.contains(&told), "{listen}: {told}");
    }
    for listen in [
        "",
        "8080x",
        "nowhere",
        "local host:80",
        "127.0.0.1:99999",
        "127.0.0.1:-1",
        "http://127.0.0.1:80",
        "[::1:80",
        "a:b:80",
    ] {
        let told = refusal(home.path(), &["--listen", listen]);
        assert!(told.contains("--listen"), "{listen:?}: {told}");
    }
    let told = refusal(home.path(), &["--listen", "no-such-host.invalid:8080"]);
    assert!(told.contains("no-such-host.invalid"), "{told}");
}

#[test]
fn d12_the_public_url_follows_where_it_listens() {
    for (args, url) in [
        (&[][..], "http://127.0.0.1:8080"),
        (&["--listen", "127.0.0.1:9000"], "http://127.0.0.1:9000"),
        (&["--listen", "localhost:9000"], "http://localhost:9000"),
        (&["--listen", ":9000"], "http://127.0.0.1:9000"),
        (&["--listen", "[::1]:9000"], "http://[::1]:9000"),
        (&["--listen", "127.0.0.1:9000", "--public-url", "https://duet.example/"], "https://duet.example"),
        (&["--public-url", "https://duet.example/chat/"], "https://duet.example/chat"),
    ] {
        assert_eq!(effective("public_url", args).as_deref(), Some(url), "{args:?}");
    }
    let home = tempfile::tempdir().expect("a directory");
    for url in ["duet.example", "ftp://duet.example", "https://", "https://duet.example/?a=b", "https://a@duet.example"]
    {
        let told = refusal(home.path(), &["--public-url", url]);
        assert!(told.contains("--public-url"), "{url}: {told}");
    }
}

#[test]
fn d10_origins_and_proxies_are_taken_as_people_write_them() {
    let origins = "HTTPS://Good.Example:443/, http://localhost:80,http://LOCALHOST:5173/,https://b\u{fc}cher.example, \
                   capacitor://localhost,https://good.example";
    let shown = effective("allowed_origins", &["--allowed-origins", origins]);
    let normal = "https://good.example,http://localhost,http://localhost:5173,https://xn--bcher-kva.example,\
                  capacitor://localhost,https://good.example";
    assert_eq!(shown.as_deref(), Some(normal));
    let shown = effective("trusted_proxies", &["--trusted-proxies", "127.0.0.1, 10.0.0.0/8,::1,2001:db8::/32"]);
    assert_eq!(shown.as_deref(), Some("127.0.0.1/32,10.0.0.0/8,::1/128,2001:db8::/32"));
    let home = tempfile::tempdir().expect("a directory");
    for origin in [
        "*",
        "null",
        "good.example",
        "https://",
        "https://*.good.example",
        "https://good.example/app",
        "https://good.example?x",
        "https://good.example#x",
        "https://ann@good.example",
        "https://good.example:99999",
        "https://good example",
        "//good.example",
    ] {
        let told = refusal(home.path(), &["--allowed-origins", &format!("https://first.example,{origin}")]);
        assert!(told.contains("--allowed-origins") && told.contains(origin), "{origin}: {told}");
    }
    for proxy in ["localhost", "10.0.0", "10.0.0.0/33", "::1/129", "10.0.0.1:80"] {
        let told = refusal(home.path(), &["--trusted-proxies", proxy]);
        assert!(told.contains("--trusted-proxies") && told.contains(proxy), "{proxy}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_a_postgres_is_reached_by_its_socket() {
    let postgres = &shared().await.postgres;
    let home = tempfile::tempdir().expect("a directory");
    for url in postgres.socket_urls(&postgres.create().await) {
        let done = duet(home.path(), &["migrate", "--database-url", &url]);
        assert!(done.status.success(), "{url}: {}", said(&done));
    }
}
