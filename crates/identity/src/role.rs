//! Roles and what they may do.
//!
//! Permissions are data: rows of role, action and resource. The built-in ones are a table; an
//! administrator may add rows and take some away, but never below a [safe core](SafeCore): the
//! record stays as it is, an assessor stays a reader, and there is always someone who can put
//! things right.

mod permissions;
mod table;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use permissions::{
    Effect, Permissions, RoleChange, RoleChangeError, Rule, SafeCore, check_role_change, may_manage,
};

/// The text is not the name of a role, action or resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: it must be one of {allowed}")]
pub struct NameError {
    text: String,
    what: &'static str,
    allowed: String,
}

/// Defines an enum whose values have names in tables, keys and JSON.
macro_rules! named {
    (
        $(#[$doc:meta])* $type:ident, $what:literal;
        $($(#[$value_doc:meta])* $value:ident = $name:literal,)+
    ) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum $type {
            $($(#[$value_doc])* #[serde(rename = $name)] $value,)+
        }

        impl $type {
            /// All values, in order.
            pub const ALL: &[Self] = &[$(Self::$value,)+];

            /// Returns its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let named = |value: &&Self| value.as_str() == text;
                Self::ALL.iter().find(named).copied().ok_or_else(|| NameError {
                    text: text.chars().take(40).collect(),
                    what: $what,
                    allowed: [$($name,)+].join(", "),
                })
            }
        }
    };
}

named! {
    /// What a person is in a tenant.
    Role, "role";
    /// Sees alerts, works on incidents, reads compliance.
    User = "user",
    /// Also silences, plans of action, approval of evidence, exports.
    Manager = "manager",
    /// Also rules, keys, sources, agents and the people of the tenant.
    Admin = "admin",
    /// Everything, with tenants, policies and permissions.
    SystemAdmin = "system_admin",
    /// Reads what an assessment needs, and writes nothing but notes of their own.
    Assessor = "assessor",
}

named! {
    /// What is done.
    Action, "action";
    /// See it in pages, lists and answers.
    Read = "read",
    /// Acknowledge it, with a verdict.
    Acknowledge = "acknowledge",
    /// Create and change it, and end it where it has an end.
    Write = "write",
    /// Decide that it counts.
    Approve = "approve",
    /// Take it out as a file.
    Export = "export",
}

named! {
    /// What something is done to.
    Resource, "resource";
    /// Alerts.
    Alerts = "alerts",
    /// Security incidents, their notes, tasks and evidence.
    Incidents = "incidents",
    /// Audit events that sources sent.
    Events = "events",
    /// blueteam's own audit log.
    AuditLog = "audit_log",
    /// Controls, findings and decisions.
    Compliance = "compliance",
    /// Evidence for controls.
    Evidence = "evidence",
    /// Plans of action and milestones.
    Poam = "poam",
    /// Reports of red teams and scanners, and what they found.
    RedTeam = "redteam",
    /// Reports.
    Reports = "reports",
    /// Notes of assessors.
    AssessorNotes = "assessor_notes",
    /// Silences and inhibitions.
    Silences = "silences",
    /// Detection rules and their exceptions.
    Rules = "rules",
    /// Sources of events.
    Sources = "sources",
    /// Agents on hosts.
    Agents = "agents",
    /// Commands to agents.
    Commands = "commands",
    /// Receivers, routes and escalation of notifications.
    Channels = "channels",
    /// API keys.
    Keys = "keys",
    /// Accounts of people.
    Users = "users",
    /// Sessions of others.
    Sessions = "sessions",
    /// Which role may do what.
    Permissions = "permissions",
    /// Password and session policies.
    Policy = "policy",
    /// Organizations.
    Tenants = "tenants",
    /// Configuration, state and upkeep of the installation.
    System = "system",
}

/// Returns whether something of this kind can be done to a resource at all.
pub fn is_possible(action: Action, resource: Resource) -> bool {
    table::possible(resource).has(action)
}

/// Returns whether a factor must have been given again shortly before (ASVS 7.5.1, 7.5.2): for what
/// lets someone in or out, gives power, runs on other machines, blinds the detection, or counts
/// before an assessor.
pub const fn requires_step_up(action: Action, resource: Resource) -> bool {
    match resource {
        Resource::Users
        | Resource::Keys
        | Resource::Sessions
        | Resource::Commands
        | Resource::Permissions
        | Resource::Policy
        | Resource::Tenants
        | Resource::Rules => !matches!(action, Action::Read | Action::Export),
        Resource::Evidence | Resource::Agents => matches!(action, Action::Approve),
        _ => false,
    }
}
