//! The score of the DoD Assessment Methodology v1.2.1, adopted by 32 CFR 170.24(c): 110 less the
//! weights of the requirements that are not met.
//!
//! These counts are not a claim: [`crate::claim`] decides whether there is a score at all.

use model::assessment::Objective;
use model::{Control, ControlId, Standing};
use serde::Serialize;

use crate::catalog::{Catalog, Requirement};

/// The system security plan: without it there is no score at all.
pub const PLAN: ControlId = ControlId::known("3.12.4");
/// Plans of action: lost as well if an unmet requirement is not planned (DoDAM v1.2.1 5(g)(iii)).
pub const PLANS_OF_ACTION: ControlId = ControlId::known("3.12.2");
/// The maximum score.
pub const MAX_SCORE: i32 = 110;

/// Points lost for one requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deduction {
    /// The requirement.
    pub control_id: ControlId,
    /// Number of points.
    pub points: u8,
    /// Where the requirement stands.
    pub standing: Standing,
    /// Whether the partial weight applied.
    pub partial: bool,
    /// 3.12.2 is lost because unmet requirements are on no plan.
    pub for_lack_of_plans: bool,
}

/// The counts and deductions behind a score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Lost points, in catalog order.
    pub deductions: Vec<Deduction>,
    /// Number of requirements that are met or not applicable.
    pub met: usize,
    /// Number of requirements decided as not met.
    pub not_met: usize,
    /// Number of requirements that are undecided or rest on lapsed evidence; they count as not met.
    pub open: usize,
    /// Unmet requirements that are on no plan of action.
    pub unplanned: Vec<ControlId>,
}

impl Score {
    /// Counts the standings. A requirement missing from `controls` is not assessed.
    pub(crate) fn of(catalog: &Catalog, controls: &[Control]) -> Self {
        let standing = |r: &Requirement| {
            let found = controls.iter().find(|c| c.control_id == r.control_id);
            found.map_or((Standing::NotAssessed, false, false), |c| {
                // What is undecided or stale may be not met as well: no part of the weight is sure.
                let is_open =
                    |o: &Objective| matches!(o.standing(), Standing::NotAssessed | Standing::Stale);
                let partial = c.partial_credit && !c.objectives.iter().any(is_open);
                (c.standing(), partial, c.planned)
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

            // It has no weight: without a plan there is no score to deduct from.
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

    /// Deducts 3.12.2 if an unmet requirement is on no plan and 3.12.2 is not lost already.
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

    /// Returns the sum of lost points, without 3.12.4.
    pub fn lost(&self) -> i32 {
        self.deductions.iter().map(|d| i32::from(d.points)).sum()
    }
}
