//! The weekly and monthly reviews of upkeep (SecureGuard, Maintenance Procedures): what they are
//! evidence of, and when the next one is due. A person judges and signs them. Decision 0053.

use model::evidence::UpkeepReview;
use model::{Control, ControlId, Evidence, Span, Timestamp};

use crate::dates::format_day;
use crate::reminders::Reminder;

/// The requirement that a review is evidence of: 3.3.5 (review of audit records) for the weekly one,
/// 3.1.7 (privileged functions are logged) for the monthly one, which reads the audit log by actor.
pub const fn control(review: UpkeepReview) -> ControlId {
    match review {
        UpkeepReview::Weekly => ControlId::known("3.3.5"),
        UpkeepReview::Monthly => ControlId::known("3.1.7"),
    }
}

/// The objective that it supports.
pub const fn objective(review: UpkeepReview) -> &'static str {
    match review {
        UpkeepReview::Weekly => "3.3.5[b]",
        UpkeepReview::Monthly => "3.1.7[d]",
    }
}

/// Its description among the evidence.
pub const fn title(review: UpkeepReview) -> &'static str {
    match review {
        UpkeepReview::Weekly => "Weekly review of upkeep",
        UpkeepReview::Monthly => "Monthly review of upkeep",
    }
}

/// How long one is valid: its period, plus some days to make the next one.
pub const fn valid(review: UpkeepReview) -> Span {
    match review {
        UpkeepReview::Weekly => Span::days(10),
        UpkeepReview::Monthly => Span::days(38),
    }
}

/// The reviews that are overdue. They begin with the first decision of the assessment, or with the
/// first review that is signed.
pub fn reminders(controls: &[Control], evidence: &[Evidence], now: Timestamp) -> Vec<Reminder> {
    let begun = controls
        .iter()
        .flat_map(|c| &c.objectives)
        .filter_map(|o| o.decision.as_ref())
        .map(|decision| decision.at)
        .min();

    UpkeepReview::ALL
        .iter()
        .copied()
        .filter_map(|review| {
            let signed = evidence.iter().filter(|e| e.upkeep == Some(review));
            let last = signed.filter_map(|e| e.approved_at).max();
            let by = last.or(begun)?.plus(valid(review));
            if by > now {
                return None;
            }

            let signed = last.map_or_else(
                || "was never signed".to_owned(),
                |at| format!("was last signed on {}", format_day(at)),
            );
            Some(Reminder {
                key: format!("upkeep {review} late {}", format_day(by)),
                control_id: control(review),
                late: true,
                by: Some(by),
                what: format!(
                    "the {review} review of upkeep {signed}; `blueteam upkeep review --{review}` \
                        prepares it"
                ),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use model::{EvidenceId, EvidenceKind};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_overdue_review_is_reminded_of_until_that_review_is_signed() {
        let now = Timestamp::from_secs(1_800_000_000);
        let signed = |review: UpkeepReview, days| Evidence {
            approved_at: Some(now.minus(Span::days(days))),
            review: true,
            upkeep: Some(review),
            ..Evidence::draft(
                EvidenceId(Uuid::from_u128(1)),
                control(review),
                EvidenceKind::LogSample,
                "alice",
                now,
            )
        };
        let keys = |evidence: &[Evidence]| -> Vec<String> {
            let found = reminders(&[], evidence, now);
            found.into_iter().map(|r| r.what).collect()
        };

        assert!(keys(&[]).is_empty(), "nobody has begun");
        assert!(keys(&[signed(UpkeepReview::Weekly, 9)]).is_empty());
        let late = keys(&[signed(UpkeepReview::Weekly, 11)]);
        assert_eq!(late.len(), 1);
        assert!(
            late[0].contains("`blueteam upkeep review --weekly`"),
            "{late:?}"
        );

        // The monthly one does not stand in for the weekly one, and neither does another review.
        let other = Evidence {
            upkeep: None,
            ..signed(UpkeepReview::Weekly, 0)
        };
        let both = [
            signed(UpkeepReview::Weekly, 11),
            signed(UpkeepReview::Monthly, 1),
            other,
        ];
        assert_eq!(keys(&both), late);
        assert_eq!(keys(&[signed(UpkeepReview::Monthly, 39)]).len(), 1);
    }
}
