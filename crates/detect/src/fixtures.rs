//! A rule's fixtures: cases on which it must fire and cases on which it must not, as data beside
//! the rule.
//!
//! Each line is a JSON object. `{"case": …, "fires": true}` begins a case; the lines after it are
//! its events. Their fields are named as the columns of `audit_events`, plus `source`, `user_name`,
//! `account`, `host`, `pid` and `occurrences` for log events. `"times": 6, "every": "50s"` makes
//! six events of a line, in which `{n}` stands for 0 to 5.

use std::net::IpAddr;

use model::event::{Details, Provenance, UserId};
use model::{Category, EventId, Outcome, SecurityEvent, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::engine::{Engine, Settings, SettingsError};

/// Maximum number of events per line.
const TIMES_MAX: u32 = 10_000;

/// A test case: events, and whether the rule must fire on them.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Name of the case.
    pub name: String,
    /// Whether the rule must fire.
    pub fires: bool,
    /// The events, in order.
    pub events: Vec<SecurityEvent<'static>>,
}

/// The result of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Name of the case.
    pub case: String,
    /// Whether the rule must fire.
    pub fires: bool,
    /// Number of detections.
    pub detections: u64,
    /// Whether the case passed.
    pub ok: bool,
}

/// An error in a fixtures file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct FixtureError {
    /// Line number, from 1; 0 for an error of a whole case.
    pub line: usize,
    /// The problem.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    case: String,
    fires: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    timestamp: Timestamp,
    /// Read beforehand, because it determines how often the line is parsed.
    #[serde(rename = "times")]
    _times: Option<u32>,
    #[serde(default)]
    every: Option<Span>,
    #[serde(default)]
    source: Option<Source>,
    category: Category,
    action: String,
    result: Outcome,
    user_id: Option<Uuid>,
    user_name: Option<String>,
    /// The account that was acted upon or tried; `user_name` without it.
    account: Option<String>,
    /// The machine that logged it, and the process.
    host: Option<String>,
    pid: Option<u32>,
    session_id: Option<String>,
    ip_address: Option<String>,
    user_agent: Option<String>,
    resource_type: Option<String>,
    resource_id: Option<String>,
    instance_id: Option<Uuid>,
    #[serde(default)]
    cui_accessed: bool,
    #[serde(default = "default_occurrences")]
    occurrences: u32,
    metadata: Option<Value>,
}

const fn default_occurrences() -> u32 {
    1
}

impl Line {
    /// Returns the `n`th of its events, with the given id.
    fn into_event(self, n: u32, id: u128) -> Result<SecurityEvent<'static>, String> {
        let span = Span::micros(
            self.every
                .unwrap_or(Span::ZERO)
                .as_micros()
                .saturating_mul(i64::from(n)),
        );

        let ip = self
            .ip_address
            .map(|ip| {
                ip.parse::<IpAddr>()
                    .map_err(|_| format!("`{ip}` is not an address"))
            })
            .transpose()?;

        let mut event = SecurityEvent::new(
            EventId::from_u128(id),
            self.timestamp.plus(span),
            self.source.unwrap_or(Source::AuditDb),
            self.category,
            self.action.into(),
            self.result,
        );
        let account = self.account.or_else(|| self.user_name.clone());
        event.account_name = account.map(Into::into);
        if self.host.is_some() || self.pid.is_some() {
            event.provenance = Some(Box::new(Provenance {
                host: self.host.map(Into::into),
                pid: self.pid,
                ..Provenance::default()
            }));
        }

        event.user_id = self
            .user_id
            .map(UserId::Uuid)
            .or_else(|| self.user_name.map(|name| UserId::Name(name.into())));
        event.session_id = self.session_id.map(Into::into);
        event.ip_address = ip;
        event.user_agent = self.user_agent.map(Into::into);
        event.resource_type = self.resource_type.map(Into::into);

        event.resource_id = self.resource_id.map(Into::into);
        event.instance_id = self.instance_id;
        event.cui_involved = self.cui_accessed;
        event.occurrences = self.occurrences.max(1);
        if let Some(metadata) = self.metadata {
            event.details = Details::from_json(metadata.to_string());
        }

        Ok(event.classify())
    }
}

/// Parses the cases of a text; empty lines are ignored.
pub fn parse(text: &str) -> Result<Vec<Case>, FixtureError> {
    let mut cases: Vec<Case> = Vec::new();
    let mut id = 0;
    for (i, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let error = |message: String| FixtureError {
            line: i + 1,
            message,
        };

        let value: Value = serde_json::from_str(line).map_err(|e| error(e.to_string()))?;
        if value.get("case").is_some() {
            let head: Head = serde_json::from_value(value).map_err(|e| error(e.to_string()))?;
            cases.push(Case {
                name: head.case,
                fires: head.fires,
                events: Vec::new(),
            });
            continue;
        }

        let Some(case) = cases.last_mut() else {
            return Err(error(
                "an event before the first {\"case\": …, \"fires\": …}".to_owned(),
            ));
        };

        let times = value.get("times").and_then(Value::as_u64).unwrap_or(1);
        let times = u32::try_from(times)
            .ok()
            .filter(|n| (1..=TIMES_MAX).contains(n));
        let times = times.ok_or_else(|| error(format!("times: must be 1 to {TIMES_MAX}")))?;
        for n in 0..times {
            let line: Line = serde_json::from_str(&line.replace("{n}", &n.to_string()))
                .map_err(|e| error(e.to_string()))?;
            id += 1;
            case.events.push(line.into_event(n, id).map_err(error)?);
        }
    }
    match cases.iter().find(|case| case.events.is_empty()) {
        Some(case) => Err(FixtureError {
            line: 0,
            message: format!("the case `{}` has no events", case.name),
        }),
        None => Ok(cases),
    }
}

/// Runs each case in a new engine, and counts the detections of the rules with these ids.
pub fn run<E>(
    cases: &[Case],
    ids: &[&str],
    mut engine: impl FnMut() -> Result<Engine, E>,
) -> Result<Vec<Verdict>, E> {
    let mut verdicts = Vec::with_capacity(cases.len());
    for case in cases {
        let mut engine = engine()?;
        let mut detections = 0;
        for event in &case.events {
            engine.push(event);
        }

        engine.finish();
        engine.drain(false, |change| {
            detections += u64::from(ids.contains(&change.detection.rule_id.as_str()));
        });
        let ok = (detections > 0) == case.fires;
        verdicts.push(Verdict {
            case: case.name.clone(),
            fires: case.fires,
            detections,
            ok,
        });
    }

    Ok(verdicts)
}

/// Creates an engine with one built-in rule and its default parameters, as its fixtures expect.
pub fn single_rule_engine(id: &str) -> Result<Engine, SettingsError> {
    Engine::new(Settings {
        only: vec![id.to_owned()],
        ..Settings::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every built-in rule has fixtures on which it fires and on which it does not.
    #[test]
    fn rules_pass_fixtures_of_both_kinds() {
        let mut wrong = Vec::new();
        for definition in crate::rules::ALL {
            let id = definition.info.id.as_str();
            let cases = parse(definition.fixtures).unwrap_or_else(|error| panic!("{id}: {error}"));
            for fires in [true, false] {
                assert!(
                    cases.iter().any(|case| case.fires == fires),
                    "{id}: no fixture with fires = {fires}"
                );
            }
            for verdict in run(&cases, &[id], || single_rule_engine(id))
                .unwrap_or_else(|error| panic!("{id}: {error}"))
            {
                if !verdict.ok {
                    wrong.push(format!(
                        "{id}: {}: {} detections",
                        verdict.case, verdict.detections
                    ));
                }
            }
        }

        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn errors_name_their_line() {
        let head = r#"{"case": "x", "fires": true}"#;
        let event = r#""timestamp": "2026-03-02T10:00:00Z", "category": "auth", "action": "login", "result": "success""#;
        for (text, expected) in [
            (format!("{{{event}}}"), "line 1: an event before"),
            (
                format!("{head}\n{{{event}, \"color\": 1}}"),
                "line 2: unknown field `color`",
            ),
            (
                format!("{head}\n\n{{{event}, \"times\": 0}}"),
                "line 3: times: must be 1 to 10000",
            ),
            (
                format!("{head}\n{{{event}, \"ip_address\": \"here\"}}"),
                "line 2: `here` is not an address",
            ),
            (head.to_owned(), "line 0: the case `x` has no events"),
            (format!("{head}\nx"), "line 2: expected value"),
        ] {
            let error = parse(&text)
                .err()
                .map(|e| e.to_string())
                .unwrap_or_default();
            assert!(error.starts_with(expected), "{text}: {error}");
        }

        let made = parse(&format!(
            "{head}\n{{{event}, \"times\": 3, \"every\": \"5s\", \"resource_id\": \"/{{n}}\"}}"
        ));
        let events = made
            .map(|cases| {
                cases
                    .into_iter()
                    .flat_map(|case| case.events)
                    .collect::<Vec<_>>()
            })
            .unwrap_or_default();

        let seen: Vec<_> = events
            .iter()
            .map(|e| (e.timestamp.as_secs() % 60, e.resource_id.as_deref()))
            .collect();
        assert_eq!(seen, [(0, Some("/0")), (5, Some("/1")), (10, Some("/2"))]);
    }
}
