//! The posture: four parts and their mean, what each was counted from, and how that was earlier.

use model::Timestamp;
use model::posture::Posture;

use super::{cover, format_day};
use crate::document::{Block, Document, Point, Trend};
use crate::system::System;

/// What is said in place of a number that is not known.
const UNKNOWN: &str = "unknown";

/// The posture, and what it is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Postures<'a> {
    /// The description of the system.
    pub system: &'a System,
    /// The posture now.
    pub now: &'a Posture,
    /// An earlier one.
    pub earlier: Option<&'a Posture>,
    /// Those that were kept, the oldest first.
    pub kept: &'a [Posture],
}

/// Builds the report.
pub fn build_report(known: &Postures<'_>) -> Document {
    let posture = known.now;
    let mut cover = cover::subject(known.system);
    cover.push(cover::prepared_by(known.system));
    let mut doc = Document {
        title: "Security Posture".to_owned(),
        subtitle: vec!["For the people who run the system; no assessment.".to_owned()],
        marking: known.system.marking.clone(),
        date: format_day(posture.at),
        cover,
        designation: cover::designation(known.system),
        blocks: Vec::new(),
    };

    doc.heading(1, "Where we stand").text(summary(posture));
    let earlier = known.earlier;
    let since = earlier.map_or_else(|| "earlier".to_owned(), |then| format_day(then.at));
    // Without an earlier posture there is nothing beside it, which is not the same as unknown.
    let before = |score: Option<f64>| match earlier {
        Some(_) => score_text(score),
        None => "-".to_owned(),
    };
    let row = |name: &str, now: Option<f64>, then: Option<f64>, basis: &str| {
        vec![
            name.to_owned(),
            score_text(now),
            before(then),
            change_text(now, then),
            basis.to_owned(),
        ]
    };
    let then = earlier.map(Posture::parts);
    let parts = posture.parts().into_iter().enumerate();
    let mut rows: Vec<Vec<String>> = parts
        .map(|(n, (name, part))| {
            let then = then.and_then(|parts| parts[n].1.score);
            row(name, part.score, then, &part.basis)
        })
        .collect();
    let then = earlier.and_then(|then| then.overall);
    rows.push(row(
        "overall",
        posture.overall,
        then,
        overall_basis(posture),
    ));
    doc.table(&["Part", "Score", &since, "Change", "Counted from"], rows);

    add_trend(&mut doc, known.kept, posture.at);
    doc.heading(1, "How it is counted").list(vec![
        "Each part is a number from 0 to 100, or unknown where what it needs was not there: never a guess."
            .to_owned(),
        "Compliance: the DoD score's place between -203 and 110. Without an approved system security \
         plan there is none."
            .to_owned(),
        "Red team: 100 less the weight of open findings in the weight of the modules that gave a verdict \
         in the last 90 days; critical 10, high 5, medium 2, low 1."
            .to_owned(),
        "Monitoring: the share of the last 30 days in which each source could be seen, on average, by \
         the share of rules that see their sources and were tested in that time."
            .to_owned(),
        "Incidents: the share of the last 90 days' alerts and incidents that were handled in time, less \
         20 for each legal clock that has run out."
            .to_owned(),
        "Overall: the mean of the known parts, if at least three are known and compliance is one of them."
            .to_owned(),
    ]);
    doc
}

/// The posture in a sentence.
pub fn summary(posture: &Posture) -> String {
    let unknown: Vec<&str> = posture
        .parts()
        .into_iter()
        .filter(|(_, part)| part.score.is_none())
        .map(|(name, _)| name)
        .collect();
    let unknown = if unknown.is_empty() {
        String::new()
    } else {
        format!(" Not known: {}.", unknown.join(", "))
    };
    match posture.overall {
        Some(overall) => format!("The overall posture is {overall:.1} of 100.{unknown}"),
        None => format!("There is no overall posture: too little is known.{unknown}"),
    }
}

const fn overall_basis(posture: &Posture) -> &'static str {
    match posture.overall {
        Some(_) => "the mean of the known parts",
        None => "fewer than three parts are known, or compliance is not",
    }
}

/// A score as text.
pub fn score_text(score: Option<f64>) -> String {
    score.map_or_else(|| UNKNOWN.to_owned(), |score| format!("{score:.1}"))
}

/// What became of a score, as text.
pub fn change_text(now: Option<f64>, before: Option<f64>) -> String {
    match (now, before) {
        (Some(now), Some(before)) => format!("{:+.1}", now - before),
        _ => "-".to_owned(),
    }
}

/// The overall posture over time, when there is more than one.
fn add_trend(doc: &mut Document, kept: &[Posture], now: Timestamp) {
    let (Some(first), true) = (kept.first(), kept.len() > 1) else {
        return;
    };
    let points = kept
        .iter()
        .map(|posture| Point {
            at: posture.at.as_micros().div_euclid(1_000_000),
            day: format_day(posture.at),
            value: posture.overall.map(|overall| overall.round() as i32),
        })
        .collect();
    let label = format!(
        "The overall posture from {} to {}.",
        format_day(first.at),
        format_day(now)
    );
    doc.add(Block::Trend(Trend::new(
        label,
        points,
        100,
        0,
        "none".to_owned(),
    )));
}

#[cfg(test)]
mod tests {
    use model::posture::Part;

    use super::*;

    fn part(score: Option<f64>) -> Part {
        Part {
            score,
            basis: "a test".to_owned(),
        }
    }

    #[test]
    fn what_is_not_known_is_said_and_not_zero() {
        let posture = Posture {
            at: Timestamp::from_micros(0),
            overall: None,
            compliance: part(None),
            redteam: part(None),
            monitoring: part(Some(71.25)),
            incident: part(Some(100.0)),
            points: None,
        };
        let system = System::default();
        let known = Postures {
            system: &system,
            now: &posture,
            earlier: None,
            kept: &[],
        };
        let text = build_report(&known).markdown();
        assert!(text.contains("There is no overall posture"), "{text}");
        assert!(text.contains("Not known: compliance, red team."), "{text}");
        assert!(!text.contains("| 0.0 |"), "{text}");
        assert_eq!(change_text(Some(50.0), Some(62.5)), "-12.5");
        assert_eq!(change_text(Some(50.0), None), "-");
    }
}
