//! Who has sockets here, and what this incarnation has written of that into the directory. The two are compared; a mark
//! that somebody came or went only makes that quicker.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::model::{Micros, UserId};

/// When the sockets of some users were opened.
pub(super) type Here = Vec<(UserId, Vec<Micros>)>;

/// Users whose sockets here changed since they were last written down.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Each with those who wait until it is written.
    users: Mutex<HashMap<UserId, Vec<oneshot::Sender<()>>>>,
    bell: Notify,
}

impl Marks {
    /// The sockets of a user may have changed.
    pub(super) fn mark(&self, user: UserId) {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).entry(user).or_default();
        self.bell.notify_one();
    }

    /// The same; the answer comes when that is written down, and ends without one when it cannot be.
    pub(super) fn mark_and_wait(&self, user: UserId) -> oneshot::Receiver<()> {
        let (written, wait) = oneshot::channel();
        self.users.lock().unwrap_or_else(PoisonError::into_inner).entry(user).or_default().push(written);
        self.bell.notify_one();
        wait
    }

    /// Waits until there are marks, and takes at most so many.
    pub(super) async fn take(&self, at_most: usize) -> Vec<(UserId, Vec<oneshot::Sender<()>>)> {
        loop {
            let taken: Vec<_> = {
                let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
                let some: Vec<UserId> = users.keys().take(at_most).copied().collect();
                some.into_iter().filter_map(|user| users.remove_entry(&user)).collect()
            };
            if !taken.is_empty() {
                return taken;
            }
            self.bell.notified().await;
        }
    }

    /// Forgets all: who is here is about to be written down anew.
    pub(super) fn clear(&self) {
        *self.users.lock().unwrap_or_else(PoisonError::into_inner) = HashMap::new();
    }
}

/// What an incarnation has written into the directory.
#[derive(Debug, Default)]
pub(super) struct Written {
    users: BTreeMap<UserId, Vec<Micros>>,
    /// The last user that was written again.
    again_after: Option<UserId>,
}

impl Written {
    /// Some users were written down: with these sockets, or, without any, as gone.
    pub(super) fn note(&mut self, users: &[(UserId, Vec<Micros>)]) {
        for (user, opened) in users {
            match opened.is_empty() {
                true => drop(self.users.remove(user)),
                false => drop(self.users.insert(*user, opened.clone())),
            }
        }
    }

    /// Whether a user is written down as being here.
    pub(super) fn has(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }

    /// The users of whom something else is written than is so.
    pub(super) fn differing(&self, here: &[(UserId, Vec<Micros>)]) -> Vec<UserId> {
        let here: BTreeMap<UserId, &Vec<Micros>> = here.iter().map(|(user, opened)| (*user, opened)).collect();
        let new = here.iter().filter(|(user, opened)| self.users.get(user) != Some(opened)).map(|(user, _)| *user);
        let gone = self.users.keys().filter(|user| !here.contains_key(user)).copied();
        new.chain(gone).collect()
    }

    /// The next users in turn, to be written again, since Redis may have lost them.
    pub(super) fn next(&mut self, count: usize) -> Vec<UserId> {
        let after = self.again_after.map_or(Bound::Unbounded, Bound::Excluded);
        let next: Vec<UserId> =
            self.users.range((after, Bound::Unbounded)).take(count).map(|(user, _)| *user).collect();
        self.again_after = next.last().copied();
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_compared_with_who_is_here() {
        let mut written = Written::default();
        let here = |users: &[(i64, &[i64])]| users.iter().map(|(id, at)| (UserId(*id), at.to_vec())).collect::<Here>();
        written.note(&here(&[(1, &[10]), (2, &[20]), (3, &[30])]));
        assert_eq!(written.differing(&here(&[(1, &[10]), (2, &[20]), (3, &[30])])), []);
        assert_eq!(written.differing(&here(&[(1, &[10]), (3, &[30, 31]), (4, &[40])])), [3, 4, 2].map(UserId));
        written.note(&here(&[(2, &[])]));
        assert_eq!(written.differing(&here(&[(1, &[10]), (3, &[30])])), []);
        assert_eq!(
            [written.next(1), written.next(1), written.next(1), written.next(2)].concat(),
            [1, 3, 1, 3].map(UserId)
        );
    }

    #[tokio::test]
    async fn a_mark_is_taken_once_and_never_lost() {
        let marks = Marks::default();
        let wait = marks.mark_and_wait(UserId(1));
        (2..10_000).for_each(|id| marks.mark(UserId(id)));
        let mut taken = 0;
        while taken < 9_999 {
            for (_, waiting) in marks.take(512).await {
                taken += 1;
                waiting.into_iter().for_each(|waiting| assert!(waiting.send(()).is_ok(), "somebody waits"));
            }
        }
        assert!(wait.await.is_ok());
        let late = marks.mark_and_wait(UserId(1));
        marks.clear();
        assert!(late.await.is_err(), "who waits for what was forgotten waits no more");
    }
}
