//! The machine's clock, as far as it can be believed: it is compared with the time that has passed
//! since it was last right, and with the database's clock.
//!
//! A clock that jumps would have honest events refused as too old or dated into the past, and
//! silences of years found. So while it is off, time goes on as it would have, no time is judged,
//! and people are told (`tasks/clock_watch.rs`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::{Clock, Span, SystemClock, Timestamp};

/// What the clock of the database said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DatabaseClock {
    /// How far it was ahead of this machine's; negative when behind.
    ahead: Span,
    /// When it was asked, by the time that has passed.
    asked: Duration,
    /// Whether it is another machine's clock.
    is_remote: bool,
}

/// What is known of the clocks.
#[derive(Debug, Default)]
struct Comparison {
    /// When this machine's clock was last right: the time that had passed, and what it said.
    anchor: Option<(Duration, Timestamp)>,
    database: Option<DatabaseClock>,
    /// Whether the two have ever agreed.
    have_agreed: bool,
    /// Since when this machine's clock has been off, by the time that has passed.
    off_since: Option<Duration>,
}

/// What the clocks say together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    /// The present, as well as it can be told.
    now: Timestamp,
    /// Whether times may be judged by it.
    is_trusted: bool,
    /// What is wrong, for people.
    doubt: Option<String>,
}

impl Comparison {
    /// Compares what the clock says with what it should say after `passed`.
    fn judge(&mut self, wall: Timestamp, passed: Duration, jump_max: Span) -> Verdict {
        let expected = self.anchor.map_or(wall, |(then, at)| {
            let elapsed = passed.saturating_sub(then).as_micros();
            at.plus(Span::micros(i64::try_from(elapsed).unwrap_or(i64::MAX)))
        });

        let jump = wall.since(expected);
        if magnitude(jump) <= jump_max {
            self.anchor = Some((passed, wall));
            self.off_since = None;
            return self.compare_database(wall, jump_max);
        }

        let since = *self.off_since.get_or_insert(passed);
        if self.is_confirmed(since, jump_max) {
            // The machine was suspended: no time passed for it, and the clock was set right.
            self.anchor = Some((passed, wall));
            self.off_since = None;
            return Verdict::trusted(wall);
        }

        let (direction, by) = direction(jump);
        Verdict {
            now: expected,
            is_trusted: false,
            doubt: Some(format!(
                "the clock of this machine jumped {direction} by {by}; times are not judged until \
                    it is right again. If it is right now, restart blueteam"
            )),
        }
    }

    /// Whether another machine's clock, asked since then, agrees with this one.
    fn is_confirmed(&self, since: Duration, jump_max: Span) -> bool {
        self.database.is_some_and(|database| {
            let agrees = magnitude(database.ahead) <= jump_max;
            database.is_remote && database.asked >= since && agrees
        })
    }

    /// A clock that goes on evenly may be wrong all the same, and so may the database's.
    fn compare_database(&mut self, wall: Timestamp, jump_max: Span) -> Verdict {
        let Some(database) = self.database else {
            return Verdict::trusted(wall);
        };

        if magnitude(database.ahead) <= jump_max {
            self.have_agreed = true;
            return Verdict::trusted(wall);
        }

        let (direction, by) = direction(database.ahead);
        if self.have_agreed {
            // This machine's clock has gone on evenly since they agreed.
            let doubt = format!(
                "the clock of the database server jumped {direction} by {by}; set it right"
            );
            return Verdict {
                doubt: Some(doubt),
                ..Verdict::trusted(wall)
            };
        }

        Verdict {
            now: wall.plus(database.ahead),
            is_trusted: false,
            doubt: Some(format!(
                "the clock of this machine and that of the database differ by {by}; times are not \
                    judged until they agree"
            )),
        }
    }
}

impl Verdict {
    const fn trusted(now: Timestamp) -> Self {
        Self {
            now,
            is_trusted: true,
            doubt: None,
        }
    }
}

fn magnitude(span: Span) -> Span {
    Span::micros(span.as_micros().saturating_abs())
}

/// Which way, and how far to the nearest minute.
fn direction(span: Span) -> (&'static str, Span) {
    let minutes = Span::mins((magnitude(span).as_micros() + 30_000_000) / 60_000_000);
    if span < Span::ZERO {
        ("back", minutes)
    } else {
        ("ahead", minutes)
    }
}

/// The machine's clock, watched.
#[derive(Debug)]
pub struct WatchedClock {
    began: Instant,
    jump_max: Span,
    comparison: Mutex<Comparison>,
}

impl WatchedClock {
    /// Believes the clock as it is now. A jump is what is further than `jump_max`.
    pub fn new(jump_max: Span) -> Self {
        let clock = Self {
            began: Instant::now(),
            jump_max,
            comparison: Mutex::default(),
        };
        clock.verdict();
        clock
    }

    /// Notes what the database's clock said when this machine's said `wall`.
    pub fn compare(&self, database: Timestamp, wall: Timestamp, is_remote: bool) {
        self.comparison().database = Some(DatabaseClock {
            ahead: database.since(wall),
            asked: self.began.elapsed(),
            is_remote,
        });
    }

    /// What is wrong with the clocks, for people; none when they are right.
    pub fn doubt(&self) -> Option<String> {
        self.verdict().doubt
    }

    fn verdict(&self) -> Verdict {
        let mut comparison = self.comparison();
        comparison.judge(SystemClock.now(), self.began.elapsed(), self.jump_max)
    }

    fn comparison(&self) -> MutexGuard<'_, Comparison> {
        self.comparison
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for WatchedClock {
    fn now(&self) -> Timestamp {
        self.verdict().now
    }

    fn is_trusted(&self) -> bool {
        self.verdict().is_trusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Span = Span::hours(1);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + secs)
    }

    fn passed(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn database(ahead: Span, asked: u64, is_remote: bool) -> DatabaseClock {
        DatabaseClock {
            ahead,
            asked: passed(asked),
            is_remote,
        }
    }

    #[test]
    fn time_goes_on_evenly_while_the_clock_is_off() {
        for jump in [400 * 86_400, 3601, -3601, -20 * 365 * 86_400] {
            let mut clocks = Comparison::default();
            assert_eq!(
                clocks.judge(at(0), passed(0), HOUR),
                Verdict::trusted(at(0))
            );
            assert_eq!(
                clocks.judge(at(7), passed(7), HOUR),
                Verdict::trusted(at(7))
            );

            for secs in [8, 90, 7200] {
                let wrong = clocks.judge(at(secs + jump), passed(secs.unsigned_abs()), HOUR);
                assert_eq!((wrong.now, wrong.is_trusted), (at(secs), false), "{jump}");
                assert!(wrong.doubt.unwrap().contains("jumped"));
            }

            let right = clocks.judge(at(7300), passed(7300), HOUR);
            assert_eq!(right, Verdict::trusted(at(7300)), "{jump}");
        }
    }

    #[test]
    fn an_hour_and_slow_drift_are_believed() {
        let mut clocks = Comparison::default();
        clocks.judge(at(0), passed(0), HOUR);
        for hour in 1_u64..50 {
            // Fifty minutes too many each hour.
            let wall = at(i64::try_from(hour).unwrap() * 6600);
            assert_eq!(
                clocks.judge(wall, passed(hour * 3600), HOUR),
                Verdict::trusted(wall)
            );
        }
    }

    #[test]
    fn another_machine_confirms_a_clock_that_was_set_right() {
        let mut clocks = Comparison::default();
        clocks.judge(at(0), passed(0), HOUR);
        let wall = at(8 * 3600);

        // Asked before the jump, or on the same machine, it says nothing.
        clocks.database = Some(database(Span::ZERO, 5, true));
        assert!(!clocks.judge(wall, passed(10), HOUR).is_trusted);
        clocks.database = Some(database(Span::ZERO, 20, false));
        assert!(!clocks.judge(wall, passed(20), HOUR).is_trusted);
        clocks.database = Some(database(Span::hours(-8), 20, true));
        assert!(!clocks.judge(wall, passed(20), HOUR).is_trusted);

        clocks.database = Some(database(Span::ZERO, 30, true));
        assert_eq!(clocks.judge(wall, passed(30), HOUR), Verdict::trusted(wall));
        assert!(
            clocks
                .judge(wall.plus(Span::secs(9)), passed(39), HOUR)
                .is_trusted
        );
    }

    #[test]
    fn a_clock_that_was_never_right_follows_the_database() {
        let mut clocks = Comparison {
            database: Some(database(Span::days(-400), 0, true)),
            ..Comparison::default()
        };
        let wrong = clocks.judge(at(0), passed(1), HOUR);
        assert_eq!(wrong.now, at(-400 * 86_400));
        assert!(!wrong.is_trusted && wrong.doubt.is_some());

        clocks.database = Some(database(Span::secs(2), 9, true));
        assert_eq!(
            clocks.judge(at(9), passed(9), HOUR),
            Verdict::trusted(at(9))
        );

        // They agreed, so that it is the other clock that is wrong from now on.
        clocks.database = Some(database(Span::days(400), 19, true));
        let told = clocks.judge(at(19), passed(19), HOUR);
        assert_eq!((told.now, told.is_trusted), (at(19), true));
        assert!(
            told.doubt
                .unwrap()
                .contains("the database server jumped ahead by 400d")
        );
    }
}
