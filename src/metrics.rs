//! What the operator may count. Labels come from our own tables only, so that their number is bounded. Without a
//! listener for the operator no recorder is installed, and counting costs next to nothing.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::error::{CloseCode, ErrorCode};

const COMMANDS: &str = "duet_commands_total";
const STATEMENTS: &str = "duet_statements_total";
const COMMIT_BATCH: &str = "duet_commit_batch_messages";
const BATCH_SPLITS: &str = "duet_batch_splits_total";
const COMMIT_SECONDS: &str = "duet_commit_seconds";
const FELL_BEHIND: &str = "duet_fell_behind_total";
const CLOSES: &str = "duet_closes_total";
const BUS_LAG: &str = "duet_bus_lag_seconds";
const BUS_PACKETS: &str = "duet_bus_packets_total";
const BUS_UNTOLD: &str = "duet_bus_untold_total";
const BUS_HEARD: &str = "duet_bus_heard_total";
const BUS_IGNORED: &str = "duet_bus_ignored_total";
const BUS_DEAFENED: &str = "duet_bus_deafened_total";
const SWEEP_SECONDS: &str = "duet_sweep_seconds";
const REPAIRS: &str = "duet_sweep_repairs_total";
const OUTBOX: &str = "duet_outbox_frames";
const REFUSALS: &str = "duet_refusals_total";
const SOCKETS: &str = "duet_sockets";
const CONNECTIONS: &str = "duet_connections";
const TASKS: &str = "duet_tasks";

/// Starts counting.
///
/// # Errors
/// A sentence; only when it was started before.
pub fn install() -> Result<PrometheusHandle, String> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(COMMIT_BATCH.to_owned()), &[1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0])
        .and_then(|builder| {
            let seconds = &[0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];
            [COMMIT_SECONDS, BUS_LAG, SWEEP_SECONDS].into_iter().try_fold(builder, |builder, name| {
                builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), seconds)
            })
        })
        .and_then(|builder| {
            let frames = &[1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 250.0];
            builder.set_buckets_for_metric(Matcher::Full(OUTBOX.to_owned()), frames)
        })
        .map_err(|cause| cause.to_string())?;
    let handle = builder.install_recorder().map_err(|cause| cause.to_string())?;
    describe_counter!(COMMANDS, "Commands answered, by type and outcome (ok, or the error's code).");
    describe_counter!(
        STATEMENTS,
        "Statements that commands ran on the database, by type of command; sends share theirs."
    );
    describe_histogram!(COMMIT_BATCH, "Messages in one commit.");
    describe_counter!(BATCH_SPLITS, "Batches of messages split because the database refused one of their rows.");
    describe_histogram!(COMMIT_SECONDS, "Seconds from the begin of a batch to its commit.");
    describe_counter!(
        FELL_BEHIND,
        "Times a live socket fell behind in a stream: its outbox was full, or a number missing."
    );
    describe_counter!(CLOSES, "Sockets closed by the server, by close code.");
    describe_histogram!(BUS_LAG, "Seconds from this node's own tick to its hearing it, through Redis.");
    describe_counter!(BUS_PACKETS, "Packets published to other nodes.");
    describe_counter!(BUS_UNTOLD, "Commits that other nodes were not told of; they find them by their sweep.");
    describe_counter!(BUS_HEARD, "Notices heard from other nodes.");
    describe_counter!(BUS_IGNORED, "Notices of other nodes that this version does not understand.");
    describe_counter!(BUS_DEAFENED, "Times this node was cut off from the others and began again.");
    describe_histogram!(SWEEP_SECONDS, "Seconds that one sweep of the table of changes took.");
    describe_counter!(REPAIRS, "Streams that a sweep found further than this node was told.");
    describe_histogram!(OUTBOX, "Frames that left a socket's outbox in one write.");
    describe_counter!(REFUSALS, "Connections and upgrades refused, by reason.");
    describe_gauge!(SOCKETS, "Sockets that have said who they are.");
    describe_gauge!(CONNECTIONS, "Connections of all kinds.");
    describe_gauge!(TASKS, "Tasks that are not over, each socket being one.");
    Ok(handle)
}

/// A command was answered.
pub fn command(name: &'static str, refused: Option<ErrorCode>) {
    counter!(COMMANDS, "type" => name, "outcome" => refused.map_or("ok", ErrorCode::as_str)).increment(1);
}

tokio::task_local! {
    /// Statements that the command in hand has run so far.
    static RUN: Cell<u64>;
}

/// A statement goes to the database. Counts where it belongs to a command.
pub fn statement() {
    // Background work belongs to none.
    let _ = RUN.try_with(|run| run.set(run.get() + 1));
}

/// Runs a command, and counts the statements that it runs.
pub async fn statements_of<T>(name: &'static str, command: impl Future<Output = T>) -> T {
    let counted = async {
        let done = command.await;
        counter!(STATEMENTS, "type" => name).increment(RUN.get().get());
        done
    };
    RUN.scope(Cell::new(0), counted).await
}

/// A batch of messages was committed.
pub fn commit(messages: usize, time: Duration) {
    histogram!(COMMIT_BATCH).record(messages as f64);
    histogram!(COMMIT_SECONDS).record(time.as_secs_f64());
}

/// A batch was split in two, because of a row that the database refuses.
pub fn batch_split() {
    counter!(BATCH_SPLITS).increment(1);
}

/// How long this node's own tick took through Redis.
pub fn bus_lag(time: Duration) {
    histogram!(BUS_LAG).record(time.as_secs_f64());
}

/// Packets went to other nodes.
pub fn published(packets: u64) {
    counter!(BUS_PACKETS).increment(packets);
}

/// Other nodes were not told of some commits.
pub fn untold(commits: usize) {
    counter!(BUS_UNTOLD).increment(commits as u64);
}

/// A packet of another node was read.
pub fn heard(notices: usize, ignored: usize) {
    counter!(BUS_HEARD).increment(notices as u64);
    counter!(BUS_IGNORED).increment(ignored as u64);
}

/// This node was cut off from the others.
pub fn deafened() {
    counter!(BUS_DEAFENED).increment(1);
}

/// A sweep was done.
pub fn swept(time: Duration) {
    histogram!(SWEEP_SECONDS).record(time.as_secs_f64());
}

/// A sweep found streams further than this node was told.
pub fn repaired(streams: u64) {
    counter!(REPAIRS).increment(streams);
}

/// A socket wrote what waited in its outbox.
pub fn drained(frames: usize) {
    histogram!(OUTBOX).record(frames as f64);
}

/// A connection or an upgrade was refused.
pub fn refused(reason: &'static str) {
    counter!(REFUSALS, "reason" => reason).increment(1);
}

/// A live socket fell behind in a stream.
pub fn fell_behind() {
    counter!(FELL_BEHIND).increment(1);
}

/// The server closed a socket.
pub fn closed(code: CloseCode) {
    counter!(CLOSES, "code" => code.name()).increment(1);
}

/// What is there now; set when somebody looks, from within the runtime.
pub fn here(sockets: usize, connections: usize) {
    gauge!(SOCKETS).set(sockets as f64);
    gauge!(CONNECTIONS).set(connections as f64);
    gauge!(TASKS).set(tokio::runtime::Handle::current().metrics().num_alive_tasks() as f64);
}
