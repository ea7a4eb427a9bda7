//! An account of blueteam's own may have another holder than its person.

use model::event::{ACCOUNT_RECOVERY, EventTags};
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("console_account"),
        name: "Console account at risk",
        description: "blueteam gave out a recovery code for one of its accounts, or one of its passkeys was \
            copied.",
        severity: Severity::Medium,
        controls: &[
            ControlId::known("3.1.1"),
            ControlId::known("3.5.2"),
            ControlId::known("3.14.7"),
        ],
        attack: &["T1098", "T1556.006"],
        interest: EventTags::OWN_ACCOUNT,
        feeds: &[Source::AuditDb],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/console_account.ndjson"),
    build: |value, _| {
        let Params {} = parse_params(value)?;
        Ok(Built {
            rule: Box::new(ConsoleAccount),
            cooldown: Span::hours(1),
            lookback: Span::ZERO,
        })
    },
};

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {}

struct ConsoleAccount;

impl Rule for ConsoleAccount {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let Some(account) = event.account() else {
            return;
        };
        let is_recovery = &*event.action == ACCOUNT_RECOVERY;
        // A copied passkey must not hide in the alert of a recovery, nor the other way round.
        let name = format!("{}\0{}", account.to_lowercase(), event.action);
        let key = Key::new(event.source, cx.key_hasher.hash_name(&name));
        cx.fire(key, event, || {
            if !is_recovery {
                let title = format!("Passkey copied: of {account}");
                let description = format!(
                    "A passkey of the account {account} was used by two: its counter went back. It was \
                     refused. Remove it, and look at what the account has done."
                );
                let copied = NewDetection::new(EntityKind::User, &account, title, description);
                return NewDetection {
                    severity: Some(Severity::High),
                    ..copied
                };
            }
            let by = event
                .details
                .text("by")
                .map_or_else(String::new, |by| format!(" by {by}"));
            let title = format!("Account recovery: a code for {account}{by}");
            let description = format!(
                "A code was made{by} that lets its bearer choose another password and second factor \
                 for the account {account}. Check that its person asked for it."
            );
            NewDetection::new(EntityKind::User, &account, title, description)
        });
    }
}
