//! The log of the database shows an attempt to change the audit trail, or a change of its
//! protection.

use model::event::EventTags;
use model::sql::{is_schema_change, sets, statements};
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use crate::account_changes::logged_statement;
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
    /// Names of tables, with or without their schema; `name.` is all of a schema.
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
            ]),
            by: list(&["blueteam_owner"]),
        }
    }
}

struct AuditTampering {
    protected: Vec<String>,
    by: Vec<String>,
}

/// Returns whether a name in a statement is a protected one.
fn is_protected(name: &str, protected: &str) -> bool {
    if let Some(schema) = protected.strip_suffix('.') {
        return name == schema || name.starts_with(protected);
    }

    name == protected || name.rsplit('.').next() == Some(protected)
}

impl AuditTampering {
    /// Returns whether an event is about a protected name. Strings and comments in a statement do
    /// not count: anyone whose words reach a statement can write into them. PostgreSQL itself names
    /// the object of a refusal, so a statement that also mentions others proves nothing.
    fn touches_protected(&self, event: &SecurityEvent<'_>) -> bool {
        if &*event.action == "schema_change"
            && let Some(logged) = logged_statement(event)
        {
            return self.changes_protected(&logged);
        }

        let statement = event.details.text("statement").unwrap_or_default();
        let object = event.resource_id.as_deref().unwrap_or_default();
        let text = match &*event.action {
            "permission_denied" if !object.is_empty() => object,
            _ if statement.is_empty() => object,
            _ => &statement,
        };

        statements(text)
            .iter()
            .flatten()
            .any(|name| self.protects(name))
    }

    fn protects(&self, name: &str) -> bool {
        self.protected
            .iter()
            .any(|protected| is_protected(name, protected))
    }

    /// Returns whether one of the statements in `text` changes a protected object, wherever in the
    /// statement it is named.
    fn changes_protected(&self, text: &str) -> bool {
        statements(text)
            .iter()
            .filter(|words| is_schema_change(words))
            .any(|words| {
                disables_triggers(words) || words_at_risk(words).iter().any(|w| self.protects(w))
            })
    }
}

/// Returns whether a statement sets `session_replication_role`, also by `set_config`, so that no
/// trigger runs.
fn disables_triggers(words: &[String]) -> bool {
    let has = |word: &str| words.iter().any(|w| w == word);
    has("session_replication_role")
        && (sets(words) || words.first().is_some_and(|word| word == "alter"))
        && !["reset", "default", "origin", "local"].iter().any(|word| {
            words
                .get(2..)
                .is_some_and(|rest| rest.iter().any(|w| w == word))
        })
}

/// Returns the words of a statement that name what it changes. A new view, table or function may
/// mention a protected table without a change to it, and so may a privilege to read.
fn words_at_risk(words: &[String]) -> &[String] {
    const MODIFIERS: [&str; 8] = [
        "or",
        "replace",
        "temp",
        "temporary",
        "unlogged",
        "global",
        "local",
        "recursive",
    ];
    const NEW: [&str; 9] = [
        "table",
        "view",
        "materialized",
        "index",
        "unique",
        "function",
        "procedure",
        "statistics",
        "sequence",
    ];
    const READS: [&str; 2] = ["select", "references"];

    match words.first().map(String::as_str) {
        Some("create") => {
            let kind = words[1..]
                .iter()
                .position(|w| !MODIFIERS.contains(&w.as_str()))
                .map_or(words.len(), |at| at + 1);
            let is_new = words.get(kind).is_some_and(|w| NEW.contains(&w.as_str()));
            if !is_new {
                return words;
            }

            let name = words[kind + 1..]
                .iter()
                .position(|w| !matches!(w.as_str(), "view" | "index" | "if" | "not" | "exists"))
                .map_or(words.len(), |at| kind + 1 + at);
            words.get(name..=name).unwrap_or_default()
        }
        Some("grant") if words.get(1).is_some_and(|w| READS.contains(&w.as_str())) => {
            let on = words.iter().position(|w| w == "on").unwrap_or(words.len());
            let writes = [
                "insert", "update", "delete", "truncate", "trigger", "maintain",
            ];
            if words[..on].iter().any(|w| writes.contains(&w.as_str())) {
                words
            } else {
                &[]
            }
        }
        _ => words,
    }
}

/// Returns whether a refused statement only reads.
fn is_read(event: &SecurityEvent<'_>) -> bool {
    let statement = event.details.text("statement").unwrap_or_default();
    statements(&statement).iter().all(|words| {
        matches!(
            words.first().map(String::as_str),
            Some("select" | "table" | "show")
        )
    }) && !statement.is_empty()
}

/// Reports a statement that is so long that its end could not be judged: whoever wants to hide a
/// change puts it there.
fn fire_unjudged(role: &str, after: u64, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
    let key = Key::new(
        event.source,
        cx.key_hasher.hash_name(&format!("unjudged {role}")),
    );
    cx.fire(key, event, || {
        let title = format!("Audit trail: a statement of role {role} is too long to be judged");
        let description = format!(
            "The log of PostgreSQL holds a statement of the role {role} whose end is missing or was \
                not judged, after {after} bytes. A change of the audit trail may stand there: look \
                at the statement, or at the definitions of the protected tables."
        );
        NewDetection::new(EntityKind::User, role, title, description)
            .with_severity(Severity::Medium)
    });
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

        let unjudged = event.details.number("unjudged_after");
        if !self.touches_protected(event) {
            if let Some(after) = unjudged {
                fire_unjudged(role, after, event, cx);
            }
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
            } else if is_read(event) {
                "was refused access to"
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
