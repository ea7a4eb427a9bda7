//! One session from two places, a session used after its logout, or too many sessions of one user at once.

use std::net::IpAddr;

use model::event::Marks;
use model::{Action, Category, ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::ahead::Ahead;
use crate::keyed::{Beside, Key, Keyed, NOWHERE, ip_bits};
use crate::open::Opening;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, defaults, params};
use crate::window::Hit;

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("session_anomaly"),
        name: "Session anomaly",
        description: "One session from two addresses within `replay_window`, or used after its logout; or more than \
                      `max_sessions` sessions of one user within `window` from at least two addresses.",
        severity: Severity::High,
        controls: &[ControlId::known("3.13.15")],
        attack: &["T1550.004", "T1539"],
        interest: Marks::SESSION,
        feeds: &[Source::AuditDb],
    },
    defaults: defaults::<Params>,
    fixtures: include_str!("fixtures/session_anomaly.ndjson"),
    build: |value, max_keys| {
        let params: Params = params(value)?;
        let (cooldown, memory) = (params.replay_window, params.replay_window.max(params.window));
        let (sessions, logouts) = (Keyed::new(max_keys), Keyed::new(max_keys));
        let rule = SessionAnomaly { sessions, logouts, users: Beside::default(), params };
        Ok(Built { rule: Box::new(rule), cooldown, memory })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    replay_window: Span,
    /// How long a session that was logged out is remembered.
    remember_logout: Span,
    window: Span,
    /// More than this many sessions at once.
    max_sessions: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { replay_window: Span::mins(10), remember_logout: Span::hours(24), window: Span::mins(5), max_sessions: 3 }
    }
}

/// Places of a session, and sessions of a user, that are remembered.
const PLACES_MAX: usize = 4;
const SESSIONS_MAX: usize = 16;

#[derive(Debug, Default)]
struct Session {
    /// Where it was last used, per address; the latest use last.
    places: SmallVec<[(Hit, Option<[u64; 2]>); 1]>,
}

/// One user's use of a session from an address.
#[derive(Clone, Copy, Debug)]
struct Use {
    hit: Hit,
    session: [u64; 2],
    ip: [u64; 2],
}

#[derive(Debug)]
struct User {
    newest: Timestamp,
    uses: SmallVec<[Use; 1]>,
}

impl Default for User {
    fn default() -> Self {
        Self { newest: Timestamp::MIN, uses: SmallVec::new() }
    }
}

struct SessionAnomaly {
    /// Kept for the replay window.
    sessions: Keyed<Session>,
    /// The earliest logout of each session. Kept for a day, and so apart: few sessions are logged out.
    logouts: Keyed<Option<Hit>>,
    users: Beside<User>,
    params: Params,
}

fn halves(value: u128) -> [u64; 2] {
    [(value >> 64) as u64, value as u64]
}

impl Session {
    /// Takes a use in; gives the latest use from another address within `window`.
    fn used(&mut self, hit: Hit, ip: Option<IpAddr>, window: Span) -> Option<Hit> {
        let ip = ip.map(|ip| halves(ip_bits(ip)));
        let elsewhere = self.places.iter().rev().find(|(other, at)| {
            at.is_some() && ip.is_some() && *at != ip && other.at.since(hit.at).as_micros().abs() < window.as_micros()
        });
        let elsewhere = elsewhere.map(|(other, _)| *other);
        match self.places.iter().position(|(_, at)| *at == ip) {
            Some(i) if self.places[i].0.at > hit.at => {}
            Some(i) if i + 1 == self.places.len() => self.places[i].0 = hit,
            Some(i) => {
                self.places.remove(i);
                self.places.push((hit, ip));
            }
            None => {
                if self.places.len() >= PLACES_MAX {
                    self.places.remove(0);
                }
                self.places.push((hit, ip));
            }
        }
        elsewhere
    }
}

impl SessionAnomaly {
    fn session(&mut self, event: &SecurityEvent<'_>, name: &str, key: Key, cx: &mut Context<'_>) {
        let hit = Hit::of(event);
        let window = self.params.replay_window;
        let slot = self.sessions.touch_near(key, cx.ahead.session_hint, event.timestamp, cx.quiet_for(window));
        let state = self.sessions.at_slot(slot);
        if event.action_kind == Action::Logout {
            let (logout, _) = self.logouts.touch(key, event.timestamp, cx.quiet_for(self.params.remember_logout));
            *logout = Some(logout.map_or(hit, |earlier| earlier.min(hit)));
            // Uses that were later but arrived earlier.
            let after = state.places.iter().map(|(used, _)| *used).filter(|used| used.at > hit.at).min();
            if let Some(after) = after {
                cx.fire(key, event, || used_after_logout(name, [hit, after]));
            }
            return;
        }
        let slot = self.logouts.slot(key);
        let mut logout = slot.and_then(|slot| *self.logouts.at_slot(slot));
        if event.marks.meets(Marks::LOGIN)
            && let Some(slot) = slot
        {
            // A new login under the same id is a new session.
            logout = logout.filter(|logout| logout.at > hit.at);
            *self.logouts.at_slot(slot) = logout;
        }
        let elsewhere = state.used(hit, event.ip_address, window);
        if let Some(other) = elsewhere {
            cx.fire(key, event, || {
                let title = format!("Session replay: session {name} used from two addresses within {window}");
                let description = format!(
                    "One session was used from two addresses within {window}, lastly from {}. The session token may be stolen: \
                     end the session and ask the user.",
                    event.ip_address.map(|ip| ip.to_string()).unwrap_or_default()
                );
                Opening::new(EntityKind::Session, name, title, description).evidence([other.min(hit), other.max(hit)])
            });
        } else if let Some(logout) = logout.filter(|logout| {
            hit.at > logout.at
                && hit.at.since(logout.at) < self.params.remember_logout
                && event.category != Category::System
        }) {
            cx.fire(key, event, || used_after_logout(name, [logout, hit]));
        }
    }

    fn user(&mut self, event: &SecurityEvent<'_>, session: [u64; 2], ip: IpAddr, cx: &mut Context<'_>) {
        let (Some(key), Some(user), Some(slot)) = (cx.user, &event.user_id, cx.user_slot) else { return };
        let Params { window, max_sessions, .. } = self.params;
        let state = self.users.touch(slot, key);
        state.newest = state.newest.max(event.timestamp);
        let newest = state.newest;
        let cutoff = newest.minus(window);
        let used = Use { hit: Hit::of(event), session, ip: halves(ip_bits(ip)) };
        if used.hit.at <= cutoff {
            cx.counters.late += 1;
            return;
        }
        if !state.take_in(used, cutoff) {
            return;
        }
        let (sessions, places) = state.distinct();
        if sessions <= max_sessions || places < 2 {
            return;
        }
        cx.fire(key, event, || {
            let title = format!("Concurrent sessions: user {user} has {sessions} sessions from {places} addresses within {window}");
            let description = format!(
                "User {user} used {sessions} different sessions from {places} addresses within {window}. Several people may be \
                 using the account."
            );
            let mut hits: Vec<Hit> = state.uses.iter().map(|u| u.hit).collect();
            hits.sort_unstable();
            Opening::new(EntityKind::User, user, title, description).evidence(hits)
        });
    }
}

impl User {
    /// Takes a use in. False when that cannot have changed the number of sessions or addresses upwards.
    fn take_in(&mut self, used: Use, cutoff: Timestamp) -> bool {
        if let [only] = self.uses.as_mut_slice()
            && only.session == used.session
            && only.ip == used.ip
        {
            only.hit = only.hit.max(used.hit);
            return false;
        }
        self.uses.retain(|u| u.hit.at > cutoff);
        if let Some(same) = self.uses.iter_mut().find(|u| u.session == used.session && u.ip == used.ip) {
            same.hit = same.hit.max(used.hit);
        } else {
            if self.uses.len() >= SESSIONS_MAX
                && let Some((oldest, _)) = self.uses.iter().enumerate().min_by_key(|(_, u)| u.hit)
            {
                self.uses.swap_remove(oldest);
            }
            self.uses.push(used);
        }
        true
    }

    /// Distinct sessions and addresses.
    fn distinct(&self) -> (usize, usize) {
        let count = |differs: &dyn Fn(&Use, &Use) -> bool| {
            self.uses.iter().enumerate().filter(|(i, a)| self.uses.iter().take(*i).all(|b| differs(a, b))).count()
        };
        (count(&|a, b| a.session != b.session), count(&|a, b| a.ip != b.ip))
    }
}

fn used_after_logout(name: &str, evidence: [Hit; 2]) -> Opening {
    let title = format!("Session replay: session {name} used after its logout");
    let description =
        "A session was used after it had been logged out. The session token may be stolen, or logging out does \
                       not end the session on the server."
            .to_owned();
    Opening::new(EntityKind::Session, name, title, description).evidence(evidence)
}

impl Rule for SessionAnomaly {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(name), Some(key)) = (event.session_id.as_deref(), cx.ahead.session) else { return };
        self.session(event, name, key, cx);
        if let Some(ip) = event.ip_address {
            self.user(event, key.halves(), ip, cx);
        }
    }

    fn looks_ahead(&self) -> bool {
        true
    }

    fn look_ahead(&self, ahead: &mut Ahead) -> u64 {
        ahead.session_hint = ahead.session.and_then(|key| self.sessions.slot(key)).unwrap_or(NOWHERE);
        let place = self.sessions.near(ahead.session_hint).and_then(|session| session.places.last());
        let used = self.users.near(ahead.user_hint).and_then(|user| user.uses.first());
        let place = place.map_or(0, |(hit, at)| hit.at.as_micros() as u64 ^ at.map_or(0, |at| at[1]));
        place ^ used.map_or(0, |used| used.session[1] ^ used.ip[1])
    }

    fn remembers_logins(&self) -> Span {
        self.params.remember_logout
    }

    fn usage(&self) -> Usage {
        let keys = self.sessions.len() + self.logouts.len() + self.users.len();
        Usage { keys, evicted: self.sessions.evicted() + self.logouts.evicted() }
    }
}
