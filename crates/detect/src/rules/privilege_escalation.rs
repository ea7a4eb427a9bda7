//! A user whose role is known and not an admin role reaches an admin endpoint.

use std::path::Path;
use std::sync::Arc;

use model::event::{EventTags, UserId};
use model::{Action, Category, ControlId, Outcome, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use crate::event_header::RulePredicate;
use crate::glob::{Ends, Glob, plain_path};
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("privilege_escalation"),
        name: "Privilege escalation",
        description: "A user whose role is known and is not an admin role reaches an admin \
            endpoint, successfully or not.",
        severity: Severity::Critical,
        controls: &[ControlId::known("3.1.7"), ControlId::known("3.14.7")],
        attack: &["T1078", "T1548"],
        interest: EventTags::USER,
        feeds: &[Source::AuditDb],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/privilege_escalation.ndjson"),
    build: |value, _| {
        let p: Params = parse_params(value)?;
        let rule = PrivilegeEscalation(Arc::new(Privileges {
            endpoints: all_forms(&p).iter().map(|e| Glob::new(e)).collect(),
            ignore_case: p.ignore_case,
            roles: p.admin_roles,
        }));

        Ok(Built {
            rule: Box::new(rule),
            cooldown: Span::hours(1),
            lookback: Span::ZERO,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Patterns of `resource_id` and `resource_type`, with `*`.
    admin_endpoints: Vec<String>,
    admin_roles: Vec<String>,
    /// Paths below which applications lie; patterns that begin with `/` hold there, too.
    mount_points: Vec<String>,
    /// Whether the server resolves paths regardless of case.
    ignore_case: bool,
}

impl Default for Params {
    fn default() -> Self {
        let list = |items: &[&str]| items.iter().map(|s| (*s).to_owned()).collect();
        Self {
            admin_endpoints: list(&["/api/admin/*", "/admin/*", "*/settings.php"]),
            admin_roles: list(&["admin", "system_admin", "super_admin"]),
            mount_points: list(&["/eqmon", "/artemis"]),
            ignore_case: false,
        }
    }
}

/// Returns the patterns with the other forms in which servers resolve the same page: below a mount
/// point, without the slash at the end, and with more path behind a script (`PATH_INFO`).
fn all_forms(p: &Params) -> Vec<String> {
    let mut forms: Vec<String> = Vec::new();
    for pattern in &p.admin_endpoints {
        let mounted = p
            .mount_points
            .iter()
            .filter(|_| pattern.starts_with('/'))
            .map(|mount| format!("{}{pattern}", mount.trim_end_matches('/')));
        forms.extend(std::iter::once(pattern.clone()).chain(mounted));
    }

    let folders = forms
        .iter()
        .filter_map(|form| form.strip_suffix("/*"))
        .filter(|folder| !folder.is_empty())
        .map(str::to_owned);
    let scripts = forms
        .iter()
        .filter(|form| Path::new(form).extension().is_some_and(|end| end == "php"))
        .map(|form| format!("{form}/*"));
    let more: Vec<String> = folders.chain(scripts).collect();
    forms.extend(more);

    if p.ignore_case {
        for form in &mut forms {
            form.make_ascii_lowercase();
        }
    }
    forms
}

struct Privileges {
    endpoints: Vec<Glob>,
    ignore_case: bool,
    roles: Vec<String>,
}

struct PrivilegeEscalation(Arc<Privileges>);

impl Privileges {
    /// Returns whether the event is on an admin endpoint and does not state an admin role.
    fn is_unauthorized_attempt(&self, event: &SecurityEvent<'_>) -> bool {
        self.is_admin_endpoint(event)
            && !self_service(event)
            && event.role().is_none_or(|role| !self.roles.contains(&role))
    }

    fn is_admin_endpoint(&self, event: &SecurityEvent<'_>) -> bool {
        if event.category == Category::Admin {
            return true;
        }

        [&event.resource_id, &event.resource_type]
            .into_iter()
            .flatten()
            .any(|resource| {
                // Most resources are ids and words; only a path or file name can match, unless the
                // operator configures other patterns.
                let mut path = plain_path(resource);
                if self.ignore_case {
                    path = path.to_ascii_lowercase().into();
                }
                let ends = Ends::of(&path);
                self.endpoints
                    .iter()
                    .any(|e| e.may_match(ends) && e.matches(&path))
            })
    }
}

/// Returns whether a user changes their own password, which every user may.
fn self_service(event: &SecurityEvent<'_>) -> bool {
    matches!(
        event.action_kind,
        Action::PasswordChange | Action::PasswordReset
    ) && match (&event.resource_id, &event.user_id) {
        (None, _) => true,
        (Some(target), Some(user)) => {
            // A target that is not a user id is the page for changing one's own password.
            uuid::Uuid::try_parse(target).map_or(true, |id| *user == UserId::Uuid(id))
        }
        (Some(_), None) => false,
    }
}

impl Rule for PrivilegeEscalation {
    fn predicate(&self) -> Option<RulePredicate> {
        let privileges = Arc::clone(&self.0);
        Some(Arc::new(move |event| {
            privileges.is_unauthorized_attempt(event)
        }))
    }

    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(key), Some(id)) = (cx.user, &event.user_id) else {
            return;
        };
        let stored = || match id {
            UserId::Uuid(id) => cx.users.get(*id).and_then(|u| u.role.clone()),
            UserId::Name(_) => None,
        };

        let Some(role) = event.role().or_else(stored) else {
            cx.counters.unknown_role += 1;
            return;
        };

        if self.0.roles.contains(&role) {
            return;
        }

        let users = cx.users;
        cx.fire(key, event, || {
            let user = users.person(id, event);
            let how = if event.result == Outcome::Success {
                "succeeded"
            } else {
                "was refused"
            };

            let what = event
                .resource_id
                .as_ref()
                .or(event.resource_type.as_ref())
                .unwrap_or(&event.action);
            let title = format!("Privilege escalation: {role} {user} on {what}, which {how}");
            let description = format!(
                "User {user} has the role {role} and did `{}` on {what}, which only \
                    administrators may; it {how}.",
                event.action
            );

            NewDetection::about_user(id, &user, title, description)
        });
    }
}
