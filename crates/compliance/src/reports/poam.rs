//! The plan of action and milestones: the two kinds apart, each item with its rule and deadlines.

use model::{Plan, PlanKind, Timestamp};

use super::{format_day, maybe_day};
use crate::catalog::Catalog;
use crate::document::Document;
use crate::poam::close_out;

/// Builds the report of both plans.
pub fn build_report(catalog: &Catalog, plans: &[Plan], now: Timestamp) -> Document {
    let mut doc = Document {
        title: "Plan of Action and Milestones".to_owned(),
        subtitle: vec![format!("{}, 3.12.2; 32 CFR 170.21", catalog.name())],
        marking: "CUI".to_owned(),
        date: format_day(now),
        blocks: Vec::new(),
    };

    add_chapters(&mut doc, catalog, plans, now);
    doc
}

/// Adds the chapters of both plans.
pub(super) fn add_chapters(doc: &mut Document, catalog: &Catalog, plans: &[Plan], now: Timestamp) {
    doc.heading(1, "POA&M for a conditional status").text(
        "Only requirements that 32 CFR 170.21(a)(2) allows; to be closed out within 180 days of \
            the conditional CMMC status date.",
    );
    add_items(doc, catalog, plans, PlanKind::Poam, now);
    doc.heading(1, "Operational plan of action")
        .text("Everything else that is to be corrected. It gives no status.");
    add_items(doc, catalog, plans, PlanKind::Operational, now);
}

fn add_items(
    doc: &mut Document,
    catalog: &Catalog,
    plans: &[Plan],
    kind: PlanKind,
    now: Timestamp,
) {
    let chosen: Vec<&Plan> = plans.iter().filter(|p| p.kind == kind).collect();
    let rows = chosen.iter().map(|p| {
        let weight = catalog.get(&p.control_id).and_then(|r| r.dod_weight);
        let late = if p.is_overdue(now) { " OVERDUE" } else { "" };
        vec![
            p.control_id.to_string(),
            p.weakness.clone(),
            weight.map_or_else(|| "no score".to_owned(), |w| w.to_string()),
            p.risk.as_str().replace('_', " "),
            p.owner.clone().unwrap_or_else(|| "NOT STATED".to_owned()),
            format!("{}{late}", maybe_day(p.due)),
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
        let r = catalog.get(&p.control_id);
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
