//! Monitors: numbers that are measured on a schedule and must stay below a threshold. One file
//! each, and this list.
//!
//! What is over its threshold is an alert like any other (`monitor_<name>`): opened once, routed
//! and silenced as a rule's are, and closed when the value has been at 90 % of the threshold or
//! less for `clear_after`. What a monitor says, its values and its alert are one transaction.

mod archiving;
mod backups;
mod certificates;
mod certificates_1_day;
mod certificates_7_days;
mod connections;
mod database_access;
mod expiry;
mod failed_logins;
mod lockouts;
mod policy_violations;

mod slow_queries;
pub mod step;
mod storage;

use std::path::PathBuf;
use std::pin::Pin;

pub use backups::{Backup, Backups, Unfit, newest_backups};
pub use expiry::{Expiry, SOON};

use model::{ControlId, RuleId, Severity, Span, Timestamp};
use store::PgConnection;

/// Every monitor.
pub const ALL: &[&Monitor] = &[
    &failed_logins::MONITOR,
    &lockouts::MONITOR,
    &policy_violations::MONITOR,
    &database_access::MONITOR,
    &slow_queries::MONITOR,
    &connections::MONITOR,
    &storage::MONITOR,
    &backups::MONITOR,
    &archiving::MONITOR,
    &certificates::MONITOR,
    &certificates_7_days::MONITOR,
    &certificates_1_day::MONITOR,
];

/// A number that must stay below a threshold.
#[derive(Debug)]
pub struct Monitor {
    /// Its name in the configuration and the database.
    pub name: &'static str,
    /// What it measures, as the beginning of a sentence.
    pub what: &'static str,
    /// The unit of value and threshold, as it follows a number.
    pub unit: &'static str,
    /// The threshold, unless the configuration has another.
    pub threshold: f64,
    /// How bad it is to be above it.
    pub severity: Severity,
    /// Requirements that its alerts give evidence for.
    pub controls: &'static [ControlId],
    /// Measures.
    pub measure: Measure,
}

/// How a monitor measures.
pub type Measure = for<'a> fn(&'a mut Around<'_>) -> Measuring<'a>;
/// A measurement under way.
pub type Measuring<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Measured>> + Send + 'a>>;

/// What a monitor may look at.
pub struct Around<'a> {
    /// The database, as the engine's role.
    pub conn: &'a mut PgConnection,
    /// The present.
    pub now: Timestamp,
    /// Since when events have not been looked at yet.
    pub since: Timestamp,
    /// Its threshold.
    pub threshold: f64,
    /// File systems that must not fill up.
    pub storage: &'a [PathBuf],
    /// Whether one of these holds the database.
    pub holds_database: bool,
    /// Where backups appear: paths whose last part may hold `*`.
    pub backups: &'a [String],
    /// The certificates that blueteam presents.
    pub certificates: &'a [Expiry],
}

/// What a monitor found.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// A value, and what stands behind it.
    Value(f64, String),
    /// Worse than any number, and why.
    Worst(String),
    /// Nothing, and why not.
    NotWatched(String),
}

impl Monitor {
    /// The rule of its alerts, for routing, silences and exceptions.
    pub fn rule_id(&self) -> RuleId {
        RuleId(format!("monitor_{}", self.name).into())
    }

    /// A value of it, for people.
    pub fn show(&self, value: f64) -> String {
        let number = if value.fract().abs() < 0.05 {
            format!("{value:.0}")
        } else {
            format!("{value:.1}")
        };
        format!("{number}{}", self.unit)
    }

    /// A value without its unit, where that is more than a sign: beside a value that has it.
    pub fn number(&self, value: f64) -> String {
        if self.unit.trim().contains(' ') {
            self.show(value).replace(self.unit, "")
        } else {
            self.show(value)
        }
    }

    /// It as a row of the table of rules.
    pub fn rule(&self) -> store::rules::Rule {
        store::rules::Rule {
            rule_id: self.rule_id(),
            name: self.what.to_owned(),
            description: format!(
                "{}: more than {} by default.",
                self.what,
                self.show(self.threshold)
            ),
            severity: self.severity,
            nist_controls: self.controls.to_vec(),
        }
    }
}

/// The monitor of that name.
pub fn named(name: &str) -> Option<&'static Monitor> {
    ALL.iter().find(|m| m.name == name).copied()
}

/// How many events there were in the busiest window since the last look.
async fn busiest_tables(
    around: &mut Around<'_>,
    counted: store::monitors::Counted,
    window: Span,
) -> anyhow::Result<Measured> {
    let most = store::monitors::busiest(around.conn, &counted, window, around.since).await?;
    // Nobody counts so many events that a float could not.
    Ok(Measured::Value(
        most as f64,
        format!("in the busiest {window} since the last look"),
    ))
}
