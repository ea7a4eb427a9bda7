//! The people and their normal days.

use model::{Category, Outcome, Span, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::{ActivityBuilder, event_kind};

/// The role of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An ordinary user, as most people are.
    User,
    /// May see more, but is not an administrator.
    Manager,
    /// May do everything.
    Admin,
}

impl Role {
    /// Returns the value for `metadata.role`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Manager => "manager",
            Self::Admin => "admin",
        }
    }
}

/// A user of the application.
#[derive(Clone, Debug)]
pub struct Person {
    /// `user_id`.
    pub id: Uuid,
    /// The login name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The home tenant.
    pub tenant: Uuid,
    /// The usual address.
    pub ip: String,
    /// The address at home, used now and then from the first day on.
    pub home_ip: String,
    /// The browser's user agent.
    pub agent: String,
}

impl Person {
    /// Returns the session of a day.
    pub fn session(&self, at: Timestamp) -> String {
        format!("{}-{}", self.id.simple(), at.as_secs().div_euclid(86_400))
    }
}

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
        Chrome/144.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
        Version/18.2 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:147.0) Gecko/20100101 Firefox/147.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:147.0) Gecko/20100101 Firefox/147.0",
];

/// Returns the midnight that begins the n-th day.
pub(super) fn start_of_day(start: Timestamp, n: u32) -> Timestamp {
    start.plus(Span::days(n.into()))
}

/// Returns whether a day is Monday to Friday (1970-01-01 was a Thursday).
pub(super) fn is_working_day(at: Timestamp) -> bool {
    (at.as_secs().div_euclid(86_400) + 3).rem_euclid(7) < 5
}

impl ActivityBuilder {
    pub(super) fn create_people(&mut self) -> Vec<Person> {
        let tenants: Vec<Uuid> = (0..4).map(|_| self.random.uuid(self.plan.start)).collect();
        (0..self.plan.people)
            .map(|n| Person {
                id: self.random.uuid(self.plan.start),
                name: format!("user{n:03}"),
                role: match n % 20 {
                    0 => Role::Admin,
                    1 | 2 => Role::Manager,
                    _ => Role::User,
                },
                tenant: tenants[n % tenants.len()],
                ip: format!("10.20.{}.{}", n / 200, 10 + n % 200),
                home_ip: format!("10.99.{}.{}", n / 200, 10 + n % 200),
                agent: AGENTS[n % AGENTS.len()].to_owned(),
            })
            .collect()
    }

    /// Adds normal days: people work, and the application's health is checked every minute, so it
    /// is never silent.
    pub(super) fn add_normal_days(&mut self, people: &[Person]) {
        for n in 0..self.plan.days {
            let today = start_of_day(self.plan.start, n);
            for minute in 0..1440 {
                let at = today.plus(Span::secs(minute * 60 + self.random.range(0, 40)));
                self.push_event(
                    at,
                    event_kind(Category::Access, "api_request", Outcome::Success),
                    |json| {
                        json.insert("ip_address".to_owned(), json!("127.0.0.1"));
                        json.insert("resource_type".to_owned(), json!("/api/health.php"));
                    },
                );
            }

            if is_working_day(today) {
                for person in people {
                    self.add_working_day(person, today, n);
                }
            }
        }
    }

    fn add_working_day(&mut self, person: &Person, today: Timestamp, n: u32) {
        let mut at = today
            .plus(Span::mins(7 * 60 + 30))
            .plus(Span::secs(self.random.range(0, 5400)));

        // People mistype their passwords now and then.
        for _ in 0..self.random.range(0, 12).min(3) % 3 {
            self.push_failed_login(at, &person.ip, &person.name);
            at = at.plus(Span::secs(self.random.range(5, 30)));
        }

        let success = Outcome::Success;
        self.push_person_event(
            person,
            at,
            event_kind(Category::Auth, "login", success),
            |_| {},
        );
        let end = today
            .plus(Span::hours(17))
            .plus(Span::secs(self.random.range(0, 3600)));

        // From the first day on, before profiles are established.
        let from_home = n.is_multiple_of(7);
        while at < end {
            at = at.plus(Span::secs(self.random.range(300, 2400)));
            let (category, action, resource) = *self.random.pick(&[
                (Category::Access, "page_view", "/dashboard.php"),
                (Category::Access, "api_request", "/api/bearings.php"),
                (Category::Access, "data_query", "/api/search.php"),
                (Category::Data, "bearing_view", "/api/bearing.php"),
                (Category::Data, "chat_message", "/api/ai_chat.php"),
                (Category::Ai, "chat_request", "/api/ai_chat.php"),
            ]);
            let cui = category == Category::Data && self.random.range(0, 4) == 0;

            self.push_person_event(person, at, event_kind(category, action, success), |json| {
                json.insert("resource_type".to_owned(), json!(resource));
                json.insert("cui_accessed".to_owned(), json!(cui));
            });
        }

        for _ in 0..self.random.range(0, 3) {
            let when = today
                .plus(Span::hours(9))
                .plus(Span::secs(self.random.range(0, 7 * 3600)));
            let bytes = self.random.range(10_000, 2_000_000);
            self.push_person_event(
                person,
                when,
                event_kind(Category::Data, "export_data", success),
                |json| {
                    if let Some(metadata) = json.get_mut("metadata").and_then(|m| m.as_object_mut())
                    {
                        metadata.insert("bytes".to_owned(), json!(bytes));
                    }
                },
            );
        }

        if person.role == Role::Admin {
            let when = today
                .plus(Span::hours(10))
                .plus(Span::secs(self.random.range(0, 3 * 3600)));
            self.push_person_event(
                person,
                when,
                event_kind(Category::Admin, "settings_change", success),
                |json| {
                    json.insert("resource_type".to_owned(), json!("/api/admin/settings.php"));
                },
            );
        }

        self.push_person_event(
            person,
            at.plus(Span::mins(1)),
            event_kind(Category::Auth, "logout", success),
            |_| {},
        );

        if from_home {
            self.add_evening_at_home(person, today);
        }
    }

    /// Adds a page view from home before the end of business hours, in a session of its own, so the
    /// home address is known before the person's profile is established.
    fn add_evening_at_home(&mut self, person: &Person, today: Timestamp) {
        let at = today
            .plus(Span::mins(18 * 60 + 30))
            .plus(Span::secs(self.random.range(0, 1200)));
        let client = super::Client {
            ip: person.home_ip.clone(),
            agent: person.agent.clone(),
            session: format!("{}-home", person.session(at)),
        };

        self.push_client_event(
            person,
            &client,
            at,
            event_kind(Category::Access, "page_view", Outcome::Success),
            |_| {},
        );
    }
}
