//! Until when an incident must be reported: the law's clocks and those of contracts, side by side.
//!
//! A clock runs from the discovery, in calendar hours: the hours of a weekend count, and so does the
//! hour that daylight saving takes away. Whether it applies is a person's decision; until then it
//! runs and says that nobody has decided.

use std::fmt;

use model::{DutyDecided, DutySent, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// The duty under DFARS 252.204-7012 (c)(1)(ii).
pub const DFARS: &str = "dfars";
/// How long after the discovery it must be reported there: "within 72 hours of discovery".
pub const DFARS_WITHIN: Span = Span::hours(72);

/// On which incidents a clock runs before anyone has decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunsOn {
    /// Those that touched CUI.
    Cui,
    /// Every one.
    Every,
    /// Those of which a person says so.
    #[default]
    Decided,
}

/// A duty to report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duty {
    /// Its short name, such as `gdpr`.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// How long after the discovery.
    pub within: Span,
    /// On which incidents.
    #[serde(default)]
    pub runs_on: RunsOn,
}

impl Duty {
    /// Whether its short name is fit to be one.
    pub fn is_id(&self) -> bool {
        let mut bytes = self.id.bytes();
        let is_first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        self.id.len() <= 40
            && bytes.next().is_some_and(is_first)
            && bytes.all(|b| is_first(b) || matches!(b, b'_' | b'-'))
    }

    /// The duty that every contractor has who handles covered defense information.
    pub fn dfars() -> Self {
        Self {
            id: DFARS.to_owned(),
            name: "DFARS 252.204-7012".to_owned(),
            within: DFARS_WITHIN,
            runs_on: RunsOn::Cui,
        }
    }
}

/// What is known of an incident.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// When it was discovered: by a person's decision, or when it was recorded here. Of merged
    /// incidents the earliest.
    pub discovered_at: Timestamp,
    /// Whether CUI was touched, as far as events say.
    pub cui_involved: bool,
    /// What was decided; of each duty the newest counts, which is the last.
    pub decided: &'a [DutyDecided],
    /// What was sent, the first one first.
    pub sent: &'a [DutySent],
}

/// Whether a clock applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nobody has decided.
    Undecided,
    /// It must be reported.
    Yes,
}

/// A clock that runs on an incident, or has run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The duty.
    pub duty: String,
    /// What people call it.
    pub name: String,
    /// From when it runs.
    pub started_at: Timestamp,
    /// Until when.
    pub due_at: Timestamp,
    /// Whether a person has decided that it applies.
    pub decision: Decision,
    /// When it was reported, which ends it.
    pub reported_at: Option<Timestamp>,
    /// The number that came back.
    pub number: Option<String>,
}

/// How pressing a clock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// So many hours are left, or less.
    Left(i64),
    /// None is left.
    Overdue,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left(hours) => write!(f, "{hours} hours left"),
            Self::Overdue => f.write_str("overdue"),
        }
    }
}

/// At how many hours left people are warned, the least pressing first.
const WARNED_AT: [i64; 4] = [48, 24, 12, 4];

/// The clocks of an incident, the one that ends first first.
pub fn clocks(duties: &[Duty], known: &Known<'_>) -> Vec<Clock> {
    let mut clocks: Vec<Clock> = duties
        .iter()
        .filter_map(|duty| clock(duty, known))
        .collect();
    clocks.sort_by(|a, b| (a.due_at, &a.duty).cmp(&(b.due_at, &b.duty)));
    clocks
}

fn clock(duty: &Duty, known: &Known<'_>) -> Option<Clock> {
    let newest = known.decided.iter().rev().find(|one| one.duty == duty.id);
    let decision = match newest.map(|one| one.applies) {
        Some(true) => Decision::Yes,
        Some(false) => return None,
        None => match duty.runs_on {
            RunsOn::Every => Decision::Undecided,
            RunsOn::Cui if known.cui_involved => Decision::Undecided,
            RunsOn::Cui | RunsOn::Decided => return None,
        },
    };
    let first = known.sent.iter().find(|one| one.duty == duty.id);
    Some(Clock {
        duty: duty.id.clone(),
        name: duty.name.clone(),
        started_at: known.discovered_at,
        due_at: known.discovered_at.plus(duty.within),
        decision,
        reported_at: first.map(|one| one.at),
        number: first.and_then(|one| one.number.clone()),
    })
}

impl Clock {
    /// Whether it still runs.
    pub const fn runs(&self) -> bool {
        self.reported_at.is_none()
    }

    /// What is left of it; less than nothing when it is overdue.
    pub const fn left(&self, now: Timestamp) -> Span {
        self.due_at.since(now)
    }

    /// The most pressing mark that it has come to, if it runs. A clock that is shorter than a mark
    /// begins beyond it.
    pub fn mark(&self, now: Timestamp) -> Option<Mark> {
        if !self.runs() {
            return None;
        }
        let left = self.left(now);
        if left <= Span::ZERO {
            return Some(Mark::Overdue);
        }
        let whole = self.due_at.since(self.started_at);
        WARNED_AT
            .into_iter()
            .rev()
            .find(|hours| left <= Span::hours(*hours) && Span::hours(*hours) < whole)
            .map(Mark::Left)
    }

    /// What is left in words, such as `3 h left` or `overdue by 2 days`.
    pub fn in_words(&self, now: Timestamp) -> String {
        if let Some(at) = self.reported_at {
            let in_time = if at > self.due_at { ", late" } else { "" };
            return format!("reported{in_time}");
        }
        let left = self.left(now).as_micros();
        let minutes = left.unsigned_abs() / 60_000_000;
        let amount = match minutes {
            0..60 => format!("{minutes} min"),
            60..=5760 => format!("{} h", minutes / 60),
            _ => format!("{} days", minutes / 1440),
        };
        let undecided = match self.decision {
            Decision::Undecided => ", undecided",
            Decision::Yes => "",
        };
        if left <= 0 {
            format!("overdue by {amount}{undecided}")
        } else {
            format!("{amount} left{undecided}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn known(discovered: &str, cui: bool) -> Known<'static> {
        Known {
            discovered_at: at(discovered),
            cui_involved: cui,
            decided: &[],
            sent: &[],
        }
    }

    fn decided(duty: &str, applies: bool) -> DutyDecided {
        DutyDecided {
            duty: duty.to_owned(),
            applies,
        }
    }

    /// Whoever reads a wall clock in New York sees 71 or 73 hours: it is 72 all the same.
    #[test]
    fn an_hour_that_daylight_saving_takes_or_gives_counts() {
        let zone = jiff::tz::TimeZone::get("America/New_York").unwrap();
        for (discovered, due, wall) in [
            // Summer time begins on 2026-03-08 and ends on 2026-11-01.
            (
                "2026-03-07T12:00:00-05:00",
                "2026-03-10T17:00:00Z",
                "2026-03-10T13:00:00",
            ),
            (
                "2026-10-31T12:00:00-04:00",
                "2026-11-03T16:00:00Z",
                "2026-11-03T11:00:00",
            ),
        ] {
            let clock = &clocks(&[Duty::dfars()], &known(discovered, true))[0];
            assert_eq!(
                clock.due_at.since(clock.started_at),
                Span::hours(72),
                "{discovered}"
            );
            assert_eq!(clock.due_at, at(due), "{discovered}");
            let local = clock.due_at.to_jiff().to_zoned(zone.clone());
            assert_eq!(local.datetime().to_string(), wall, "{discovered}");
        }
    }

    #[test]
    fn people_are_warned_at_each_mark_and_when_it_is_over() {
        let clock = &clocks(&[Duty::dfars()], &known("2026-11-01T00:00:00Z", true))[0];
        let mark = |hours: i64| clock.mark(clock.started_at.plus(Span::hours(hours)));
        let marks: Vec<Option<Mark>> = [0, 23, 24, 47, 48, 60, 67, 68, 71, 72, 500]
            .map(mark)
            .to_vec();
        assert_eq!(
            marks,
            [
                None,
                None,
                Some(Mark::Left(48)),
                Some(Mark::Left(48)),
                Some(Mark::Left(24)),
                Some(Mark::Left(12)),
                Some(Mark::Left(12)),
                Some(Mark::Left(4)),
                Some(Mark::Left(4)),
                Some(Mark::Overdue),
                Some(Mark::Overdue),
            ]
        );
        let reported = Clock {
            reported_at: Some(clock.started_at),
            ..clock.clone()
        };
        assert_eq!(reported.mark(at("2030-01-01T00:00:00Z")), None);

        // A day is no 48 hours: nobody is warned on the spot.
        let short = Duty {
            within: Span::hours(24),
            runs_on: RunsOn::Every,
            ..Duty::dfars()
        };
        let clock = &clocks(&[short], &known("2026-11-01T00:00:00Z", false))[0];
        assert_eq!(clock.mark(clock.started_at), None);
        let later = clock.started_at.plus(Span::hours(12));
        assert_eq!(clock.mark(later), Some(Mark::Left(12)));
    }

    #[test]
    fn a_person_decides_and_until_then_it_runs() {
        let duties = [
            Duty::dfars(),
            Duty {
                id: "gdpr".to_owned(),
                name: "GDPR art. 33".to_owned(),
                within: Span::hours(72),
                runs_on: RunsOn::Decided,
            },
        ];
        let names = |known: &Known<'_>| -> Vec<(String, Decision)> {
            let all = clocks(&duties, known).into_iter();
            all.map(|clock| (clock.duty, clock.decision)).collect()
        };
        let discovered = "2026-11-01T00:00:00Z";
        assert_eq!(names(&known(discovered, false)), []);
        let dfars = |decision| ("dfars".to_owned(), decision);
        assert_eq!(
            names(&known(discovered, true)),
            [dfars(Decision::Undecided)]
        );

        // The newest decision counts, and events do not undo it.
        let both = [decided("dfars", true), decided("dfars", false)];
        let no = Known {
            decided: &both,
            ..known(discovered, true)
        };
        assert_eq!(names(&no), []);
        let both = [
            decided("dfars", false),
            decided("gdpr", true),
            decided("dfars", true),
        ];
        let yes = Known {
            decided: &both,
            ..known(discovered, false)
        };
        assert_eq!(
            names(&yes),
            [dfars(Decision::Yes), ("gdpr".to_owned(), Decision::Yes)]
        );
    }

    #[test]
    fn the_first_report_ends_the_clock_and_follow_ups_do_not_move_it() {
        let sent = |at_text: &str, number: &str| DutySent {
            duty: DFARS.to_owned(),
            at: at(at_text),
            number: Some(number.to_owned()),
        };
        let sent = [
            sent("2026-11-02T00:00:00Z", "A-1"),
            sent("2026-11-09T00:00:00Z", "A-2"),
        ];
        let known = Known {
            sent: &sent,
            ..known("2026-11-01T00:00:00Z", true)
        };
        let clock = &clocks(&[Duty::dfars()], &known)[0];
        assert_eq!(clock.number.as_deref(), Some("A-1"));
        assert!(!clock.runs());
        assert_eq!(clock.in_words(at("2026-12-01T00:00:00Z")), "reported");
    }

    #[test]
    fn what_is_left_is_said_in_words() {
        let clock = &clocks(&[Duty::dfars()], &known("2026-11-01T00:00:00Z", true))[0];
        let words = |text: &str| clock.in_words(at(text));
        assert_eq!(words("2026-11-01T00:00:00Z"), "72 h left, undecided");
        assert_eq!(words("2026-11-03T20:30:00Z"), "3 h left, undecided");
        assert_eq!(words("2026-11-03T23:50:00Z"), "10 min left, undecided");
        assert_eq!(words("2026-11-04T02:00:00Z"), "overdue by 2 h, undecided");
    }
}
