//! CMMC Level 2 status: what 32 CFR 170.21 and 170.24 make of a score and of what is on the plan of action.

use std::fmt;

use model::{Control, ControlId, Span, Timestamp};
use serde::Serialize;

use crate::catalog::{Catalog, Eligibility};
use crate::score::{PLAN, Score};

/// Points from which on a conditional status can be had: 0.8 of 110 (32 CFR 170.21(a)(2)(i)).
pub const CONDITIONAL_FROM: i32 = 88;
/// A plan of action must be closed out within this time (32 CFR 170.21(b)).
pub const CLOSE_OUT: Span = Span::days(180);

/// What the organisation could claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level2 {
    /// Everything is met.
    Final,
    /// Enough is met, and the rest may wait on a plan of action for 180 days.
    Conditional,
    /// Neither.
    None,
}

impl fmt::Display for Level2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Final => "Final Level 2",
            Self::Conditional => "Conditional Level 2",
            Self::None => "no CMMC status",
        })
    }
}

/// What stands in the way of a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "obstacle", rename_all = "snake_case")]
pub enum Obstacle {
    /// There is no system security plan, so there is no score.
    NoPlan,
    /// The score is below 88.
    Score {
        /// The score.
        points: i32,
    },
    /// Nobody has decided about these, or their evidence has lapsed.
    Open {
        /// How many.
        count: usize,
    },
    /// It is not met, and may not wait on a plan of action.
    Barred {
        /// The requirement.
        control_id: ControlId,
        /// The rule that bars it.
        rule: String,
    },
    /// It is not met, and on no plan of action.
    NotPlanned {
        /// The requirement.
        control_id: ControlId,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPlan => write!(f, "3.12.4 is not met: without a system security plan there is no score"),
            Self::Score { points } => write!(f, "the score of {points} is below {CONDITIONAL_FROM}"),
            Self::Open { count } => {
                write!(f, "{count} requirements are not assessed or rest on lapsed evidence")
            }
            Self::Barred { control_id, rule } => {
                write!(f, "{control_id} is not met and may not be on a plan of action ({rule})")
            }
            Self::NotPlanned { control_id } => write!(f, "{control_id} is not met and on no plan of action"),
        }
    }
}

/// A status with what stands in the way of a better one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What could be claimed today.
    pub level: Level2,
    /// Why it is not more than none; empty for the other two.
    pub obstacles: Vec<Obstacle>,
}

impl Status {
    /// Applies the rules to a score.
    pub fn of(catalog: &Catalog, controls: &[Control], score: &Score) -> Self {
        let mut obstacles = Vec::new();
        match score.points {
            None => obstacles.push(Obstacle::NoPlan),
            Some(points) if points < CONDITIONAL_FROM => obstacles.push(Obstacle::Score { points }),
            Some(_) => {}
        }
        // 3.12.4 has its own line.
        let open = score.deductions.iter().filter(|d| d.standing != model::Standing::NotMet).count();
        if open > 0 {
            obstacles.push(Obstacle::Open { count: open });
        }
        for d in score.deductions.iter().filter(|d| d.standing == model::Standing::NotMet) {
            let Some(r) = catalog.get(&d.control_id) else { continue };
            let planned = controls.iter().any(|c| c.control_id == d.control_id && c.planned);
            if !r.poam_eligibility.allows(d.partial) {
                let rule = rule_against(r.poam_eligibility, r.poam_note.as_deref());
                obstacles.push(Obstacle::Barred { control_id: d.control_id.clone(), rule });
            } else if !planned {
                obstacles.push(Obstacle::NotPlanned { control_id: d.control_id.clone() });
            }
        }
        debug_assert!(score.deductions.iter().all(|d| d.control_id != PLAN));
        let level = match (obstacles.is_empty(), score.deductions.is_empty()) {
            (true, true) => Level2::Final,
            (true, false) => Level2::Conditional,
            (false, _) => Level2::None,
        };
        Self { level, obstacles }
    }
}

fn rule_against(eligibility: Eligibility, note: Option<&str>) -> String {
    match (eligibility, note) {
        (Eligibility::Conditional, _) => "32 CFR 170.21(a)(2)(ii): encryption is not employed".to_owned(),
        (_, Some(note)) => note.split(": ").next().unwrap_or(note).to_owned(),
        (_, None) => "32 CFR 170.21(a)(2)".to_owned(),
    }
}

/// The last moment at which a plan of action may be closed out, and whether a moment is past it.
pub fn close_out(conditional_since: Timestamp, now: Timestamp) -> (Timestamp, bool) {
    let deadline = conditional_since.plus(CLOSE_OUT);
    (deadline, now > deadline)
}
