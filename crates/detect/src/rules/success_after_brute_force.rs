//! A login succeeds from a client that has just been guessing passwords.
//!
//! A log may name one client by its address in some lines and by its host name, or not at all, in
//! others. So failures that are named otherwise than the success count by account and machine.

use std::fmt::Write as _;

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::clock_cache::ClockCache;
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};
use crate::window::{Hit, Recent};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("success_after_brute_force"),
        name: "Success after brute force",
        description: "A login succeeds from a client with more than `threshold` failed ones within \
            `window` before it. High instead of critical where the log names the client of the \
            failures otherwise, and account and machine are the same.",
        severity: Severity::Critical,
        controls: &[ControlId::known("3.1.8"), ControlId::known("3.14.6")],
        attack: &["T1110.001", "T1078"],
        interest: EventTags::FAILED_LOGIN.union(EventTags::LOGIN),
        feeds: &[Source::Syslog, Source::Postgres],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/success_after_brute_force.ndjson"),
    build: |value, max_keys| {
        let params: Params = parse_params(value)?;
        let (cooldown, lookback) = (params.window, params.window);
        Ok(Built {
            rule: Box::new(SuccessAfterBruteForce {
                clients: ClockCache::new(max_keys),
                accounts: ClockCache::new(max_keys),
                params,
            }),
            cooldown,
            lookback,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Maximum number of failures that is still normal.
    threshold: u32,
    window: Span,
    /// Sources whose logins count. For the logins of applications the specification asks for
    /// `brute_force` alone; add `audit_db` for more.
    sources: Vec<Source>,
}

impl Default for Params {
    fn default() -> Self {
        let sources = vec![Source::Syslog, Source::Nginx, Source::Postgres];
        Self {
            threshold: 5,
            window: Span::mins(5),
            sources,
        }
    }
}

#[derive(Debug, Default)]
struct Attempts {
    failures: Recent,
    /// The latest success, because failures before it may arrive after it.
    success: Option<Hit>,
}

impl Attempts {
    /// Adds an attempt. Returns the failures before the latest success, with the success, if they
    /// are too many and the attempt is one of them.
    fn add(&mut self, attempt: &Attempt, params: &Params) -> Option<(Vec<Hit>, Hit)> {
        let Params {
            threshold, window, ..
        } = *params;
        let hit = attempt.hit;
        if attempt.succeeded {
            self.success = self.success.max(Some(hit));
        } else {
            self.failures
                .offer(hit, attempt.newest, window, threshold.saturating_add(1));
        }

        let success = self.success?;
        let before = |h: &&Hit| h.at <= success.at && success.at.since(h.at) < window;
        let failures = self.failures.hits().iter().filter(before);

        // Nearly every login ends here, so nothing is collected before.
        let count: u32 = failures.clone().map(|h| h.times).sum();
        let concerns = attempt.succeeded || hit.at <= success.at;
        (count > threshold && concerns).then(|| (failures.copied().collect(), success))
    }
}

/// An attempt, and the newest time of its key.
struct Attempt {
    hit: Hit,
    succeeded: bool,
    newest: Timestamp,
}

/// The attempts at an account of a machine.
#[derive(Debug, Default)]
struct AccountState {
    /// Failures whose clients have addresses, and successes whose client has none.
    failed_by_address: Attempts,
    /// The reverse.
    failed_by_name: Attempts,
}

struct SuccessAfterBruteForce {
    clients: ClockCache<Attempts>,
    accounts: ClockCache<AccountState>,
    params: Params,
}

/// Returns the key of the account that an event is about, on its machine.
fn account_key(event: &SecurityEvent<'_>, cx: &Context<'_>) -> Option<Key> {
    let machine = event.host().unwrap_or_default();
    let mut name = String::with_capacity(64);
    name.push_str(machine);
    name.make_ascii_lowercase();
    name.push('\0');

    match (event.account_name.as_deref(), &event.user_id) {
        (Some(account), _) => name.push_str(account),
        // Writing to a string cannot fail.
        (None, Some(user)) => write!(name, "{user}").unwrap_or_default(),
        (None, None) => return None,
    }
    (name.len() > machine.len() + 1).then(|| Key::new(event.source, cx.key_hasher.hash_name(&name)))
}

impl SuccessAfterBruteForce {
    /// Returns the failures before a success of the same client.
    fn by_client(
        &mut self,
        key: Key,
        event: &SecurityEvent<'_>,
        cx: &Context<'_>,
    ) -> Option<(Vec<Hit>, Hit)> {
        let (state, newest) = self.clients.touch(key, event.timestamp, cx.stale_before);
        let attempt = Attempt {
            hit: Hit::of(event),
            succeeded: event.marks.intersects(EventTags::LOGIN),
            newest,
        };
        state.add(&attempt, &self.params)
    }

    /// Returns the failures before a success with the same account, whose client the log names
    /// otherwise.
    fn by_account(
        &mut self,
        key: Key,
        event: &SecurityEvent<'_>,
        cx: &Context<'_>,
    ) -> Option<(Vec<Hit>, Hit)> {
        let (state, newest) = self.accounts.touch(key, event.timestamp, cx.stale_before);
        let attempt = Attempt {
            hit: Hit::of(event),
            succeeded: event.marks.intersects(EventTags::LOGIN),
            newest,
        };
        let has_address = event.ip_address.is_some();
        if has_address == attempt.succeeded {
            state.failed_by_name.add(&attempt, &self.params)
        } else {
            state.failed_by_address.add(&attempt, &self.params)
        }
    }
}

impl Rule for SuccessAfterBruteForce {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let window = self.params.window;
        if !self.params.sources.contains(&event.source) {
            return;
        }
        let Some(client) = Client::of(event) else {
            return;
        };

        let users = cx.users;
        let succeeded = event.marks.intersects(EventTags::LOGIN);
        let who = || {
            event
                .user_id
                .as_ref()
                .filter(|_| succeeded)
                .map(|id| format!(" as {}", users.person(id, event)))
                .unwrap_or_default()
        };

        let account = account_key(event, cx);
        // A machine stands for all clients that its log does not name: only the account tells them
        // apart.
        let key = match (&client, account) {
            (Client::Unnamed(_), Some(account)) => account,
            _ => client.key(event, cx),
        };
        let by_account = account.and_then(|key| Some((key, self.by_account(key, event, cx)?)));
        if let Some((failures, success)) = self.by_client(key, event, cx) {
            let count: u32 = failures.iter().map(|h| h.times).sum();
            cx.fire(key, event, || {
                let who = who();
                let title = format!(
                    "Success after brute force: a login from {client}{who} after {count} failed \
                        ones within {window}"
                );
                let description = format!(
                    "Someone at {client} failed to log in {count} times within {window}, and then \
                        succeeded{who}. A guessed password is the likeliest reason: end the \
                        account's sessions, reset its password, and look at what it did since."
                );
                NewDetection::new(client.entity_kind(), &client, title, description)
                    .with_evidence(failures.into_iter().chain([success]))
            });
        } else if let Some((key, (failures, success))) = by_account {
            let count: u32 = failures.iter().map(|h| h.times).sum();
            let account = event
                .account_name
                .as_deref()
                .unwrap_or("an account")
                .to_owned();
            let place = super::place_of(event);
            cx.fire(key, event, || {
                let title = format!(
                    "Success after brute force: a login as {account}{place} after {count} failed \
                        ones within {window}, whose client the log names otherwise"
                );
                let description = format!(
                    "{count} logins as {account}{place} failed within {window}, and then one \
                        succeeded. The log names the client of the failures by an address and that \
                        of the success by a host name, or not at all, or the reverse: they may be \
                        the same. Find out whether they are; if so, a guessed password is the \
                        likeliest reason."
                );
                NewDetection::new(EntityKind::User, &account, title, description)
                    .with_severity(Severity::High)
                    .with_evidence(failures.into_iter().chain([success]))
            });
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.clients.len() + self.accounts.len(),
            evicted: self.clients.evicted() + self.accounts.evicted(),
        }
    }
}
