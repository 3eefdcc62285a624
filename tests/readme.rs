//! What README.md shows is what happens: its walk is walked with the real curl and the real wscat, its operator's
//! commands are run.
#![expect(clippy::expect_used, clippy::panic, reason = "a story that cannot go on says why")]

#[expect(dead_code, unreachable_pub, reason = "each document uses its own part of the tools")]
mod docs;
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::collections::BTreeMap;

use docs::shape::Bound;
use docs::terminal::{Place, Shown, Terminal, shown};
use support::Server;
use support::setup::Because;

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_as_shown() {
    // The rates as they are by default, since the greeting tells them.
    let mut server = Server::start_alone(Because::OfTheFile, &[("commands-per-s", "50")]).await;
    let data = server.data_dir();
    let mut place = Place { port: server.next_address().port(), data, bound: Bound::default() };
    let mut terminals: BTreeMap<String, Terminal> = BTreeMap::new();
    let mut wrong = Vec::new();
    for fence in shown(&docs::read("README.md")) {
        if fence.terminal == "operator" {
            // The walk is over: nothing came that it did not show.
            for (name, mut terminal) in std::mem::take(&mut terminals) {
                let left = terminal.left();
                wrong.extend(left.into_iter().map(|frame| format!("{name} also sees {frame}")));
            }
        }
        if fence.stopped {
            server.stop().await;
        }
        wrong.extend(play(&mut place, &mut terminals, &fence));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Plays one fence. Answers what went otherwise.
fn play(place: &mut Place, terminals: &mut BTreeMap<String, Terminal>, fence: &Shown) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut lines = fence.lines.iter().peekable();
    while let Some(line) = lines.next() {
        let result = if let Some(command) = line.strip_prefix("$ ") {
            if command.contains("wscat") {
                terminals.insert(fence.terminal.clone(), Terminal::start(place, command));
                let greeting = lines.next_if(|line| line.starts_with("Connected"));
                assert!(greeting.is_some(), "line {}: wscat says that it is connected", fence.line);
                Ok(())
            } else {
                let mut expected = Vec::new();
                while let Some(output) = lines.next_if(|line| !line.starts_with("$ ")) {
                    expected.push(output.clone());
                }
                place.run(command, &expected)
            }
        } else {
            let terminal = terminals.get_mut(&fence.terminal);
            let terminal = terminal.unwrap_or_else(|| panic!("line {}: wscat does not run there", fence.line));
            match (line.strip_prefix("> "), line.strip_prefix("< ")) {
                (Some(typed), _) => {
                    terminal.type_line(&place.bound.fill(typed));
                    Ok(())
                }
                (_, Some(seen)) => terminal.sees(&mut place.bound, seen),
                _ => Err(format!("what is this? {line}")),
            }
        };
        wrong.extend(result.err().map(|why| format!("line {}: {why}", fence.line)));
    }
    wrong
}
