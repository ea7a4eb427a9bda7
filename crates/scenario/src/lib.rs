//! Makes activity with attacks in it, and knows what should be found: for the demonstration, the
//! tests and the benchmarks.
//!
//! The same seed makes the same activity. Nobody's data is in it: addresses are from the
//! documentation ranges.

mod episodes;
mod people;
mod workload;

use std::borrow::Cow;

use model::{Category, Outcome, Span, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use people::{Person, Role};
pub use workload::workload;

/// A random number generator that gives the same numbers everywhere: SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` up to, not including, `high`.
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low).max(1) as u64) as i64
    }

    /// A number from 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.range(0, items.len() as i64) as usize]
    }

    /// A version 7 UUID of a time.
    pub fn uuid(&mut self, at: Timestamp) -> Uuid {
        let (a, b) = (self.next().to_be_bytes(), self.next().to_be_bytes());
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
    /// When.
    pub at: Timestamp,
    /// The object, its fields named as the columns of `audit_events`.
    pub json: Map<String, Value>,
}

/// What should be found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expected {
    /// The rule.
    pub rule: Cow<'static, str>,
    /// `entity.value` of the detection.
    pub entity: String,
}

/// Activity and what should be found in it.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// Application events, in order of time.
    pub events: Vec<AppEvent>,
    /// sshd lines with their times, in order of time.
    pub ssh: Vec<(Timestamp, String)>,
    /// The detections that must be made, each once, and no others.
    pub expected: Vec<Expected>,
}

/// What to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seed.
    pub seed: u64,
    /// First instant; a midnight UTC.
    pub start: Timestamp,
    /// Days of everyday life.
    pub days: u32,
    /// People.
    pub people: usize,
    /// Days of everyday life before the first attack, so that people are known.
    pub quiet_days: u32,
    /// How many times each kind of attack and near miss is made.
    pub repeat: usize,
}

impl Plan {
    /// Small enough for a demonstration: the last working day that is over at `now`, attacks and
    /// all, after two working days on which people become known.
    pub fn last_working_day(now: Timestamp, seed: u64) -> Self {
        let before = |at: Timestamp| {
            let days = (1..).map(|n| at.minus(Span::days(n)));
            // No four days in a row are free.
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
    /// Makes it.
    pub fn make(plan: &Plan) -> Self {
        let mut maker = Maker {
            random: Random::new(plan.seed),
            activity: Self::default(),
            plan: plan.clone(),
        };

        let people = maker.people();
        maker.everyday(&people);
        maker.attacks(&people);
        let mut activity = maker.activity;
        activity.events.sort_by_key(|e| e.at);
        activity.ssh.sort();
        activity.expected.sort();

        activity
    }

    /// The application events as NDJSON, each up to `shuffle` out of order.
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

/// Makes an activity bit by bit.
struct Maker {
    random: Random,
    activity: Activity,
    plan: Plan,
}

/// What an event is, beside who, when and where.
#[derive(Clone, Copy)]
struct What {
    category: Category,
    action: &'static str,
    result: Outcome,
}

const fn what(category: Category, action: &'static str, result: Outcome) -> What {
    What {
        category,
        action,
        result,
    }
}

impl Maker {
    fn expect(&mut self, rule: &'static str, entity: impl std::fmt::Display) {
        self.activity.expected.push(Expected {
            rule: rule.into(),
            entity: entity.to_string(),
        });
    }

    /// An event with more fields set by `more`.
    fn event(&mut self, at: Timestamp, what: What, more: impl FnOnce(&mut Map<String, Value>)) {
        let mut json = Map::new();
        json.insert("event_id".to_owned(), json!(self.random.uuid(at)));
        json.insert("timestamp".to_owned(), json!(at));
        json.insert("category".to_owned(), json!(what.category));
        json.insert("action".to_owned(), json!(what.action));
        json.insert("result".to_owned(), json!(what.result));
        more(&mut json);
        self.activity.events.push(AppEvent { at, json });
    }

    /// An event of a person at their desk.
    fn by(
        &mut self,
        person: &Person,
        at: Timestamp,
        what: What,
        more: impl FnOnce(&mut Map<String, Value>),
    ) {
        let desk = Desk {
            ip: person.ip.clone(),
            agent: person.agent.clone(),
            session: person.session(at),
        };
        self.by_at(person, &desk, at, what, more);
    }

    /// An event of a person, or of somebody who acts as them, from elsewhere.
    fn by_at(
        &mut self,
        person: &Person,
        desk: &Desk,
        at: Timestamp,
        what: What,
        more: impl FnOnce(&mut Map<String, Value>),
    ) {
        self.event(at, what, |json| {
            json.insert("user_id".to_owned(), json!(person.id));
            json.insert("session_id".to_owned(), json!(desk.session));
            json.insert("ip_address".to_owned(), json!(desk.ip));
            json.insert("user_agent".to_owned(), json!(desk.agent));
            json.insert("instance_id".to_owned(), json!(person.tenant));
            json.insert("cui_accessed".to_owned(), json!(false));
            json.insert(
                "metadata".to_owned(),
                json!({"username": person.name, "role": person.role.as_str(), "home_instance_id": person.tenant}),
            );

            more(json);
        });
    }

    /// A failed login by nobody in particular.
    fn failed_login(&mut self, at: Timestamp, ip: &str, account: &str) {
        self.event(
            at,
            what(Category::Auth, "login_failed", Outcome::Failure),
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

/// Where somebody sits.
#[derive(Clone, Debug)]
struct Desk {
    ip: String,
    agent: String,
    session: String,
}
