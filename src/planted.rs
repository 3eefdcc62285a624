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
    /// No node hears from the others who came into a conversation or left it.
    UnheardMemberships,
    /// The database refuses the row of a message whose text asks for it.
    RowRefused,
    /// Sessions that another process ended are not looked for, neither by the sweep nor in the file.
    UnseenSessionEnds,
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
            "unheard_memberships" => Fault::UnheardMemberships,
            "row_refused" => Fault::RowRefused,
            "unseen_session_ends" => Fault::UnseenSessionEnds,
            _ => return None,
        })
    }
}

/// The file by which a test asks for something at a place, in the directory that the variable `DUET_FAILPOINTS` names.
#[cfg(feature = "planted-faults")]
fn asked_at(place: &str) -> Option<std::path::PathBuf> {
    static FOLDER: std::sync::OnceLock<Option<std::path::PathBuf>> = std::sync::OnceLock::new();
    FOLDER.get_or_init(crate::config::failpoints).as_ref().map(|folder| folder.join(place))
}

/// Fails here if a test has asked for it, by a file of this name in the directory that the variable `DUET_FAILPOINTS`
/// names: in a panic where the file says so, else by the death of the process.
#[cfg(feature = "planted-faults")]
#[expect(clippy::panic, reason = "what was asked for")]
pub fn fail_at(place: &str) {
    let Some(file) = asked_at(place) else { return };
    let asked = std::fs::read_to_string(&file);
    // Of several that come by at once, only the one that removes the file fails.
    if let (Ok(asked), Ok(())) = (asked, std::fs::remove_file(&file)) {
        if asked.trim() == "panic" {
            panic!("a test asked for a panic at {place}");
        }
        std::process::abort();
    }
}

/// Whether a test has asked for an error here, once.
#[cfg(feature = "planted-faults")]
pub fn error_at(place: &str) -> crate::error::Result<()> {
    match asked_at(place).map(std::fs::remove_file) {
        Some(Ok(())) => Err(crate::error::Error::busy()),
        _ => Ok(()),
    }
}

/// Waits here for as long as a test asks for it, and tells the test so by a second file.
#[cfg(feature = "planted-faults")]
pub async fn pause_at(place: &str) {
    let Some(file) = asked_at(place) else { return };
    while file.exists() {
        // Where it cannot be told the test waits in vain, and says so.
        let _ = std::fs::write(file.with_extension("reached"), "");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Fails here if a test has asked for it; in a server that people use nobody can.
#[cfg(not(feature = "planted-faults"))]
pub const fn fail_at(_place: &str) {}

/// Whether a test has asked for an error here; in a server that people use nobody can.
#[cfg(not(feature = "planted-faults"))]
pub const fn error_at(_place: &str) -> crate::error::Result<()> {
    Ok(())
}

/// Waits here for as long as a test asks for it; in a server that people use nobody can.
#[cfg(not(feature = "planted-faults"))]
pub async fn pause_at(_place: &str) {}

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
