//! The posture: four parts from 0 to 100, or unknown, and their mean. Each says what it was counted
//! from. What could not be known is never a number.
//!
//! A report for the people who run the system, and no assessment: the DoD score and the status under
//! 32 CFR 170 are [`crate::claim`]'s.

use model::posture::{Grounds, Handled, Part, Posture, RedTeam, Rules, SourceShare};
use model::{Severity, Timestamp};

/// Points from the lowest DoD score, -203, to the highest, 110.
const POINTS_BELOW_ZERO: i32 = 203;
const POINTS_IN_ALL: f64 = 313.0;
/// What an overdue legal clock costs.
const OVERDUE_COSTS: f64 = 20.0;
/// The fewest known parts of which a mean says something.
const KNOWN_MIN: usize = 3;

/// What a finding or a module weighs.
pub const fn weight(severity: Severity) -> u64 {
    match severity {
        Severity::Critical => 10,
        Severity::High => 5,
        Severity::Medium => 2,
        Severity::Low => 1,
        Severity::Info => 0,
    }
}

fn known(score: f64, basis: String) -> Part {
    Part {
        score: Some(round(score)),
        basis,
    }
}

fn unknown(why: impl Into<String>) -> Part {
    Part {
        score: None,
        basis: why.into(),
    }
}

/// Counts the posture.
pub fn count(grounds: &Grounds, at: Timestamp) -> Posture {
    let compliance = compliance(&grounds.points);
    let redteam = redteam(grounds.redteam.as_ref());
    let monitoring = monitoring(&grounds.sources, grounds.rules);
    let incident = incident(grounds.handled);

    let parts = [&compliance, &redteam, &monitoring, &incident];
    let known: Vec<f64> = parts.iter().filter_map(|part| part.score).collect();
    let is_known = compliance.score.is_some() && known.len() >= KNOWN_MIN;
    let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
    Posture {
        at,
        overall: is_known.then(|| round(mean)),
        points: grounds.points.as_ref().ok().copied(),
        compliance,
        redteam,
        monitoring,
        incident,
    }
}

/// The share of the DoD score's range that these points are, from 0 to 100.
pub fn percent_of_points(points: i32) -> f64 {
    100.0 * f64::from(points + POINTS_BELOW_ZERO) / POINTS_IN_ALL
}

fn compliance(points: &Result<i32, String>) -> Part {
    match points {
        Ok(points) => known(
            percent_of_points(*points),
            format!("DoD score {points}, on a scale from -203 to 110"),
        ),
        Err(why) => unknown(why),
    }
}

/// The part that red teams say, of what they found and of what was tried.
pub fn redteam(found: Option<&RedTeam>) -> Part {
    let Some(found) = found else {
        return unknown("no red team or scanner report was imported");
    };
    let sum = |counts: &[(Severity, u64)]| -> u64 {
        let weights = counts.iter().map(|(severity, n)| weight(*severity) * n);
        weights.sum()
    };
    let number = |counts: &[(Severity, u64)]| -> u64 { counts.iter().map(|(_, n)| n).sum() };
    let (open, tested) = (sum(&found.open), sum(&found.modules));
    if tested == 0 {
        return unknown("no module gave a verdict in the last 90 days");
    }
    let share = 1.0 - open as f64 / tested as f64;
    let basis = format!(
        "{} (weight {open}), {} with a verdict in the last 90 days (weight {tested})",
        counted(number(&found.open), "open finding", "open findings"),
        counted(number(&found.modules), "module", "modules"),
    );
    known(100.0 * share.max(0.0), basis)
}

fn monitoring(sources: &[SourceShare], rules: Rules) -> Part {
    if sources.is_empty() {
        return unknown("no source is known");
    }
    if rules.in_force == 0 {
        return known(0.0, "no rule is in force".to_owned());
    }
    let seen: f64 = sources
        .iter()
        .map(|source| source.share.clamp(0.0, 1.0))
        .sum();
    let seen = seen / sources.len() as f64;
    let ready = rules.ready.min(rules.in_force) as f64 / rules.in_force as f64;
    let basis = format!(
        "{}, on average seen {:.1} % of the last 30 days; {} of {} see all that they need and were \
         tested in that time",
        counted(sources.len() as u64, "source", "sources"),
        100.0 * seen,
        rules.ready,
        counted(rules.in_force, "rule", "rules"),
    );
    known(100.0 * seen * ready, basis)
}

fn incident(handled: Handled) -> Part {
    if handled.due == 0 && handled.overdue_clocks == 0 {
        return unknown("no alert and no incident was due in the last 90 days");
    }
    let share = handled.in_time.min(handled.due) as f64 / handled.due.max(1) as f64;
    let score = 100.0 * share - OVERDUE_COSTS * handled.overdue_clocks as f64;
    let basis = format!(
        "{} of {} handled in time in the last 90 days; {} overdue",
        handled.in_time,
        counted(handled.due, "alert or incident", "alerts and incidents"),
        counted(handled.overdue_clocks, "legal clock", "legal clocks"),
    );
    known(score.max(0.0), basis)
}

fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// To one decimal.
fn round(score: f64) -> f64 {
    (score * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grounds() -> Grounds {
        Grounds {
            points: Ok(88),
            redteam: Some(RedTeam {
                open: vec![(Severity::High, 1), (Severity::Low, 5)],
                modules: vec![(Severity::Critical, 3), (Severity::High, 4)],
            }),
            sources: vec![
                SourceShare {
                    source_id: "audit_db".to_owned(),
                    share: 1.0,
                },
                SourceShare {
                    source_id: "sshd".to_owned(),
                    share: 0.5,
                },
            ],
            rules: Rules {
                in_force: 20,
                ready: 18,
            },
            handled: Handled {
                due: 50,
                in_time: 48,
                overdue_clocks: 1,
            },
        }
    }

    fn of(grounds: &Grounds) -> Posture {
        count(grounds, Timestamp::from_micros(0))
    }

    #[test]
    fn each_part_is_counted_as_documented() {
        let posture = of(&grounds());
        assert_eq!(posture.compliance.score, Some(93.0)); // 100 × 291 / 313
        assert_eq!(posture.redteam.score, Some(80.0)); // 100 × (1 − 10 / 50)
        assert_eq!(posture.monitoring.score, Some(67.5)); // 100 × 0.75 × 0.9
        assert_eq!(posture.incident.score, Some(76.0)); // 96 − 20
        assert_eq!(posture.overall, Some(79.1));
        assert!(percent_of_points(-203).abs() < 1e-9);
        assert!((percent_of_points(110) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn there_is_no_overall_without_compliance_or_with_two_parts() {
        let no_plan = Grounds {
            points: Err("there is no approved system security plan".to_owned()),
            ..grounds()
        };
        let posture = of(&no_plan);
        assert_eq!((posture.overall, posture.compliance.score), (None, None));
        assert!(posture.compliance.basis.contains("plan"));

        let quiet = Grounds {
            handled: Handled::default(),
            ..grounds()
        };
        assert_eq!(of(&quiet).incident.score, None, "nothing was due");
        assert!(of(&quiet).overall.is_some(), "three are known");
        let untested = Grounds {
            redteam: None,
            ..quiet.clone()
        };
        assert_eq!(of(&untested).overall, None, "two are known");
    }

    #[test]
    fn what_could_not_be_known_is_no_number() {
        // A report in which every module was inconclusive proves nothing.
        let inconclusive = Grounds {
            redteam: Some(RedTeam::default()),
            ..grounds()
        };
        assert_eq!(of(&inconclusive).redteam.score, None);
        // No source, so nothing is silent: that is no full score.
        let deaf = Grounds {
            sources: Vec::new(),
            ..grounds()
        };
        assert_eq!(of(&deaf).monitoring.score, None);
        // Rules that are all off see nothing.
        let off = Grounds {
            rules: Rules::default(),
            ..grounds()
        };
        assert_eq!(of(&off).monitoring.score, Some(0.0));
    }

    proptest! {
        #[test]
        fn no_part_leaves_its_scale(
            points in -203..=110_i32,
            open in 0..1000_u64,
            tested in 0..1000_u64,
            share in -1.0..2.0_f64,
            in_force in 0..50_u64,
            ready in 0..100_u64,
            due in 0..100_u64,
            in_time in 0..200_u64,
            overdue_clocks in 0..20_u64,
        ) {
            let posture = of(&Grounds {
                points: Ok(points),
                redteam: Some(RedTeam {
                    open: vec![(Severity::Medium, open)],
                    modules: vec![(Severity::Medium, tested)],
                }),
                sources: vec![SourceShare { source_id: "x".to_owned(), share }],
                rules: Rules { in_force, ready },
                handled: Handled { due, in_time, overdue_clocks },
            });
            let scores = posture.parts().map(|(_, part)| part.score);
            for score in scores.into_iter().chain([posture.overall]).flatten() {
                prop_assert!((0.0..=100.0).contains(&score), "{score}");
            }
        }
    }
}
