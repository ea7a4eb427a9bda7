//! The phases of an incident as a state machine (PICERL, NIST SP 800-61).

use model::IncidentStatus;

/// The shortest and the longest reason, in characters.
pub const REASON: (usize, usize) = (3, 4000);

/// A step that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Where the incident stands.
    pub from: IncidentStatus,
    /// Where it is to stand.
    pub to: IncidentStatus,
    /// Why.
    pub reason: &'a str,
    /// What it came from, as far as someone has written it down.
    pub root_cause: &'a str,
    /// What was learned from it, likewise.
    pub lessons: &'a str,
    /// A duty to report of which nobody has decided whether it applies.
    pub undecided: Option<&'a str>,
}

/// What kind of step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To a later phase; some may be skipped.
    Forward,
    /// To an earlier phase: what was thought to be done was not.
    Back,
    /// From the last phase to an earlier one.
    Reopen,
    /// To the last phase.
    Close,
}

/// Why a step is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It stands there.
    #[error("the incident is {0} already")]
    Same(IncidentStatus),
    /// Without a reason, or with one that is too long.
    #[error("--reason: from 3 to 4000 characters; it stays in the incident's history")]
    Reason,
    /// It cannot be closed without its cause.
    #[error(
        "--root-cause: an incident is closed with its root cause, from 3 to 4000 characters; the \
         incident is {0}"
    )]
    RootCause(IncidentStatus),
    /// It cannot be closed without what was learned.
    #[error(
        "--lessons: an incident is closed with the lessons learned, from 3 to 4000 characters; the \
         incident is {0}"
    )]
    Lessons(IncidentStatus),
    /// It cannot be closed while a duty is open.
    #[error(
        "decide first whether it must be reported ({duty}; `blueteam incidents decide`); the \
         incident is {from}"
    )]
    Undecided {
        /// The duty.
        duty: String,
        /// Where it stands.
        from: IncidentStatus,
    },
}

/// Whether a text says something, and not too much.
pub fn is_text(text: &str) -> bool {
    (REASON.0..=REASON.1).contains(&text.trim().chars().count())
}

/// Decides on a step.
pub fn step(asked: &Asked<'_>) -> Result<Step, Refused> {
    let Asked { from, to, .. } = *asked;
    if from == to {
        return Err(Refused::Same(from));
    }
    if !is_text(asked.reason) {
        return Err(Refused::Reason);
    }

    if to == IncidentStatus::Closed {
        if !is_text(asked.root_cause) {
            return Err(Refused::RootCause(from));
        }
        if !is_text(asked.lessons) {
            return Err(Refused::Lessons(from));
        }
        return match asked.undecided {
            None => Ok(Step::Close),
            Some(duty) => Err(Refused::Undecided {
                duty: duty.to_owned(),
                from,
            }),
        };
    }
    Ok(if from == IncidentStatus::Closed {
        Step::Reopen
    } else if to < from {
        Step::Back
    } else {
        Step::Forward
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status() -> impl Strategy<Value = IncidentStatus> {
        prop::sample::select(IncidentStatus::ALL.to_vec())
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(String::new()),
            Just("  \n ".to_owned()),
            Just("x".repeat(4001)),
            "[a-z]{3,40}",
        ]
    }

    proptest! {
        /// Whatever is asked for, in whatever order: an incident that is closed has a cause, lessons
        /// and no open decision; each step changes where it stands and has a reason; none is lost.
        #[test]
        fn invariants_hold_after_any_steps(
            asked in prop::collection::vec((status(), text(), text(), text(), any::<bool>()), 0..40)
        ) {
            let mut at = IncidentStatus::Detected;
            let mut history = vec![at];
            for (to, reason, root_cause, lessons, is_open) in &asked {
                let before = at;
                let wanted = Asked {
                    from: at,
                    to: *to,
                    reason,
                    root_cause,
                    lessons,
                    undecided: is_open.then_some("DFARS"),
                };
                if let Ok(kind) = step(&wanted) {
                    prop_assert_ne!(before, *to);
                    prop_assert!(is_text(reason));
                    prop_assert_eq!(kind == Step::Close, *to == IncidentStatus::Closed);
                    prop_assert_eq!(kind == Step::Reopen, before == IncidentStatus::Closed);
                    if kind == Step::Back {
                        prop_assert!(*to < before);
                    }
                    if *to == IncidentStatus::Closed {
                        prop_assert!(is_text(root_cause) && is_text(lessons) && !is_open);
                    }
                    at = *to;
                    history.push(at);
                } else {
                    prop_assert_eq!(before, at);
                }
            }
            prop_assert!(history.windows(2).all(|pair| pair[0] != pair[1]));
        }

        /// From everywhere to everywhere it is one step, for whoever says why.
        #[test]
        fn nothing_is_a_dead_end(from in status(), to in status()) {
            let asked = Asked {
                from,
                to,
                reason: "because",
                root_cause: "a cause",
                lessons: "a lesson",
                undecided: None,
            };
            prop_assert_eq!(step(&asked).is_ok(), from != to);
        }
    }
}
