//! An event, as the application tells it. Its fields are the columns of `audit_events`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Logins, passwords, sessions (3.3.1, 3.5.x).
    Auth,
    /// Requests, pages, files (3.1.x, 3.3.2).
    Access,
    /// Accounts, roles, settings (3.1.7, 3.3.2).
    Admin,
    /// Where controlled data flows (3.1.3).
    Data,
    /// What an AI component was asked and refused.
    Ai,
    /// The application itself (3.14.x).
    System,
}

impl Category {
    /// As it stands in the table.
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

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As wanted.
    Success,
    /// It could not be done.
    Failure,
    /// It was not allowed.
    Denied,
}

impl Outcome {
    /// As it stands in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
        }
    }
}

/// One value of the metadata. The layer's own need no allocation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Detail {
    Word(&'static str),
    Number(u64),
    Json(Value),
}

/// Something that happened. Texts beyond the limits of the table are cut, never refused.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an event is told by `AuditLogger::log`"]
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
    /// An event of now. `action` is one of [`action`](crate::action)'s, or a word of the
    /// application's own.
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

    /// When it happened, if that isn't when it is logged.
    pub fn at(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }

    /// Who did it.
    pub fn user(mut self, id: Uuid) -> Self {
        self.set_user(id);
        self
    }

    /// The session. Give a name of it (a JWT's `jti`, a hash), never the token: whoever reads the
    /// log could use it.
    pub fn session(mut self, id: impl Into<String>) -> Self {
        self.set_session(id);
        self
    }

    /// From which address.
    pub fn ip(mut self, address: IpAddr) -> Self {
        self.ip_address = Some(address);
        self
    }

    /// With which program.
    pub fn user_agent(mut self, agent: impl Into<String>) -> Self {
        self.user_agent = Some(agent.into());
        self
    }

    /// What it was done to: its kind (endpoint, page, file …) and the thing itself.
    pub fn resource(mut self, kind: impl Into<Cow<'static, str>>, id: impl Into<String>) -> Self {
        self.set_resource(kind, id);
        self
    }

    /// For which tenant.
    pub fn tenant(mut self, id: Uuid) -> Self {
        self.set_tenant(id);
        self
    }

    /// Controlled unclassified information was touched.
    pub fn cui(mut self) -> Self {
        self.set_cui(true);
        self
    }

    /// One more thing to know. The rules use `username`, `email`, `role`, `home_instance_id` and
    /// `bytes`. `producer` and `producer_seq` are the logger's own. A second value of a key takes
    /// the place of the first.
    pub fn detail(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.set_detail(key, value);
        self
    }

    /// Changes category and action: for the handler that knows better than the layer what a request
    /// was.
    pub fn set_action(&mut self, category: Category, action: impl Into<Cow<'static, str>>) {
        self.category = category;
        self.action = action.into();
    }

    /// Who did it.
    pub fn set_user(&mut self, id: Uuid) {
        self.user_id = Some(id);
    }

    /// The session; see [`Event::session`].
    pub fn set_session(&mut self, id: impl Into<String>) {
        self.session_id = Some(id.into());
    }

    /// From which address.
    pub fn set_ip(&mut self, address: IpAddr) {
        self.ip_address = Some(address);
    }

    /// What it was done to.
    pub fn set_resource(&mut self, kind: impl Into<Cow<'static, str>>, id: impl Into<String>) {
        self.resource_type = Some(kind.into());
        self.resource_id = Some(id.into());
    }

    /// For which tenant.
    pub fn set_tenant(&mut self, id: Uuid) {
        self.instance_id = Some(id);
    }

    /// Whether CUI was touched.
    pub fn set_cui(&mut self, touched: bool) {
        self.cui_accessed = touched;
    }

    /// One more thing to know; see [`Event::detail`].
    pub fn set_detail(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        self.put(key.into(), Detail::Json(value.into()));
    }

    pub(crate) fn put(&mut self, key: Cow<'static, str>, value: Detail) {
        match self.metadata.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.metadata.push((key, value)),
        }
    }
}
