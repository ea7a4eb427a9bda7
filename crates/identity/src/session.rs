//! When a session is locked and when it ends, as pure decisions.
//!
//! - It locks after 15 minutes without activity (3.1.10): nothing is shown or done until its owner
//!   has proved who they are again, by which another session begins (ASVS 7.2.4).
//! - It ends after 60 minutes without activity and 12 hours after it began (3.1.11; ASVS 7.3.1,
//!   7.3.2), locked or not.
//! - What is dangerous asks for a factor given within the last 10 minutes (ASVS 7.5.1).
//!
//! A clock that goes back counts as one that stands still: the newest time that a session has seen
//! is the earliest that it can be. So no session grows younger, and its end never moves. Whoever
//! sees that a session has ended removes it, so that no clock brings it back.

use model::{Span, Timestamp};

/// The lengths of time of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Time without activity after which a session locks; 1 to 60 minutes.
    pub lock_after: Span,
    /// Time without activity after which it ends; 5 minutes to 8 hours, not less than `lock_after`.
    pub end_after_idle: Span,
    /// Time after which it ends in any case; 15 minutes to 24 hours, not less than
    /// `end_after_idle`.
    pub end_after: Span,
    /// Time for which a factor given again lets dangerous things be done; 1 to 15 minutes.
    pub step_up_for: Span,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            lock_after: Span::mins(15),
            end_after_idle: Span::mins(60),
            end_after: Span::hours(12),
            step_up_for: Span::mins(10),
        }
    }
}

/// Why settings of sessions are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionFault {
    /// Out of range.
    #[error("a session must lock after 1 to 60 minutes without activity (3.1.10)")]
    LockAfter,
    /// Out of range.
    #[error("a session must end after 5 minutes to 8 hours without activity (3.1.11)")]
    EndAfterIdle,
    /// Out of range.
    #[error("a session must end 15 minutes to 24 hours after it began (3.1.11)")]
    EndAfter,
    /// Out of range.
    #[error("a factor given again must count for 1 to 15 minutes")]
    StepUpFor,
    /// It would end before it locks, or in another order.
    #[error(
        "the times after which a session locks, ends without activity, and ends in any case must \
         ascend"
    )]
    Order,
}

impl SessionSettings {
    /// Checks each length against its range, and their order.
    pub fn validate(&self) -> Result<(), Vec<SessionFault>> {
        let mut faults = Vec::new();
        let mut check = |is_valid: bool, fault| {
            if !is_valid {
                faults.push(fault);
            }
        };

        let is_within = |span: Span, from: Span, to: Span| (from..=to).contains(&span);
        check(
            is_within(self.lock_after, Span::mins(1), Span::mins(60)),
            SessionFault::LockAfter,
        );
        check(
            is_within(self.end_after_idle, Span::mins(5), Span::hours(8)),
            SessionFault::EndAfterIdle,
        );
        check(
            is_within(self.end_after, Span::mins(15), Span::hours(24)),
            SessionFault::EndAfter,
        );
        check(
            is_within(self.step_up_for, Span::mins(1), Span::mins(15)),
            SessionFault::StepUpFor,
        );
        check(
            self.lock_after <= self.end_after_idle && self.end_after_idle <= self.end_after,
            SessionFault::Order,
        );

        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

/// What is stored about the times of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimes {
    /// Sign-in.
    pub started: Timestamp,
    /// Newest activity of its owner. Requests that a page sends by itself do not count.
    pub last_activity: Timestamp,
    /// When it was locked, by time or by its owner.
    pub locked_at: Option<Timestamp>,
    /// When its owner proved who they are by all factors: as it began.
    pub stepped_up_at: Option<Timestamp>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// No activity for too long.
    Idle,
    /// It began too long ago.
    Absolute,
}

impl EndReason {
    /// Returns its name in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Absolute => "absolute",
        }
    }
}

/// What a session may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Everything that its owner's role allows.
    Active,
    /// Proving who one is again, or signing out.
    Locked,
    /// Nothing.
    Ended(EndReason),
}

impl SessionTimes {
    /// Returns the times of a session that begins, by a sign-in that gave all factors.
    pub const fn begin(now: Timestamp) -> Self {
        Self {
            started: now,
            last_activity: now,
            locked_at: None,
            stepped_up_at: Some(now),
        }
    }

    /// Returns the end that no activity moves.
    pub const fn absolute_end(&self, settings: &SessionSettings) -> Timestamp {
        self.started.plus(settings.end_after)
    }

    /// Returns what the session may be used for at `now`.
    pub fn state(&self, settings: &SessionSettings, now: Timestamp) -> SessionState {
        let now = self.not_before(now);
        let idle = now.since(self.last_activity);
        if now >= self.absolute_end(settings) {
            SessionState::Ended(EndReason::Absolute)
        } else if idle >= settings.end_after_idle {
            SessionState::Ended(EndReason::Idle)
        } else if self.locked_at.is_some() || idle >= settings.lock_after {
            SessionState::Locked
        } else {
            SessionState::Active
        }
    }

    /// Returns the times after activity at `now`. Changes nothing unless the session is active:
    /// requests to a locked session don't keep it alive.
    pub fn after_activity(self, settings: &SessionSettings, now: Timestamp) -> Self {
        if self.state(settings, now) != SessionState::Active {
            return self;
        }

        Self {
            last_activity: self.not_before(now),
            ..self
        }
    }

    /// Returns the times after the session was locked at `now`. A step-up ends with it.
    pub fn after_lock(self, now: Timestamp) -> Self {
        Self {
            locked_at: self.locked_at.or(Some(self.not_before(now))),
            stepped_up_at: None,
            ..self
        }
    }

    /// Returns whether dangerous things may be done at `now`.
    pub fn is_stepped_up(&self, settings: &SessionSettings, now: Timestamp) -> bool {
        let now = self.not_before(now);
        self.state(settings, now) == SessionState::Active
            && self
                .stepped_up_at
                .is_some_and(|at| at >= self.started && now.since(at) < settings.step_up_for)
    }

    /// Returns `now`, or the newest time that the session has seen if the clock went back.
    fn not_before(&self, now: Timestamp) -> Timestamp {
        [Some(self.started), Some(self.last_activity), self.locked_at]
            .into_iter()
            .flatten()
            .fold(now, Timestamp::max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn after(mins: i64) -> Timestamp {
        START.plus(Span::mins(mins))
    }

    fn state(times: SessionTimes, mins: i64) -> SessionState {
        times.state(&SessionSettings::default(), after(mins))
    }

    #[test]
    fn a_session_locks_and_ends_by_time() {
        let times = SessionTimes::begin(START);
        assert_eq!(state(times, 14), SessionState::Active);
        assert_eq!(state(times, 15), SessionState::Locked);
        assert_eq!(state(times, 59), SessionState::Locked);
        assert_eq!(state(times, 60), SessionState::Ended(EndReason::Idle));
    }

    #[test]
    fn activity_moves_every_end_but_the_absolute_one() {
        let settings = SessionSettings::default();
        let mut times = SessionTimes::begin(START);
        for mins in (10..720).step_by(10) {
            times = times.after_activity(&settings, after(mins));
            assert_eq!(state(times, mins), SessionState::Active);
        }

        assert_eq!(state(times, 720), SessionState::Ended(EndReason::Absolute));
    }

    #[test]
    fn requests_to_a_locked_session_do_not_keep_it_alive() {
        let settings = SessionSettings::default();
        let locked = SessionTimes::begin(START);
        assert_eq!(locked.after_activity(&settings, after(20)), locked);
        assert_eq!(locked.after_activity(&settings, after(60)), locked);
    }

    #[test]
    fn a_lock_by_hand_holds() {
        let settings = SessionSettings::default();
        let locked = SessionTimes::begin(START).after_lock(after(1));
        assert_eq!(state(locked, 2), SessionState::Locked);
        assert_eq!(locked.after_activity(&settings, after(2)), locked);
    }

    #[test]
    fn a_step_up_lasts_ten_minutes_and_not_over_a_lock() {
        let settings = SessionSettings::default();
        let times = SessionTimes::begin(START).after_activity(&settings, after(9));
        assert!(times.is_stepped_up(&settings, after(9)));
        assert!(!times.is_stepped_up(&settings, after(10)));
        let locked = times.after_lock(after(9));
        assert!(!locked.is_stepped_up(&settings, after(9)));
        assert_eq!(locked.stepped_up_at, None);
    }

    #[test]
    fn a_clock_that_goes_back_extends_nothing() {
        let settings = SessionSettings::default();
        let times = SessionTimes::begin(START).after_activity(&settings, after(10));
        assert_eq!(state(times, -600), SessionState::Active);

        let later = times.after_activity(&settings, after(-600));
        assert_eq!(later, times);
        assert_eq!(later.absolute_end(&settings), after(720));
    }

    #[test]
    fn settings_have_ranges_and_an_order() {
        assert_eq!(SessionSettings::default().validate(), Ok(()));

        let never = SessionSettings {
            lock_after: Span::ZERO,
            end_after_idle: Span::days(3650),
            end_after: Span::mins(-1),
            step_up_for: Span::hours(1),
        };
        assert_eq!(
            never.validate().unwrap_err(),
            [
                SessionFault::LockAfter,
                SessionFault::EndAfterIdle,
                SessionFault::EndAfter,
                SessionFault::StepUpFor,
                SessionFault::Order,
            ]
        );
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Activity,
        Lock,
    }

    fn history() -> impl Strategy<Value = Vec<(i64, Event)>> {
        let event = prop_oneof![
            4 => Just(Event::Activity),
            1 => Just(Event::Lock),
        ];
        proptest::collection::vec((-1_200_i64..2_400, event), 1..80)
    }

    proptest! {
        #[test]
        fn no_history_outlives_the_absolute_end_or_revives(events in history()) {
            let settings = SessionSettings::default();
            let (mut times, mut now) = (SessionTimes::begin(START), START);
            let mut has_ended = false;
            for (advance, event) in events {
                // An end is stored when it is seen; until the next look the clock goes forward.
                let advance = if has_ended { advance.abs() } else { advance };
                now = now.plus(Span::secs(advance));
                let before = times;
                times = match event {
                    Event::Activity => times.after_activity(&settings, now),
                    Event::Lock => times.after_lock(now),
                };

                prop_assert_eq!(times.absolute_end(&settings), START.plus(settings.end_after));
                prop_assert!(times.last_activity >= before.last_activity);
                if now >= START.plus(settings.end_after) {
                    prop_assert!(matches!(times.state(&settings, now), SessionState::Ended(_)));
                }

                let is_ended = matches!(times.state(&settings, now), SessionState::Ended(_));
                prop_assert!(is_ended || !has_ended);
                has_ended |= is_ended;
            }
        }

        #[test]
        fn only_an_active_session_is_stepped_up(
            idle in 0_i64..100, at in proptest::option::of(-100_i64..100),
            is_locked in any::<bool>()
        ) {
            let settings = SessionSettings::default();
            let times = SessionTimes {
                started: START,
                last_activity: START,
                locked_at: is_locked.then_some(START),
                stepped_up_at: at.map(after),
            };
            if times.is_stepped_up(&settings, after(idle)) {
                prop_assert_eq!(times.state(&settings, after(idle)), SessionState::Active);
                prop_assert!(at.is_some_and(|at| at >= 0 && idle - at < 10));
            }
        }
    }
}
