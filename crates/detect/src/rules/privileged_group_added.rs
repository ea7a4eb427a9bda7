//! An account was put into a group, or granted a role, that makes it privileged.

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use crate::account_changes::{AccountChange, account_changes};
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("privileged_group_added"),
        name: "Privileged group added",
        description: "An account was put into one of `groups`, or granted one of them as a role.",
        severity: Severity::High,
        controls: &[
            ControlId::known("3.1.5"),
            ControlId::known("3.1.7"),
            ControlId::known("3.14.7"),
        ],
        attack: &["T1098.007", "T1548"],
        interest: EventTags::ACCOUNT_CHANGE,
        feeds: &[Source::Syslog, Source::Postgres],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/privileged_group_added.ndjson"),
    build: |value, _| {
        let p: Params = parse_params(value)?;
        Ok(Built {
            rule: Box::new(PrivilegedGroupAdded { groups: p.groups }),
            cooldown: Span::hours(1),
            lookback: Span::ZERO,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Groups and roles whose members can become administrators.
    groups: Vec<String>,
}

impl Default for Params {
    fn default() -> Self {
        let groups = [
            // Of Linux. Members of the last ones can read or write what root can.
            "root",
            "sudo",
            "wheel",
            "admin",
            "adm",
            "docker",
            "lxd",
            "libvirt",
            "disk",
            "shadow",
            "systemd-journal",
            // Of PostgreSQL, and blueteam's own.
            "pg_execute_server_program",
            "pg_read_server_files",
            "pg_write_server_files",
            "pg_read_all_data",
            "pg_write_all_data",
            "blueteam_owner",
            "blueteam_admin",
            "audit_retention",
        ];
        Self {
            groups: groups.map(str::to_owned).to_vec(),
        }
    }
}

struct PrivilegedGroupAdded {
    groups: Vec<String>,
}

impl Rule for PrivilegedGroupAdded {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        for change in account_changes(event) {
            let AccountChange::Granted { account, group } = change else {
                continue;
            };
            if !self
                .groups
                .iter()
                .any(|own| own.eq_ignore_ascii_case(&group))
            {
                continue;
            }

            // Another group, or another machine, is another message.
            let host = event.host().unwrap_or_default();
            let name = format!("{account}\0{group}\0{host}");
            let key = Key::new(event.source, cx.key_hasher.hash_name(&name));
            cx.fire(key, event, || {
                let place = super::place_of(event);
                let by = event
                    .user_id
                    .as_ref()
                    .map_or_else(String::new, |user| format!(" by {user}"));
                let title = format!("Privileged group added: {account} to {group}{place}{by}");
                let description = format!(
                    "The account {account} was added to {group}{place}{by}. Its members can act as \
                        administrators. Check that it was approved."
                );
                NewDetection::new(EntityKind::User, &account, title, description)
            });
        }
    }
}
