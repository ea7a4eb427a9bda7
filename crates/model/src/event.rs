//! The one event model: everything the engine sees is a [`SecurityEvent`].

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use crate::details::Details;
use crate::ids::{EventId, Severity, UnknownWord};
use crate::tenant::TenantId;
use crate::text::Text;
use crate::time::Timestamp;

mod fit;
mod provenance;

pub use fit::NAME_MAX;
pub use provenance::{FACILITY_MAX, HOST_MAX, PROGRAM_MAX, Provenance, RAW_MAX};

/// Where an event came from. Keys of different sources never share a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Source {
    /// The `audit_events` table.
    AuditDb,
    /// Syslog: sshd, sudo, PAM.
    Syslog,
    /// nginx and Apache access logs.
    Nginx,
    /// PHP's error log.
    PhpError,
    /// PostgreSQL's own log.
    Postgres,
    /// Our endpoint agent.
    Agent,
    /// Red team reports.
    Redteam,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 7] = [
        Self::AuditDb,
        Self::Syslog,
        Self::Nginx,
        Self::PhpError,
        Self::Postgres,
        Self::Agent,
        Self::Redteam,
    ];

    /// The word in the database and in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuditDb => "audit_db",
            Self::Syslog => "syslog",
            Self::Nginx => "nginx",
            Self::PhpError => "php_error",
            Self::Postgres => "postgres",
            Self::Agent => "agent",
            Self::Redteam => "redteam",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Source {
    /// Returns the source of this name, or of the format of logs of this name: the configuration
    /// says `php`, its events say `php_error`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "audit" => Some(Self::AuditDb),
            "php" => Some(Self::PhpError),
            "journald" => Some(Self::Syslog),
            "nginx_error" | "apache" => Some(Self::Nginx),
            "postgresql" => Some(Self::Postgres),
            _ => Self::ALL.into_iter().find(|s| s.as_str() == name),
        }
    }
}

impl FromStr for Source {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| UnknownWord {
                found: text.to_owned(),
                expected: "audit_db, syslog, nginx, php_error, postgres, agent, redteam",
            })
    }
}

/// The design's event categories (3.1), and `network` for what logs of the wire show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Category {
    /// Logins, passwords, MFA.
    Auth,
    /// Requests and page views.
    Access,
    /// Privileged functions.
    Admin,
    /// CUI and other business data.
    Data,
    /// Conversations with the model.
    Ai,
    /// The application about itself.
    System,
    /// Seen on the wire; never in `audit_events`.
    Network,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 7] = [
        Self::Auth,
        Self::Access,
        Self::Admin,
        Self::Data,
        Self::Ai,
        Self::System,
        Self::Network,
    ];

    /// The word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Access => "access",
            Self::Admin => "admin",
            Self::Data => "data",
            Self::Ai => "ai",
            Self::System => "system",
            Self::Network => "network",
        }
    }

    /// The category of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "auth" => Self::Auth,
            "access" => Self::Access,
            "admin" => Self::Admin,
            "data" => Self::Data,
            "ai" => Self::Ai,
            "system" => Self::System,
            "network" => Self::Network,
            _ => return None,
        })
    }

    /// The controls that events of this category give evidence for (design 3.1).
    pub const fn nist_controls(self) -> &'static [&'static str] {
        match self {
            Self::Auth => &["3.3.1", "3.5.1", "3.5.2"],
            Self::Access => &["3.1.1", "3.3.2"],
            Self::Admin => &["3.1.7", "3.3.2"],
            Self::Data => &["3.1.3"],
            Self::Ai | Self::Network => &["3.14.6"],
            Self::System => &["3.14.1"],
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `result` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Outcome {
    /// It happened.
    Success,
    /// It was tried and went wrong.
    Failure,
    /// It was tried and refused.
    Denied,
}

impl Outcome {
    /// The word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
        }
    }

    /// The result of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "success" => Self::Success,
            "failure" => Self::Failure,
            "denied" => Self::Denied,
            _ => return None,
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The actions that a built-in rule asks about; every other one is `Other` and keeps its name in
/// the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the design's")]
pub enum Action {
    Login,
    LoginFailed,
    Logout,
    PasswordChange,
    PasswordReset,
    FileDownload,
    ExportData,
    ReportGenerate,
    GuardrailTriggered,
    JailbreakDetected,
    RateLimitHit,
    AuditFailure,
    HttpRequest,
    Other,
}

impl Action {
    /// The action of that name.
    pub fn of(name: &str) -> Self {
        match name {
            "login" => Self::Login,
            "login_failed" => Self::LoginFailed,
            "logout" => Self::Logout,
            "password_change" => Self::PasswordChange,
            "password_reset" => Self::PasswordReset,
            "file_download" => Self::FileDownload,
            "export_data" => Self::ExportData,
            "report_generate" => Self::ReportGenerate,
            "guardrail_triggered" => Self::GuardrailTriggered,
            "jailbreak_detected" => Self::JailbreakDetected,
            "rate_limit_hit" => Self::RateLimitHit,
            "audit_failure" => Self::AuditFailure,
            "http_request" => Self::HttpRequest,
            _ => Self::Other,
        }
    }
}

/// Who acted: the application's UUID, or a name where a log only has a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserId<'a> {
    /// `audit_events.user_id`.
    Uuid(Uuid),
    /// A login name from a log line.
    Name(Text<'a>),
}

impl UserId<'_> {
    /// The same id, owning its bytes.
    pub fn into_owned(self) -> UserId<'static> {
        match self {
            Self::Uuid(id) => UserId::Uuid(id),
            Self::Name(name) => UserId::Name(name.into_owned()),
        }
    }
}

impl fmt::Display for UserId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// `resource_type` of events in which blueteam reports on itself.
pub const OURSELVES: &str = "blueteam";
/// The action of blueteam's own by which a person gets a way back into their account.
pub const ACCOUNT_RECOVERY: &str = "account_recovery";
/// The reason of a failed login by a passkey that two have used.
pub const PASSKEY_COPIED: &str = "passkey copied";

/// What a built-in rule may ask about an event, worked out once per event so that a rule is called
/// only for what concerns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EventTags(pub u32);

impl EventTags {
    /// A failed login, as `detection.md` defines it.
    pub const FAILED_LOGIN: Self = Self(1);
    /// `result = success` and a user is named.
    pub const USER_SUCCESS: Self = Self(1 << 1);
    /// An export, a report or a download.
    pub const EXPORT: Self = Self(1 << 2);
    /// A guardrail or jailbreak trigger.
    pub const GUARDRAIL: Self = Self(1 << 3);
    /// A rate limit hit.
    pub const RATE_LIMIT: Self = Self(1 << 4);
    /// CUI was touched.
    pub const CUI: Self = Self(1 << 5);
    /// A successful password change or reset of a named user.
    pub const PASSWORD: Self = Self(1 << 6);
    /// `category = data`, or CUI was touched.
    pub const DATA: Self = Self(1 << 7);
    /// A session is named.
    pub const SESSION: Self = Self(1 << 8);
    /// `system/audit_failure`.
    pub const AUDIT_FAILURE: Self = Self(1 << 9);
    /// A user reaches for something: `access`, `data` or `admin`.
    pub const REACH: Self = Self(1 << 10);
    /// A successful login that names its user or account, as a failed one does.
    pub const LOGIN: Self = Self(1 << 11);
    /// A user is named.
    pub const USER: Self = Self(1 << 12);
    /// A failure that blueteam reports of itself: `system/audit_failure` about [`OURSELVES`].
    pub const OWN_FAILURE: Self = Self(1 << 13);
    /// A request as an access log has it.
    pub const WEB: Self = Self(1 << 14);
    /// The database's own word on who touched what: refused, or a change of the schema.
    pub const DATABASE: Self = Self(1 << 16);
    /// What the log of a system shows of its accounts, of privileges and of logging itself.
    pub const ACCOUNT_CHANGE: Self = Self(1 << 17);
    /// An account of blueteam's own may have another holder: see [`SecurityEvent::is_about_own_account`].
    pub const OWN_ACCOUNT: Self = Self(1 << 18);
    /// On every event.
    pub const ANY: Self = Self(1 << 15);

    /// Both sets together.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets share a mark.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A normalized event (design 3.2.1), borrowed from its input where it can be.
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityEvent<'a> {
    /// Its id.
    pub event_id: EventId,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Where it came from.
    pub source: Source,
    /// The design's category.
    pub category: Category,
    /// What was done, by name.
    pub action: Text<'a>,
    /// What was done, as far as rules care.
    pub action_kind: Action,
    /// How it ended.
    pub result: Outcome,
    /// Who did it.
    pub user_id: Option<UserId<'a>>,
    /// The name that was tried, where a log line says it; for audit events ask
    /// [`SecurityEvent::account`].
    pub account_name: Option<Text<'a>>,
    /// The session.
    pub session_id: Option<Text<'a>>,
    /// The address, IPv4-mapped IPv6 as IPv4.
    pub ip_address: Option<IpAddr>,
    /// The browser or client.
    pub user_agent: Option<Text<'a>>,
    /// Endpoint, page or file.
    pub resource_type: Option<Text<'a>>,
    /// The thing itself.
    pub resource_id: Option<Text<'a>>,
    /// The instance of the application, as it says itself.
    pub instance_id: Option<Uuid>,
    /// Whose it is, of an event that was stored: the database says so, never the event.
    pub tenant: TenantId,
    /// Where it was, of an event of a log. Boxed, because applications' events have none.
    pub provenance: Option<Box<Provenance<'a>>>,
    /// The rest.
    pub details: Details<'a>,
    /// Whether CUI was touched.
    pub cui_involved: bool,
    /// How many times it happened (`message repeated N times`), at least 1.
    pub occurrences: u32,
    /// What rules may ask.
    pub marks: EventTags,
}

impl SecurityEvent<'_> {
    /// A bare event; callers fill in the rest and then [`SecurityEvent::classify`] it.
    pub fn new(
        event_id: EventId,
        timestamp: Timestamp,
        source: Source,
        category: Category,
        action: Text<'_>,
        result: Outcome,
    ) -> SecurityEvent<'_> {
        let action_kind = Action::of(&action);
        SecurityEvent {
            event_id,
            timestamp,
            source,
            category,
            action,
            action_kind,
            result,
            user_id: None,
            account_name: None,
            session_id: None,
            ip_address: None,
            user_agent: None,
            resource_type: None,
            resource_id: None,
            instance_id: None,
            tenant: TenantId::DEFAULT,
            provenance: None,
            details: Details::default(),
            cui_involved: false,
            occurrences: 1,
            marks: EventTags::default(),
        }
    }

    /// Sets the marks from the other fields; call it when every field is set.
    #[must_use]
    pub fn classify(mut self) -> Self {
        self.mark();
        self
    }

    /// The same in place: moving an event copies half a kilobyte.
    pub(crate) fn mark(&mut self) {
        self.bound();
        let user = self.user_id.is_some();
        let success = self.result == Outcome::Success;
        let mut marks = EventTags::ANY;
        let mut set = |mark, on: bool| {
            if on {
                marks = marks.union(mark);
            }
        };

        set(EventTags::USER, user);
        set(EventTags::USER_SUCCESS, user && success);
        set(EventTags::SESSION, self.session_id.is_some());
        set(EventTags::CUI, self.cui_involved);
        set(EventTags::DATABASE, self.source == Source::Postgres);
        set(
            EventTags::ACCOUNT_CHANGE,
            matches!(self.source, Source::Syslog | Source::Postgres)
                && matches!(self.category, Category::Admin | Category::System),
        );
        set(
            EventTags::DATA,
            self.category == Category::Data || self.cui_involved,
        );
        set(EventTags::OWN_ACCOUNT, self.is_about_own_account());

        set(
            EventTags::REACH,
            user && matches!(
                self.category,
                Category::Access | Category::Data | Category::Admin
            ),
        );

        match self.action_kind {
            Action::LoginFailed => set(EventTags::FAILED_LOGIN, self.category == Category::Auth),
            Action::Login => {
                set(
                    EventTags::FAILED_LOGIN,
                    self.category == Category::Auth && !success,
                );
                set(
                    EventTags::LOGIN,
                    self.category == Category::Auth && success && self.account().is_some(),
                );
            }
            Action::PasswordChange | Action::PasswordReset => {
                set(EventTags::PASSWORD, user && success);
            }
            Action::ExportData | Action::ReportGenerate => {
                set(EventTags::EXPORT, self.category == Category::Data);
            }
            Action::FileDownload => set(EventTags::EXPORT, true),
            Action::GuardrailTriggered | Action::JailbreakDetected => {
                set(EventTags::GUARDRAIL, true);
            }
            Action::RateLimitHit => set(EventTags::RATE_LIMIT, true),
            Action::AuditFailure => {
                let failure = self.category == Category::System;
                set(EventTags::AUDIT_FAILURE, failure);
                set(
                    EventTags::OWN_FAILURE,
                    failure && self.resource_type.as_deref() == Some(OURSELVES),
                );
            }
            Action::HttpRequest => set(EventTags::WEB, self.category == Category::Network),
            Action::Logout | Action::Other => {}
        }

        self.marks = marks;
    }

    /// Whether blueteam says that somebody was given a way into one of its accounts, or that one of its
    /// passkeys was copied.
    pub fn is_about_own_account(&self) -> bool {
        if self.resource_type.as_deref() != Some(OURSELVES) {
            return false;
        }
        let is_recovery = self.category == Category::Admin && &*self.action == ACCOUNT_RECOVERY;
        let is_copied = self.action_kind == Action::LoginFailed
            && self.details.text("reason").as_deref() == Some(PASSKEY_COPIED);
        is_recovery || is_copied
    }

    /// The name that was tried: `metadata.username`, else `metadata.email`, else the name in the
    /// log line, else the user id.
    pub fn account(&self) -> Option<String> {
        self.details
            .text("username")
            .or_else(|| self.details.text("email"))
            .or_else(|| self.account_name.as_ref().map(ToString::to_string))
            .or_else(|| self.user_id.as_ref().map(ToString::to_string))
            .map(fit::shortened)
    }

    /// Returns the name of the user who acted: `metadata.username`, otherwise the name in the log
    /// line, otherwise `metadata.email`.
    pub fn user_name(&self) -> Option<String> {
        self.details
            .text("username")
            .or_else(|| self.account_name.as_ref().map(ToString::to_string))
            .or_else(|| self.details.text("email"))
            .map(fit::shortened)
    }

    /// The machine that logged it, where it is an event of a log that says so.
    pub fn host(&self) -> Option<&str> {
        self.provenance.as_ref()?.host.as_deref()
    }

    /// `metadata.role`; the engine falls back to the role in `users.users`.
    pub fn role(&self) -> Option<String> {
        self.details.text("role").map(fit::shortened)
    }

    /// How bad this one event is by itself.
    pub fn severity(&self) -> Severity {
        match (self.action_kind, self.result) {
            (Action::AuditFailure, _) => Severity::Critical,
            (Action::GuardrailTriggered | Action::JailbreakDetected, _) | (_, Outcome::Denied) => {
                Severity::Medium
            }
            (_, Outcome::Failure) => Severity::Low,
            (_, Outcome::Success) => Severity::Info,
        }
    }

    /// The same event, owning its bytes.
    pub fn into_owned(self) -> SecurityEvent<'static> {
        SecurityEvent {
            event_id: self.event_id,
            timestamp: self.timestamp,
            source: self.source,
            category: self.category,
            action: self.action.into_owned(),
            action_kind: self.action_kind,
            result: self.result,
            user_id: self.user_id.map(UserId::into_owned),
            account_name: self.account_name.map(Text::into_owned),
            session_id: self.session_id.map(Text::into_owned),
            ip_address: self.ip_address,
            user_agent: self.user_agent.map(Text::into_owned),
            resource_type: self.resource_type.map(Text::into_owned),
            resource_id: self.resource_id.map(Text::into_owned),
            instance_id: self.instance_id,
            tenant: self.tenant,
            provenance: self.provenance.map(|p| Box::new(p.into_owned())),
            details: self.details.into_owned(),
            cui_involved: self.cui_involved,
            occurrences: self.occurrences,
            marks: self.marks,
        }
    }
}

#[cfg(test)]
mod tests;
