//! For whoever decides on money and people: two pages on what happened, what it means, what changed,
//! what is needed, and what it costs to do nothing.

use model::period::Period;
use model::{Evidence, Plan, Span, Validity};

use super::posture::{Postures, change_text, score_text, summary};
use super::{counted, cover, format_day, maybe_day};
use crate::claim::Claim;
use crate::cmmc::CONDITIONAL_FROM;
use crate::document::Document;

/// Items that are named one by one.
const NAMED: usize = 3;
/// How far ahead things are announced.
const AHEAD: Span = Span::days(30);
/// A part that moved by less has not changed.
const MOVED: f64 = 0.5;

/// What the report is written from.
#[derive(Clone, Copy, Debug)]
pub struct Executive<'a> {
    /// The posture, and an earlier one.
    pub postures: Postures<'a>,
    /// What happened.
    pub period: &'a Period,
    /// Score and status.
    pub claim: &'a Claim,
    /// Plans of action, closed ones too.
    pub plans: &'a [Plan],
    /// Evidence.
    pub evidence: &'a [Evidence],
}

/// Builds the report.
pub fn build_report(known: &Executive<'_>) -> Document {
    let system = known.postures.system;
    let period = known.period;
    let mut doc = Document {
        title: "Executive Summary".to_owned(),
        subtitle: vec![format!(
            "Security from {} to {}",
            format_day(period.from),
            format_day(period.until)
        )],
        marking: system.marking.clone(),
        date: format_day(period.until),
        cover: cover::subject(system),
        designation: cover::designation(system),
        blocks: Vec::new(),
    };

    doc.heading(1, "What happened");
    what_happened(&mut doc, period);
    doc.heading(1, "What it means");
    what_it_means(&mut doc, known);
    doc.heading(1, "What changed").list(what_changed(known));
    doc.heading(1, "What is needed").list(what_is_needed(known));
    doc.heading(1, "What it costs to do nothing")
        .list(what_nothing_costs(known));
    doc
}

fn what_happened(doc: &mut Document, period: &Period) {
    let alerts: u64 = period.alerts.iter().map(|of| of.alerts).sum();
    let seen: u64 = period.alerts.iter().map(|of| of.acknowledged).sum();
    let text = format!(
        "{}, of which someone has looked at {seen}. {} detected, {} closed; {} open today.",
        number(alerts, "alert", "alerts"),
        number(period.detected, "incident was", "incidents were"),
        period.closed,
        period.open
    );
    doc.text(text);
    if period.incidents.is_empty() {
        return;
    }
    let rows = period
        .incidents
        .iter()
        .map(|one| {
            vec![
                format_day(one.at),
                one.severity.to_string(),
                one.title.clone(),
                if one.cui_involved { "yes" } else { "no" }.to_owned(),
                one.status.to_string(),
            ]
        })
        .collect();
    doc.table(
        &["Day", "Severity", "Incident", "CUI touched", "Status"],
        rows,
    );
}

fn what_it_means(doc: &mut Document, known: &Executive<'_>) {
    let posture = known.postures.now;
    doc.text(format!(
        "{} DoD score: {}. Status under 32 CFR 170: {}.",
        summary(posture),
        known.claim.score_text(),
        known.claim.level()
    ));
    let rows = posture
        .parts()
        .into_iter()
        .map(|(name, part)| vec![name.to_owned(), score_text(part.score), part.basis.clone()])
        .collect();
    doc.table(&["Part", "Of 100", "Counted from"], rows);
}

fn what_changed(known: &Executive<'_>) -> Vec<String> {
    let Some(earlier) = known.postures.earlier else {
        return vec!["There is no earlier posture to compare with yet.".to_owned()];
    };
    let now = known.postures.now;
    let mut changes = Vec::new();
    for ((name, part), (_, before)) in now.parts().into_iter().zip(earlier.parts()) {
        match (part.score, before.score) {
            (Some(now), Some(then)) if (now - then).abs() < MOVED => {}
            (Some(_), Some(_)) => changes.push(format!(
                "{name}: {} ({} since {})",
                score_text(part.score),
                change_text(part.score, before.score),
                format_day(earlier.at)
            )),
            (Some(_), None) => changes.push(format!(
                "{name}: {}, which was not known before",
                score_text(part.score)
            )),
            (None, Some(_)) => changes.push(format!("{name}: no longer known ({})", part.basis)),
            (None, None) => {}
        }
    }
    let period = known.period;
    let in_period = |at| at >= period.from && at < period.until;
    let done = known
        .plans
        .iter()
        .filter(|plan| plan.completed.is_some_and(in_period));
    let new = known.plans.iter().filter(|plan| in_period(plan.created_at));
    let (done, new) = (done.count(), new.count());
    if done + new > 0 {
        changes.push(format!(
            "Plan of action: {} completed, {new} new",
            counted(done, "item", "items")
        ));
    }
    if changes.is_empty() {
        changes.push(format!("Nothing of note since {}.", format_day(earlier.at)));
    }
    changes
}

fn what_is_needed(known: &Executive<'_>) -> Vec<String> {
    let now = known.period.until;
    let mut needed = Vec::new();
    if known.period.unreported > 0 {
        needed.push(format!(
            "Decide and report: {} to DoD within 72 hours of discovery (DFARS 252.204-7012).",
            number(
                known.period.unreported,
                "open incident may have to be reported",
                "open incidents may have to be reported"
            )
        ));
    }

    let mut late: Vec<&Plan> = known
        .plans
        .iter()
        .filter(|plan| plan.is_overdue(now))
        .collect();
    late.sort_by_key(|plan| plan.due);
    if !late.is_empty() {
        needed.push(format!(
            "People or money for {} of the plan of action: {}.",
            counted(late.len(), "overdue item", "overdue items"),
            named(&late)
        ));
    }
    let is_soon = |plan: &&Plan| {
        plan.status.is_open()
            && plan
                .due
                .is_some_and(|due| due >= now && due < now.plus(AHEAD))
    };
    let mut soon: Vec<&Plan> = known.plans.iter().filter(is_soon).collect();
    soon.sort_by_key(|plan| plan.due);
    if !soon.is_empty() {
        needed.push(format!(
            "Within 30 days, {}: {}.",
            counted(soon.len(), "item is due", "items are due"),
            named(&soon)
        ));
    }

    let lapsing = known
        .evidence
        .iter()
        .filter(|piece| matches!(piece.validity(now), Validity::Lapsing | Validity::Lapsed));
    let lapsing = lapsing.count();
    if lapsing > 0 {
        needed.push(format!(
            "New evidence for {} that lapsed or will within 30 days.",
            counted(lapsing, "piece", "pieces")
        ));
    }
    for (name, part) in known.postures.now.parts() {
        if part.score.is_none() {
            needed.push(format!("{name} is not known: {}.", part.basis));
        }
    }
    if needed.is_empty() {
        needed.push("No decision is waiting.".to_owned());
    }
    needed
}

/// The first items, with their day and owner.
fn named(plans: &[&Plan]) -> String {
    let mut names: Vec<String> = plans
        .iter()
        .take(NAMED)
        .map(|plan| {
            let owner = plan.owner.as_deref().unwrap_or("no owner");
            format!(
                "{} ({}, due {})",
                plan.control_id,
                owner,
                maybe_day(plan.due)
            )
        })
        .collect();
    if plans.len() > NAMED {
        names.push(format!("{} more", plans.len() - NAMED));
    }
    names.join(", ")
}

fn what_nothing_costs(known: &Executive<'_>) -> Vec<String> {
    let claim = known.claim;
    let mut costs = Vec::new();
    match claim.points() {
        None => costs.push(format!(
            "There is no score to submit to SPRS ({}). A contract that requires a current assessment \
             cannot be awarded without one.",
            claim.no_score().unwrap_or_default()
        )),
        Some(points) if points < CONDITIONAL_FROM => costs.push(format!(
            "The score of {points} is below {CONDITIONAL_FROM}: no conditional CMMC status is possible, \
             and a contract that requires Level 2 goes to someone else (32 CFR 170.21)."
        )),
        Some(_) => {}
    }
    if let Some(until) = claim.until() {
        costs.push(format!(
            "The conditional status ends on {} unless every open item is closed by then (32 CFR 170.21(b)).",
            format_day(until)
        ));
    }
    if known.period.unreported > 0 {
        costs.push(
            "An incident that must be reported and is not is a breach of contract (DFARS 252.204-7012), \
             and may be a false claim when compliance was affirmed."
                .to_owned(),
        );
    }
    let unseen: u64 = known
        .period
        .alerts
        .iter()
        .map(|of| of.alerts - of.acknowledged.min(of.alerts))
        .sum();
    if unseen > 0 {
        costs.push(format!(
            "{} that nobody has looked at: what is missed now is found by someone else later.",
            number(unseen, "alert", "alerts")
        ));
    }
    if costs.is_empty() {
        costs.push("Nothing that is known today has a price of its own.".to_owned());
    }
    costs
}

fn number(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use model::posture::{Grounds, Handled, Rules};
    use model::{ControlId, PlanId, RiskLevel, Timestamp};

    use super::*;
    use crate::catalog::Catalog;
    use crate::claim::Basis;
    use crate::system::System;

    fn overdue(now: Timestamp) -> Plan {
        let id = PlanId(uuid::Uuid::from_u128(1));
        Plan {
            due: Some(now.minus(Span::days(3))),
            owner: Some("Dana Reyes".to_owned()),
            ..Plan::new(id, ControlId::known("3.5.3"), RiskLevel::High, now)
        }
    }

    #[test]
    fn what_is_late_or_not_known_is_said_with_its_name() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let grounds = Grounds {
            points: Err("no DoD score: the plan is not approved".to_owned()),
            redteam: None,
            sources: Vec::new(),
            rules: Rules::default(),
            handled: Handled::default(),
        };
        let posture = crate::posture::count(&grounds, now);
        let system = System::default();
        let plans = [overdue(now)];
        let claim = Claim::of(&Basis {
            catalog: Catalog::r2(),
            system: None,
            controls: &[],
            evidence: &[],
            plans: &plans,
            now,
        });
        let period = Period {
            from: now.minus(Span::days(30)),
            until: now,
            alerts: Vec::new(),
            incidents: Vec::new(),
            detected: 0,
            closed: 0,
            open: 1,
            unreported: 1,
        };
        let text = build_report(&Executive {
            postures: Postures {
                system: &system,
                now: &posture,
                earlier: None,
                kept: &[],
            },
            period: &period,
            claim: &claim,
            plans: &plans,
            evidence: &[],
        })
        .markdown();
        for part in [
            "1 open incident may have to be reported",
            "1 overdue item",
            "3.5.3 (Dana Reyes, due 2027-01-",
            "red team is not known: no red team or scanner report was imported",
            "There is no score to submit to SPRS",
            "0 incidents were detected, 0 closed; 1 open today",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
