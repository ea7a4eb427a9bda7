//! What may be claimed: the only place that decides on a score and on a CMMC status.
//!
//! Everything that shows one of the two (`score`, SPRS, reports, OSCAL, the score's history) asks
//! here, so that no two of them can differ. The rules: no approved system security plan, no score
//! (DoDAM v1.2.1, 32 CFR 170.24(c)); no conditional status with a deficiency that is not on the
//! POA&M (32 CFR 170.21(a)(2)), nor after its 180 days (32 CFR 170.21(b)).

use std::fmt;

use model::{
    Control, ControlId, Evidence, EvidenceKind, Plan, PlanKind, PlanStatus, Scored, Standing,
    Timestamp, Validity,
};
use serde::Serialize;

use crate::catalog::{Catalog, Eligibility};
use crate::cmmc::{CLOSE_OUT, CONDITIONAL_FROM, Level2};
use crate::score::{MOST, PLAN, Score};
use crate::system::System;

/// What a claim is decided from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The framework.
    pub catalog: &'a Catalog,
    /// The description of the system: an empty one where there is none, and `None` where it cannot
    /// be read.
    pub system: Option<&'a System>,
    /// Findings.
    pub controls: &'a [Control],
    /// Evidence, at least that of 3.12.4.
    pub evidence: &'a [Evidence],
    /// Plans of action, closed ones too.
    pub plans: &'a [Plan],
    /// The present.
    pub now: Timestamp,
}

/// Why no status, or no score, may be claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "obstacle", rename_all = "snake_case")]
pub enum Obstacle {
    /// No system security plan is among the evidence of 3.12.4, in final form and valid today.
    NoApprovedPlan,
    /// The description of the system cannot be read, so nobody knows what the plan says.
    PlanUnreadable,
    /// The plan does not say what it must.
    PlanIncomplete {
        /// What the description of the system lacks.
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
    /// Nobody has decided about these, or their evidence has lapsed.
    Open {
        /// How many.
        count: usize,
    },
    /// It is not met, and may not wait on the POA&M.
    Barred {
        /// The requirement.
        control_id: ControlId,
        /// The rule that bars it.
        rule: String,
    },
    /// It is not met and could wait on the POA&M, but is not on it.
    NotOnPoam {
        /// The requirement.
        control_id: ControlId,
        /// An operational plan of action is about it. That gives no status.
        operational: bool,
    },
    /// The conditional status has ended.
    Expired {
        /// The day by which everything had to be closed out.
        on: Timestamp,
        /// What was not.
        controls: Vec<ControlId>,
    },
}

impl Obstacle {
    /// Whether there is not even a score.
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
            Self::NoApprovedPlan => write!(
                f,
                "no approved system security plan that is valid today is among the evidence of \
                    3.12.4, and without one there is no score"
            ),
            Self::PlanUnreadable => {
                write!(
                    f,
                    "the description of the system cannot be read, and without a system security \
                        plan there is no score"
                )
            }
            Self::PlanIncomplete { missing } => write!(
                f,
                "the system security plan does not say all that 3.12.4 asks for, and without it \
                    there is no score; missing: {}",
                few(missing)
            ),
            Self::PlanNotMet { standing } => write!(
                f,
                "3.12.4 is not met ({}), and without a system security plan there is no score",
                standing.as_str().replace('_', " ")
            ),
            Self::Score { points } => {
                write!(f, "the score of {points} is below {CONDITIONAL_FROM}")
            }
            Self::Open { count } => write!(
                f,
                "{count} requirements are not assessed or rest on lapsed evidence"
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
                day(*on),
                controls
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }
}

/// What an assessor will ask about, although it does not bar a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "caution", rename_all = "snake_case")]
pub enum Caution {
    /// Met without a piece of evidence in final form (32 CFR 170.24(b)).
    MetWithoutEvidence {
        /// How many requirements.
        count: usize,
    },
    /// Met without saying how (3.12.4[e]).
    MetWithoutMethod {
        /// How many requirements.
        count: usize,
    },
    /// Not applicable without a piece of evidence in final form: counts like met, and an assessor
    /// wants the proof.
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

/// A score and a status, or why there is none.
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
    /// Decides.
    pub fn of(basis: &Basis<'_>) -> Self {
        let score = Score::of(basis.catalog, basis.controls);
        let mut obstacles = plan_obstacles(basis.system, basis.evidence, basis.now);
        obstacles.extend(plan_not_met(basis.controls));
        let points = obstacles.is_empty().then(|| MOST - score.lost());

        obstacles.extend(
            points
                .filter(|p| *p < CONDITIONAL_FROM)
                .map(|points| Obstacle::Score { points }),
        );
        obstacles.extend(deficiencies(basis, &score));

        let clock = Clock::of(basis, &score);
        obstacles.extend(clock.as_ref().and_then(|clock| clock.expired(basis.now)));

        let level = match (obstacles.is_empty(), score.deductions.is_empty()) {
            (true, true) => Level2::Final,
            (true, false) => Level2::Conditional,
            (false, _) => Level2::None,
        };

        let until = clock
            .filter(|_| level == Level2::Conditional)
            .map(|clock| clock.deadline);
        Self {
            score,
            points,
            level,
            obstacles,
            cautions: cautions(basis.controls),
            until,
        }
    }

    /// The score; none without an approved system security plan.
    pub const fn points(&self) -> Option<i32> {
        self.points
    }

    /// The status.
    pub const fn level(&self) -> Level2 {
        self.level
    }

    /// Why there is no status; empty when there is one.
    pub fn obstacles(&self) -> &[Obstacle] {
        &self.obstacles
    }

    /// What an assessor will ask about.
    pub fn cautions(&self) -> &[Caution] {
        &self.cautions
    }

    /// When a conditional status that has begun ends.
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// The counts and deductions behind the score.
    pub const fn counts(&self) -> &Score {
        &self.score
    }

    /// Why there is no score; `None` when there is one.
    pub fn no_score(&self) -> Option<String> {
        if self.points.is_some() {
            return None;
        }
        let why = self.obstacles.iter().filter(|o| o.withholds_score());
        Some(why.map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    /// The score in words: `97 of 110`, or that there is none and why.
    pub fn score_text(&self) -> String {
        match (self.points, self.no_score()) {
            (Some(points), _) => format!("{points} of {MOST}"),
            (None, why) => format!("no score: {}", why.unwrap_or_default()),
        }
    }

    /// For the history of the score.
    pub fn noted(&self, at: Timestamp) -> Scored {
        let few = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let Score {
            met, not_met, open, ..
        } = &self.score;

        Scored {
            at,
            points: self.points,
            met: few(*met),
            not_met: few(*not_met),
            open: few(*open),
        }
    }

    /// The status with its reasons, as other programs read it.
    pub fn status(&self) -> Status<'_> {
        Status {
            level: self.level,
            obstacles: &self.obstacles,
            cautions: &self.cautions,
            until: self.until,
        }
    }
}

/// A status with what stands in the way of a better one.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Status<'a> {
    /// What could be claimed today.
    pub level: Level2,
    /// Why it is none.
    pub obstacles: &'a [Obstacle],
    /// What an assessor will ask about.
    pub cautions: &'a [Caution],
    /// When a conditional status that has begun ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The system security plan that counts at `now`: a document that somebody approved by name as
/// evidence of 3.12.4, in final form and within its dates. What a check recorded is not a plan.
pub fn approved_plan(evidence: &[Evidence], now: Timestamp) -> Option<&Evidence> {
    let of_plan = |e: &Evidence| {
        e.objectives.iter().any(|o| o.control() == PLAN.0)
            || (e.objectives.is_empty() && e.control_id == PLAN)
    };

    let approved = |e: &Evidence| {
        // A blank that cannot be seen is no name.
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
            && matches!(e.validity(now), Validity::Valid | Validity::Lapsing)
    };

    evidence.iter().filter(counts).max_by_key(|e| e.approved_at)
}

/// Why 3.12.4 cannot be met, whatever somebody finds: its plan is not approved, or lacks something.
///
/// A description that is not there at all bars nothing: the plan may have been written elsewhere.
pub fn plan_obstacles(
    system: Option<&System>,
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
            let missing = system.missing();
            obstacles.extend((!missing.is_empty()).then_some(Obstacle::PlanIncomplete { missing }));
        }
    }

    obstacles
}

fn plan_not_met(controls: &[Control]) -> Option<Obstacle> {
    let plan = controls.iter().find(|c| c.control_id == PLAN);
    let standing = plan.map_or(Standing::NotAssessed, Control::standing);
    // Not applicable is not enough: there is no system without a plan.
    (standing != Standing::Met).then_some(Obstacle::PlanNotMet { standing })
}

/// What is open, and what is not met and does not wait on the POA&M.
fn deficiencies(basis: &Basis<'_>, score: &Score) -> Vec<Obstacle> {
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
struct Clock {
    deadline: Timestamp,
    controls: Vec<ControlId>,
}

impl Clock {
    /// The earliest conditional status that something not met dates from.
    ///
    /// Items of either kind and accepted risks count: moving an item off the POA&M does not stop
    /// the clock. A completed one counts until the requirement is assessed again. A date in the
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
            .filter(|p| lost(p) && !reassessed(basis.controls, p))
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

    fn expired(&self, now: Timestamp) -> Option<Obstacle> {
        let expired = || Obstacle::Expired {
            on: self.deadline,
            controls: self.controls.clone(),
        };
        (now > self.deadline).then(expired)
    }
}

/// Whether an item was completed, and its requirement decided anew since: what is wrong today is
/// something else.
fn reassessed(controls: &[Control], plan: &Plan) -> bool {
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

fn cautions(controls: &[Control]) -> Vec<Caution> {
    let met = || controls.iter().filter(|c| c.standing() == Standing::Met);
    let not_applicable = controls
        .iter()
        .filter(|c| c.standing() == Standing::NotApplicable);
    let unproven = |c: &&Control| c.objectives.iter().all(|o| o.support.valid == 0);
    let unsaid = |text: Option<&String>| text.is_none_or(|text| text.trim().is_empty());
    let unexplained = |c: &&Control| unsaid(c.notes.as_ref()) && unsaid(c.provider_duties.as_ref());

    let (bare, silent) = (
        met().filter(unproven).count(),
        met().filter(unexplained).count(),
    );
    let mut cautions = Vec::new();
    cautions.extend((bare > 0).then_some(Caution::MetWithoutEvidence { count: bare }));
    cautions.extend((silent > 0).then_some(Caution::MetWithoutMethod { count: silent }));

    let unshown = not_applicable.filter(unproven).count();
    cautions
        .extend((unshown > 0).then_some(Caution::NotApplicableWithoutEvidence { count: unshown }));

    cautions
}

/// The first of many things, for one line.
fn few(missing: &[String]) -> String {
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

fn day(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%d").to_string()
}
