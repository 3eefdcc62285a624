//! Work per command is bounded, and the connections to the database are shared fairly: no user's queries hold up
//! anybody else, and no statement of the store reads a whole table.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a story that cannot go on fails, and what was counted belongs to the proof"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

mod explain;
mod fairness;
mod statements;
