//! What a browser makes of files that are sent to harm somebody: nothing, however a page of a stranger uses their URLs.
//! The same bytes run where a careless server gives them out, which shows that this story can fail.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::make;
use super::support::process::Process;
use super::support::{Server, in_time};

/// How a page can use a URL; `@` stands for it.
const USES: &[&str] = &[
    "<iframe src='@'></iframe>",
    "<object data='@'></object>",
    "<embed src='@'>",
    "<img src='@'>",
    "<script src='@'></script>",
    "<script type='module' src='@'></script>",
    "<link rel='stylesheet' href='@'>",
];

/// A server of a stranger: gives out what it has, with the types that do most harm, and notes who reports that it ran.
#[derive(Default)]
struct Stranger {
    pages: Mutex<Vec<(String, &'static str, Vec<u8>)>>,
    ran: Mutex<BTreeSet<String>>,
    looked: Notify,
}

impl Stranger {
    async fn start() -> (Arc<Stranger>, SocketAddr) {
        let (stranger, listener) = (Arc::new(Stranger::default()), TcpListener::bind("127.0.0.1:0").await);
        let listener = listener.expect("a port");
        let (address, serving) = (listener.local_addr().expect("its address"), Arc::clone(&stranger));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stranger = Arc::clone(&serving);
                tokio::spawn(async move { stranger.serve(stream).await });
            }
        });
        (stranger, address)
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?;
        let path = head.split(' ').nth(1)?;
        if let Some(what) = path.strip_prefix("/ran/") {
            self.ran.lock().expect("nobody panics").insert(what.to_owned());
        }
        if path == "/looked" {
            self.looked.notify_one();
        }
        let found = self.pages.lock().expect("nobody panics").iter().find(|(name, ..)| name == path).cloned();
        let (status, kind, body) =
            found.map_or(("404 Not Found", "text/plain", Vec::new()), |(_, kind, body)| ("200 OK", kind, body));
        let told = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(&[told.into_bytes(), body].concat()).await.ok()
    }

    fn gives(&self, path: &str, kind: &'static str, body: &[u8]) {
        self.pages.lock().expect("nobody panics").push((path.to_owned(), kind, body.to_vec()));
    }
}

/// A browser that looks at a page.
fn browser(home: &Path, at: &str) -> Process {
    let mut browser = Command::new("chromium");
    // Debian's sandbox does not start for root, who runs the tests in a container.
    browser.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    browser.args(["--disable-background-networking", "--disable-component-update", "--mute-audio"]);
    browser.arg(format!("--user-data-dir={}", home.display())).arg(at).env("HOME", home).env("TMPDIR", home);
    browser.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Process::start(&mut browser, "TERM", Some(home))
}

/// What does harm where it is taken for what it is not: its name, the type that makes it run, its bytes.
fn hostile(report: &dyn Fn(&str) -> String) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let page = format!(
        "<!doctype html><title>x</title><script>{}</script><img src=x onerror=\"{}\">",
        report("page"),
        report("page")
    );
    let drawing = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' onload=\"{}\"><script>{}</script></svg>",
        report("drawing"),
        report("drawing")
    );
    // As a script: `GIF89a` is a name, and what follows, the width first, a remark up to `*/`.
    let picture = make::gif(&[make::quarters(u32::from(u16::from_le_bytes(*b"/*")), 1)]);
    let both = [&picture, b"*/=1;".as_slice(), report("polyglot").as_bytes()].concat();
    vec![
        ("page", "text/html", page.into()),
        ("drawing", "image/svg+xml", drawing.into()),
        ("polyglot", "text/javascript", both),
    ]
}

/// What runs when somebody comes to a page that uses a URL in every way, until it is loaded with all that it refers to.
async fn runs(stranger: &Stranger, address: SocketAddr, url: &str) -> BTreeSet<String> {
    let uses: Vec<String> = USES.iter().map(|html| html.replace('@', url)).collect();
    let page = format!("<!doctype html><body onload=\"new Image().src='/looked'\">{}", uses.join("\n"));
    let name = format!("/{}", stranger.pages.lock().expect("nobody panics").len());
    stranger.gives(&name, "text/html", page.as_bytes());
    let home = tempfile::tempdir().expect("a folder");
    let mut browser = browser(home.path(), &format!("http://{address}{name}"));
    in_time("a browser to have looked", stranger.looked.notified()).await;
    browser.signal("TERM");
    browser.end("a browser to be gone").await;
    std::mem::take(&mut *stranger.ran.lock().expect("nobody panics"))
}

#[tokio::test(flavor = "multi_thread")]
async fn s40_no_file_runs_in_a_browser() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let (stranger, address) = Stranger::start().await;
    let report = |what: &str| format!("new Image().src='http://{address}/ran/{what}'");
    for (name, kind, bytes) in hostile(&report) {
        stranger.gives(&format!("/{name}"), kind, &bytes);
        let ran = runs(&stranger, address, &format!("/{name}")).await;
        assert_eq!(ran, BTreeSet::from([name.to_owned()]), "a careless server lets {name} run");

        let file = ann.upload(&format!("{name}?name={name}.html"), &bytes).await;
        let url = format!("http://{}{}", server.next_address(), ann.path(&file["id"]).await);
        let ran = runs(&stranger, address, &url.replace('&', "&amp;")).await;
        assert_eq!(ran, BTreeSet::new(), "{name} ran as duet gave it out");
    }
}
