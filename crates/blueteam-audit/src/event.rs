//! An event that an application logs. Its fields are the columns of `audit_events`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// The category of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Logins, passwords, sessions (3.3.1, 3.5.x).
    Auth,
    /// Requests, pages, files (3.1.x, 3.3.2).
    Access,
    /// Accounts, roles, settings (3.1.7, 3.3.2).
    Admin,
    /// Flow of controlled data (3.1.3).
    Data,
    /// Requests to AI components, and their refusals.
    Ai,
    /// The application itself (3.14.x).
    System,
}

impl Category {
    /// Returns the value of the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Access => "access",
            Self::Admin => "admin",
            Self::Data => "data",
            Self::Ai => "ai",
            Self::System => "system",
        }
    }
}

/// The result of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It succeeded.
    Success,
    /// It failed.
    Failure,
    /// It was not allowed.
    Denied,
}

impl Outcome {
    /// Returns the value of the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
        }
    }
}

/// A value of the metadata. Those of the layer need no allocation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Detail {
    Word(&'static str),
    Number(u64),
    Json(Value),
}

/// An audit event. Texts beyond the limits of the table are cut, never rejected.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an event is only sent by `AuditLogger::log`"]
pub struct Event {
    pub(crate) category: Category,
    pub(crate) action: Cow<'static, str>,
    pub(crate) outcome: Outcome,
    pub(crate) time: Option<SystemTime>,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) session_id: Option<String>,
    pub(crate) ip_address: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
    pub(crate) resource_type: Option<Cow<'static, str>>,
    pub(crate) resource_id: Option<String>,
    pub(crate) instance_id: Option<Uuid>,
    pub(crate) cui_accessed: bool,
    pub(crate) metadata: Vec<(Cow<'static, str>, Detail)>,
}

impl Event {
    /// Creates an event that happens now. `action` is a constant of [`action`](crate::action) or an
    /// application's own action.
    pub fn new(category: Category, action: impl Into<Cow<'static, str>>, outcome: Outcome) -> Self {
        Self {
            category,
            action: action.into(),
            outcome,
            time: None,
            user_id: None,
            session_id: None,
            ip_address: None,
            user_agent: None,
            resource_type: None,
            resource_id: None,
            instance_id: None,
            cui_accessed: false,
            metadata: Vec::new(),
        }
    }

    /// Sets when it happened, if not when it is logged.
    pub fn at(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }

    /// Sets the user who did it.
    pub fn user(mut self, id: Uuid) -> Self {
        self.set_user(id);
        self
    }

    /// Sets the session. Pass an identifier (a JWT's `jti`, a hash), never the token, which a
    /// reader of the log could use.
    pub fn session(mut self, id: impl Into<String>) -> Self {
        self.set_session(id);
        self
    }

    /// Sets the client's address.
    pub fn ip(mut self, address: IpAddr) -> Self {
        self.ip_address = Some(address);
        self
    }

    /// Sets the user agent.
    pub fn user_agent(mut self, agent: impl Into<String>) -> Self {
        self.user_agent = Some(agent.into());
        self
    }

    /// Sets the resource: its kind (endpoint, page, file …) and its ID.
    pub fn resource(mut self, kind: impl Into<Cow<'static, str>>, id: impl Into<String>) -> Self {
        self.set_resource(kind, id);
        self
    }

    /// Sets the tenant.
    pub fn tenant(mut self, id: Uuid) -> Self {
        self.set_tenant(id);
        self
    }

    /// EventTags that controlled unclassified information was accessed.
    pub fn cui(mut self) -> Self {
        self.set_cui(true);
        self
    }

    /// Adds a field to the metadata. The rules use `username`, `email`, `role`, `home_instance_id`
    /// and `bytes`. The logger sets `producer` and `producer_seq` itself. A second value of a key
    /// replaces the first.
    pub fn detail(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.set_detail(key, value);
        self
    }

    /// Changes category and action, for a handler that knows them better than the layer.
    pub fn set_action(&mut self, category: Category, action: impl Into<Cow<'static, str>>) {
        self.category = category;
        self.action = action.into();
    }

    /// Sets the user who did it.
    pub fn set_user(&mut self, id: Uuid) {
        self.user_id = Some(id);
    }

    /// Sets the session; see [`Event::session`].
    pub fn set_session(&mut self, id: impl Into<String>) {
        self.session_id = Some(id.into());
    }

    /// Sets the client's address.
    pub fn set_ip(&mut self, address: IpAddr) {
        self.ip_address = Some(address);
    }

    /// Sets the resource; see [`Event::resource`].
    pub fn set_resource(&mut self, kind: impl Into<Cow<'static, str>>, id: impl Into<String>) {
        self.resource_type = Some(kind.into());
        self.resource_id = Some(id.into());
    }

    /// Sets the tenant.
    pub fn set_tenant(&mut self, id: Uuid) {
        self.instance_id = Some(id);
    }

    /// Sets whether CUI was accessed.
    pub fn set_cui(&mut self, accessed: bool) {
        self.cui_accessed = accessed;
    }

    /// Adds a field to the metadata; see [`Event::detail`].
    pub fn set_detail(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        self.put_detail(key.into(), Detail::Json(value.into()));
    }

    pub(crate) fn put_detail(&mut self, key: Cow<'static, str>, value: Detail) {
        match self.metadata.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.metadata.push((key, value)),
        }
    }
}
