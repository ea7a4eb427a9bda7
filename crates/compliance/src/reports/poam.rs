//! The plan of action and milestones: the two kinds apart, each item with its rule and deadlines.

use model::{Control, Plan, PlanKind, RiskLevel, Timestamp};

use super::{counted, cover, format_day, maybe_day};
use crate::catalog::Catalog;
use crate::document::{Block, Document};
use crate::poam::{close_out, due_after_close_out};
use crate::system::System;

/// The plans of action, and what they are about.
#[derive(Clone, Copy, Debug)]
pub struct Plans<'a> {
    /// The framework.
    pub catalog: &'a Catalog,
    /// The description of the system.
    pub system: &'a System,
    /// Findings, for what a requirement costs.
    pub controls: &'a [Control],
    /// The items, including closed ones.
    pub plans: &'a [Plan],
    /// The time of the report.
    pub now: Timestamp,
}

impl Plans<'_> {
    /// Returns what a requirement costs while it is not met: less with its partial score.
    fn points(&self, plan: &Plan) -> String {
        let Some(r) = self.catalog.get(&plan.control_id) else {
            return String::new();
        };
        let partial = self
            .controls
            .iter()
            .any(|c| c.control_id == plan.control_id && c.partial_credit);

        match (r.dod_weight, r.partial_weight.filter(|_| partial)) {
            (_, Some(points)) => format!("{points} (partial score)"),
            (Some(points), None) => points.to_string(),
            (None, None) => "no score".to_owned(),
        }
    }

    /// Returns the day on which an item is due, and whether that is too late.
    fn due(&self, plan: &Plan) -> String {
        let late = if plan.is_overdue(self.now) {
            " OVERDUE"
        } else if due_after_close_out(plan, self.plans).is_some() {
            " AFTER CLOSE-OUT"
        } else {
            ""
        };
        format!("{}{late}", maybe_day(plan.due))
    }
}

/// Builds the report of both plans.
pub fn build_report(known: &Plans<'_>) -> Document {
    let s = known.system;
    // A system that is not described yet has CUI all the same.
    let marking = Some(s.marking.clone()).filter(|marking| !marking.trim().is_empty());
    let system = System {
        marking: marking.unwrap_or_else(|| "CUI".to_owned()),
        ..s.clone()
    };

    let mut cover = cover::subject(&system);
    cover.push(cover::prepared_by(&system));
    let mut doc = Document {
        title: "Plan of Action and Milestones".to_owned(),
        subtitle: vec![format!("{}, 3.12.2; 32 CFR 170.21", known.catalog.name())],
        marking: system.marking.clone(),
        date: format_day(known.now),
        cover,
        designation: cover::designation(&system),
        blocks: Vec::new(),
    };

    doc.heading(1, "What is missing")
        .add(Block::Gaps(gaps(known, &system)));
    add_chapters(&mut doc, known);
    doc
}

/// Lists what a reader of the plans will ask for.
fn gaps(known: &Plans<'_>, system: &System) -> Vec<String> {
    let wanted = ["name:", "organization", "designation"];
    let mut gaps: Vec<String> = system
        .missing()
        .into_iter()
        .filter(|what| wanted.iter().any(|start| what.starts_with(start)))
        .collect();

    let open = |lacks: &dyn Fn(&Plan) -> bool| {
        let plans = known.plans.iter().filter(|p| p.status.is_open());
        plans.filter(|p| lacks(p)).count()
    };
    let mut note = |n: usize, what: &str| {
        if n > 0 {
            gaps.push(format!(
                "{} {what}",
                counted(n, "open item has", "open items have")
            ));
        }
    };
    note(open(&|p| p.owner.is_none()), "no owner");
    note(open(&|p| p.due.is_none()), "no day by which it is done");
    note(open(&|p| p.milestones.is_none()), "no milestones");
    note(open(&|p| p.likelihood.is_none()), "no stated likelihood");

    gaps
}

/// Adds the chapters of both plans.
pub(super) fn add_chapters(doc: &mut Document, known: &Plans<'_>) {
    doc.heading(1, "POA&M for a conditional status").text(
        "Only requirements that 32 CFR 170.21(a)(2) allows; to be closed out within 180 days of \
            the conditional CMMC status date.",
    );
    add_items(doc, known, PlanKind::Poam);
    doc.heading(1, "Operational plan of action")
        .text("Everything else that is to be corrected. It gives no status.");
    add_items(doc, known, PlanKind::Operational);
}

fn add_items(doc: &mut Document, known: &Plans<'_>, kind: PlanKind) {
    let chosen: Vec<&Plan> = known.plans.iter().filter(|p| p.kind == kind).collect();
    let rows = chosen.iter().map(|p| {
        vec![
            p.name(),
            p.control_id.to_string(),
            p.weakness.clone(),
            known.points(p),
            p.risk.as_str().replace('_', " "),
            p.owner.clone().unwrap_or_else(|| "NOT STATED".to_owned()),
            known.due(p),
            maybe_day(close_out(p)),
            p.status.as_str().replace('_', " "),
        ]
    });

    let rows = rows.collect();
    doc.table(
        &[
            "Item",
            "Requirement",
            "Weakness",
            "Points",
            "Risk",
            "Owner",
            "Due",
            "Close out",
            "Status",
        ],
        rows,
    );

    for p in chosen {
        doc.heading(2, format!("{} {}", p.name(), p.control_id));
        let text = |t: &Option<String>| t.clone().unwrap_or_else(|| "not stated".to_owned());
        let r = known.catalog.get(&p.control_id);
        let mut points = vec![
            format!("Remediation: {}", p.remediation),
            format!("Milestones: {}", text(&p.milestones)),
            format!(
                "Milestone changes: {}",
                if p.milestone_changes.is_empty() {
                    "none"
                } else {
                    &p.milestone_changes
                }
            ),
            format!("Resources: {}", text(&p.resources)),
            format!("Found by: {}", text(&p.identified_by)),
            format!("Mitigation until then: {}", text(&p.mitigation)),
            format!(
                "Likelihood: {}; impact: {}; residual risk: {}",
                risk_words(p.likelihood),
                risk_words(p.impact.or(Some(p.risk))),
                risk_words(p.residual_risk)
            ),
        ];

        points.extend(
            r.and_then(|r| r.poam_note.as_ref())
                .map(|note| format!("Rule: {note}")),
        );
        if !p.tasks.is_empty() {
            points.push(format!("Tasks: {}", p.tasks.join(", ")));
        }

        if let Some(by) = &p.closed_by {
            let evidence = p
                .closing_evidence
                .map_or_else(String::new, |e| format!(", evidence {e}"));
            points.push(format!(
                "Closed by {by} on {}{evidence}",
                maybe_day(p.completed)
            ));
        }

        doc.list(points);
    }
}

/// Returns the words for a level; a level that nobody gave is named as such.
fn risk_words(level: Option<RiskLevel>) -> String {
    level.map_or_else(
        || "not stated".to_owned(),
        |level| level.as_str().replace('_', " "),
    )
}
