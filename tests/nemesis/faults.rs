//! The list of faults, with the rows of the table of faults that each stands for.
//!
//! Not here, because they are stories of their own: F17 (SQLite under contention; the nemesis has no SQLite), F19 (the
//! order of system calls), F23 (a storm of two thousand clients), F29 (a restored backup, after which acknowledged messages
//! are rightly gone). F30 waits for a second version, and F32 is measured with the speed of the server.

use crate::run::Run;
use crate::{network, nodes, postgres, redis};

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    NodeKilled,
    NodeDiesBeforeCommit,
    NodeDiesAfterCommit,
    NodeDiesAfterPublish,
    AllNodesKilled,
    NodePaused,
    RollingRestart,
    ClockShifted,
    DescriptorsExhausted,
    CommandPanics,
    RedisKilled,
    RedisPaused,
    SubscriptionHalfOpen,
    SlowSubscriber,
    RedisFlushed,
    RedisReplaced,
    DoorbellsLate,
    DoorbellsTwice,
    PostgresStopped,
    PostgresPaused,
    PostgresSilent,
    CommitAnswersLost,
    TransactionsCancelled,
    Quarrel,
    DiskFull,
    CutFromRedis,
    CutFromPostgres,
    ClientsCut,
    ClientsHalfOpen,
    ServersHalfOpen,
    SlowConsumers,
    LossyNetwork,
    ThinNetwork,
    Swizzle,
}

/// All of them, with their rows.
pub const FAULTS: &[(Fault, &str)] = &[
    (Fault::NodeKilled, "F1 F2"),
    (Fault::NodeDiesBeforeCommit, "F1"),
    (Fault::NodeDiesAfterCommit, "F3"),
    (Fault::NodeDiesAfterPublish, "F2"),
    (Fault::AllNodesKilled, "F4"),
    (Fault::NodePaused, "F26"),
    (Fault::RollingRestart, "F24"),
    (Fault::ClockShifted, "F25"),
    (Fault::DescriptorsExhausted, "F31"),
    (Fault::CommandPanics, "F31"),
    (Fault::RedisKilled, "F5"),
    (Fault::RedisPaused, "F6"),
    (Fault::SubscriptionHalfOpen, "F7"),
    (Fault::SlowSubscriber, "F8"),
    (Fault::RedisFlushed, "F9"),
    (Fault::RedisReplaced, "F9"),
    (Fault::DoorbellsLate, "F10"),
    (Fault::DoorbellsTwice, "F11"),
    (Fault::PostgresStopped, "F12"),
    (Fault::PostgresPaused, "F13"),
    (Fault::PostgresSilent, "F13"),
    (Fault::CommitAnswersLost, "F14"),
    (Fault::TransactionsCancelled, "F15"),
    (Fault::Quarrel, "F16"),
    (Fault::DiskFull, "F18"),
    (Fault::CutFromRedis, "F27"),
    (Fault::CutFromPostgres, "F27"),
    (Fault::ClientsCut, "F20"),
    (Fault::ClientsHalfOpen, "F21"),
    (Fault::ServersHalfOpen, "F21"),
    (Fault::SlowConsumers, "F22"),
    (Fault::LossyNetwork, "F28"),
    (Fault::ThinNetwork, "F28"),
    (Fault::Swizzle, "F20 F27"),
];

impl Fault {
    /// Whether this build of the server can suffer it: places to fail at are in builds for tests only.
    pub fn possible(self) -> bool {
        let needs_places = matches!(
            self,
            Fault::NodeDiesBeforeCommit
                | Fault::NodeDiesAfterCommit
                | Fault::NodeDiesAfterPublish
                | Fault::CommandPanics
        );
        !needs_places || cfg!(feature = "planted-faults")
    }

    /// The fault of this name, as it is shown.
    pub fn named(name: &str) -> Option<Fault> {
        FAULTS.iter().map(|(fault, _)| *fault).find(|fault| format!("{fault:?}") == name)
    }

    /// Happens, lasts, and is healed.
    pub async fn strike(self, run: &mut Run<'_>) {
        match self {
            Fault::NodeKilled => nodes::killed(run).await,
            Fault::NodeDiesBeforeCommit => nodes::dies_at(run, "before_commit").await,
            Fault::NodeDiesAfterCommit => nodes::dies_at(run, "after_commit").await,
            Fault::NodeDiesAfterPublish => nodes::dies_at(run, "after_publish").await,
            Fault::AllNodesKilled => nodes::all_killed(run).await,
            Fault::NodePaused => nodes::paused(run).await,
            Fault::RollingRestart => nodes::rolling_restart(run).await,
            Fault::ClockShifted => nodes::clock_shifted(run).await,
            Fault::DescriptorsExhausted => nodes::descriptors_exhausted(run).await,
            Fault::CommandPanics => nodes::command_panics(run).await,
            Fault::RedisKilled => redis::killed(run).await,
            Fault::RedisPaused => redis::paused(run).await,
            Fault::SubscriptionHalfOpen => redis::half_open(run).await,
            Fault::SlowSubscriber => redis::slow_subscriber(run).await,
            Fault::RedisFlushed => redis::flushed(run).await,
            Fault::RedisReplaced => redis::replaced(run).await,
            Fault::DoorbellsLate => redis::doorbells_late(run).await,
            Fault::DoorbellsTwice => redis::doorbells_twice(run).await,
            Fault::PostgresStopped => postgres::stopped(run).await,
            Fault::PostgresPaused => postgres::paused(run).await,
            Fault::PostgresSilent => postgres::silent(run).await,
            Fault::CommitAnswersLost => postgres::commit_answers_lost(run).await,
            Fault::TransactionsCancelled => postgres::transactions_cancelled(run).await,
            Fault::Quarrel => postgres::quarrel(run).await,
            Fault::DiskFull => postgres::disk_full(run).await,
            Fault::CutFromRedis => network::cut_from_redis(run).await,
            Fault::CutFromPostgres => network::cut_from_postgres(run).await,
            Fault::ClientsCut => network::clients_cut(run).await,
            Fault::ClientsHalfOpen => network::clients_half_open(run).await,
            Fault::ServersHalfOpen => network::servers_half_open(run).await,
            Fault::SlowConsumers => network::slow_consumers(run).await,
            Fault::LossyNetwork => network::lossy(run).await,
            Fault::ThinNetwork => network::thin(run).await,
            Fault::Swizzle => network::swizzle(run).await,
        }
    }
}
