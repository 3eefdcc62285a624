//! Failed logins: waiting grows with each, per account and per address prefix.
//!
//! An account has two counts: one for the prefixes that have logged in to it before, one for all others. So whoever
//! guesses from elsewhere makes nobody wait on a device that is known. Who is known stands in the database, for all nodes.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::{Nodes, Prefix, Remembered};
use crate::config::Config;

/// The wait after the first failure too many; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// How failures are judged.
#[derive(Debug, Clone, Copy)]
struct Patience {
    burst: u32,
    forget: Duration,
}

impl Patience {
    /// What one of several nodes has of it.
    fn shared(self, nodes: &Nodes) -> Patience {
        Patience { burst: nodes.share(self.burst as usize) as u32, forget: self.forget * nodes.count() }
    }
}

/// Failures in a row, forgotten one by one.
#[derive(Debug, Clone, Copy)]
pub struct Failures {
    count: u32,
    /// When the next one is forgotten.
    since: Instant,
    /// Not a bare instant: attempts read the clock before they come here, so one may be a little in another's past.
    blocked_until: Option<Instant>,
}

impl Failures {
    /// None yet.
    pub fn new(now: Instant) -> Failures {
        Failures { count: 0, since: now, blocked_until: None }
    }

    /// Counts an attempt as failed, or counts nothing and says how long to wait. Without a `burst` it only counts.
    pub fn attempt(&mut self, burst: u32, forget: Duration, now: Instant) -> Result<(), Duration> {
        if let Some(until) = self.blocked_until.filter(|until| *until > now) {
            return Err(until - now);
        }
        self.forget(forget, now);
        self.count += 1;
        if burst > 0 && self.count > burst {
            let doublings = (self.count - burst - 1).min(16);
            self.blocked_until = Some(now + (FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT));
        }
        Ok(())
    }

    /// The attempt did not fail after all.
    pub fn forgive(&mut self) {
        self.count = self.count.saturating_sub(1);
        self.blocked_until = None;
    }

    fn forget(&mut self, forget: Duration, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_millis() / forget.as_millis().max(1);
        let forgotten = u32::try_from(passed).unwrap_or(u32::MAX).min(self.count);
        self.count -= forgotten;
        self.since = if self.count == 0 { now } else { self.since + forget * forgotten };
    }

    fn at_rest(&self, forget: Duration, now: Instant) -> bool {
        self.blocked_until.is_none_or(|until| until <= now)
            && now.saturating_duration_since(self.since) >= forget * self.count
    }
}

/// Which count of an account an attempt belongs to. The account is kept as a keyed hash: short, and of any length.
type AccountKey = (u64, bool);

/// The failures of all accounts and prefixes.
#[derive(Debug)]
pub(super) struct Logins {
    nodes: Nodes,
    account: Patience,
    prefix: Patience,
    hasher: RandomState,
    accounts: Remembered<AccountKey, Failures>,
    prefixes: Remembered<Prefix, Failures>,
}

/// An attempt that counts as failed unless it is told otherwise.
#[derive(Debug)]
pub struct Attempt<'a> {
    logins: &'a Logins,
    account: AccountKey,
    prefix: Option<Prefix>,
}

impl Logins {
    pub(super) fn new(config: &Config, nodes: Nodes) -> Logins {
        let forget = Duration::from_secs(config.login_forget_s.into());
        Logins {
            nodes,
            account: Patience { burst: config.login_account_burst, forget },
            prefix: Patience { burst: config.login_prefix_burst, forget },
            hasher: RandomState::new(),
            accounts: Remembered::new(),
            prefixes: Remembered::new(),
        }
    }

    pub(super) fn attempt(
        &self,
        account: &str,
        prefix: Option<Prefix>,
        known: bool,
        now: Instant,
    ) -> Result<Attempt<'_>, Duration> {
        let attempt = Attempt { logins: self, account: (self.hasher.hash_one(account), known), prefix };
        count(&self.accounts, attempt.account, self.account.shared(&self.nodes), now)?;
        if let Some(prefix) = prefix {
            count(&self.prefixes, prefix, self.prefix.shared(&self.nodes), now)
                .inspect_err(|_| attempt.forgive_account())?;
        }
        Ok(attempt)
    }
}

fn count<K: Eq + std::hash::Hash>(
    all: &Remembered<K, Failures>,
    key: K,
    patience: Patience,
    now: Instant,
) -> Result<(), Duration> {
    let forget = patience.forget;
    let judged = all.change(
        key,
        |failures| failures.at_rest(forget, now),
        Failures::new(now),
        |failures| failures.attempt(patience.burst, forget, now),
    );
    // Full of others who fail: whoever comes new waits until some of them are forgotten.
    judged.unwrap_or(Err(forget))
}

impl Attempt<'_> {
    /// The password was right: the account's count starts again.
    pub fn succeeded(self) {
        let now = Instant::now();
        self.logins.accounts.amend(&self.account, |failures| *failures = Failures::new(now));
        if let Some(prefix) = self.prefix {
            self.logins.prefixes.amend(&prefix, |failures| failures.forgive());
        }
    }

    /// The password was not judged at all: the attempt counts for nothing.
    pub fn undone(self) {
        self.forgive_account();
        if let Some(prefix) = self.prefix {
            self.logins.prefixes.amend(&prefix, |failures| failures.forgive());
        }
    }

    fn forgive_account(&self) {
        self.logins.accounts.amend(&self.account, |failures| failures.forgive());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORGET: Duration = Duration::from_secs(30);

    fn logins() -> Logins {
        Logins::new(&Config::default(), Nodes::default())
    }

    fn prefix(a: u8, b: u8) -> Prefix {
        Prefix::of([192, a, b, 1].into())
    }

    #[test]
    fn s19_a_guesser_from_many_addresses_gets_few_tries_and_a_known_device_gets_in() {
        let logins = logins();
        let start = Instant::now();
        let home = prefix(168, 1);
        logins.attempt("ann", Some(home), false, start).expect("first").succeeded();
        let tries = (0..1000_u32).filter(|number| {
            let from = prefix((number >> 8) as u8, *number as u8);
            logins.attempt("ann", Some(from), false, start + Duration::from_millis(u64::from(*number) * 100)).is_ok()
        });
        let passed = tries.count();
        assert!((10..=20).contains(&passed), "{passed} guesses passed in 100 seconds");
        let later = start + Duration::from_secs(100);
        logins.attempt("ann", Some(home), true, later).expect("the known device");
    }

    #[test]
    fn s20_one_prefix_over_many_accounts_is_slowed() {
        let logins = logins();
        let start = Instant::now();
        let tries = (0..10_000_u32).filter(|number| {
            let at = start + Duration::from_millis(u64::from(*number));
            logins.attempt(&format!("user{number}"), Some(prefix(0, 2)), false, at).is_ok()
        });
        let passed = tries.count();
        assert!((50..=60).contains(&passed), "{passed} accounts tried in 10 seconds");
        let after = start + Duration::from_secs(10);
        logins.attempt("user1", Some(prefix(0, 3)), false, after).expect("another prefix");
    }

    #[test]
    fn many_at_once_get_no_further_than_one_by_one() {
        let logins = logins();
        let now = Instant::now();
        let passed = (0..200).filter(|_| logins.attempt("ann", Some(prefix(0, 0)), false, now).is_ok()).count();
        assert_eq!(passed, 11, "the burst, and the one that starts the waiting");
    }

    #[test]
    fn success_and_undoing_leave_no_trace() {
        let logins = logins();
        for _ in 0..1000 {
            logins.attempt("ann", Some(prefix(0, 0)), false, Instant::now()).expect("no wait").undone();
            logins.attempt("ann", Some(prefix(0, 0)), false, Instant::now()).expect("no wait").succeeded();
        }
    }

    proptest! {
        #[test]
        fn waiting_grows_and_is_bounded(steps in prop::collection::vec(0..120_000_u64, 1..200)) {
            let start = Instant::now();
            let mut failures = Failures::new(start);
            let (mut now, mut passed) = (start, 0_u32);
            for millis in steps {
                now += Duration::from_millis(millis);
                match failures.attempt(10, FORGET, now) {
                    Ok(()) => passed += 1,
                    Err(wait) => {
                        prop_assert!(wait <= LONGEST_WAIT);
                        let mut later = failures;
                        prop_assert!(later.attempt(10, FORGET, now + wait).is_ok());
                    }
                }
                // In the long run one failure passes for each that is forgotten; the rest waits.
                let bound = 11 + 10 + (now - start).as_secs() / 30;
                prop_assert!(u64::from(passed) <= bound, "{passed} passed, {bound} allowed");
            }
            let rest = now + LONGEST_WAIT + FORGET * failures.count;
            prop_assert!(failures.at_rest(FORGET, rest));
        }
    }
}
