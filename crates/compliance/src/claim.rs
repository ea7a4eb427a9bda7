//! Claims: the only place that decides on a score and on a CMMC status.
//!
//! Everything that shows one of the two (`score`, SPRS, reports, OSCAL, the score history) uses
//! this module, so no two of them can differ. The rules: no approved system security plan, no score
//! (DoDAM v1.2.1, 32 CFR 170.24(c)); no conditional status with a deficiency that is not on the
//! POA&M (32 CFR 170.21(a)(2)), nor after its 180 days (32 CFR 170.21(b)).

use std::fmt;

use model::{
    Control, ControlId, Evidence, EvidenceKind, Plan, PlanKind, PlanStatus, Scored, Standing,
    Timestamp,
};
use serde::Serialize;

use crate::catalog::{Catalog, Eligibility};
use crate::cmmc::{CLOSE_OUT, CONDITIONAL_FROM, Level2};
use crate::dates::format_day;
use crate::score::{MAX_SCORE, PLAN, Score};
use crate::system::System;

/// The data that a claim is decided from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The framework.
    pub catalog: &'a Catalog,
    /// The system description: empty if there is none, `None` if it cannot be read.
    pub system: Option<&'a System>,
    /// Findings.
    pub controls: &'a [Control],
    /// Evidence, at least that of 3.12.4.
    pub evidence: &'a [Evidence],
    /// Plans of action, including closed ones.
    pub plans: &'a [Plan],
    /// The time at which the claim is made.
    pub now: Timestamp,
}

/// A reason why no status, or not even a score, may be claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "obstacle", rename_all = "snake_case")]
pub enum Obstacle {
    /// The evidence of 3.12.4 has no system security plan in final form that is valid today.
    NoApprovedPlan,
    /// The system description cannot be read, so the contents of the plan are unknown.
    PlanUnreadable,
    /// The plan lacks required contents.
    PlanIncomplete {
        /// What the system description lacks.
        missing: Vec<String>,
    },
    /// An objective of 3.12.4 is not met.
    PlanNotMet {
        /// Where 3.12.4 stands.
        standing: Standing,
    },
    /// The score is below 88.
    Score {
        /// The score.
        points: i32,
    },
    /// Requirements are not decided, or rest on evidence that lapsed or was tampered with.
    Open {
        /// How many.
        count: usize,
    },
    /// A requirement is not met and may not be on the POA&M.
    Barred {
        /// The requirement.
        control_id: ControlId,
        /// The rule that bars it.
        rule: String,
    },
    /// A requirement is not met and may be on the POA&M, but is not.
    NotOnPoam {
        /// The requirement.
        control_id: ControlId,
        /// It is on an operational plan of action, which gives no status.
        operational: bool,
    },
    /// The conditional status has ended.
    Expired {
        /// The deadline for closing out everything.
        on: Timestamp,
        /// The requirements that were not closed out.
        controls: Vec<ControlId>,
    },
}

impl Obstacle {
    /// Returns whether it withholds the score as well.
    pub const fn withholds_score(&self) -> bool {
        matches!(
            self,
            Self::NoApprovedPlan
                | Self::PlanUnreadable
                | Self::PlanIncomplete { .. }
                | Self::PlanNotMet { .. }
        )
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Obstacles to a score.
            Self::NoApprovedPlan => write!(
                f,
                "no approved system security plan that is valid today is among the evidence of \
                    3.12.4, and without one there is no score"
            ),
            Self::PlanUnreadable => {
                write!(
                    f,
                    "the system description cannot be read, and without a system security \
                        plan there is no score"
                )
            }
            Self::PlanIncomplete { missing } => write!(
                f,
                "the system security plan does not say all that 3.12.4 asks for, and without it \
                    there is no score; missing: {}",
                join_first(missing)
            ),
            Self::PlanNotMet { standing } => write!(
                f,
                "3.12.4 is not met ({}), and without a system security plan there is no score",
                standing.as_str().replace('_', " ")
            ),

            // Obstacles to a status.
            Self::Score { points } => {
                write!(f, "the score of {points} is below {CONDITIONAL_FROM}")
            }
            Self::Open { count } => write!(
                f,
                "{count} requirements are not assessed, or rest on evidence that lapsed or was \
                    tampered with"
            ),
            Self::Barred { control_id, rule } => {
                write!(
                    f,
                    "{control_id} is not met and may not be on the POA&M ({rule})"
                )
            }
            Self::NotOnPoam {
                control_id,
                operational: true,
            } => write!(
                f,
                "{control_id} is not met and not on the POA&M: it is on an operational plan of \
                    action, which gives no status"
            ),
            Self::NotOnPoam {
                control_id,
                operational: false,
            } => {
                write!(f, "{control_id} is not met and not on the POA&M")
            }
            Self::Expired { on, controls } => write!(
                f,
                "the conditional status expired on {}: its 180 days are over, and {} is not \
                    closed out (32 CFR 170.21(b))",
                format_day(*on),
                controls
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }
}

/// A weakness that does not bar a claim, but that an assessor will ask about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "caution", rename_all = "snake_case")]
pub enum Caution {
    /// Met without evidence in final form (32 CFR 170.24(b)).
    MetWithoutEvidence {
        /// How many requirements.
        count: usize,
    },
    /// Met without a description of the implementation (3.12.4[e]).
    MetWithoutMethod {
        /// How many requirements.
        count: usize,
    },
    /// Not applicable without evidence in final form: counts as met, so an assessor wants proof.
    NotApplicableWithoutEvidence {
        /// How many requirements.
        count: usize,
    },
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MetWithoutEvidence { count } => {
                write!(
                    f,
                    "MET without evidence in final form (32 CFR 170.24(b)), number of \
                        requirements: {count}"
                )
            }
            Self::MetWithoutMethod { count } => {
                write!(
                    f,
                    "MET without saying how it is implemented (3.12.4[e]), number of \
                        requirements: {count}"
                )
            }
            Self::NotApplicableWithoutEvidence { count } => write!(
                f,
                "NOT APPLICABLE without evidence in final form that it is (32 CFR 170.24(b)), \
                    number of requirements: {count}"
            ),
        }
    }
}

/// A score and a status, or the reasons why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    score: Score,
    points: Option<i32>,
    level: Level2,
    obstacles: Vec<Obstacle>,
    cautions: Vec<Caution>,
    until: Option<Timestamp>,
}

impl Claim {
    /// Decides on score and status.
    pub fn of(basis: &Basis<'_>) -> Self {
        let score = Score::of(basis.catalog, basis.controls);
        let mut obstacles = plan_obstacles(basis.system, basis.controls, basis.evidence, basis.now);
        obstacles.extend(plan_not_met(basis.controls));
        let points = obstacles.is_empty().then(|| MAX_SCORE - score.lost());

        obstacles.extend(
            points
                .filter(|p| *p < CONDITIONAL_FROM)
                .map(|points| Obstacle::Score { points }),
        );
        obstacles.extend(deficiency_obstacles(basis, &score));

        let period = CloseOutPeriod::of(basis, &score);
        obstacles.extend(
            period
                .as_ref()
                .and_then(|period| period.expiry_obstacle(basis.now)),
        );

        let level = match (obstacles.is_empty(), score.deductions.is_empty()) {
            (true, true) => Level2::Final,
            (true, false) => Level2::Conditional,
            (false, _) => Level2::None,
        };

        let until = period
            .filter(|_| level == Level2::Conditional)
            .map(|period| period.deadline);
        Self {
            score,
            points,
            level,
            obstacles,
            cautions: collect_cautions(basis.controls),
            until,
        }
    }

    /// Returns the score; `None` without an approved system security plan.
    pub const fn points(&self) -> Option<i32> {
        self.points
    }

    /// Returns the status.
    pub const fn level(&self) -> Level2 {
        self.level
    }

    /// Returns the reasons why there is no status; empty if there is one.
    pub fn obstacles(&self) -> &[Obstacle] {
        &self.obstacles
    }

    /// Returns what an assessor will ask about.
    pub fn cautions(&self) -> &[Caution] {
        &self.cautions
    }

    /// Returns when a conditional status that has begun ends.
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Returns the counts and deductions behind the score.
    pub const fn counts(&self) -> &Score {
        &self.score
    }

    /// Returns why there is no score; `None` if there is one.
    pub fn no_score(&self) -> Option<String> {
        if self.points.is_some() {
            return None;
        }
        let why = self.obstacles.iter().filter(|o| o.withholds_score());
        Some(why.map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    /// Returns the score as text: `97 of 110`, or `no score` with the reasons.
    pub fn score_text(&self) -> String {
        match (self.points, self.no_score()) {
            (Some(points), _) => format!("{points} of {MAX_SCORE}"),
            (None, why) => format!("no score: {}", why.unwrap_or_default()),
        }
    }

    /// Returns the entry for the score history.
    pub fn noted(&self, at: Timestamp) -> Scored {
        let saturate = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let Score {
            met, not_met, open, ..
        } = &self.score;

        Scored {
            at,
            points: self.points,
            met: saturate(*met),
            not_met: saturate(*not_met),
            open: saturate(*open),
        }
    }

    /// Returns the status with its reasons, for serialization.
    pub fn status(&self) -> Status<'_> {
        Status {
            level: self.level,
            obstacles: &self.obstacles,
            cautions: &self.cautions,
            until: self.until,
        }
    }
}

/// A status with the obstacles to a better one, as JSON output shows it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Status<'a> {
    /// The level that may be claimed today.
    pub level: Level2,
    /// Why there is no status.
    pub obstacles: &'a [Obstacle],
    /// What an assessor will ask about.
    pub cautions: &'a [Caution],
    /// When a conditional status that has begun ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Returns the system security plan that counts at `now`: a document that a named person approved
/// as evidence of 3.12.4, in final form and within its dates. The result of a check is not a plan.
pub fn approved_plan(evidence: &[Evidence], now: Timestamp) -> Option<&Evidence> {
    let of_plan = |e: &Evidence| {
        e.objectives.iter().any(|o| o.control() == PLAN.0)
            || (e.objectives.is_empty() && e.control_id == PLAN)
    };

    let approved = |e: &Evidence| {
        // A name of invisible characters is not a name.
        e.approved_by
            .as_deref()
            .is_some_and(|by| by.chars().any(char::is_alphanumeric))
            && e.approved_at.is_some_and(|at| at <= now)
    };

    let counts = |e: &&Evidence| {
        e.kind == EvidenceKind::PolicyDoc
            && e.recorded.is_none()
            && !e.review
            && of_plan(e)
            && approved(e)
            && e.validity(now).counts()
    };

    evidence.iter().filter(counts).max_by_key(|e| e.approved_at)
}

/// Returns why 3.12.4 cannot be met, whatever its findings: the plan is not approved, or lacks
/// something.
///
/// A missing system description bars nothing: the plan may have been written elsewhere. Where there
/// is one, the plan is the one that blueteam writes, and it must say of each requirement how it is
/// implemented (3.12.4[e]).
pub fn plan_obstacles(
    system: Option<&System>,
    controls: &[Control],
    evidence: &[Evidence],
    now: Timestamp,
) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    if approved_plan(evidence, now).is_none() {
        obstacles.push(Obstacle::NoApprovedPlan);
    }

    match system {
        None => obstacles.push(Obstacle::PlanUnreadable),
        Some(system) if *system == System::default() => {}
        Some(system) => {
            let mut missing = system.missing();
            missing.extend(undescribed(controls));
            obstacles.extend((!missing.is_empty()).then_some(Obstacle::PlanIncomplete { missing }));
        }
    }

    obstacles
}

/// Returns what the plan lacks of implementation statements (3.12.4[e]). What does not apply has
/// its rationale, and what is not met its plan of action; 3.12.4 is implemented by the plan.
fn undescribed(controls: &[Control]) -> Option<String> {
    let needs_one = |c: &&Control| {
        !matches!(c.standing(), Standing::NotApplicable | Standing::NotMet)
            && c.control_id != PLAN
            && !c.is_described()
    };
    let lacking: Vec<String> = controls
        .iter()
        .filter(needs_one)
        .map(|c| c.control_id.to_string())
        .collect();

    let first = lacking.first()?;
    Some(match lacking.len() {
        1 => format!("how {first} is implemented (3.12.4[e]): `compliance assess --notes`"),
        n => format!(
            "how {n} requirements are implemented (3.12.4[e]), {first} the first: \
                `compliance assess --notes`"
        ),
    })
}

fn plan_not_met(controls: &[Control]) -> Option<Obstacle> {
    let plan = controls.iter().find(|c| c.control_id == PLAN);
    let standing = plan.map_or(Standing::NotAssessed, Control::standing);
    // Not applicable is not enough: every system needs a plan.
    (standing != Standing::Met).then_some(Obstacle::PlanNotMet { standing })
}

/// Returns the obstacles of open requirements, and of unmet ones that are not on the POA&M.
fn deficiency_obstacles(basis: &Basis<'_>, score: &Score) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    // 3.12.4 has its own obstacle.
    let open = score
        .deductions
        .iter()
        .filter(|d| d.standing != Standing::NotMet)
        .count();
    if open > 0 {
        obstacles.push(Obstacle::Open { count: open });
    }

    for d in score
        .deductions
        .iter()
        .filter(|d| d.standing == Standing::NotMet)
    {
        let Some(r) = basis.catalog.get(&d.control_id) else {
            continue;
        };
        let on = |kind| {
            basis
                .plans
                .iter()
                .any(|p| p.control_id == d.control_id && p.kind == kind && p.status.is_open())
        };

        if !r.poam_eligibility.allows(d.partial) {
            let rule = rule_against(r.poam_eligibility, r.poam_note.as_deref());
            obstacles.push(Obstacle::Barred {
                control_id: d.control_id.clone(),
                rule,
            });
        } else if !on(PlanKind::Poam) {
            let operational = on(PlanKind::Operational);
            obstacles.push(Obstacle::NotOnPoam {
                control_id: d.control_id.clone(),
                operational,
            });
        }
    }
    obstacles
}

fn rule_against(eligibility: Eligibility, note: Option<&str>) -> String {
    match (eligibility, note) {
        (Eligibility::Conditional, _) => {
            "32 CFR 170.21(a)(2)(ii): encryption is not employed".to_owned()
        }
        (_, Some(note)) => note.split(": ").next().unwrap_or(note).to_owned(),
        (_, None) => "32 CFR 170.21(a)(2)".to_owned(),
    }
}

/// The 180 days of a conditional status that has begun.
struct CloseOutPeriod {
    deadline: Timestamp,
    controls: Vec<ControlId>,
}

impl CloseOutPeriod {
    /// Returns the period of the earliest conditional status of an unmet requirement.
    ///
    /// Items of either kind and accepted risks count: moving an item off the POA&M does not stop
    /// the period. A completed item counts until the requirement is assessed again. A date in the
    /// future is not a status yet.
    fn of(basis: &Basis<'_>, score: &Score) -> Option<Self> {
        let lost = |p: &Plan| {
            score
                .deductions
                .iter()
                .any(|d| d.control_id == p.control_id && !d.standing.counts())
        };

        let running: Vec<(&Plan, Timestamp)> = basis
            .plans
            .iter()
            .filter(|p| lost(p) && !was_reassessed(basis.controls, p))
            .filter_map(|p| Some((p, p.conditional_since.filter(|since| *since <= basis.now)?)))
            .collect();

        let since = running.iter().map(|(_, since)| *since).min()?;
        let mut controls: Vec<ControlId> = running
            .iter()
            .filter(|(_, since)| since.plus(CLOSE_OUT) < basis.now)
            .map(|(p, _)| p.control_id.clone())
            .collect();
        controls.sort_by_key(ControlId::order);
        controls.dedup();

        Some(Self {
            deadline: since.plus(CLOSE_OUT),
            controls,
        })
    }

    fn expiry_obstacle(&self, now: Timestamp) -> Option<Obstacle> {
        let expired = || Obstacle::Expired {
            on: self.deadline,
            controls: self.controls.clone(),
        };
        (now > self.deadline).then(expired)
    }
}

/// Returns whether an item was completed and its requirement assessed again since: what is wrong
/// today is something else.
fn was_reassessed(controls: &[Control], plan: &Plan) -> bool {
    let Some(completed) = plan
        .completed
        .filter(|_| plan.status == PlanStatus::Completed)
    else {
        return false;
    };

    let objectives = controls
        .iter()
        .filter(|c| c.control_id == plan.control_id)
        .flat_map(|c| &c.objectives);
    objectives
        .filter_map(|o| o.decision.as_ref())
        .any(|d| d.at > completed)
}

fn collect_cautions(controls: &[Control]) -> Vec<Caution> {
    let met = || controls.iter().filter(|c| c.standing() == Standing::Met);
    let not_applicable = controls
        .iter()
        .filter(|c| c.standing() == Standing::NotApplicable);

    let (bare, silent) = (
        met().filter(|c| c.lacks_evidence()).count(),
        met().filter(|c| !c.is_described()).count(),
    );
    let mut cautions = Vec::new();
    cautions.extend((bare > 0).then_some(Caution::MetWithoutEvidence { count: bare }));
    cautions.extend((silent > 0).then_some(Caution::MetWithoutMethod { count: silent }));

    let unshown = not_applicable.filter(|c| c.lacks_evidence()).count();
    cautions
        .extend((unshown > 0).then_some(Caution::NotApplicableWithoutEvidence { count: unshown }));

    cautions
}

/// Joins the first few entries for one line, and counts the rest.
fn join_first(missing: &[String]) -> String {
    const SHOWN: usize = 4;
    let more = missing.len().saturating_sub(SHOWN);
    let first = missing
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("; ");

    if more > 0 {
        format!("{first}; and {more} more")
    } else {
        first
    }
}
