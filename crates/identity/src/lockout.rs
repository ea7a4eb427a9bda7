//! Locking of an account after failed sign-ins (3.1.8), as a pure decision.
//!
//! A lock ends by time, and then counting starts at zero. Failures while it lasts change nothing:
//! whoever knows a name can lock its account out for the length of the lock, not longer. The last
//! active system_admin is never locked for longer than [`LAST_ADMIN_LOCK`], because nobody would be
//! left to help.
//!
//! A stored lock is not believed beyond reason. One that ends later than any policy allows comes
//! from a clock that was wrong, or from someone who wrote into the table, and counts as ended; to
//! keep a person out, an account is disabled.

use model::{Span, Timestamp};

/// The longest lock that a policy may set.
pub const LONGEST_LOCK: Span = Span::mins(1440);
/// The longest lock of the last active system_admin.
pub const LAST_ADMIN_LOCK: Span = Span::mins(15);

/// When an account is locked, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockoutPolicy {
    /// Consecutive failed sign-ins that lock it; 3 to 100 (SP 800-63B-4 section 3.2.2 allows no
    /// more).
    pub max_failed_attempts: u32,
    /// Length of the lock in minutes; 1 to 1440.
    pub lockout_duration_minutes: u32,
}

/// Whether others could help the owner of an account that is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Someone else can unlock the account.
    Ordinary,
    /// It is the only active system_admin.
    LastSystemAdmin,
}

impl Standing {
    const fn longest_lock(self) -> Span {
        match self {
            Self::Ordinary => LONGEST_LOCK,
            Self::LastSystemAdmin => LAST_ADMIN_LOCK,
        }
    }
}

/// What is stored about failed sign-ins of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Consecutive failed sign-ins.
    pub failed_attempts: u32,
    /// Time of the newest one.
    pub last_failed: Option<Timestamp>,
    /// End of the lock.
    pub locked_until: Option<Timestamp>,
}

/// Whether an account is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockStatus {
    /// A sign-in is checked.
    Open,
    /// A sign-in is refused before its password is checked.
    Locked {
        /// The end of the lock.
        until: Timestamp,
    },
}

impl Failures {
    /// Returns whether the account is locked at `now`.
    pub fn status(&self, now: Timestamp, standing: Standing) -> LockStatus {
        match self.lock_end(now, standing) {
            Some(until) if until > now => LockStatus::Locked { until },
            _ => LockStatus::Open,
        }
    }

    /// Returns what is to be stored after a failed sign-in at `now`.
    pub fn after_failure(self, policy: LockoutPolicy, now: Timestamp, standing: Standing) -> Self {
        if let LockStatus::Locked { .. } = self.status(now, standing) {
            return self;
        }

        // A lock that has ended takes its failures with it.
        let counted = if self.locked_until.is_some() {
            0
        } else {
            self.failed_attempts
        };
        let failed_attempts = counted.saturating_add(1);

        let minutes = i64::from(policy.lockout_duration_minutes.max(1));
        let length = Span::mins(minutes).min(standing.longest_lock());
        // One failure alone never locks, whatever a table says.
        let is_enough = failed_attempts >= policy.max_failed_attempts.max(2);

        Self {
            failed_attempts,
            last_failed: Some(now),
            locked_until: is_enough.then(|| now.plus(length)),
        }
    }

    /// Returns what is to be stored after a successful sign-in, or after an administrator has
    /// unlocked the account.
    pub fn after_success() -> Self {
        Self::default()
    }

    /// Returns the end of the lock, as far as it is believed.
    fn lock_end(&self, now: Timestamp, standing: Standing) -> Option<Timestamp> {
        let until = self.locked_until?;
        if until.since(now) > LONGEST_LOCK {
            return None;
        }

        // The account may have become the last one of its kind after it was locked. A start that
        // lies in the future, or none, says nothing: then the lock ends now.
        Some(match standing {
            Standing::Ordinary => until,
            Standing::LastSystemAdmin => {
                let began = self
                    .last_failed
                    .filter(|at| *at <= now)
                    .unwrap_or(Timestamp::MIN);
                until.min(began.plus(LAST_ADMIN_LOCK))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: LockoutPolicy = LockoutPolicy {
        max_failed_attempts: 5,
        lockout_duration_minutes: 30,
    };

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn fail(state: Failures, secs: i64) -> Failures {
        state.after_failure(POLICY, at(secs), Standing::Ordinary)
    }

    fn locked_by(times: u32) -> Failures {
        (0..times).fold(Failures::default(), |state, i| fail(state, i64::from(i)))
    }

    #[test]
    fn the_fifth_failure_locks_for_thirty_minutes() {
        assert_eq!(
            locked_by(4).status(at(4), Standing::Ordinary),
            LockStatus::Open
        );

        let locked = locked_by(5);
        let until = at(4).plus(Span::mins(30));
        assert_eq!(
            locked.status(at(4), Standing::Ordinary),
            LockStatus::Locked { until }
        );
        assert_eq!(locked.status(until, Standing::Ordinary), LockStatus::Open);
    }

    #[test]
    fn failures_during_a_lock_do_not_extend_it() {
        let locked = locked_by(5);
        assert_eq!(fail(locked, 1000), locked);
    }

    #[test]
    fn after_a_lock_counting_starts_at_zero() {
        let after = fail(locked_by(5), 4 + 1800);
        assert_eq!((after.failed_attempts, after.locked_until), (1, None));
    }

    #[test]
    fn a_success_forgets_failures() {
        assert_eq!(Failures::after_success(), Failures::default());
    }

    #[test]
    fn the_last_system_admin_is_locked_for_a_quarter_of_an_hour() {
        let standing = Standing::LastSystemAdmin;
        let locked = (0..5).fold(Failures::default(), |state, i| {
            state.after_failure(POLICY, at(i), standing)
        });
        let until = at(4).plus(Span::mins(15));
        assert_eq!(locked.status(at(5), standing), LockStatus::Locked { until });

        // Also if he was locked while there were others.
        assert_eq!(
            locked_by(5).status(at(5), standing),
            LockStatus::Locked { until }
        );
        assert_eq!(locked_by(5).status(until, standing), LockStatus::Open);
    }

    #[test]
    fn a_lock_that_no_policy_sets_is_not_believed() {
        let planted = Failures {
            failed_attempts: 5,
            last_failed: None,
            locked_until: Some(at(4_000_000_000)),
        };
        assert_eq!(
            planted.status(at(1_000), Standing::Ordinary),
            LockStatus::Open
        );
        assert_eq!(fail(planted, 1_000).failed_attempts, 1);
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Failure,
        Success,
    }

    fn policy(max_failed_attempts: u32, lockout_duration_minutes: u32) -> LockoutPolicy {
        LockoutPolicy {
            max_failed_attempts,
            lockout_duration_minutes,
        }
    }

    fn is_open(state: Failures, secs: u32) -> bool {
        state.status(at(i64::from(secs)), Standing::Ordinary) == LockStatus::Open
    }

    fn standing() -> impl Strategy<Value = Standing> {
        prop_oneof![Just(Standing::Ordinary), Just(Standing::LastSystemAdmin)]
    }

    fn history() -> impl Strategy<Value = Vec<(i64, Event)>> {
        let event = prop_oneof![4 => Just(Event::Failure), 1 => Just(Event::Success)];
        proptest::collection::vec((-3_000_i64..30_000, event), 1..60)
    }

    proptest! {
        /// Over any history, also with a clock that jumps and a policy that nobody validated.
        #[test]
        fn no_lock_is_longer_than_allowed(
            events in history(), attempts in 0_u32..8, minutes in any::<u32>(),
            standing in standing()
        ) {
            let policy = policy(attempts, minutes);
            let (mut state, mut now) = (Failures::default(), at(1_800_000_000));
            for (advance, event) in events {
                now = now.plus(Span::secs(advance));
                state = match event {
                    Event::Failure => state.after_failure(policy, now, standing),
                    Event::Success => Failures::after_success(),
                };
                if let LockStatus::Locked { until } = state.status(now, standing) {
                    prop_assert!(until.since(now) <= standing.longest_lock());
                    prop_assert_eq!(state.status(until, standing), LockStatus::Open);
                }
            }
        }

        #[test]
        fn any_stored_state_opens_in_time(
            attempts in any::<u32>(), failed in any::<Option<i64>>(), until in any::<Option<i64>>(),
            now in any::<i32>(), standing in standing()
        ) {
            let state = Failures {
                failed_attempts: attempts,
                last_failed: failed.map(Timestamp::from_micros),
                locked_until: until.map(Timestamp::from_micros),
            };
            let now = at(i64::from(now));
            if let LockStatus::Locked { until } = state.status(now, standing) {
                prop_assert!(until.since(now) <= standing.longest_lock());
                prop_assert_eq!(state.status(until, standing), LockStatus::Open);
            }
        }

        #[test]
        fn fewer_failures_than_the_limit_never_lock(limit in 3_u32..100, minutes in 1_u32..1440) {
            let policy = policy(limit, minutes);
            let mut state = Failures::default();
            for i in 1..limit {
                state = state.after_failure(policy, at(i64::from(i)), Standing::Ordinary);
                prop_assert!(is_open(state, i));
            }
            let state = state.after_failure(policy, at(i64::from(limit)), Standing::Ordinary);
            prop_assert!(!is_open(state, limit));
        }

        #[test]
        fn a_stricter_policy_locks_no_later(
            limit in 3_u32..20, minutes in 1_u32..1000, failures in 1_u32..40
        ) {
            let run = |policy: LockoutPolicy| {
                let mut state = Failures::default();
                (0..failures).find(|i| {
                    state = state.after_failure(policy, at(i64::from(*i)), Standing::Ordinary);
                    !is_open(state, *i)
                })
            };
            let strict = policy(limit, minutes);
            let lax = LockoutPolicy { max_failed_attempts: limit + 1, ..strict };
            prop_assert!(run(lax).is_none_or(|i| run(strict).is_some_and(|j| j <= i)));
        }
    }
}
