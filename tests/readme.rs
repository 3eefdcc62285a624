//! What README.md shows is what happens: its walk is walked with the real curl and the real wscat, its operator's
//! commands are run.
#![expect(clippy::expect_used, clippy::panic, reason = "a story that cannot go on says why")]

#[expect(dead_code, unreachable_pub, reason = "each document uses its own part of the tools")]
mod docs;
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use docs::shape::Bound;
use docs::terminal::{Place, shown};
use docs::walk::Walk;
use support::Server;
use support::setup::{Because, shared};

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_as_shown() {
    // The rates as they are by default, since the greeting tells them, and the URL that clients are shown.
    let settings = [("commands-per-s", "50"), ("public-url", "http://127.0.0.1:8080")];
    let mut server = Server::start_alone(Because::OfTheFile, &settings).await;
    let mut addresses = Walk::cluster_addresses(shared().await);
    addresses.push(("127.0.0.1:8080", server.next_address()));
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place { addresses, folder: folder.path().to_owned(), data: server.data_dir(), bound: Bound::default() };
    let mut walk = Walk::begin(place);
    let mut wrong = Vec::new();
    for fence in shown(&docs::read("README.md")) {
        if fence.terminal == "operator" {
            // The walk is over: nothing came that it did not show.
            for (name, mut terminal) in std::mem::take(&mut walk.terminals) {
                let left = terminal.left();
                wrong.extend(left.into_iter().map(|frame| format!("{name} also sees {frame}")));
            }
        }
        if fence.stopped {
            server.stop().await;
        }
        wrong.extend(walk.play(&fence).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
