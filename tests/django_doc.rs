//! What docs/django.md shows is what happens, on a database that Django itself made.
#![expect(clippy::expect_used, clippy::panic, reason = "a story that cannot go on says why")]

#[expect(dead_code, unreachable_pub, reason = "each document uses its own part of the tools")]
mod docs;
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use docs::shape::Bound;
use docs::terminal::{Place, shown};
use docs::walk::Walk;
use support::checker::Source;
use support::django::Service;
use support::private::free_address;
use support::setup::SetUp;

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_as_shown() {
    let service = Service::make_on(SetUp::Alone, 60, 300).await;
    let folder = tempfile::tempdir().expect("a folder");
    let Source::File(file) = &service.database else { panic!("SQLite has a file") };
    std::fs::copy(file, folder.path().join("db.sqlite3")).expect("the database");
    std::fs::copy(&service.key_file, folder.path().join("secret-key")).expect("the key");
    let addresses = vec![("127.0.0.1:8080", free_address())];
    let data = folder.path().join("duet-data");
    let place = Place { addresses, folder: folder.path().to_owned(), data, bound: Bound::default() };
    let mut walk = Walk::begin(place);
    let mut wrong = Vec::new();
    for fence in shown(&docs::read("docs/django.md")) {
        wrong.extend(walk.play(&fence).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
