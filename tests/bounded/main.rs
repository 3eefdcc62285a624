//! What one user owns, names or ends costs everybody else next to nothing: the work of a command is counted, and what is
//! large is done in small pieces.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a story that cannot go on fails; figures are shown")]

#[path = "../support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

mod deletion;
mod statements;
mod traces;
