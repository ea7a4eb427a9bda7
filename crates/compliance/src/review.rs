//! The review of logged events (3.3.3): which event types are new since the last review, which have
//! fallen silent, which are refused most, and which involve CUI. Prepared here, judged by a person.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use model::facts::{EventFacts, EventType};
use model::{ControlId, Span, Timestamp};

/// The requirement.
pub const CONTROL: ControlId = ControlId::known("3.3.3");
/// Description of a signed review among the evidence.
pub const TITLE: &str = "Review of logged events";
/// A review is valid for a quarter, plus some days to make the next one.
pub const VALID: Span = Span::days(100);
/// Precedes the list of event types at the end of a review, which the next review compares with.
const TYPES_HEADING: &str = "\nTypes of events:\n";
/// Maximum number of most refused types.
const REFUSED_MAX: usize = 10;

/// A review to be judged by a person.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Review {
    /// Types that the last review did not list; all types if there was none.
    pub new: Vec<String>,
    /// Types that the last review listed and that were not seen since.
    pub silent: Vec<String>,
    /// The most refused types, with the numbers of refused events and of all events.
    pub refused: Vec<(String, u64, u64)>,
    /// Types that involve CUI, with their number of events.
    pub cui: Vec<(String, u64)>,
    types: BTreeSet<String>,
    total: u64,
}

fn type_name(t: &EventType) -> String {
    // No line ends: the list is read back line by line.
    format!("{} {}.{}", t.source, t.category, t.action)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

impl Review {
    /// Compares the logged events with the text of the last review.
    pub fn of(events: &EventFacts, last: Option<&str>) -> Self {
        let types: BTreeSet<String> = events.types.iter().map(type_name).collect();
        let before: BTreeSet<String> = last
            .and_then(|text| text.rsplit_once(TYPES_HEADING))
            .map(|(_, list)| {
                list.lines()
                    .map(str::to_owned)
                    .filter(|l| !l.is_empty())
                    .collect()
            })
            .unwrap_or_default();

        let mut refused: Vec<_> = events
            .types
            .iter()
            .filter(|t| t.refused > 0)
            .map(|t| (type_name(t), t.refused, t.events))
            .collect();
        refused.sort_by_key(|r| std::cmp::Reverse(r.1));
        refused.truncate(REFUSED_MAX);

        let mut cui: Vec<_> = events
            .types
            .iter()
            .filter(|t| t.cui > 0)
            .map(|t| (type_name(t), t.cui))
            .collect();
        cui.sort_by_key(|c| std::cmp::Reverse(c.1));

        Self {
            new: types.difference(&before).cloned().collect(),
            silent: before.difference(&types).cloned().collect(),
            refused,
            cui,
            types,
            total: events.total,
        }
    }

    /// Returns the text that a person signs. The next review parses the list at its end.
    pub fn text(&self, now: Timestamp, days: u16) -> String {
        let mut text = format!(
            "Review of logged events (3.3.3), {now}: {} events of {} types in {days} days\n",
            self.total,
            self.types.len()
        );
        let mut part = |title: &str, lines: Vec<String>| {
            let lines = if lines.is_empty() {
                vec!["none".to_owned()]
            } else {
                lines
            };

            let _ = writeln!(text, "\n{title}:");
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
        };

        part("New since the last review", self.new.clone());
        part("Silent since the last review", self.silent.clone());
        part(
            "Most refused",
            self.refused
                .iter()
                .map(|(t, n, of)| format!("{t}: {n} of {of}"))
                .collect(),
        );

        part(
            "Touch CUI",
            self.cui.iter().map(|(t, n)| format!("{t}: {n}")).collect(),
        );
        text.push_str(TYPES_HEADING);

        for t in &self.types {
            text.push_str(t);
            text.push('\n');
        }

        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_facts(actions: &[(&str, u64, u64)]) -> EventFacts {
        let of = |(action, refused, cui): &(&str, u64, u64)| EventType {
            source: "audit_db".to_owned(),
            category: "data".to_owned(),
            action: (*action).to_owned(),
            events: 10,
            refused: *refused,
            cui: *cui,
            ..EventType::default()
        };

        EventFacts {
            total: 10,
            types: actions.iter().map(of).collect(),
            ..EventFacts::default()
        }
    }

    #[test]
    fn review_compares_with_the_last_one() {
        let now = Timestamp::from_secs(1_800_000_000);
        let first = Review::of(&event_facts(&[("export", 0, 0), ("read", 3, 2)]), None);
        assert_eq!(first.new.len(), 2, "all is new at first");
        let second = Review::of(
            &event_facts(&[("read", 1, 0), ("a\nb", 0, 0)]),
            Some(&first.text(now, 30)),
        );
        assert_eq!(second.new, ["audit_db data.a b"]);

        assert_eq!(second.silent, ["audit_db data.export"]);
        assert_eq!(first.refused, [("audit_db data.read".to_owned(), 3, 10)]);
        assert_eq!(first.cui, [("audit_db data.read".to_owned(), 2)]);
        assert!(
            Review::of(
                &event_facts(&[("read", 0, 0), ("a\nb", 0, 0)]),
                Some(&second.text(now, 30))
            )
            .new
            .is_empty()
        );
    }
}
