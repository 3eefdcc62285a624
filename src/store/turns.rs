//! Shares the connections of a pool among users: one user holds at most a few of them at once, and waits for the next
//! one in a queue of their own, behind which nobody else waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Purpose;
use crate::error::{Error, Result};
use crate::model::UserId;

/// How long a user waits for their own earlier queries, before they are told that the server is busy. All that one
/// socket may have in flight is done by then.
const WAIT: Duration = Duration::from_secs(8);

/// The turns of all users: those for commands, and those for their sockets and sessions.
#[derive(Debug)]
pub(super) struct Turns {
    commands: Arc<Queues>,
    sessions: Arc<Queues>,
}

/// The queues of users who hold a turn or wait for one.
#[derive(Debug)]
struct Queues {
    per_user: usize,
    users: Mutex<HashMap<UserId, Arc<Semaphore>>>,
}

/// A place among those that one user may have. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    queues: Arc<Queues>,
    user: UserId,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new(per_user: usize) -> Turns {
        let queues = || Arc::new(Queues { per_user: per_user.max(1), users: Mutex::default() });
        Turns { commands: queues(), sessions: queues() }
    }

    /// Waits until the user of a purpose holds fewer turns than they may; none where it is for nobody in particular.
    pub(super) async fn take(&self, purpose: Purpose) -> Result<Option<Turn>> {
        let (queues, user) = match purpose {
            Purpose::Command(user) => (&self.commands, user),
            Purpose::Session(user) => (&self.sessions, user),
            Purpose::SignIn | Purpose::Lane | Purpose::Server => return Ok(None),
        };
        let places = {
            let mut users = queues.users.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(users.entry(user).or_insert_with(|| Arc::new(Semaphore::new(queues.per_user))))
        };
        // Made before the wait, so that a user whose wait is cut short is forgotten too.
        let mut turn = Turn { queues: Arc::clone(queues), user, permit: None };
        let permit = timeout(WAIT, places.acquire_owned()).await.map_err(|_| Error::busy())?;
        turn.permit = Some(permit.map_err(Error::internal)?);
        Ok(Some(turn))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.permit = None;
        let mut users = self.queues.users.lock().unwrap_or_else(PoisonError::into_inner);
        // A user who holds another turn, or waits for one, has another reference to their places.
        if users.get(&self.user).is_some_and(|places| Arc::strong_count(places) == 1) {
            users.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn n03_one_user_waits_for_their_own_turns_and_nobody_else_does() {
        let turns = Turns::new(2);
        let (one, other) = (Purpose::Command(UserId(1)), Purpose::Command(UserId(2)));
        let held = (turns.take(one).await, turns.take(one).await);
        assert!(turns.take(other).now_or_never().is_some(), "another user has turns of their own");
        assert!(turns.take(one).now_or_never().is_none(), "a third turn is waited for");
        drop(held);
        assert!(turns.take(one).now_or_never().is_some());
        assert!(turns.commands.users.lock().unwrap_or_else(PoisonError::into_inner).is_empty(), "nobody is remembered");
    }
}
