//! A request that contains code: SQL, script, shell, or a path out of the web root.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::client;
use crate::clock_cache::ClockCache;
use crate::event_header::RulePredicate;
use crate::injection::{Code, Field, find_code, is_suspicious};
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};
use crate::window::Hit;

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("injection_attempt"),
        name: "Injection attempt",
        description: "A request whose decoded target, user agent, referer or body contains SQL, \
            script, shell commands or a path out of the web root. High if the answer or what \
            follows suggests success.",
        severity: Severity::Medium,
        controls: &[ControlId::known("3.14.6"), ControlId::known("3.13.1")],
        attack: &["T1190", "T1059"],
        interest: EventTags::ANY,
        feeds: &[Source::Nginx],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/injection_attempt.ndjson"),
    build: |value, max_keys| {
        let params: Params = parse_params(value)?;
        let lookback = params.errors_window.max(params.login_window);
        Ok(Built {
            rule: Box::new(InjectionAttempt {
                clients: ClockCache::new(max_keys),
                attempts: VecDeque::new(),
                errors: VecDeque::new(),
                params,
            }),
            cooldown: COOLDOWN,
            lookback,
        })
    },
};

const COOLDOWN: Span = Span::hours(1);

/// Attempts, and those that may have succeeded, are separate detections.
const ATTEMPT: i64 = 0;
const SUSPECTED_SUCCESS: i64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// How long after an attempt an error of PHP or the database may be its effect.
    errors_window: Span,
    /// How long after an attempt a login of the same client may be its effect.
    login_window: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            errors_window: Span::mins(1),
            login_window: Span::hours(1),
        }
    }
}

/// Maximum number of attempts and errors that are compared with each other.
const PENDING_MAX: usize = 64;
/// Maximum number of paths of a client whose answers are compared.
const PATHS_MAX: usize = 8;
/// How many answers make their size usual.
const USUAL_ANSWERS: u32 = 5;

/// Sizes of the answers to a client's attempts at one path.
#[derive(Debug)]
struct Answers {
    path: u64,
    count: u32,
    largest: u64,
}

#[derive(Debug, Default)]
struct Client {
    last_attempt: Option<Hit>,
    /// Until when further attempts extend the detection of a suspected success.
    suspected_until: Option<Timestamp>,
    answers: Vec<Answers>,
}

impl Client {
    /// Records the size of an answer; returns whether it is far beyond those to the client's
    /// earlier attempts at the same path.
    fn is_unusual_size(&mut self, path: u64, size: u64) -> bool {
        let Some(known) = self.answers.iter_mut().find(|a| a.path == path) else {
            if self.answers.len() >= PATHS_MAX {
                self.answers.remove(0);
            }
            self.answers.push(Answers {
                path,
                count: 1,
                largest: size,
            });
            return false;
        };

        let limit = known.largest.saturating_mul(2).saturating_add(1024);
        let unusual = known.count >= USUAL_ANSWERS && size > limit;
        known.count = known.count.saturating_add(1);
        known.largest = known.largest.max(size);
        unusual
    }
}

/// An attempt, or an error that may be the effect of one.
#[derive(Clone, Copy, Debug)]
struct Pending {
    ip: Option<IpAddr>,
    hit: Hit,
}

struct InjectionAttempt {
    clients: ClockCache<Client>,
    attempts: VecDeque<Pending>,
    errors: VecDeque<Pending>,
    params: Params,
}

fn push_bounded(queue: &mut VecDeque<Pending>, pending: Pending) {
    if queue.len() >= PENDING_MAX {
        queue.pop_front();
    }
    queue.push_back(pending);
}

/// Returns whether an event is an error that injected code causes.
fn is_effect(event: &SecurityEvent<'_>) -> bool {
    event.source == Source::PhpError && matches!(&*event.action, "sql_error" | "php_fatal")
}

fn is_login(event: &SecurityEvent<'_>) -> bool {
    event.marks.intersects(EventTags::LOGIN)
}

/// Returns whether a request contains code. The pre-filter spares nearly all of them the search.
fn carries_code(event: &SecurityEvent<'_>) -> bool {
    event.marks.intersects(EventTags::WEB) && is_suspicious(event) && find_code(event).is_some()
}

/// Returns the key of a client's state, whichever source an event is from.
fn state_key(ip: IpAddr) -> Key {
    Key::ip(Source::Nginx, ip)
}

impl InjectionAttempt {
    fn client(&mut self, ip: IpAddr, event: &SecurityEvent<'_>, cx: &Context<'_>) -> &mut Client {
        self.clients
            .touch(state_key(ip), event.timestamp, cx.stale_before)
            .0
    }

    /// Returns why an attempt may have succeeded, if its answer suggests it.
    fn suspicion_by_answer(
        &mut self,
        ip: IpAddr,
        event: &SecurityEvent<'_>,
        cx: &Context<'_>,
    ) -> Option<String> {
        let status = event.details.number("status").unwrap_or(0);
        let size = event.details.number("bytes").unwrap_or(0);
        let target = event.resource_id.as_deref().unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let path = cx.key_hasher.short_hash(path);
        let unusual =
            (200..300).contains(&status) && self.client(ip, event, cx).is_unusual_size(path, size);

        // Logs are read independently: the error may have been read before its cause.
        let window = self.params.errors_window;
        let followed = self.errors.iter().any(|error| {
            error.ip.is_none_or(|other| other == ip)
                && error.hit.at >= event.timestamp
                && error.hit.at.since(event.timestamp) < window
        });

        if status >= 500 {
            Some(format!("the server failed with status {status}"))
        } else if unusual {
            Some(format!(
                "the answer of {size} bytes is far larger than earlier ones"
            ))
        } else {
            followed.then(|| format!("an error of PHP or the database followed within {window}"))
        }
    }

    fn observe_attempt(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let Some((code, field)) = find_code(event) else {
            return;
        };
        let Some(sender) = client::Client::of(event) else {
            return;
        };
        // Of a client that the log names by its host, only attempts are told.
        let Some(ip) = event.ip_address else {
            let key = sender.key(event, cx);
            cx.fire_episode(key, ATTEMPT, event, || {
                attempt_opening(event, &sender, code, field)
            });
            return;
        };

        let hit = Hit::of(event);
        push_bounded(&mut self.attempts, Pending { ip: Some(ip), hit });
        let reason = self.suspicion_by_answer(ip, event, cx);
        let client = self.client(ip, event, cx);
        client.last_attempt = client.last_attempt.max(Some(hit));
        let goes_on = client
            .suspected_until
            .is_some_and(|until| event.timestamp < until);
        if reason.is_some() {
            client.suspected_until = Some(event.timestamp.plus(COOLDOWN));
        }

        let key = Key::ip(event.source, ip);
        if reason.is_none() && !goes_on {
            cx.fire_episode(key, ATTEMPT, event, || {
                attempt_opening(event, &sender, code, field)
            });
            return;
        }
        let reason = reason.unwrap_or_else(|| "an earlier attempt may have succeeded".to_owned());
        cx.fire_episode(key, SUSPECTED_SUCCESS, event, || {
            success_opening(ip, &reason).with_evidence([hit])
        });
    }

    /// Reports that what happened after a client's attempt suggests its success.
    fn report_success(
        &mut self,
        attempt: Pending,
        event: &SecurityEvent<'_>,
        reason: &str,
        cx: &mut Context<'_>,
    ) {
        let Some(ip) = attempt.ip else { return };
        self.client(ip, event, cx).suspected_until = Some(event.timestamp.plus(COOLDOWN));

        let key = Key::ip(event.source, ip);
        cx.fire_episode(key, SUSPECTED_SUCCESS, event, || {
            success_opening(ip, reason).with_evidence([attempt.hit, Hit::of(event)])
        });
    }

    fn observe_error(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let hit = Hit::of(event);
        let ip = event.ip_address;
        let window = self.params.errors_window;
        push_bounded(&mut self.errors, Pending { ip, hit });

        // Where the log names no client, the latest attempt is the likeliest cause.
        let cause = self.attempts.iter().rev().find(|attempt| {
            (ip.is_none() || attempt.ip == ip)
                && attempt.hit.at <= hit.at
                && hit.at.since(attempt.hit.at) < window
        });
        if let Some(attempt) = cause.copied() {
            let reason = format!("an error of PHP or the database followed within {window}");
            self.report_success(attempt, event, &reason, cx);
        }
    }

    fn observe_login(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let Some(ip) = event.ip_address else { return };
        let window = self.params.login_window;
        let attempt = self
            .clients
            .get(state_key(ip))
            .and_then(|client| client.last_attempt)
            .filter(|hit| hit.at <= event.timestamp && event.timestamp.since(hit.at) < window);

        if let Some(hit) = attempt {
            let reason = format!("a login from the same address succeeded within {window}");
            self.report_success(Pending { ip: Some(ip), hit }, event, &reason, cx);
        }
    }
}

fn attempt_opening(
    event: &SecurityEvent<'_>,
    sender: &client::Client,
    code: Code,
    field: Field,
) -> NewDetection {
    let (code, field) = (code.as_str(), field.as_str());
    let answered = event.details.number("status").unwrap_or(0);
    let title =
        format!("Injection attempt: {code} in a request from {sender}, answered with {answered}");
    let description = format!(
        "The {field} of a request from {sender} contains code ({code}). {} Block the address if it is \
            not one of yours.",
        if answered < 300 {
            "The server answered with success: find out what it did."
        } else if answered < 500 {
            "The server refused it."
        } else {
            "The server failed at it: look at its error log."
        }
    );

    NewDetection::new(sender.entity_kind(), sender, title, description)
}

fn success_opening(ip: IpAddr, reason: &str) -> NewDetection {
    let title = format!("Injection from {ip} may have succeeded: {reason}");
    let description = format!(
        "A request from {ip} contained code, and {reason}. Find out what the application did with \
            it, look for new files and accounts, and block the address if it is not one of yours."
    );

    NewDetection::new(EntityKind::Ip, ip, title, description).with_severity(Severity::High)
}

impl Rule for InjectionAttempt {
    fn predicate(&self) -> Option<RulePredicate> {
        Some(Arc::new(|event| {
            is_login(event) || is_effect(event) || carries_code(event)
        }))
    }

    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        if is_login(event) {
            self.observe_login(event, cx);
        } else if is_effect(event) {
            self.observe_error(event, cx);
        } else {
            self.observe_attempt(event, cx);
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.clients.len(),
            evicted: self.clients.evicted(),
        }
    }
}
