//! The plan of action and milestones: the two kinds apart, each item with its rule and deadlines.

use model::{Control, Plan, PlanKind, Timestamp};

use super::{format_day, maybe_day};
use crate::catalog::Catalog;
use crate::document::Document;
use crate::poam::{close_out, due_after_close_out};

/// The plans of action, and what they are about.
#[derive(Clone, Copy, Debug)]
pub struct Plans<'a> {
    /// The framework.
    pub catalog: &'a Catalog,
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
    let mut doc = Document {
        title: "Plan of Action and Milestones".to_owned(),
        subtitle: vec![format!("{}, 3.12.2; 32 CFR 170.21", known.catalog.name())],
        marking: "CUI".to_owned(),
        date: format_day(known.now),
        blocks: Vec::new(),
    };

    add_chapters(&mut doc, known);
    doc
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
            "Id",
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
        doc.heading(2, format!("{} {}", p.control_id, p.poam_id));
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
