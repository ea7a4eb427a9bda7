//! Generates activity with attacks and the detections that they must cause, for the demonstration,
//! tests and benchmarks.
//!
//! The same seed gives the same activity. It contains no real data: addresses are from private and
//! documentation ranges.

mod episodes;
mod people;
mod workload;

use std::borrow::Cow;

use model::{Category, Outcome, Span, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use people::{Person, Role};
pub use workload::write_workload;

/// A random number generator that gives the same numbers everywhere: SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from `low` (inclusive) to `high` (exclusive).
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low).max(1) as u64) as i64
    }

    /// Returns a number from 0 (inclusive) to 1 (exclusive).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Picks one of several items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.range(0, items.len() as i64) as usize]
    }

    /// Returns a version 7 UUID for a time.
    pub fn uuid(&mut self, at: Timestamp) -> Uuid {
        let a = self.next().to_be_bytes();
        let b = self.next().to_be_bytes();
        let mut random = [0; 10];
        random[..8].copy_from_slice(&a);
        random[8..].copy_from_slice(&b[..2]);
        uuid::Builder::from_unix_timestamp_millis((at.as_micros() / 1000).max(0) as u64, &random)
            .into_uuid()
    }
}

/// An event of the application, ready to be written as JSON.
#[derive(Clone, Debug)]
pub struct AppEvent {
    /// When it happens.
    pub at: Timestamp,
    /// The object with the field names of `audit_events`.
    pub json: Map<String, Value>,
}

/// A detection that must be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expected {
    /// The rule.
    pub rule: Cow<'static, str>,
    /// `entity.value` of the detection.
    pub entity: String,
}

/// Activity and the detections that it must cause.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// Application events, in order of time.
    pub events: Vec<AppEvent>,
    /// sshd lines with their times, in order of time.
    pub ssh: Vec<(Timestamp, String)>,
    /// The detections that must be made, each once, and no others.
    pub expected: Vec<Expected>,
}

/// Parameters of an activity.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of the random numbers.
    pub seed: u64,
    /// The first instant, a midnight UTC.
    pub start: Timestamp,
    /// The number of days.
    pub days: u32,
    /// The number of people.
    pub people: usize,
    /// Normal days before the first attack, so that people become known.
    pub quiet_days: u32,
    /// How often each kind of attack and near miss happens.
    pub repeat: usize,
}

impl Plan {
    /// Returns a plan that is small enough for a demonstration: the last working day that is over
    /// at `now`, with attacks, after two working days on which people become known.
    pub fn last_working_day(now: Timestamp, seed: u64) -> Self {
        let before = |at: Timestamp| {
            let days = (1..).map(|n| at.minus(Span::days(n)));
            // There are never four days off in a row.
            days.take(4)
                .find(|day| people::is_working_day(*day))
                .unwrap_or(at)
        };

        let today = Timestamp::from_secs(now.as_secs() - now.as_secs().rem_euclid(86_400));
        let last = before(today);
        let start = before(before(last));
        let quiet_days = (last.since(start).as_micros() / Span::days(1).as_micros()) as u32;

        Self {
            seed,
            start,
            days: quiet_days + 1,
            people: 40,
            quiet_days,
            repeat: 1,
        }
    }
}

impl Activity {
    /// Generates an activity.
    pub fn make(plan: &Plan) -> Self {
        let mut builder = ActivityBuilder {
            random: Random::new(plan.seed),
            activity: Self::default(),
            plan: plan.clone(),
        };

        let people = builder.create_people();
        builder.add_normal_days(&people);
        builder.add_attacks(&people);
        let mut activity = builder.activity;
        activity.events.sort_by_key(|e| e.at);
        activity.ssh.sort();
        activity.expected.sort();

        activity
    }

    /// Returns the application events as NDJSON, each up to `shuffle` out of order.
    pub fn ndjson(&self, shuffle: Span, random: &mut Random) -> Vec<String> {
        let mut lines: Vec<(Timestamp, String)> = self
            .events
            .iter()
            .map(|e| {
                let delay = Span::micros(random.range(0, shuffle.as_micros() + 1));
                (e.at.plus(delay), Value::Object(e.json.clone()).to_string())
            })
            .collect();
        lines.sort_by_key(|(at, _)| *at);

        lines.into_iter().map(|(_, line)| line).collect()
    }
}

/// Builds an activity event by event.
struct ActivityBuilder {
    random: Random,
    activity: Activity,
    plan: Plan,
}

/// The kind of an event: what happens, but not who, when and where.
#[derive(Clone, Copy)]
struct EventKind {
    category: Category,
    action: &'static str,
    result: Outcome,
}

const fn event_kind(category: Category, action: &'static str, result: Outcome) -> EventKind {
    EventKind {
        category,
        action,
        result,
    }
}

impl ActivityBuilder {
    fn expect_detection(&mut self, rule: &'static str, entity: impl std::fmt::Display) {
        self.activity.expected.push(Expected {
            rule: rule.into(),
            entity: entity.to_string(),
        });
    }

    /// Adds an event; `more` sets further fields.
    fn push_event(
        &mut self,
        at: Timestamp,
        kind: EventKind,
        more: impl FnOnce(&mut Map<String, Value>),
    ) {
        let mut json = Map::new();
        json.insert("event_id".to_owned(), json!(self.random.uuid(at)));
        json.insert("timestamp".to_owned(), json!(at));
        json.insert("category".to_owned(), json!(kind.category));
        json.insert("action".to_owned(), json!(kind.action));
        json.insert("result".to_owned(), json!(kind.result));
        more(&mut json);
        self.activity.events.push(AppEvent { at, json });
    }

    /// Adds an event of a person at their usual client.
    fn push_person_event(
        &mut self,
        person: &Person,
        at: Timestamp,
        kind: EventKind,
        more: impl FnOnce(&mut Map<String, Value>),
    ) {
        let client = Client {
            ip: person.ip.clone(),
            agent: person.agent.clone(),
            session: person.session(at),
        };
        self.push_client_event(person, &client, at, kind, more);
    }

    /// Adds an event of a person, or of an attacker who acts as them, from another client.
    fn push_client_event(
        &mut self,
        person: &Person,
        client: &Client,
        at: Timestamp,
        kind: EventKind,
        more: impl FnOnce(&mut Map<String, Value>),
    ) {
        self.push_event(at, kind, |json| {
            json.insert("user_id".to_owned(), json!(person.id));
            json.insert("session_id".to_owned(), json!(client.session));
            json.insert("ip_address".to_owned(), json!(client.ip));
            json.insert("user_agent".to_owned(), json!(client.agent));
            json.insert("instance_id".to_owned(), json!(person.tenant));
            json.insert("cui_accessed".to_owned(), json!(false));
            json.insert(
                "metadata".to_owned(),
                json!({
                    "username": person.name,
                    "role": person.role.as_str(),
                    "home_instance_id": person.tenant,
                }),
            );

            more(json);
        });
    }

    /// Adds a failed login of an account that belongs to no person.
    fn push_failed_login(&mut self, at: Timestamp, ip: &str, account: &str) {
        self.push_event(
            at,
            event_kind(Category::Auth, "login_failed", Outcome::Failure),
            |json| {
                json.insert("ip_address".to_owned(), json!(ip));
                json.insert("user_agent".to_owned(), json!("python-requests/2.31"));
                json.insert("resource_type".to_owned(), json!("/api/auth/login.php"));
                json.insert(
                    "metadata".to_owned(),
                    json!({"username": account, "reason": "bad_password"}),
                );
            },
        );
    }
}

/// The client and session of a request.
#[derive(Clone, Debug)]
struct Client {
    ip: String,
    agent: String,
    session: String,
}
