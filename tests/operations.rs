//! What docs/operations.md shows is what happens: its nodes are started by its commands, on a Postgres and a Redis of
//! its own, and its table of metrics is that of the code.
#![expect(clippy::expect_used, clippy::panic, reason = "a story that cannot go on says why")]

#[expect(dead_code, unreachable_pub, reason = "each document uses its own part of the tools")]
mod docs;
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use docs::shape::Bound;
use docs::terminal::{Place, shown};
use docs::walk::Walk;
use support::private::free_address;
use support::setup::shared;

const DOCUMENT: &str = "docs/operations.md";
/// What a row says of a metric that nothing moves.
const NOT_COUNTED: &str = "Not counted yet in this version.";

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_as_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut addresses = Walk::cluster_addresses(shared().await);
    addresses.push(("127.0.0.1:8080", free_address()));
    let data = folder.path().join("duet-data");
    let place = Place { addresses, folder: folder.path().to_owned(), data, bound: Bound::default() };
    let mut walk = Walk::begin(place);
    let mut wrong = Vec::new();
    for fence in shown(&docs::read(DOCUMENT)) {
        wrong.extend(walk.play(&fence).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_metric_has_its_row_and_every_row_its_metric() {
    let row = regex::Regex::new(r"(?m)^\| `(duet_\w+)` \| ([^|]+) \|").expect("a pattern");
    let document = docs::read(DOCUMENT);
    let rows: Vec<(&str, &str)> = row
        .captures_iter(&document)
        .map(|found| found.extract::<2>().1)
        .map(|[metric, about]| (metric, about))
        .collect();
    let described: BTreeMap<&str, &str> = rows.iter().copied().collect();
    assert_eq!(described.len(), rows.len(), "a metric has two rows");
    let code = docs::read("src/metrics.rs");
    let constant = regex::Regex::new(r#"const (\w+): &str = "(duet_\w+)";"#).expect("a pattern");
    let constants: BTreeMap<&str, &str> = constant
        .captures_iter(&code)
        .map(|found| found.extract::<2>().1)
        .map(|[name, metric]| (metric, name))
        .collect();
    let (rows, metrics): (BTreeSet<_>, BTreeSet<_>) = (described.keys().collect(), constants.keys().collect());
    assert_eq!(rows, metrics, "the rows of {DOCUMENT} and the metrics of src/metrics.rs");
    // A row says so where nothing in the server counts.
    for (metric, constant) in constants {
        assert_eq!(is_counted(&code, constant), !described[metric].contains(NOT_COUNTED), "{metric} is counted");
    }
}

/// Whether a function of the metrics that counts this is called by anybody.
fn is_counted(code: &str, constant: &str) -> bool {
    let mut counting = code.split("\npub fn ").skip(1).filter(|function| function.contains(&format!("!({constant}")));
    let everything = sources(&docs::path("src"));
    counting.any(|function| {
        let name = function.split('(').next().expect("a name");
        name != "install" && everything.contains(&format!("metrics::{name}("))
    })
}

/// The text of all files of a folder.
fn sources(folder: &std::path::Path) -> String {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| if path.is_dir() { sources(&path) } else { std::fs::read_to_string(path).expect("a text") })
        .collect()
}
