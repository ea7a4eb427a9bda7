//! `[console]`: where people sign in, for how long, and where their accounts are kept besides
//! blueteam's own.

use std::net::SocketAddr;

use identity::{GroupRole, Role, RoleMap, SessionSettings};
use model::Span;
use serde::{Deserialize, Serialize};

use crate::check_lasting;
use crate::error::Problem;

/// The most entries of a list of roles.
const ROLES_MAX: usize = 1000;

/// How rarely a directory may be looked at.
const SYNC_MAX: Span = Span::hours(1);

/// The longest notice, in characters.
const NOTICE_MAX: usize = 10_000;

/// Who lets people in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Address and port of people's part of the HTTP server; empty: those of `ingest`.
    pub listen: String,
    /// Certificate chain (PEM) there; needed to listen anywhere but on this machine.
    pub tls_cert_file: String,
    /// Its key (PEM).
    pub tls_key_file: String,
    /// What people must accept before they sign in (3.1.9); empty: nothing.
    pub notice: String,
    /// How long sessions last.
    pub sessions: Sessions,
    /// An OpenID Connect provider.
    pub oidc: Oidc,
    /// A directory.
    pub ldap: Ldap,
}

/// How long sessions last: at most as long as docs/accounts.md says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    /// Without activity, until they lock.
    pub lock_after: Span,
    /// Without activity, until they end.
    pub end_after_idle: Span,
    /// In all.
    pub end_after: Span,
    /// How long both factors count for what is dangerous.
    pub step_up_for: Span,
}

impl Default for Sessions {
    fn default() -> Self {
        let most = SessionSettings::default();
        Self {
            lock_after: most.lock_after,
            end_after_idle: most.end_after_idle,
            end_after: most.end_after,
            step_up_for: most.step_up_for,
        }
    }
}

impl Sessions {
    /// The same for the crate that decides.
    pub fn settings(&self) -> SessionSettings {
        SessionSettings {
            lock_after: self.lock_after,
            end_after_idle: self.end_after_idle,
            end_after: self.end_after,
            step_up_for: self.step_up_for,
        }
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        // What the assessor reads is the most that there is: a session may be shorter, not longer.
        let most = Self::default();
        for (key, value, most) in [
            ("lock_after", self.lock_after, most.lock_after),
            ("end_after_idle", self.end_after_idle, most.end_after_idle),
            ("end_after", self.end_after, most.end_after),
            ("step_up_for", self.step_up_for, most.step_up_for),
        ] {
            if value > most {
                let key = format!("console.sessions.{key}");
                problems.push(Problem::new(key, format!("must not be more than {most}")));
            }
        }
        for fault in self.settings().validate().err().unwrap_or_default() {
            problems.push(Problem::new("console.sessions", fault.to_string()));
        }
    }
}

/// Which role the members of a group have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleOfGroup {
    /// The group.
    pub group: String,
    /// The role.
    pub role: String,
}

/// An OpenID Connect provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Oidc {
    /// Its issuer, exactly as it calls itself; empty: there is none.
    pub issuer: String,
    /// The id that it knows blueteam by.
    pub client_id: String,
    /// A file that holds the client's secret.
    pub client_secret_file: String,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_file: String,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// The claim that names a new account.
    pub username_claim: String,
    /// The claim that lists a person's groups.
    pub groups_claim: String,
    /// Roles by groups; the first entry that fits counts.
    pub roles: Vec<RoleOfGroup>,
    /// The role of everybody else; empty: they are not let in.
    pub default_role: String,
    /// Values of the claim `acr` that say that two factors were used.
    pub mfa_acr: Vec<String>,
    /// Values of the claim `amr` that say the same.
    pub mfa_amr: Vec<String>,
    /// The limit of one request to it.
    pub timeout: Span,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret_file: String::new(),
            ca_file: String::new(),
            scopes: vec!["profile".to_owned(), "email".to_owned()],
            username_claim: "preferred_username".to_owned(),
            groups_claim: "groups".to_owned(),
            roles: Vec::new(),
            default_role: String::new(),
            mfa_acr: Vec::new(),
            mfa_amr: Vec::new(),
            timeout: Span::secs(10),
        }
    }
}

/// Returns the roles of a list that was checked.
fn role_map(roles: &[RoleOfGroup], default: &str, is_case_sensitive: bool) -> RoleMap {
    let entry = |entry: &RoleOfGroup| {
        let role = entry.role.parse().ok()?;
        let group = entry.group.clone();
        Some(GroupRole { group, role })
    };
    RoleMap {
        groups: roles.iter().filter_map(entry).collect(),
        default: default.parse().ok(),
        is_case_sensitive,
    }
}

/// Checks a list of roles and the default of `section`.
fn check_roles(section: &str, roles: &[RoleOfGroup], default: &str, problems: &mut Vec<Problem>) {
    let mut bad = |key: String, message: String| {
        problems.push(Problem::new(format!("{section}.{key}"), message));
    };
    if roles.len() > ROLES_MAX {
        bad(
            "roles".to_owned(),
            format!("there may be {ROLES_MAX} at most"),
        );
    }
    if roles.is_empty() && default.is_empty() {
        bad(
            "roles".to_owned(),
            "lets nobody in: name a group and its role".to_owned(),
        );
    }
    for (i, entry) in roles.iter().enumerate() {
        if entry.group.trim().is_empty() {
            bad(format!("roles[{i}].group"), "must not be empty".to_owned());
        }
        if let Err(error) = entry.role.parse::<Role>() {
            bad(format!("roles[{i}].role"), error.to_string());
        }
    }
    match default.parse::<Role>() {
        // Whoever the provider has ever heard of would be one.
        Ok(role @ (Role::Admin | Role::SystemAdmin)) => {
            bad(
                "default_role".to_owned(),
                format!("must not be {role}: name a group for it"),
            );
        }
        Err(error) if !default.is_empty() => bad("default_role".to_owned(), error.to_string()),
        _ => {}
    }
}

impl Oidc {
    /// Whether there is one.
    pub fn is_configured(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// Returns the roles of its groups.
    pub fn role_map(&self) -> RoleMap {
        role_map(&self.roles, &self.default_role, true)
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        check_lasting(problems, "console.oidc.timeout", self.timeout);
        if !self.is_configured() {
            let set =
                |key: &str| Problem::new(format!("console.oidc.{key}"), "needs issuer as well");
            if !self.client_id.is_empty() {
                problems.push(set("client_id"));
            }
            if !self.client_secret_file.is_empty() {
                problems.push(set("client_secret_file"));
            }
            return;
        }

        if let Err(error) = identity::oidc::check_issuer(&self.issuer) {
            problems.push(Problem::new("console.oidc.issuer", error.to_string()));
        }
        for (key, value) in [
            ("client_id", &self.client_id),
            ("client_secret_file", &self.client_secret_file),
            ("username_claim", &self.username_claim),
            ("groups_claim", &self.groups_claim),
        ] {
            if value.trim().is_empty() {
                problems.push(Problem::new(
                    format!("console.oidc.{key}"),
                    "must not be empty",
                ));
            }
        }
        // A text of several would be several scopes, and an empty one none.
        for (i, scope) in self.scopes.iter().enumerate() {
            if scope.is_empty() || scope.contains(|c: char| c.is_whitespace() || c.is_control()) {
                let key = format!("console.oidc.scopes[{i}]");
                problems.push(Problem::new(key, "must be one scope without blanks"));
            }
        }
        check_roles("console.oidc", &self.roles, &self.default_role, problems);
    }
}

/// A directory (LDAP).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ldap {
    /// `ldaps://…`, or `ldap://…` with StartTLS; empty: there is none.
    pub url: String,
    /// Whether `ldap://…` is made safe by StartTLS.
    pub start_tls: bool,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_file: String,
    /// Where the people are.
    pub base: String,
    /// The filter that finds a person by name.
    pub user_filter: String,
    /// The account that searches.
    pub bind_dn: String,
    /// A file that holds its password.
    pub bind_password_file: String,
    /// The attribute that names an account.
    pub name_attribute: String,
    /// The attribute that identifies a person permanently.
    pub id_attribute: String,
    /// The attribute of a person that lists their groups; empty: groups list their members.
    pub group_attribute: String,
    /// The attribute of a group that lists its members.
    pub member_attribute: String,
    /// Roles by distinguished names of groups; the first entry that fits counts.
    pub roles: Vec<RoleOfGroup>,
    /// The role of everybody else; empty: they are not let in.
    pub default_role: String,
    /// How often it is looked who has left.
    pub sync_interval: Span,
    /// The limit of one request to it.
    pub timeout: Span,
}

impl Default for Ldap {
    fn default() -> Self {
        Self {
            url: String::new(),
            start_tls: false,
            ca_file: String::new(),
            base: String::new(),
            user_filter: "(&(objectClass=person)(uid={name}))".to_owned(),
            bind_dn: String::new(),
            bind_password_file: String::new(),
            name_attribute: "uid".to_owned(),
            id_attribute: "entryUUID".to_owned(),
            group_attribute: "memberOf".to_owned(),
            member_attribute: "member".to_owned(),
            roles: Vec::new(),
            default_role: String::new(),
            sync_interval: Span::mins(15),
            timeout: Span::secs(10),
        }
    }
}

impl Ldap {
    /// Whether there is one.
    pub fn is_configured(&self) -> bool {
        !self.url.is_empty()
    }

    /// Returns the roles of its groups.
    pub fn role_map(&self) -> RoleMap {
        let mut map = role_map(&self.roles, &self.default_role, false);
        for entry in &mut map.groups {
            entry.group = identity::directory::fold_dn(&entry.group);
        }
        map
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        check_lasting(problems, "console.ldap.timeout", self.timeout);
        let mut bad = |key: &str, message: &str| {
            problems.push(Problem::new(format!("console.ldap.{key}"), message));
        };
        // Whoever has left is out within the hour.
        if self.sync_interval < Span::secs(1) || self.sync_interval > SYNC_MAX {
            bad("sync_interval", "is from 1s to 1h");
        }
        if !self.is_configured() {
            for (key, value) in [
                ("base", &self.base),
                ("bind_password_file", &self.bind_password_file),
            ] {
                if !value.is_empty() {
                    bad(key, "needs url as well");
                }
            }
            return;
        }

        let host = |rest: &str| {
            let end = rest
                .rfind(':')
                .filter(|at| !rest[*at..].contains(']'))
                .unwrap_or(rest.len());
            notify::tls::is_loopback(&rest[..end])
        };
        if let Some(rest) = self.url.strip_prefix("ldaps://") {
            if self.start_tls {
                bad("start_tls", "is for ldap://; ldaps:// is safe by itself");
            }
            if rest.is_empty() {
                bad("url", "names no host");
            }
        } else if let Some(rest) = self.url.strip_prefix("ldap://") {
            if !self.start_tls && !host(rest.trim_end_matches('/')) {
                bad(
                    "url",
                    "sends passwords in the clear: use ldaps://, or set start_tls",
                );
            }
        } else {
            bad("url", "must begin with ldaps:// or ldap://");
        }
        if self.url.contains(['@', '?', '#']) {
            bad("url", "must be scheme, host and port alone");
        }
        if !self.user_filter.contains(identity::directory::NAME) {
            bad("user_filter", "must hold {name}");
        }
        for (key, value) in [
            ("base", &self.base),
            ("bind_dn", &self.bind_dn),
            ("bind_password_file", &self.bind_password_file),
            ("name_attribute", &self.name_attribute),
            ("id_attribute", &self.id_attribute),
            ("member_attribute", &self.member_attribute),
        ] {
            if value.trim().is_empty() {
                bad(key, "must not be empty");
            }
        }
        check_roles("console.ldap", &self.roles, &self.default_role, problems);
    }
}

impl Console {
    /// Where people's part is apart from that for events.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }

    fn check_listen(&self, problems: &mut Vec<Problem>) {
        let mut bad = |key: &str, message: &str| {
            problems.push(Problem::new(format!("console.{key}"), message));
        };
        let pair = (self.tls_cert_file.is_empty(), self.tls_key_file.is_empty());
        match pair {
            (true, false) => bad("tls_key_file", "needs tls_cert_file as well"),
            (false, true) => bad("tls_cert_file", "needs tls_key_file as well"),
            _ => {}
        }
        if self.listen.is_empty() {
            if pair == (false, false) {
                bad("tls_cert_file", "needs listen as well");
            }
            return;
        }
        match self.listen.parse::<SocketAddr>() {
            Err(_) => bad(
                "listen",
                "is not an address with its port, such as 127.0.0.1:8515",
            ),
            Ok(listen) if pair == (true, true) && !listen.ip().is_loopback() => bad(
                "listen",
                "is open to the network: set tls_cert_file and tls_key_file, or listen on 127.0.0.1",
            ),
            Ok(_) => {}
        }
    }

    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        self.check_listen(problems);
        self.sessions.check(problems);
        let is_odd = |c: char| c.is_control() && c != '\n';
        if self.notice.chars().count() > NOTICE_MAX || self.notice.contains(is_odd) {
            let message = format!(
                "has {NOTICE_MAX} characters at most, and no control characters but line breaks"
            );
            problems.push(Problem::new("console.notice", message));
        }
        self.oidc.check(problems);
        self.ldap.check(problems);
    }
}
