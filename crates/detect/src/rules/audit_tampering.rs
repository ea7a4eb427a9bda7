//! The log of the database shows an attempt to change the audit trail, or a change of its
//! protection.

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("audit_tampering"),
        name: "Audit trail tampering",
        description: "PostgreSQL refused a change to a protected table, or a statement changed \
            its definition, its triggers or its privileges.",
        severity: Severity::Critical,
        controls: &[ControlId::known("3.3.8"), ControlId::known("3.3.9")],
        attack: &["T1562.008", "T1070"],
        interest: EventTags::DATABASE,
        feeds: &[Source::Postgres],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/audit_tampering.ndjson"),
    build: |value, _| {
        let p: Params = parse_params(value)?;
        let protected = p
            .protected
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        Ok(Built {
            rule: Box::new(AuditTampering {
                protected,
                by: p.by,
            }),
            cooldown: Span::hours(1),
            lookback: Span::ZERO,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Names to look for in the statement or message.
    protected: Vec<String>,
    /// Roles that may change definitions, for migrations.
    by: Vec<String>,
}

impl Default for Params {
    fn default() -> Self {
        let list = |items: &[&str]| items.iter().map(|s| (*s).to_owned()).collect();
        Self {
            protected: list(&[
                "audit_events",
                // The name that logs of blueteam before 0.2 show.
                "collected_events",
                "log_events",
                "audit_log",
                "blueteam.",
                "guard",
            ]),
            by: list(&["blueteam_owner"]),
        }
    }
}

struct AuditTampering {
    protected: Vec<String>,
    by: Vec<String>,
}

impl Rule for AuditTampering {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let change = &*event.action == "schema_change";
        if !(change || matches!(&*event.action, "permission_denied" | "write_refused")) {
            return;
        }

        let role = event.account_name.as_deref().unwrap_or("unknown");
        if change && self.by.iter().any(|by| by == role) {
            return;
        }

        let texts = [
            event.details.text("statement"),
            event.details.text("message"),
            event.resource_id.as_ref().map(ToString::to_string),
        ];

        let touches = |text: &String| {
            let text = text.to_ascii_lowercase();
            self.protected
                .iter()
                .any(|name| text.contains(name.as_str()))
        };

        if !texts.iter().flatten().any(touches) {
            return;
        }

        // The same key that a restart derives from the entity.
        let Some(user) = cx
            .user
            .or_else(|| Some(Key::new(event.source, cx.key_hasher.hash_name(role))))
        else {
            return;
        };

        cx.fire(user, event, || {
            let how = if change {
                "changed the definition of"
            } else {
                "was refused a change to"
            };

            let what = event.resource_id.as_deref().unwrap_or("the audit trail");
            let title = format!("Audit trail tampering: role {role} {how} {what}");
            let description = format!(
                "The log of PostgreSQL says that the role {role} {how} {what}. The audit trail is \
                    append-only for every role: find out who used the role, from where, and \
                    whether events are missing since."
            );

            NewDetection::new(EntityKind::User, role, title, description)
        });
    }
}
