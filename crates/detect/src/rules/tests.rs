//! Every built-in rule at its boundaries, through the engine, with handmade events.

mod engine;
mod exact;
mod logs;
mod order;
mod sigma;
mod spread;
mod texts;
mod thresholds;

use std::net::IpAddr;

use model::event::{Details, Provenance, UserId};
use model::{
    Category, Detection, DetectionUpdate, EventId, Outcome, SecurityEvent, Source, Span, Timestamp,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Engine, Settings};

/// Returns a Monday at ten, well inside business hours, plus `secs`.
fn at(secs: i64) -> Timestamp {
    Timestamp::parse("2026-03-02T10:00:00Z")
        .unwrap()
        .plus(Span::secs(secs))
}

/// An event to be completed by a test.
#[derive(Clone, Debug)]
struct Draft {
    n: u128,
    at: Timestamp,
    category: Category,
    action: &'static str,
    result: Outcome,
    source: Source,
    user: Option<u128>,
    ip: Option<&'static str>,
    agent: Option<&'static str>,
    session: Option<&'static str>,
    host: Option<&'static str>,
    method: Option<&'static str>,
    resource: Option<String>,
    tenant: Option<u128>,
    cui: bool,
    times: u32,
    metadata: Value,
}

fn draft_event(secs: i64, category: Category, action: &'static str) -> Draft {
    Draft {
        // The time identifies the event, unless a test sets a number.
        n: (secs + 1_000_000_000) as u128,
        at: at(secs),
        category,
        action,
        result: Outcome::Success,
        source: Source::AuditDb,
        user: None,
        ip: None,
        agent: None,
        session: None,
        host: None,
        method: None,
        resource: None,
        tenant: None,
        cui: false,
        times: 1,
        metadata: json!({}),
    }
}

impl Draft {
    fn user(self, user: u128) -> Self {
        Self {
            user: Some(user),
            ..self
        }
    }
    fn ip(self, ip: &'static str) -> Self {
        Self {
            ip: Some(ip),
            ..self
        }
    }
    fn agent(self, agent: &'static str) -> Self {
        Self {
            agent: Some(agent),
            ..self
        }
    }
    fn session(self, session: &'static str) -> Self {
        Self {
            session: Some(session),
            ..self
        }
    }
    fn resource(self, resource: &str) -> Self {
        Self {
            resource: Some(resource.to_owned()),
            ..self
        }
    }
    fn tenant(self, tenant: u128) -> Self {
        Self {
            tenant: Some(tenant),
            ..self
        }
    }
    fn with_result(self, result: Outcome) -> Self {
        Self { result, ..self }
    }
    fn cui(self) -> Self {
        Self { cui: true, ..self }
    }
    fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }
    fn source(self, source: Source) -> Self {
        Self { source, ..self }
    }
    fn with_metadata(self, metadata: Value) -> Self {
        Self { metadata, ..self }
    }
    /// Makes it another event of the same second.
    fn with_number(self, n: u128) -> Self {
        Self {
            n: self.n + (n << 64),
            ..self
        }
    }

    fn to_event(&self) -> SecurityEvent<'static> {
        let mut event = SecurityEvent::new(
            EventId::from_u128(self.n),
            self.at,
            self.source,
            self.category,
            self.action.to_owned().into(),
            self.result,
        );
        event.user_id = self.user.map(|user| UserId::Uuid(Uuid::from_u128(user)));

        event.ip_address = self.ip.map(|ip| ip.parse::<IpAddr>().unwrap());
        event.user_agent = self.agent.map(Into::into);
        event.session_id = self.session.map(Into::into);
        event.resource_type = self.method.map(Into::into);
        event.resource_id = self.resource.clone().map(Into::into);
        event.instance_id = self.tenant.map(Uuid::from_u128);
        event.provenance = self.host.map(|host| {
            Box::new(Provenance {
                host: Some(host.into()),
                pid: Some(7),
                ..Provenance::default()
            })
        });
        event.cui_involved = self.cui;
        event.occurrences = self.times;
        event.details = Details::from_json(self.metadata.to_string());

        event.classify()
    }
}

fn failed_login(secs: i64) -> Draft {
    draft_event(secs, Category::Auth, "login_failed")
        .with_result(Outcome::Failure)
        .ip("203.0.113.9")
}

fn only_rule(rule: &str) -> Settings {
    Settings {
        only: vec![rule.to_owned()],
        ..Settings::default()
    }
}

fn rule_with_params(rule: &str, params: Value) -> Settings {
    Settings {
        rules: [(rule.to_owned(), params)].into(),
        ..only_rule(rule)
    }
}

fn new_engine(settings: Settings) -> Engine {
    Engine::new(settings).unwrap()
}

/// Runs an engine over events to the end of the input.
fn run_in(engine: &mut Engine, events: &[Draft]) -> Vec<Detection> {
    for event in events {
        engine.push(&event.to_event());
    }
    engine.finish();
    drain_changes(engine)
        .into_iter()
        .map(|change| change.detection)
        .collect()
}

fn run_events(settings: Settings, events: &[Draft]) -> Vec<Detection> {
    run_in(&mut new_engine(settings), events)
}

fn drain_changes(engine: &mut Engine) -> Vec<DetectionUpdate> {
    let mut changes = Vec::new();
    engine.drain(false, |change| changes.push(change));
    changes
}

/// Returns how many detections a rule makes of these events.
fn count_detections(rule: &str, events: &[Draft]) -> usize {
    let found = run_events(only_rule(rule), events);
    assert!(
        found.iter().all(|d| d.rule_id.as_str() == rule),
        "{found:?}"
    );
    found.len()
}

/// Checks cases: name, expected number of detections, events.
fn check_cases(rule: &str, cases: &[(&str, usize, Vec<Draft>)]) {
    for (what, expected, events) in cases {
        assert_eq!(count_detections(rule, events), *expected, "{rule}: {what}");
    }
}

#[test]
fn every_rule_file_is_listed_under_a_unique_id() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "tests")
        .collect();

    let mut ids: Vec<String> = super::ALL.iter().map(|d| d.info.id.to_string()).collect();
    files.sort();
    ids.sort();
    assert_eq!(files, ids, "one file per rule, named after it");

    for definition in super::ALL {
        let info = definition.info;
        assert!(
            !info.controls.is_empty() && !info.attack.is_empty() && !info.description.is_empty(),
            "{}",
            info.id
        );
    }
}
