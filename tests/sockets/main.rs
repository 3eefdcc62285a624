//! What a socket costs, in what order it is served, and how it ends.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a story that cannot go on fails, and says what it measured"
)]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
#[path = "../support/mod.rs"]
mod support;

mod closing;
mod memory;
mod pages;
mod seed;
mod turns;
mod watermarks;
