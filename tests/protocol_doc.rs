//! `protocol.md` is the truth: its tables are made from the code, its schema too, and every example in it is played
//! against a live server. `UPDATE=1 cargo test --test protocol_doc` rewrites what differs; read the diff.
#![expect(clippy::expect_used, clippy::panic, reason = "a story that cannot go on says why")]

#[expect(dead_code, unreachable_pub, reason = "each document uses its own part of the tools")]
mod docs;
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use docs::player::{Coverage, Differs, Player, corrected};
use docs::{session, tables};
use duet::error::{CloseCode, ErrorCode};
use duet::protocol::{Command, Event};

const DOCUMENT: &str = "protocol.md";

/// What an example shows only where faults can be planted: nothing outside of a server can make a commit lose its
/// answer. `scripts/test` runs these examples with and without the feature.
const SHOWN_WITH_FAULTS: &[&str] = if cfg!(feature = "planted-faults") { &[] } else { &["unknown_outcome"] };

/// Two tests may rewrite the document, one after the other.
static WRITING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[test]
fn the_tables_are_those_of_the_code() {
    let _writing = docs::updating().then(|| WRITING.blocking_lock());
    let schema = tables::schema();
    let mut text = docs::read(DOCUMENT);
    for (name, body) in [
        ("commands", tables::commands(&schema)),
        ("events", tables::events(&schema)),
        ("errors", tables::errors()),
        ("closes", tables::closes()),
        ("limits", tables::limits()),
        ("shapes", tables::shapes(&schema)),
    ] {
        text = docs::with_generated(&text, name, &body);
    }
    docs::hold(DOCUMENT, &text);
}

#[test]
fn the_settings_of_the_readme_are_those_of_the_code() {
    let text = docs::with_generated(&docs::read("README.md"), "settings", &tables::settings());
    docs::hold("README.md", &text);
}

#[test]
fn the_map_of_the_architecture_is_that_of_the_code() {
    let text = docs::with_generated(&docs::read("ARCHITECTURE.md"), "map", &tables::map());
    docs::hold("ARCHITECTURE.md", &text);
}

#[test]
fn the_schema_is_that_of_the_code() {
    let schema = serde_json::to_string_pretty(&tables::schema()).expect("it is JSON");
    docs::hold("protocol.schema.json", &(schema + "\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_goes_as_shown() {
    let _writing = if docs::updating() { Some(WRITING.lock().await) } else { None };
    let text = docs::read(DOCUMENT);
    let blocks = session::blocks(&text);
    let (mut coverage, mut differs) = (Coverage::default(), Vec::new());
    let (mut own_coverage, mut own_differs) = (Coverage::default(), Vec::new());
    {
        // The rates as they are by default, which the other tests lift.
        let rates = [("commands-per-s".to_owned(), "50".to_owned())];
        let mut shared = Player::new(&rates, &mut coverage, &mut differs).await;
        for block in &blocks {
            match &block.settings {
                None => shared.play(block).await,
                Some(settings) if session::fault(settings).is_some() && !cfg!(feature = "planted-faults") => {}
                Some(settings) => Player::new(settings, &mut own_coverage, &mut own_differs).await.play(block).await,
            }
        }
    }
    differs.extend(own_differs);
    let mut missing = missing([&coverage, &own_coverage]);
    if docs::updating() && differs.iter().any(|differs| differs.instead.is_some()) {
        docs::hold(DOCUMENT, &corrected(&docs::read(DOCUMENT), &differs));
        differs.retain(|differs| differs.instead.is_none());
    }
    missing.extend(differs.iter().map(|Differs { line, why, .. }| format!("{DOCUMENT}:{}: {why}", line.0 + 1)));
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Every command, event, error code and close code that no example shows.
fn missing(coverages: [&Coverage; 2]) -> Vec<String> {
    let shown = |of: fn(&Coverage, &str) -> bool, name: &str| coverages.iter().any(|coverage| of(coverage, name));
    let mut missing = Vec::new();
    let mut look = |what: &str, name: &str, of: fn(&Coverage, &str) -> bool| {
        let excused = SHOWN_WITH_FAULTS.contains(&name);
        match (shown(of, name), excused) {
            (false, false) => missing.push(format!("no example shows the {what} {name}")),
            (true, true) => missing.push(format!("an example shows the {what} {name} after all")),
            _ => {}
        }
    };
    for command in Command::ALL {
        look("command", command.name, |coverage, name| coverage.commands.contains(name));
    }
    for event in Event::ALL {
        look("event", event.name, |coverage, name| coverage.events.contains(name));
    }
    for code in ErrorCode::ALL {
        look("error code", code.as_str(), |coverage, name| coverage.errors.contains(name));
    }
    for code in CloseCode::ALL {
        let number = code.number().to_string();
        look("close code", &number, |coverage, name| coverage.closes.iter().any(|code| code.to_string() == name));
    }
    missing
}
