//! The score of the DoD Assessment Methodology v1.2.1, which 32 CFR 170.24(c) took over: 110 less
//! the weights of what is not met.
//!
//! What is counted here is not a claim. Whether there is a score at all is decided in
//! [`crate::claim`].

use model::{Control, ControlId, Standing};
use serde::Serialize;

use crate::catalog::{Catalog, Requirement};

/// The system security plan: without it there is no score at all.
pub const PLAN: ControlId = ControlId::known("3.12.4");
/// Plans of action: lost as well when something is not met and not planned (DoDAM v1.2.1
/// 5(g)(iii)).
pub const PLANS_OF_ACTION: ControlId = ControlId::known("3.12.2");
/// All points.
pub const MOST: i32 = 110;

/// Points that were lost, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deduction {
    /// The requirement.
    pub control_id: ControlId,
    /// How many points.
    pub points: u8,
    /// Where the requirement stands.
    pub standing: Standing,
    /// The partial score was taken.
    pub partial: bool,
    /// 3.12.2 is lost for requirements that nobody plans to meet.
    pub for_lack_of_plans: bool,
}

/// What a score is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Score {
    /// What was lost, in the order of the catalog.
    pub deductions: Vec<Deduction>,
    /// Requirements that are met or do not apply.
    pub met: usize,
    /// That are not met by a decision.
    pub not_met: usize,
    /// That nobody has decided, or whose evidence has lapsed: they count as not met.
    pub open: usize,
    /// Not met, and on no plan of action.
    pub unplanned: Vec<ControlId>,
}

impl Score {
    /// Counts. A requirement that is missing from `controls` is not assessed.
    pub(crate) fn of(catalog: &Catalog, controls: &[Control]) -> Self {
        let standing = |r: &Requirement| {
            let found = controls.iter().find(|c| c.control_id == r.control_id);
            found.map_or((Standing::NotAssessed, false, false), |c| {
                (c.standing(), c.partial_credit, c.planned)
            })
        };

        let mut score = Self {
            deductions: Vec::new(),
            met: 0,
            not_met: 0,
            open: 0,
            unplanned: Vec::new(),
        };

        for r in &catalog.requirements {
            let (standing, partial, planned) = standing(r);
            match standing {
                Standing::Met | Standing::NotApplicable => score.met += 1,
                Standing::NotMet => score.not_met += 1,
                Standing::Stale | Standing::NotAssessed => score.open += 1,
            }

            // It has no weight: without it there is no score to deduct from.
            if r.control_id == PLAN {
                continue;
            }

            if standing.counts() {
                continue;
            }

            if standing == Standing::NotMet && !planned {
                score.unplanned.push(r.control_id.clone());
            }

            let partial = partial && r.partial_weight.is_some() && standing == Standing::NotMet;
            let points = if partial {
                r.partial_weight
            } else {
                r.dod_weight
            };

            let points = points.unwrap_or_default();
            score.deductions.push(Deduction {
                control_id: r.control_id.clone(),
                points,
                standing,
                partial,
                for_lack_of_plans: false,
            });
        }

        score.lose_plans_of_action(catalog);
        score
    }

    /// What is not met and on no plan costs 3.12.2 too, if it is not lost already.
    fn lose_plans_of_action(&mut self, catalog: &Catalog) {
        let lost = self
            .deductions
            .iter()
            .any(|d| d.control_id == PLANS_OF_ACTION);
        if self.unplanned.is_empty() || lost {
            return;
        }

        let points = catalog
            .get(&PLANS_OF_ACTION)
            .and_then(|r| r.dod_weight)
            .unwrap_or_default();
        self.met -= 1;
        self.not_met += 1;

        self.deductions.push(Deduction {
            control_id: PLANS_OF_ACTION,
            points,
            standing: Standing::NotMet,
            partial: false,
            for_lack_of_plans: true,
        });

        self.deductions.sort_by_key(|d| d.control_id.order());
    }

    /// Points that were lost, 3.12.4 aside.
    pub fn lost(&self) -> i32 {
        self.deductions.iter().map(|d| i32::from(d.points)).sum()
    }
}
