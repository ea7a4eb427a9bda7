//! One session from two places, a session used after its logout, or too many sessions of one user
//! at once.

use model::event::Marks;
use model::{
    Action, Category, ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::glance::{Glance, Hints};
use crate::keyed::{Beside, Key, Keyed, NOWHERE, Owned};
use crate::open::Opening;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, defaults, params, quiet_since};
use crate::window::Hit;

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("session_anomaly"),
        name: "Session anomaly",
        description: "One session from two addresses within `replay_window`, or used after its \
            logout; or more than \
                      `max_sessions` sessions of one user within `window` from at least two \
                      addresses.",
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
        let (cooldown, memory) = (
            params.replay_window,
            params.replay_window.max(params.window),
        );
        let (sessions, logouts) = (Keyed::new(max_keys), Keyed::new(max_keys));
        let rule = SessionAnomaly {
            sessions,
            logouts,
            users: Beside::default(),
            params,
        };

        Ok(Built {
            rule: Box::new(rule),
            cooldown,
            memory,
        })
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
        Self {
            replay_window: Span::mins(10),
            remember_logout: Span::hours(24),
            window: Span::mins(5),
            max_sessions: 3,
        }
    }
}

/// Places of a session, and sessions of a user, that are remembered.
const PLACES_MAX: usize = 4;
const SESSIONS_MAX: usize = 16;

/// Where a session was used. Its parts lie flat: it is kept for every session.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: Timestamp,
    id: [u64; 2],
    times: u32,
    /// Whether the use has an address.
    placed: bool,
    ip: [u64; 2],
}

impl Place {
    fn new(hit: Hit, ip: Option<[u64; 2]>) -> Self {
        Self {
            at: hit.at,
            id: hit.id,
            times: hit.times,
            placed: ip.is_some(),
            ip: ip.unwrap_or_default(),
        }
    }

    fn hit(&self) -> Hit {
        Hit {
            at: self.at,
            id: self.id,
            times: self.times,
        }
    }

    fn is_at(&self, ip: Option<[u64; 2]>) -> bool {
        match ip {
            Some(ip) => self.placed && self.ip == ip,
            None => !self.placed,
        }
    }
}

/// What is known of a session's logout without looking it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Logout {
    /// Nobody has looked.
    #[default]
    Unknown,
    None,
    /// There may be one.
    Perhaps,
}

/// A time to 15 µs, in six bytes, for which a session has room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Moment {
    secs: u32,
    part: u16,
}

impl Moment {
    fn of(at: Timestamp) -> Self {
        let micros = at.as_micros();
        let secs = u32::try_from(micros.div_euclid(1_000_000)).unwrap_or(if micros < 0 {
            0
        } else {
            u32::MAX
        });

        Self {
            secs,
            part: (micros.rem_euclid(1_000_000) * 65_536 / 1_000_000) as u16,
        }
    }
}

/// A session is nearly always used where it was used last.
#[derive(Debug, Default)]
struct Session {
    /// Where it was used last.
    last: Option<Place>,
    /// Where it was used before, per address, the latest use last; none where that is nowhere.
    before: Option<Box<SmallVec<[Place; PLACES_MAX - 1]>>>,
    logout: Logout,
    /// The last login under its id: what it was before is over, also for a logout that arrives
    /// late.
    login: Moment,
}

impl Session {
    /// Where it was used, the latest use last.
    fn places(&self) -> impl DoubleEndedIterator<Item = &Place> {
        self.before
            .iter()
            .flat_map(|before| before.iter())
            .chain(&self.last)
    }

    /// Takes a use in; gives the latest use from another address within `window`.
    fn used(&mut self, hit: Hit, ip: Option<[u64; 2]>, window: Span) -> Option<Hit> {
        let elsewhere = self.places().rev().find(|other| {
            other.placed
                && ip.is_some()
                && !other.is_at(ip)
                && other.at.since(hit.at).as_micros().abs() < window.as_micros()
        });

        let elsewhere = elsewhere.map(Place::hit);
        let used = Place::new(hit, ip);
        match &mut self.last {
            None => self.last = Some(used),
            Some(last) if last.is_at(ip) => {
                if last.at <= used.at {
                    *last = used;
                }
            }
            Some(last) => {
                let before = self.before.get_or_insert_default();
                match before.iter().position(|place| place.is_at(ip)) {
                    // It has been used there since.
                    Some(i) if before[i].at > used.at => return elsewhere,
                    Some(i) => drop(before.remove(i)),
                    None if before.len() + 1 >= PLACES_MAX => drop(before.remove(0)),
                    None => {}
                }

                before.push(std::mem::replace(last, used));
            }
        }
        elsewhere
    }
}

/// One use of a session by a user.
#[derive(Clone, Copy, Debug)]
struct Use {
    hit: Hit,
    session: u64,
    ip: [u64; 2],
}

impl Use {
    /// Of the same session from the same address.
    fn is_like(&self, other: &Self) -> bool {
        self.session == other.session && self.ip == other.ip
    }
}

/// What a user uses at once: nearly always one session from one address, and then it is one line of
/// a processor's cache.
#[derive(Debug, Default)]
struct User {
    generation: u32,
    /// Of the only use; 0 when there is none, or when there are several.
    times: u32,
    at: Timestamp,
    id: [u64; 2],
    session: u64,
    ip: [u64; 2],
    several: Option<Box<Several>>,
}

/// All uses, when there are several, and how many different sessions and addresses they are of.
#[derive(Debug)]
struct Several {
    uses: Vec<Use>,
    /// At or before the oldest of them.
    oldest: Timestamp,
    newest: Timestamp,
    sessions: usize,
    places: usize,
}

impl Several {
    fn new(only: Use) -> Self {
        Self {
            uses: vec![only],
            oldest: only.hit.at,
            newest: only.hit.at,
            sessions: 1,
            places: 1,
        }
    }

    /// Takes a use in that lies within the window.
    fn take_in(&mut self, used: Use, cutoff: Timestamp) {
        let before = self.uses.len();
        self.newest = self.newest.max(used.hit.at);
        if self.oldest <= cutoff {
            self.uses.retain(|u| u.hit.at > cutoff);
            self.oldest = self
                .uses
                .iter()
                .map(|u| u.hit.at)
                .min()
                .unwrap_or(used.hit.at);
        }

        self.oldest = self.oldest.min(used.hit.at);
        let mut changed = self.uses.len() != before;
        if let Some(known) = self.uses.iter_mut().find(|other| used.is_like(other)) {
            known.hit = known.hit.max(used.hit);
        } else {
            if self.uses.len() >= SESSIONS_MAX
                && let Some((oldest, _)) = self.uses.iter().enumerate().min_by_key(|(_, u)| u.hit)
            {
                self.uses.swap_remove(oldest);
            }
            self.uses.push(used);
            changed = true;
        }

        if changed {
            let uses = &self.uses;
            let count = |same: &dyn Fn(&Use, &Use) -> bool| {
                uses.iter()
                    .enumerate()
                    .filter(|(i, a)| !uses[..*i].iter().any(|b| same(a, b)))
                    .count()
            };

            self.sessions = count(&|a, b| a.session == b.session);
            self.places = count(&|a, b| a.ip == b.ip);
        }
    }
}

impl Owned for User {
    fn generation(&mut self) -> &mut u32 {
        &mut self.generation
    }
}

impl User {
    fn only(&self) -> Option<Use> {
        let hit = Hit {
            at: self.at,
            id: self.id,
            times: self.times,
        };

        (self.times > 0).then_some(Use {
            hit,
            session: self.session,
            ip: self.ip,
        })
    }

    fn set_only(&mut self, only: Use) {
        let Use { hit, session, ip } = only;
        *self = Self {
            generation: self.generation,
            times: hit.times,
            at: hit.at,
            id: hit.id,
            session,
            ip,
            several: None,
        };
    }

    fn uses(&self) -> impl Iterator<Item = Use> {
        self.only().into_iter().chain(
            self.several
                .iter()
                .flat_map(|several| several.uses.iter().copied()),
        )
    }

    /// The newest time seen for the user: whatever is given up, the newest use is not.
    fn newest(&self) -> Timestamp {
        match (&self.several, self.times) {
            (Some(several), _) => several.newest,
            (None, 0) => Timestamp::MIN,
            (None, _) => self.at,
        }
    }

    /// Takes a use in that lies within the window; gives how many different sessions and addresses
    /// there are, when there are several.
    fn take_in(&mut self, used: Use, cutoff: Timestamp) -> Option<(usize, usize)> {
        let only = self.only();
        let several = match (&mut self.several, only) {
            (Some(several), _) => several,
            (None, Some(only)) if only.hit.at > cutoff && !used.is_like(&only) => {
                self.times = 0;
                self.several.insert(Box::new(Several::new(only)))
            }
            (None, Some(only)) if used.is_like(&only) && only.hit > used.hit => return None,
            (None, _) => {
                self.set_only(used);
                return None;
            }
        };

        several.take_in(used, cutoff);
        if let [only] = several.uses.as_slice() {
            let only = *only;
            self.set_only(only);
            return None;
        }

        Some((several.sessions, several.places))
    }
}

/// When a session was logged out, first and last since its last login.
#[derive(Clone, Copy, Debug)]
struct Over {
    first: Timestamp,
    last: Timestamp,
}

impl Over {
    fn again(self, at: Timestamp) -> Self {
        Self {
            first: self.first.min(at),
            last: self.last.max(at),
        }
    }

    /// What is left of it after a login, which begins a new session under the same id.
    fn since(self, login: Timestamp) -> Option<Self> {
        (self.last > login).then(|| Self {
            first: if self.first > login {
                self.first
            } else {
                self.last
            },
            last: self.last,
        })
    }
}

struct SessionAnomaly {
    /// Kept for the replay window.
    sessions: Keyed<Session>,
    /// The logouts of each session. Kept for a day, and so apart: few sessions are logged out.
    logouts: Keyed<Option<Over>>,
    users: Beside<User>,
    params: Params,
}

impl SessionAnomaly {
    fn session(&mut self, key: Key, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let glance = cx.glance;
        let hit = Hit::at_a_glance(glance);
        let window = self.params.replay_window;
        let slot =
            self.sessions
                .touch_near(key, cx.hints.session, hit.at, quiet_since(hit.at, window));

        let state = self.sessions.at_slot(slot);
        if glance.action == Action::Logout {
            if state.login > Moment::of(hit.at) {
                return;
            }

            state.logout = Logout::Perhaps;
            let stale = quiet_since(hit.at, self.params.remember_logout);
            let (logout, _) = self.logouts.touch(key, hit.at, stale);
            *logout = Some(logout.map_or(
                Over {
                    first: hit.at,
                    last: hit.at,
                },
                |before| before.again(hit.at),
            ));

            // Uses that were later but arrived earlier.
            let after = state
                .places()
                .map(Place::hit)
                .filter(|used| used.at > hit.at)
                .min();
            if let Some(after) = after {
                cx.fire(key, event, || used_after_logout(event, hit.at, after));
            }

            return;
        }

        let logs_in = glance.marks.intersects(Marks::LOGIN);
        if logs_in {
            state.login = state.login.max(Moment::of(hit.at));
        }

        let elsewhere = state.used(hit, glance.ip(), window);
        if elsewhere.is_none() && state.logout == Logout::None {
            return;
        }

        let slot = self.logouts.slot(key);
        state.logout = if slot.is_some() {
            Logout::Perhaps
        } else {
            Logout::None
        };

        let mut logout = slot.and_then(|slot| *self.logouts.at_slot(slot));
        if logs_in && let Some(slot) = slot {
            logout = logout.and_then(|logout| logout.since(hit.at));
            *self.logouts.at_slot(slot) = logout;
        }

        if let Some(other) = elsewhere {
            cx.fire(key, event, || {
                used_elsewhere(event, window, [other.min(hit), other.max(hit)])
            });
        } else if let Some(logout) = logout.filter(|logout| {
            hit.at > logout.first
                && hit.at.since(logout.last) < self.params.remember_logout
                && glance.category != Category::System
        }) {
            cx.fire(key, event, || used_after_logout(event, logout.first, hit));
        }
    }

    fn user(&mut self, used: Use, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(key), Some(place)) = (cx.user, cx.user_place) else {
            return;
        };
        let Params {
            window,
            max_sessions,
            ..
        } = self.params;

        let state = self.users.touch(place);
        let cutoff = state.newest().max(used.hit.at).minus(window);
        if used.hit.at <= cutoff {
            cx.counters.late += 1;
            return;
        }

        let Some((sessions, places)) = state.take_in(used, cutoff) else {
            return;
        };
        let Some(user) = event
            .user_id
            .as_ref()
            .filter(|_| sessions > max_sessions && places >= 2)
        else {
            return;
        };

        cx.fire(key, event, || {
            let title = format!(
                "Concurrent sessions: user {user} has {sessions} sessions from \
                {places} addresses within {window}"
            );
            let description = format!(
                "User {user} used {sessions} different sessions from {places} addresses within \
                    {window}. Several people may be \
                 using the account."
            );

            let mut hits: Vec<Hit> = state.uses().map(|u| u.hit).collect();
            hits.sort_unstable();
            Opening::new(EntityKind::User, user, title, description).evidence(hits)
        });
    }
}

fn name<'a>(event: &'a SecurityEvent<'_>) -> &'a str {
    event.session_id.as_deref().unwrap_or_default()
}

fn used_elsewhere(event: &SecurityEvent<'_>, window: Span, evidence: [Hit; 2]) -> Opening {
    let name = name(event);
    let title = format!("Session replay: session {name} used from two addresses within {window}");
    let description = format!(
        "One session was used from two addresses within {window}, lastly from {}. The session \
            token may be stolen: end the session and ask \
         the user.",
        event
            .ip_address
            .map(|ip| ip.to_string())
            .unwrap_or_default()
    );

    Opening::new(EntityKind::Session, name, title, description).evidence(evidence)
}

/// The use alone is the evidence: another use, hours later, after the same logout, is another
/// detection with another first event.
fn used_after_logout(event: &SecurityEvent<'_>, logout: Timestamp, used: Hit) -> Opening {
    let name = name(event);
    let title = format!("Session replay: session {name} used after its logout");
    let description = format!(
        "A session was used after it had been logged out at {logout}. The session token may be \
            stolen, or logging out does not end the \
         session on the server."
    );
    Opening::new(EntityKind::Session, name, title, description).evidence([used])
}

impl Rule for SessionAnomaly {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let glance = cx.glance;
        let Some(key) = glance.session() else { return };
        self.session(key, event, cx);

        if let Some(ip) = glance.ip() {
            let [_, session] = key.halves();
            self.user(
                Use {
                    hit: Hit::at_a_glance(glance),
                    session,
                    ip,
                },
                event,
                cx,
            );
        }
    }

    fn looks_ahead(&self) -> bool {
        true
    }

    fn find_ahead(&self, glance: &Glance, hints: &mut Hints) {
        hints.session = glance
            .session()
            .map_or(NOWHERE, |key| self.sessions.hint(key));
    }

    fn read_ahead(&self, hints: Hints) -> u64 {
        let last = self
            .sessions
            .near(hints.session)
            .and_then(|session| session.last.as_ref());
        let used = self.users.near(hints.user);
        last.map_or(0, |last| last.at.as_micros() as u64 ^ last.ip[1])
            ^ used.map_or(0, |used| used.session)
    }

    fn remembers_logins(&self) -> Span {
        self.params.remember_logout
    }

    fn usage(&self) -> Usage {
        let users = self
            .users
            .iter()
            .filter(|user| user.times > 0 || user.several.is_some())
            .count();
        let keys = self.sessions.len() + self.logouts.len() + users;
        Usage {
            keys,
            evicted: self.sessions.evicted() + self.logouts.evicted(),
        }
    }
}
