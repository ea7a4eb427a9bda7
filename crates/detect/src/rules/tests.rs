//! Every built-in rule at its boundaries, through the engine, with events made by hand.

mod engine;
mod exact;
mod logs;
mod order;
mod sigma;
mod thresholds;

use std::net::IpAddr;

use model::event::{Details, UserId};
use model::{
    Category, Change, Detection, EventId, Outcome, SecurityEvent, Source, Span, Timestamp,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Engine, Settings};

/// A Monday at ten, well inside business hours, plus `secs`.
fn at(secs: i64) -> Timestamp {
    Timestamp::parse("2026-03-02T10:00:00Z")
        .unwrap()
        .plus(Span::secs(secs))
}

/// An event to be filled in by hand.
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
    resource: Option<String>,
    tenant: Option<u128>,
    cui: bool,
    times: u32,
    metadata: Value,
}

fn draft(secs: i64, category: Category, action: &'static str) -> Draft {
    Draft {
        // Told apart by time unless a test says otherwise.
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
    fn result(self, result: Outcome) -> Self {
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
    fn meta(self, metadata: Value) -> Self {
        Self { metadata, ..self }
    }
    /// Another event of the same second.
    fn n(self, n: u128) -> Self {
        Self {
            n: self.n + (n << 64),
            ..self
        }
    }

    fn event(&self) -> SecurityEvent<'static> {
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
        event.resource_id = self.resource.clone().map(Into::into);
        event.instance_id = self.tenant.map(Uuid::from_u128);
        event.cui_involved = self.cui;
        event.occurrences = self.times;
        event.details = Details::from_json(self.metadata.to_string());

        event.classify()
    }
}

fn failure(secs: i64) -> Draft {
    draft(secs, Category::Auth, "login_failed")
        .result(Outcome::Failure)
        .ip("203.0.113.9")
}

fn only(rule: &str) -> Settings {
    Settings {
        only: vec![rule.to_owned()],
        ..Settings::default()
    }
}

fn with(rule: &str, params: Value) -> Settings {
    Settings {
        rules: [(rule.to_owned(), params)].into(),
        ..only(rule)
    }
}

fn engine(settings: Settings) -> Engine {
    Engine::new(settings).unwrap()
}

/// What an engine tells of these events, to the end.
fn run_in(engine: &mut Engine, events: &[Draft]) -> Vec<Detection> {
    for event in events {
        engine.push(&event.event());
    }
    engine.finish();
    drain(engine)
        .into_iter()
        .map(|change| change.detection)
        .collect()
}

fn run(settings: Settings, events: &[Draft]) -> Vec<Detection> {
    run_in(&mut engine(settings), events)
}

fn drain(engine: &mut Engine) -> Vec<Change> {
    let mut changes = Vec::new();
    engine.drain(false, |change| changes.push(change));
    changes
}

/// How many detections a rule makes of these events.
fn count(rule: &str, events: &[Draft]) -> usize {
    let found = run(only(rule), events);
    assert!(
        found.iter().all(|d| d.rule_id.as_str() == rule),
        "{found:?}"
    );
    found.len()
}

/// Each case: what it is, how many detections, the events.
fn check(rule: &str, cases: &[(&str, usize, Vec<Draft>)]) {
    for (what, expected, events) in cases {
        assert_eq!(count(rule, events), *expected, "{rule}: {what}");
    }
}

#[test]
fn every_file_is_in_the_list_and_ids_are_unique() {
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
    assert_eq!(files, ids, "one file a rule, named after it");

    for definition in super::ALL {
        let info = definition.info;
        assert!(
            !info.controls.is_empty() && !info.attack.is_empty() && !info.description.is_empty(),
            "{}",
            info.id
        );
    }
}
