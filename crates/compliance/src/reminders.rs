//! Compliance work that is due soon or overdue: lapsing evidence, the review of logged events, the
//! reviews of upkeep, plans of action, assessments.

use model::evidence::Validity;
use model::{Control, ControlId, Evidence, ObjectiveId, Plan, Span, Timestamp};
use serde::Serialize;

use crate::dates::format_day;
use crate::poam::close_out;
use crate::review;

/// How long before a due date its reminder fires; for evidence, see [`model::evidence::REMIND`].
const REMIND_BEFORE: Span = Span::days(14);
/// How many days before the end of a conditional status its reminders fire.
const CLOSE_OUT_DAYS: [i64; 3] = [60, 30, 7];

/// Work that is due soon or overdue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reminder {
    /// Identifies item and stage, so that each reminder is sent once. At most 100 bytes.
    pub key: String,
    /// The requirement.
    pub control_id: ControlId,
    /// Whether it is overdue.
    pub late: bool,
    /// The due date.
    pub by: Option<Timestamp>,
    /// Description in one line. Parts of it are untrusted text.
    pub what: String,
}

/// Puts overdue work first.
pub fn sort(reminders: &mut [Reminder]) {
    reminders.sort_by(|a, b| (!a.late, a.by, &a.key).cmp(&(!b.late, b.by, &b.key)));
}

/// Returns the work of the assessment that is due at `now`, overdue work first; reviews of upkeep are
/// [`crate::upkeep::reminders`]. `evidence` holds only the last result
/// of each check.
pub fn due(
    controls: &[Control],
    evidence: &[Evidence],
    plans: &[Plan],
    now: Timestamp,
) -> Vec<Reminder> {
    let mut found: Vec<Reminder> = evidence_reminders(evidence, now);

    // Before the first decision the assessment has not begun, and no review is due.
    if controls
        .iter()
        .flat_map(|c| &c.objectives)
        .any(|o| o.decision.is_some())
    {
        found.extend(review_reminder(evidence, now));
    }
    found.extend(
        plans
            .iter()
            .filter(|p| p.status.is_open())
            .filter_map(|p| plan_reminder(p, now)),
    );
    found.extend(controls.iter().filter_map(|c| {
        let what = format!("{} is to be assessed again", c.control_id);
        let late = due_state(c.due?, REMIND_BEFORE, now)?;
        let key = format!(
            "control {} {} {}",
            c.control_id,
            due_state_word(late),
            format_day(c.due?)
        );

        Some(Reminder {
            key,
            control_id: c.control_id.clone(),
            late,
            by: c.due,
            what,
        })
    }));
    sort(&mut found);
    found
}

/// Returns whether work is overdue; `None` if it is not due soon either.
fn due_state(by: Timestamp, before: Span, now: Timestamp) -> Option<bool> {
    (by <= now.plus(before)).then_some(by <= now)
}

const fn due_state_word(late: bool) -> &'static str {
    if late { "late" } else { "soon" }
}

fn evidence_reminders(evidence: &[Evidence], now: Timestamp) -> Vec<Reminder> {
    let lasting: std::collections::HashSet<&ObjectiveId> = evidence
        .iter()
        .filter(|e| e.validity(now) == Validity::Valid)
        .flat_map(|e| &e.objectives)
        .collect();
    let replaced =
        |e: &Evidence| !e.objectives.is_empty() && e.objectives.iter().all(|o| lasting.contains(o));
    let own = |e: &&Evidence| e.recorded.is_none() && !e.review && !replaced(e);
    let mut found: Vec<Reminder> = evidence
        .iter()
        .filter(own)
        .filter_map(|e| {
            let late = match e.validity(now) {
                Validity::Lapsed => true,
                Validity::Lapsing => false,
                // What is tampered with is no matter of days.
                Validity::Valid | Validity::Draft | Validity::Refused | Validity::Tampered => {
                    return None;
                }
            };

            let verb = if late { "has lapsed" } else { "lapses" };
            Some(Reminder {
                key: format!("evidence {} {}", e.evidence_id, due_state_word(late)),
                control_id: e.control_id.clone(),
                late,
                by: e.valid_until,
                what: format!("evidence of {} {verb}: {}", e.control_id, e.description),
            })
        })
        .collect();

    // All checks run together, so one line says that they did not.
    let old: Vec<&Evidence> = evidence
        .iter()
        .filter(|e| e.recorded.is_some() && e.validity(now) == Validity::Lapsed)
        .collect();
    if let Some(first) = old.iter().min_by_key(|e| e.valid_until) {
        found.push(Reminder {
            key: format!(
                "checks late {}",
                first.valid_until.map(format_day).unwrap_or_default()
            ),
            control_id: first.control_id.clone(),
            late: true,
            by: first.valid_until,
            what: format!(
                "the results of {} checks have lapsed; `blueteam compliance evidence` runs them",
                old.len()
            ),
        });
    }

    found
}

fn review_reminder(evidence: &[Evidence], now: Timestamp) -> Option<Reminder> {
    let reviews = evidence.iter().filter(|e| e.review && e.upkeep.is_none());
    let last = reviews.filter_map(|e| e.approved_at).max();
    let by = last.map(|at| at.plus(review::VALID));
    let late = by.map_or(Some(true), |by| due_state(by, REMIND_BEFORE, now))?;

    let what = match last {
        None => {
            "the list of logged events was never reviewed; `blueteam compliance review` prepares it"
                .to_owned()
        }
        Some(at) => {
            format!(
                "the list of logged events was last reviewed on {}; `blueteam compliance review` prepares it",
                format_day(at)
            )
        }
    };

    let key = format!(
        "review {} {}",
        due_state_word(late),
        by.map_or_else(|| "first".to_owned(), format_day)
    );
    Some(Reminder {
        key,
        control_id: review::CONTROL,
        late,
        by,
        what,
    })
}

/// Returns the worse of the item's own due date and the 180 days.
fn plan_reminder(plan: &Plan, now: Timestamp) -> Option<Reminder> {
    let (id, control) = (plan.poam_id, &plan.control_id);
    let own = plan.due.and_then(|by| {
        let late = due_state(by, REMIND_BEFORE, now)?;
        let what = format!(
            "plan of action {} for {control} is {}: {}",
            plan.name(),
            if late { "overdue" } else { "due" },
            plan.weakness
        );
        let key = format!("plan {id} {} {}", due_state_word(late), format_day(by));

        Some(Reminder {
            key,
            control_id: control.clone(),
            late,
            by: Some(by),
            what,
        })
    });

    let clock = close_out(plan).and_then(|by| {
        let days = CLOSE_OUT_DAYS
            .into_iter()
            .rev()
            .find(|days| by <= now.plus(Span::days(*days)))?;
        let late = by < now;
        let what = if late {
            format!(
                "the 180 days of the conditional status are over, and {control} is not closed out \
                    (32 CFR 170.21(b))"
            )
        } else {
            format!(
                "{control} must be closed out within {days} days, or the conditional status \
                    expires (32 CFR 170.21(b))"
            )
        };

        let stage = if late {
            "late".to_owned()
        } else {
            days.to_string()
        };

        let key = format!("close-out {id} {stage} {}", format_day(by));
        Some(Reminder {
            key,
            control_id: control.clone(),
            late,
            by: Some(by),
            what,
        })
    });

    match (own, clock) {
        (Some(own), Some(clock)) => Some(if own.late && !clock.late { own } else { clock }),
        (own, clock) => clock.or(own),
    }
}

#[cfg(test)]
mod tests {
    use model::{
        Decision, EvidenceId, EvidenceKind, Finding, Objective, PlanId, PlanKind, PlanStatus,
        RiskLevel, Support,
    };
    use uuid::Uuid;

    use super::*;

    const DAY: Span = Span::days(1);

    fn now() -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    fn evidence_valid_for(n: u128, until: Span, objectives: &[&str]) -> Evidence {
        let id = EvidenceId(Uuid::from_u128(n));
        let control = ControlId::known("3.1.1");
        Evidence {
            objectives: objectives
                .iter()
                .map(|o| ObjectiveId((*o).to_owned()))
                .collect(),
            description: "policy".to_owned(),
            valid_until: Some(now().plus(until)),
            approved_at: Some(now().minus(Span::days(300))),
            ..Evidence::draft(id, control, EvidenceKind::PolicyDoc, "alice", now())
        }
    }

    fn key_kinds(found: &[Reminder]) -> Vec<&str> {
        found
            .iter()
            .map(|r| r.key.split(' ').next().unwrap())
            .collect()
    }

    #[test]
    fn evidence_reminders_fire_a_month_before_and_at_expiry() {
        let far = evidence_valid_for(1, Span::days(31), &["3.1.1[a]"]);
        assert_eq!(due(&[], std::slice::from_ref(&far), &[], now()), []);
        let near = evidence_valid_for(2, Span::days(29), &["3.1.1[b]"]);
        let over = Evidence {
            valid_until: Some(now().minus(DAY)),
            ..evidence_valid_for(3, DAY, &["3.1.1[c]"])
        };

        let found = due(&[], &[far.clone(), near.clone(), over], &[], now());
        assert_eq!(
            found.iter().map(|r| r.late).collect::<Vec<_>>(),
            [true, false],
            "overdue work comes first"
        );
        assert!(
            found[0].key.starts_with("evidence ") && found[0].key.ends_with(" late"),
            "{found:?}"
        );

        assert!(found[1].key.ends_with(" soon"), "{found:?}");
        let replaced = Evidence {
            objectives: far.objectives.clone(),
            ..near
        };

        assert_eq!(due(&[], &[far, replaced], &[], now()), []);
    }

    #[test]
    fn review_is_due_every_quarter_after_the_first_decision() {
        let objective = Objective {
            objective_id: ObjectiveId("3.1.1[a]".to_owned()),
            decision: Some(Decision {
                finding: Finding::NotMet,
                reason: "none".to_owned(),
                methods: Vec::new(),
                by: "alice".to_owned(),
                at: now(),
            }),
            proposal: None,
            support: Support::default(),
        };

        let control = Control {
            control_id: ControlId::known("3.1.1"),
            objectives: vec![objective],
            notes: None,
            evidence_type: None,
            assessor_notes: None,
            owner: None,
            due: None,
            responsibility: model::Responsibility::Own,
            provider: None,
            provider_duties: None,
            customer_duties: None,
            partial_credit: false,
            planned: false,
        };

        assert_eq!(
            key_kinds(&due(std::slice::from_ref(&control), &[], &[], now())),
            ["review"]
        );

        let signed = |days| Evidence {
            control_id: review::CONTROL,
            description: review::TITLE.to_owned(),
            approved_at: Some(now().minus(Span::days(days))),
            valid_until: None,
            review: true,
            ..evidence_valid_for(1, DAY, &["3.3.3[b]"])
        };

        let of = |days| due(std::slice::from_ref(&control), &[signed(days)], &[], now());
        assert_eq!(of(80), []);
        assert_eq!(of(90).first().map(|r| r.late), Some(false));
        assert_eq!(of(101).first().map(|r| r.late), Some(true));
        assert_ne!(of(90)[0].key, of(101)[0].key);
    }

    #[test]
    fn plans_are_due_on_their_own_date_and_after_180_days() {
        let plan = |due: i64, since: i64| Plan {
            kind: PlanKind::Poam,
            due: Some(now().plus(Span::days(due))),
            conditional_since: Some(now().minus(Span::days(since))),
            ..Plan::new(
                PlanId(Uuid::nil()),
                ControlId::known("3.1.9"),
                RiskLevel::Low,
                now(),
            )
        };

        let of = |due_in, since| due(&[], &[], &[plan(due_in, since)], now()).pop();
        assert_eq!(of(100, 100), None);
        assert!(of(100, 121).unwrap().key.contains(" 60 "));
        assert!(of(100, 151).unwrap().key.contains(" 30 "));
        assert!(of(100, 175).unwrap().key.contains(" 7 "));
        assert!(
            of(100, 181).unwrap().late,
            "the 180 days, whatever due date is set"
        );

        assert!(
            of(-1, 121).unwrap().key.starts_with("plan "),
            "overdue is the worse of the two"
        );
        assert!(of(10, 10).is_some_and(|r| !r.late && r.key.len() <= 100));

        let done = Plan {
            status: PlanStatus::Completed,
            ..plan(-1, 200)
        };

        assert_eq!(due(&[], &[], &[done], now()), []);
    }
}
