//! Attacks, and what nearly is one. Each gets a day, a time and a victim of its own.

use model::{Category, Outcome, Span, Timestamp};
use serde_json::{Map, Value, json};

use super::people::{day, is_working_day};
use super::{Desk, Maker, Person, Role, what};

const SUCCESS: Outcome = Outcome::Success;

fn metadata(json: &mut Map<String, Value>, key: &str, value: Value) {
    if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert(key.to_owned(), value);
    }
}

/// Hands out victims, addresses and times, each once.
struct Stage<'a> {
    people: Vec<&'a Person>,
    next_ip: u32,
    days: Vec<Timestamp>,
    next_day: usize,
}

impl<'a> Stage<'a> {
    fn victim(&mut self) -> Option<&'a Person> {
        self.people.pop()
    }

    /// An address that nobody ever used.
    fn ip(&mut self) -> String {
        self.next_ip += 1;
        let n = self.next_ip;
        format!("198.51.{}.{}", 100 + n / 250, 1 + n % 250)
    }

    /// A time on a working day, late in the morning.
    fn morning(&mut self) -> Timestamp {
        self.next_day += 1;
        let today = self.days[self.next_day % self.days.len()];
        today.plus(Span::mins(10 * 60 + (self.next_day as i64 * 7) % 180))
    }
}

impl Maker {
    pub(super) fn attacks(&mut self, people: &[Person]) {
        let days: Vec<Timestamp> = (self.plan.quiet_days..self.plan.days)
            .map(|n| day(self.plan.start, n))
            .filter(|d| is_working_day(*d))
            .collect();
        if days.is_empty() {
            return;
        }

        let victims = people.iter().filter(|p| p.role != Role::Admin).collect();
        let mut stage = Stage {
            people: victims,
            next_ip: 0,
            days,
            next_day: 0,
        };

        for _ in 0..self.plan.repeat {
            self.guessing(&mut stage);
            self.exports(&mut stage);
            self.model_abuse(&mut stage);
            self.takeover(&mut stage);
            self.sessions(&mut stage);
            self.reaching(&mut stage);
            self.newcomers(&mut stage);
        }

        self.after_hours(&mut stage);
        self.rate_limits(&mut stage);
        self.ssh(&mut stage);
    }

    /// Failed logins: six in 299 s fire, five do not, six in 300 s do not; eleven accounts fire,
    /// ten do not.
    fn guessing(&mut self, stage: &mut Stage<'_>) {
        let spread = |last: i64| [0, 40, 90, 150, 220, last];
        for (last, fires) in [(299, true), (60, true), (300, false)] {
            let (ip, at) = (stage.ip(), stage.morning());
            for offset in spread(last) {
                self.failed_login(at.plus(Span::secs(offset)), &ip, "root");
            }
            if fires {
                self.expect("brute_force", ip);
            }
        }

        let (ip, at) = (stage.ip(), stage.morning());
        for n in 0..12 {
            self.failed_login(at.plus(Span::secs(n * 61)), &ip, "root");
        }

        // Eleven accounts within ten minutes are also six failures within five; ten accounts a
        // minute apart are neither.
        for (accounts, every, fires) in [(11, 50, true), (10, 61, false)] {
            let (ip, at) = (stage.ip(), stage.morning());
            for n in 0..accounts {
                self.failed_login(at.plus(Span::secs(n * every)), &ip, &format!("guess{n}"));
            }
            if fires {
                self.expect("brute_force", &ip);
                self.expect("credential_stuffing", &ip);
            }
        }
    }

    fn exports(&mut self, stage: &mut Stage<'_>) {
        for (count, bytes, fires) in [
            (30, 1000, true),
            (17, 1000, false),
            (3, 300_000_000, true),
            (2, 200_000_000, false),
        ] {
            let Some(person) = stage.victim() else { return };
            let at = stage.morning();
            for n in 0..count {
                self.by(
                    person,
                    at.plus(Span::secs(n * 60)),
                    what(Category::Access, "file_download", SUCCESS),
                    |json| {
                        metadata(json, "bytes", json!(bytes));
                    },
                );
            }

            if fires {
                self.expect("data_exfiltration", person.id);
            }
        }
    }

    fn model_abuse(&mut self, stage: &mut Stage<'_>) {
        for (every, fires) in [(120, true), (301, false)] {
            let Some(person) = stage.victim() else { return };
            let at = stage.morning();
            for n in 0..3 {
                let action = if n == 1 {
                    "jailbreak_detected"
                } else {
                    "guardrail_triggered"
                };

                self.by(
                    person,
                    at.plus(Span::secs(n * every)),
                    what(Category::Ai, action, Outcome::Denied),
                    |_| {},
                );
            }

            if fires {
                self.expect("ai_abuse", person.id);
            }
        }
    }

    /// A password change and then data from a new address: fires within 30 minutes, not after, and
    /// not from a known address.
    fn takeover(&mut self, stage: &mut Stage<'_>) {
        for (minutes, new, fires) in [(10, true, true), (31, true, false), (10, false, false)] {
            let Some(person) = stage.victim() else { return };
            let at = stage.morning();
            let session = format!("takeover-{}", person.id.simple());
            let here = Desk {
                ip: person.ip.clone(),
                agent: person.agent.clone(),
                session,
            };

            let there = Desk {
                ip: stage.ip(),
                session: format!("{}-b", here.session),
                ..here.clone()
            };

            self.by_at(
                person,
                &here,
                at,
                what(Category::Auth, "password_change", SUCCESS),
                |_| {},
            );

            let desk = if new { &there } else { &here };
            self.by_at(
                person,
                desk,
                at.plus(Span::mins(minutes)),
                what(Category::Data, "bearing_view", SUCCESS),
                |_| {},
            );

            if new {
                self.expect("anomalous_access", person.id);
            }

            if fires {
                self.expect("account_takeover", person.id);
            }
        }
    }

    fn sessions(&mut self, stage: &mut Stage<'_>) {
        // One session from the office and from home: within ten minutes it fires.
        for (minutes, fires) in [(9, true), (11, false)] {
            let Some(person) = stage.victim() else { return };
            let at = stage.morning();
            let office = Desk {
                ip: person.ip.clone(),
                agent: person.agent.clone(),
                session: self.random.uuid(at).to_string(),
            };

            let home = Desk {
                ip: person.home_ip.clone(),
                ..office.clone()
            };

            let view = what(Category::Access, "page_view", SUCCESS);
            self.by_at(person, &office, at, view, |_| {});
            self.by_at(person, &home, at.plus(Span::mins(minutes)), view, |_| {});
            if fires {
                self.expect("session_anomaly", &office.session);
            }
        }

        // Used after its logout.
        if let Some(person) = stage.victim() {
            let at = stage.morning();
            let desk = Desk {
                ip: person.ip.clone(),
                agent: person.agent.clone(),
                session: self.random.uuid(at).to_string(),
            };

            let view = what(Category::Access, "page_view", SUCCESS);
            self.by_at(person, &desk, at, view, |_| {});
            self.by_at(
                person,
                &desk,
                at.plus(Span::secs(4)),
                what(Category::Auth, "logout", SUCCESS),
                |_| {},
            );

            self.by_at(person, &desk, at.plus(Span::secs(600)), view, |_| {});
            self.expect("session_anomaly", &desk.session);
        }

        // Sessions at once: four from two addresses fire, three do not, four from one address do
        // not.
        for (sessions, addresses, fires) in [(4, 2, true), (2, 2, false), (4, 1, false)] {
            let Some(person) = stage.victim() else { return };
            let at = stage.morning();
            for n in 0..sessions {
                let ip = if n % addresses == 0 {
                    person.ip.clone()
                } else {
                    person.home_ip.clone()
                };

                let desk = Desk {
                    ip,
                    agent: person.agent.clone(),
                    session: self.random.uuid(at).to_string(),
                };

                let view = what(Category::Access, "page_view", SUCCESS);
                self.by_at(person, &desk, at.plus(Span::secs(n * 50)), view, |_| {});
            }

            if fires {
                self.expect("session_anomaly", person.id);
            }
        }
    }

    /// Admin endpoints, and other tenants.
    fn reaching(&mut self, stage: &mut Stage<'_>) {
        for (result, path) in [
            (Outcome::Denied, "/api/admin/users.php"),
            (SUCCESS, "/eqmon/api/admin/settings.php"),
        ] {
            let Some(person) = stage.victim() else { return };
            let at = stage.morning();
            self.by(
                person,
                at,
                what(Category::Access, "api_request", result),
                |json| {
                    json.insert("resource_id".to_owned(), json!(path));
                },
            );

            self.expect("privilege_escalation", person.id);
        }

        // One's own password, an unknown role: nothing.
        if let Some(person) = stage.victim() {
            let at = stage.morning();
            self.by(
                person,
                at,
                what(Category::Admin, "password_change", Outcome::Failure),
                |_| {},
            );

            self.by(
                person,
                at.plus(Span::secs(9)),
                what(Category::Admin, "user_create", Outcome::Denied),
                |json| {
                    json.insert(
                        "metadata".to_owned(),
                        json!({"home_instance_id": person.tenant}),
                    );
                },
            );
        }

        let strange = self.random.uuid(self.plan.start);
        if let Some(person) = stage.victim() {
            let at = stage.morning();
            self.by(
                person,
                at,
                what(Category::Data, "bearing_view", Outcome::Denied),
                |json| {
                    json.insert("instance_id".to_owned(), json!(strange));
                },
            );

            self.expect("cross_tenant", person.id);
        }

        // By the last login: into another tenant first is no crossing, without it it is.
        for logs_in in [true, false] {
            let Some(person) = stage.victim() else { return };
            let at = stage.morning();
            let no_home = |json: &mut Map<String, Value>| {
                json.insert("metadata".to_owned(), json!({"role": "user"}));
                json.insert("instance_id".to_owned(), json!(strange));
            };

            if logs_in {
                self.by(person, at, what(Category::Auth, "login", SUCCESS), no_home);
            }

            self.by(
                person,
                at.plus(Span::secs(3)),
                what(Category::Data, "bearing_view", SUCCESS),
                no_home,
            );

            if !logs_in {
                self.expect("cross_tenant", person.id);
            }

            let back = at.plus(Span::secs(40));
            self.by(person, back, what(Category::Auth, "login", SUCCESS), |_| {});
        }
    }

    /// A new address, a new browser, both; and somebody who is not known yet.
    fn newcomers(&mut self, stage: &mut Stage<'_>) {
        for (new_ip, new_agent) in [(true, false), (false, true), (true, true)] {
            let Some(person) = stage.victim() else { return };
            let at = stage.morning();
            let desk = Desk {
                ip: if new_ip {
                    stage.ip()
                } else {
                    person.ip.clone()
                },
                agent: if new_agent {
                    "curl/8.9.1".to_owned()
                } else {
                    person.agent.clone()
                },
                session: self.random.uuid(at).to_string(),
            };

            self.by_at(
                person,
                &desk,
                at,
                what(Category::Access, "page_view", SUCCESS),
                |_| {},
            );
            self.expect("anomalous_access", person.id);
        }

        let at = stage.morning();
        let id = self.random.uuid(at);
        let Some(like) = stage.people.last() else {
            return;
        };
        let stranger = Person {
            id,
            name: "newcomer".to_owned(),
            ..(*like).clone()
        };

        for n in 0..19 {
            let desk = Desk {
                ip: stage.ip(),
                agent: stranger.agent.clone(),
                session: self.random.uuid(at).to_string(),
            };

            let when = at.plus(Span::mins(n * 11));
            self.by_at(
                &stranger,
                &desk,
                when,
                what(Category::Access, "page_view", SUCCESS),
                |_| {},
            );
        }
    }

    fn after_hours(&mut self, stage: &mut Stage<'_>) {
        let Some(person) = stage.victim() else { return };
        let midnight = stage.days[stage.days.len() / 2];
        for (hours, cui) in [(3, true), (4, true), (5, false)] {
            self.by(
                person,
                midnight.plus(Span::hours(hours)),
                what(Category::Data, "bearing_view", SUCCESS),
                |json| {
                    json.insert("cui_accessed".to_owned(), json!(cui));
                },
            );
        }

        self.expect("after_hours", person.id);
        let Some(person) = stage.victim() else { return };
        self.by(
            person,
            midnight.plus(Span::hours(3)),
            what(Category::Data, "bearing_view", SUCCESS),
            |_| {},
        );
    }

    fn rate_limits(&mut self, stage: &mut Stage<'_>) {
        for (count, fires) in [(51, true), (50, false)] {
            let at = stage.morning();
            for n in 0..count {
                let limit = what(Category::System, "rate_limit_hit", Outcome::Denied);
                self.event(at.plus(Span::millis(n * 1100)), limit, |json| {
                    json.insert("ip_address".to_owned(), json!("10.20.0.9"));
                });
            }

            if fires {
                self.expect("rate_limit_surge", "audit_db");
            }
        }
    }

    fn ssh(&mut self, stage: &mut Stage<'_>) {
        let (ip, at) = (stage.ip(), stage.morning());
        for n in 0..8 {
            let line = format!(
                "Failed password for invalid user admin from {ip} port {} ssh2",
                40_000 + n
            );
            self.activity.ssh.push((at.plus(Span::secs(n * 7)), line));
        }

        let line = "Accepted publickey for deploy from 10.20.0.5 port 50122 ssh2: ED25519 SHA256:0"
            .to_owned();
        self.activity.ssh.push((at.plus(Span::secs(90)), line));
        self.activity.expected.push(super::Expected {
            rule: "brute_force".into(),
            entity: ip,
        });
    }
}
