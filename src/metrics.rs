//! What the operator may count. Labels come from our own tables only, so that their number is bounded. Without a
//! listener for the operator no recorder is installed, and counting costs next to nothing.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::error::{CloseCode, ErrorCode};

const COMMANDS: &str = "duet_commands_total";
const COMMIT_BATCH: &str = "duet_commit_batch_messages";
const COMMIT_SECONDS: &str = "duet_commit_seconds";
const FELL_BEHIND: &str = "duet_fell_behind_total";
const CLOSES: &str = "duet_closes_total";
const SOCKETS: &str = "duet_sockets";
const CONNECTIONS: &str = "duet_connections";

/// Starts counting.
///
/// # Errors
/// A sentence; only when it was started before.
pub fn install() -> Result<PrometheusHandle, String> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(COMMIT_BATCH.to_owned()), &[1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0])
        .and_then(|builder| {
            let seconds = &[0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];
            builder.set_buckets_for_metric(Matcher::Full(COMMIT_SECONDS.to_owned()), seconds)
        })
        .map_err(|cause| cause.to_string())?;
    let handle = builder.install_recorder().map_err(|cause| cause.to_string())?;
    describe_counter!(COMMANDS, "Commands answered, by type and outcome (ok, or the error's code).");
    describe_histogram!(COMMIT_BATCH, "Messages in one commit.");
    describe_histogram!(COMMIT_SECONDS, "Seconds from the begin of a batch to its commit.");
    describe_counter!(
        FELL_BEHIND,
        "Times a live socket fell behind in a stream: its outbox was full, or a number missing."
    );
    describe_counter!(CLOSES, "Sockets closed by the server, by close code.");
    describe_gauge!(SOCKETS, "Sockets that have said who they are.");
    describe_gauge!(CONNECTIONS, "Connections of all kinds.");
    Ok(handle)
}

/// A command was answered.
pub fn command(name: &'static str, refused: Option<ErrorCode>) {
    counter!(COMMANDS, "type" => name, "outcome" => refused.map_or("ok", ErrorCode::as_str)).increment(1);
}

/// A batch of messages was committed.
pub fn commit(messages: usize, time: Duration) {
    histogram!(COMMIT_BATCH).record(messages as f64);
    histogram!(COMMIT_SECONDS).record(time.as_secs_f64());
}

/// A live socket fell behind in a stream.
pub fn fell_behind() {
    counter!(FELL_BEHIND).increment(1);
}

/// The server closed a socket.
pub fn closed(code: CloseCode) {
    counter!(CLOSES, "code" => code.name()).increment(1);
}

/// What is there now; set when somebody looks.
pub fn here(sockets: usize, connections: usize) {
    gauge!(SOCKETS).set(sockets as f64);
    gauge!(CONNECTIONS).set(connections as f64);
}
