//! Faults that the tests plant to show that their checker would notice. Without the feature `planted-faults` every
//! question below is the constant `false`.

/// A way to break a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The reply to a send leaves before its commit.
    AckBeforeCommit,
    /// A repeated `client_key` is a new message.
    NoIdempotency,
    /// A resume starts at the head instead of the cursor.
    ResumeFromHead,
    /// Blocks are judged before the transaction begins.
    BlockOutsideLock,
    /// Events are delivered as they come, and no gap is repaired.
    OrderNotRepaired,
    /// The commit happens, and its answer is lost.
    AnswerLost,
    /// What is written is told before its commit.
    PublishBeforeCommit,
    /// No node looks for what it was not told.
    NoSweep,
    /// A transaction that was begun and dropped stays open on its connection.
    NoRollbackGuard,
}

#[cfg(feature = "planted-faults")]
impl Fault {
    /// The fault that a test calls so.
    pub fn named(name: &str) -> Option<Fault> {
        Some(match name {
            "ack_before_commit" => Fault::AckBeforeCommit,
            "no_idempotency" => Fault::NoIdempotency,
            "resume_from_head" => Fault::ResumeFromHead,
            "block_outside_lock" => Fault::BlockOutsideLock,
            "order_not_repaired" => Fault::OrderNotRepaired,
            "answer_lost" => Fault::AnswerLost,
            "publish_before_commit" => Fault::PublishBeforeCommit,
            "no_sweep" => Fault::NoSweep,
            "no_rollback_guard" => Fault::NoRollbackGuard,
            _ => return None,
        })
    }
}

/// Whether this server was started with the fault.
#[cfg(not(feature = "planted-faults"))]
pub const fn is(_fault: Fault) -> bool {
    false
}

/// Whether this server was started with the fault.
#[cfg(feature = "planted-faults")]
pub fn is(fault: Fault) -> bool {
    static PLANTED: std::sync::OnceLock<Option<Fault>> = std::sync::OnceLock::new();
    *PLANTED.get_or_init(crate::config::planted_fault) == Some(fault)
}
