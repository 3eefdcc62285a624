//! What a user writes hurts nobody else: one value never fails the statements of others (row 1), every field of every
//! command and request takes anything (the fuzz), and text means the same whichever way it is written.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a story that cannot go on fails, and what was tried belongs to the proof"
)]

mod batch;
mod fields;
mod texts;

#[path = "../support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;
