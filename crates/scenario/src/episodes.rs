//! Attacks and near misses. Each has a day, a time and a victim of its own.

use model::{Category, Outcome, Span, Timestamp};
use serde_json::{Map, Value, json};

use super::people::{is_working_day, start_of_day};
use super::{ActivityBuilder, Client, Person, Role, event_kind};

const SUCCESS: Outcome = Outcome::Success;

/// The account that an address guesses at: one of its own, so that several of them are not one
/// attack on one account.
fn own_account(ip: &str) -> String {
    format!("root-{}", ip.replace(['.', ':'], "-"))
}

fn set_metadata(json: &mut Map<String, Value>, key: &str, value: Value) {
    if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert(key.to_owned(), value);
    }
}

/// Supplies victims, addresses and times, each only once.
struct AttackSetup<'a> {
    people: Vec<&'a Person>,
    next_ip: u32,
    days: Vec<Timestamp>,
    next_day: usize,
}

impl<'a> AttackSetup<'a> {
    fn next_victim(&mut self) -> Option<&'a Person> {
        self.people.pop()
    }

    /// Returns an address that was never used.
    fn unused_address(&mut self) -> String {
        self.next_ip += 1;
        let n = self.next_ip;
        format!("198.51.{}.{}", 100 + n / 250, 1 + n % 250)
    }

    /// Returns a time late in the morning of a working day.
    fn next_morning(&mut self) -> Timestamp {
        self.next_day += 1;
        let today = self.days[self.next_day % self.days.len()];
        today.plus(Span::mins(10 * 60 + (self.next_day as i64 * 7) % 180))
    }
}

impl ActivityBuilder {
    pub(super) fn add_attacks(&mut self, people: &[Person]) {
        let days: Vec<Timestamp> = (self.plan.quiet_days..self.plan.days)
            .map(|n| start_of_day(self.plan.start, n))
            .filter(|d| is_working_day(*d))
            .collect();
        if days.is_empty() {
            return;
        }

        let victims = people.iter().filter(|p| p.role != Role::Admin).collect();
        let mut setup = AttackSetup {
            people: victims,
            next_ip: 0,
            days,
            next_day: 0,
        };

        for _ in 0..self.plan.repeat {
            self.add_password_guessing(&mut setup);
            self.add_exports(&mut setup);
            self.add_model_abuse(&mut setup);
            self.add_account_takeovers(&mut setup);
            self.add_session_anomalies(&mut setup);
            self.add_privilege_attempts(&mut setup);
            self.add_newcomers(&mut setup);
        }

        self.add_after_hours(&mut setup);
        self.add_rate_limits(&mut setup);
        self.add_ssh_attack(&mut setup);
    }

    /// Adds failed logins: six in 299 s fire, five or six in 300 s do not; eleven accounts fire,
    /// ten do not.
    fn add_password_guessing(&mut self, setup: &mut AttackSetup<'_>) {
        let spread = |last: i64| [0, 40, 90, 150, 220, last];
        for (last, fires) in [(299, true), (60, true), (300, false)] {
            let ip = setup.unused_address();
            let at = setup.next_morning();
            let account = own_account(&ip);
            for offset in spread(last) {
                self.push_failed_login(at.plus(Span::secs(offset)), &ip, &account);
            }
            if fires {
                self.expect_detection("brute_force", ip);
            }
        }

        let ip = setup.unused_address();
        let at = setup.next_morning();
        let account = own_account(&ip);
        for n in 0..12 {
            self.push_failed_login(at.plus(Span::secs(n * 61)), &ip, &account);
        }

        // Eleven accounts within ten minutes are also six failures within five; ten accounts a
        // minute apart are neither.
        for (accounts, every, fires) in [(11, 50, true), (10, 61, false)] {
            let ip = setup.unused_address();
            let at = setup.next_morning();
            for n in 0..accounts {
                let account = format!("guess{n}-{}", own_account(&ip));
                self.push_failed_login(at.plus(Span::secs(n * every)), &ip, &account);
            }
            if fires {
                self.expect_detection("brute_force", &ip);
                self.expect_detection("credential_stuffing", &ip);
            }
        }
    }

    fn add_exports(&mut self, setup: &mut AttackSetup<'_>) {
        for (count, bytes, fires) in [
            (30, 1000, true),
            (17, 1000, false),
            (3, 300_000_000, true),
            (2, 200_000_000, false),
        ] {
            let Some(person) = setup.next_victim() else {
                return;
            };
            let at = setup.next_morning();
            for n in 0..count {
                self.push_person_event(
                    person,
                    at.plus(Span::secs(n * 60)),
                    event_kind(Category::Access, "file_download", SUCCESS),
                    |json| {
                        set_metadata(json, "bytes", json!(bytes));
                    },
                );
            }

            if fires {
                self.expect_detection("data_exfiltration", person.id);
            }
        }
    }

    fn add_model_abuse(&mut self, setup: &mut AttackSetup<'_>) {
        for (every, fires) in [(120, true), (301, false)] {
            let Some(person) = setup.next_victim() else {
                return;
            };
            let at = setup.next_morning();
            for n in 0..3 {
                let action = if n == 1 {
                    "jailbreak_detected"
                } else {
                    "guardrail_triggered"
                };

                self.push_person_event(
                    person,
                    at.plus(Span::secs(n * every)),
                    event_kind(Category::Ai, action, Outcome::Denied),
                    |_| {},
                );
            }

            if fires {
                self.expect_detection("ai_abuse", person.id);
            }
        }
    }

    /// Adds password changes followed by data access: from a new address within 30 minutes they
    /// fire, later or from a known address they do not.
    fn add_account_takeovers(&mut self, setup: &mut AttackSetup<'_>) {
        for (minutes, new, fires) in [(10, true, true), (31, true, false), (10, false, false)] {
            let Some(person) = setup.next_victim() else {
                return;
            };
            let at = setup.next_morning();
            let session = format!("takeover-{}", person.id.simple());
            let here = Client {
                ip: person.ip.clone(),
                agent: person.agent.clone(),
                session,
            };

            let there = Client {
                ip: setup.unused_address(),
                session: format!("{}-b", here.session),
                ..here.clone()
            };

            self.push_client_event(
                person,
                &here,
                at,
                event_kind(Category::Auth, "password_change", SUCCESS),
                |_| {},
            );

            let client = if new { &there } else { &here };
            self.push_client_event(
                person,
                client,
                at.plus(Span::mins(minutes)),
                event_kind(Category::Data, "bearing_view", SUCCESS),
                |_| {},
            );

            if new {
                self.expect_detection("anomalous_access", person.id);
            }

            if fires {
                self.expect_detection("account_takeover", person.id);
            }
        }
    }

    fn add_session_anomalies(&mut self, setup: &mut AttackSetup<'_>) {
        // One session from the office and from home fires within ten minutes.
        for (minutes, fires) in [(9, true), (11, false)] {
            let Some(person) = setup.next_victim() else {
                return;
            };
            let at = setup.next_morning();
            let office = Client {
                ip: person.ip.clone(),
                agent: person.agent.clone(),
                session: self.random.uuid(at).to_string(),
            };

            let home = Client {
                ip: person.home_ip.clone(),
                ..office.clone()
            };

            let view = event_kind(Category::Access, "page_view", SUCCESS);
            self.push_client_event(person, &office, at, view, |_| {});
            self.push_client_event(person, &home, at.plus(Span::mins(minutes)), view, |_| {});
            if fires {
                self.expect_detection("session_anomaly", &office.session);
            }
        }

        // A session that is used after its logout fires.
        if let Some(person) = setup.next_victim() {
            let at = setup.next_morning();
            let client = Client {
                ip: person.ip.clone(),
                agent: person.agent.clone(),
                session: self.random.uuid(at).to_string(),
            };

            let view = event_kind(Category::Access, "page_view", SUCCESS);
            self.push_client_event(person, &client, at, view, |_| {});
            self.push_client_event(
                person,
                &client,
                at.plus(Span::secs(4)),
                event_kind(Category::Auth, "logout", SUCCESS),
                |_| {},
            );

            self.push_client_event(person, &client, at.plus(Span::secs(600)), view, |_| {});
            self.expect_detection("session_anomaly", &client.session);
        }

        // Four concurrent sessions from two addresses fire; two sessions, or four from one address,
        // do not.
        for (sessions, addresses, fires) in [(4, 2, true), (2, 2, false), (4, 1, false)] {
            let Some(person) = setup.next_victim() else {
                return;
            };
            let at = setup.next_morning();
            for n in 0..sessions {
                let ip = if n % addresses == 0 {
                    person.ip.clone()
                } else {
                    person.home_ip.clone()
                };

                let client = Client {
                    ip,
                    agent: person.agent.clone(),
                    session: self.random.uuid(at).to_string(),
                };

                let view = event_kind(Category::Access, "page_view", SUCCESS);
                self.push_client_event(person, &client, at.plus(Span::secs(n * 50)), view, |_| {});
            }

            if fires {
                self.expect_detection("session_anomaly", person.id);
            }
        }
    }

    /// Adds access to admin endpoints and to other tenants.
    fn add_privilege_attempts(&mut self, setup: &mut AttackSetup<'_>) {
        for (result, path) in [
            (Outcome::Denied, "/api/admin/users.php"),
            (SUCCESS, "/eqmon/api/admin/settings.php"),
        ] {
            let Some(person) = setup.next_victim() else {
                return;
            };
            let at = setup.next_morning();
            self.push_person_event(
                person,
                at,
                event_kind(Category::Access, "api_request", result),
                |json| {
                    json.insert("resource_id".to_owned(), json!(path));
                },
            );

            self.expect_detection("privilege_escalation", person.id);
        }

        // Changing one's own password and acting with an unknown role do not fire.
        if let Some(person) = setup.next_victim() {
            let at = setup.next_morning();
            self.push_person_event(
                person,
                at,
                event_kind(Category::Admin, "password_change", Outcome::Failure),
                |_| {},
            );

            self.push_person_event(
                person,
                at.plus(Span::secs(9)),
                event_kind(Category::Admin, "user_create", Outcome::Denied),
                |json| {
                    json.insert(
                        "metadata".to_owned(),
                        json!({"home_instance_id": person.tenant}),
                    );
                },
            );
        }

        let strange = self.random.uuid(self.plan.start);
        if let Some(person) = setup.next_victim() {
            let at = setup.next_morning();
            self.push_person_event(
                person,
                at,
                event_kind(Category::Data, "bearing_view", Outcome::Denied),
                |json| {
                    json.insert("instance_id".to_owned(), json!(strange));
                },
            );

            self.expect_detection("cross_tenant", person.id);
        }

        // Access to another tenant fires without a login to it, and does not after one.
        for logs_in in [true, false] {
            let Some(person) = setup.next_victim() else {
                return;
            };
            let at = setup.next_morning();
            let no_home = |json: &mut Map<String, Value>| {
                json.insert("metadata".to_owned(), json!({"role": "user"}));
                json.insert("instance_id".to_owned(), json!(strange));
            };

            if logs_in {
                self.push_person_event(
                    person,
                    at,
                    event_kind(Category::Auth, "login", SUCCESS),
                    no_home,
                );
            }

            self.push_person_event(
                person,
                at.plus(Span::secs(3)),
                event_kind(Category::Data, "bearing_view", SUCCESS),
                no_home,
            );

            if !logs_in {
                self.expect_detection("cross_tenant", person.id);
            }

            let back = at.plus(Span::secs(40));
            self.push_person_event(
                person,
                back,
                event_kind(Category::Auth, "login", SUCCESS),
                |_| {},
            );
        }
    }

    /// Adds known people with a new address, a new browser or both, which fire, and an unknown
    /// person, who does not.
    fn add_newcomers(&mut self, setup: &mut AttackSetup<'_>) {
        for (new_ip, new_agent) in [(true, false), (false, true), (true, true)] {
            let Some(person) = setup.next_victim() else {
                return;
            };
            let at = setup.next_morning();
            let client = Client {
                ip: if new_ip {
                    setup.unused_address()
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

            self.push_client_event(
                person,
                &client,
                at,
                event_kind(Category::Access, "page_view", SUCCESS),
                |_| {},
            );
            self.expect_detection("anomalous_access", person.id);
        }

        let at = setup.next_morning();
        let id = self.random.uuid(at);
        let Some(like) = setup.people.last() else {
            return;
        };
        let stranger = Person {
            id,
            name: "newcomer".to_owned(),
            ..(*like).clone()
        };

        for n in 0..19 {
            let client = Client {
                ip: setup.unused_address(),
                agent: stranger.agent.clone(),
                session: self.random.uuid(at).to_string(),
            };

            let when = at.plus(Span::mins(n * 11));
            self.push_client_event(
                &stranger,
                &client,
                when,
                event_kind(Category::Access, "page_view", SUCCESS),
                |_| {},
            );
        }
    }

    fn add_after_hours(&mut self, setup: &mut AttackSetup<'_>) {
        let Some(person) = setup.next_victim() else {
            return;
        };
        let midnight = setup.days[setup.days.len() / 2];
        for (hours, cui) in [(3, true), (4, true), (5, false)] {
            self.push_person_event(
                person,
                midnight.plus(Span::hours(hours)),
                event_kind(Category::Data, "bearing_view", SUCCESS),
                |json| {
                    json.insert("cui_accessed".to_owned(), json!(cui));
                },
            );
        }

        self.expect_detection("after_hours", person.id);
        let Some(person) = setup.next_victim() else {
            return;
        };
        self.push_person_event(
            person,
            midnight.plus(Span::hours(3)),
            event_kind(Category::Data, "bearing_view", SUCCESS),
            |_| {},
        );
    }

    fn add_rate_limits(&mut self, setup: &mut AttackSetup<'_>) {
        for (count, fires) in [(51, true), (50, false)] {
            let at = setup.next_morning();
            for n in 0..count {
                let limit = event_kind(Category::System, "rate_limit_hit", Outcome::Denied);
                self.push_event(at.plus(Span::millis(n * 1100)), limit, |json| {
                    json.insert("ip_address".to_owned(), json!("10.20.0.9"));
                });
            }

            if fires {
                self.expect_detection("rate_limit_surge", "audit_db");
            }
        }
    }

    fn add_ssh_attack(&mut self, setup: &mut AttackSetup<'_>) {
        let ip = setup.unused_address();
        let at = setup.next_morning();
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
