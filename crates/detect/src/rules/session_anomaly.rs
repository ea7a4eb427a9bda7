//! One session from two addresses, a session used after its logout, or too many concurrent sessions
//! of one user.

use model::event::EventTags;
use model::{
    Action, Category, ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock_cache::{ClockCache, Generational, NO_HINT, SideTable};
use crate::event_header::{EventHeader, PrefetchHints};
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{
    Built, Context, Definition, Info, Rule, Usage, default_params, parse_params, quiet_since,
};
use crate::users::Users;
use crate::window::Hit;

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("session_anomaly"),
        name: "Session anomaly",
        description: "One session is used from two addresses within `replay_window`, or after its \
            logout; or one user has more than `max_sessions` sessions within `window` from at \
            least two addresses.",
        severity: Severity::High,
        controls: &[ControlId::known("3.13.15")],
        attack: &["T1550.004", "T1539"],
        interest: EventTags::SESSION,
        feeds: &[Source::AuditDb],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/session_anomaly.ndjson"),
    build: |value, max_keys| {
        let params: Params = parse_params(value)?;
        let (cooldown, lookback) = (
            params.replay_window,
            params.replay_window.max(params.window),
        );
        let (sessions, logouts) = (ClockCache::new(max_keys), ClockCache::new(max_keys));
        let rule = SessionAnomaly {
            sessions,
            logouts,
            users: SideTable::default(),
            params,
        };

        Ok(Built {
            rule: Box::new(rule),
            cooldown,
            lookback,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    replay_window: Span,
    /// How long the logout of a session is remembered.
    remember_logout: Span,
    window: Span,
    /// Maximum number of concurrent sessions that is still normal.
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

/// Maximum numbers of remembered addresses per session, and of sessions per user.
const ADDRESSES_MAX: usize = 4;
const SESSIONS_MAX: usize = 16;

/// The latest use of a session from an address. The fields of its hit are inlined to save space:
/// there is one for every session.
#[derive(Clone, Copy, Debug)]
struct AddressUse {
    at: Timestamp,
    id: [u64; 2],
    times: u32,
    /// Whether the use has an address.
    has_ip: bool,
    ip: [u64; 2],
}

impl AddressUse {
    fn new(hit: Hit, ip: Option<[u64; 2]>) -> Self {
        Self {
            at: hit.at,
            id: hit.id,
            times: hit.times,
            has_ip: ip.is_some(),
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

    fn is_from(&self, ip: Option<[u64; 2]>) -> bool {
        match ip {
            Some(ip) => self.has_ip && self.ip == ip,
            None => !self.has_ip,
        }
    }
}

/// Whether a session has a logout, as far as known without a lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LogoutHint {
    /// Not looked up yet.
    #[default]
    Unknown,
    None,
    /// There may be a logout.
    Possible,
}

/// A time with a precision of 15 µs in six bytes, which fit into a session's padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct CompactTime {
    secs: u32,
    part: u16,
}

impl CompactTime {
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

/// State of a session. It is nearly always used from the same address as last time.
#[derive(Debug, Default)]
struct Session {
    /// The latest use.
    last: Option<AddressUse>,
    /// The latest use from each other address, newest last; `None` if there is none.
    before: Option<Box<SmallVec<[AddressUse; ADDRESSES_MAX - 1]>>>,
    logout: LogoutHint,
    /// The last login under its id. It ends the session before, also for a logout that arrives
    /// late.
    login: CompactTime,
}

impl Session {
    /// Returns the latest use from each address, newest last.
    fn address_uses(&self) -> impl DoubleEndedIterator<Item = &AddressUse> {
        self.before
            .iter()
            .flat_map(|before| before.iter())
            .chain(&self.last)
    }

    /// Records a use; returns the latest use from another address within `window`.
    fn record_use(&mut self, hit: Hit, ip: Option<[u64; 2]>, window: Span) -> Option<Hit> {
        let elsewhere = self.address_uses().rev().find(|other| {
            other.has_ip
                && ip.is_some()
                && !other.is_from(ip)
                && other.at.since(hit.at).as_micros().abs() < window.as_micros()
        });

        let elsewhere = elsewhere.map(AddressUse::hit);
        let used = AddressUse::new(hit, ip);
        match &mut self.last {
            None => self.last = Some(used),
            Some(last) if last.is_from(ip) => {
                if last.at <= used.at {
                    *last = used;
                }
            }
            Some(last) => {
                let before = self.before.get_or_insert_default();
                match before.iter().position(|place| place.is_from(ip)) {
                    // It has been used from there since.
                    Some(i) if before[i].at > used.at => return elsewhere,
                    Some(i) => drop(before.remove(i)),
                    None if before.len() + 1 >= ADDRESSES_MAX => drop(before.remove(0)),
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
    /// Returns whether both are of the same session from the same address.
    fn is_same_as(&self, other: &Self) -> bool {
        self.session == other.session && self.ip == other.ip
    }
}

/// The concurrent sessions of a user: nearly always one session from one address, which fits into
/// one cache line.
#[derive(Debug, Default)]
struct ActiveSessions {
    generation: u32,
    /// Occurrences of the only use; 0 if there is none, or if there are several.
    times: u32,
    at: Timestamp,
    id: [u64; 2],
    session: u64,
    ip: [u64; 2],
    several: Option<Box<UseSet>>,
}

/// All uses of a user with several, and the number of their distinct sessions and addresses.
#[derive(Debug)]
struct UseSet {
    uses: Vec<Use>,
    /// A time at or before the oldest use.
    oldest: Timestamp,
    newest: Timestamp,
    sessions: usize,
    places: usize,
}

impl UseSet {
    fn new(single: Use) -> Self {
        Self {
            uses: vec![single],
            oldest: single.hit.at,
            newest: single.hit.at,
            sessions: 1,
            places: 1,
        }
    }

    /// Records a use that lies within the window.
    fn record_use(&mut self, used: Use, cutoff: Timestamp) {
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
        if let Some(known) = self.uses.iter_mut().find(|other| used.is_same_as(other)) {
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

impl Generational for ActiveSessions {
    fn generation(&mut self) -> &mut u32 {
        &mut self.generation
    }
}

impl ActiveSessions {
    fn single(&self) -> Option<Use> {
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

    fn set_only(&mut self, single: Use) {
        let Use { hit, session, ip } = single;
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

    fn all_uses(&self) -> impl Iterator<Item = Use> {
        self.single().into_iter().chain(
            self.several
                .iter()
                .flat_map(|several| several.uses.iter().copied()),
        )
    }

    /// Returns the newest event time of the user: the newest use is never dropped.
    fn newest_time(&self) -> Timestamp {
        match (&self.several, self.times) {
            (Some(several), _) => several.newest,
            (None, 0) => Timestamp::MIN,
            (None, _) => self.at,
        }
    }

    /// Records a use that lies within the window; returns the numbers of distinct sessions and
    /// addresses, if there are several.
    fn record_use(&mut self, used: Use, cutoff: Timestamp) -> Option<(usize, usize)> {
        let single = self.single();
        let several = match (&mut self.several, single) {
            (Some(several), _) => several,
            (None, Some(single)) if single.hit.at > cutoff && !used.is_same_as(&single) => {
                self.times = 0;
                self.several.insert(Box::new(UseSet::new(single)))
            }
            (None, Some(single)) if used.is_same_as(&single) && single.hit > used.hit => {
                return None;
            }
            (None, _) => {
                self.set_only(used);
                return None;
            }
        };

        several.record_use(used, cutoff);
        if let [single] = several.uses.as_slice() {
            let single = *single;
            self.set_only(single);
            return None;
        }

        Some((several.sessions, several.places))
    }
}

/// The first and the last logout of a session since its last login.
#[derive(Clone, Copy, Debug)]
struct LogoutTimes {
    first: Timestamp,
    last: Timestamp,
}

impl LogoutTimes {
    fn with_logout(self, at: Timestamp) -> Self {
        Self {
            first: self.first.min(at),
            last: self.last.max(at),
        }
    }

    /// Returns the logouts after a login, which begins a new session under the same id.
    fn after_login(self, login: Timestamp) -> Option<Self> {
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
    sessions: ClockCache<Session>,
    /// The logouts of each session. Kept apart because they are kept for a day, and few sessions
    /// are logged out.
    logouts: ClockCache<Option<LogoutTimes>>,
    users: SideTable<ActiveSessions>,
    params: Params,
}

impl SessionAnomaly {
    fn observe_session(&mut self, key: Key, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let header = cx.header;
        let hit = Hit::from_header(header);
        let window = self.params.replay_window;
        let slot =
            self.sessions
                .touch_at_hint(key, cx.hints.session, hit.at, quiet_since(hit.at, window));

        let state = self.sessions.at_slot(slot);
        if header.action == Action::Logout {
            if state.login > CompactTime::of(hit.at) {
                return;
            }

            state.logout = LogoutHint::Possible;
            let stale_before = quiet_since(hit.at, self.params.remember_logout);
            let (logout, _) = self.logouts.touch(key, hit.at, stale_before);
            *logout = Some(logout.map_or(
                LogoutTimes {
                    first: hit.at,
                    last: hit.at,
                },
                |before| before.with_logout(hit.at),
            ));

            // A use may be later than the logout although it arrived before it.
            let after = state
                .address_uses()
                .map(AddressUse::hit)
                .filter(|used| used.at > hit.at)
                .min();
            if let Some(after) = after {
                let users = cx.users;
                let logout = cx.calendar.wall_clock().minutes(hit.at);
                cx.fire(key, event, || {
                    after_logout_opening(event, users, &logout, after)
                });
            }

            return;
        }

        let logs_in =
            header.marks.intersects(EventTags::LOGIN) && header.marks.intersects(EventTags::USER);
        if logs_in {
            state.login = state.login.max(CompactTime::of(hit.at));
        }

        let elsewhere = state.record_use(hit, header.ip_halves(), window);
        if elsewhere.is_none() && state.logout == LogoutHint::None {
            return;
        }

        let slot = self.logouts.find_slot(key);
        state.logout = if slot.is_some() {
            LogoutHint::Possible
        } else {
            LogoutHint::None
        };

        let mut logout = slot.and_then(|slot| *self.logouts.at_slot(slot));
        if logs_in && let Some(slot) = slot {
            logout = logout.and_then(|logout| logout.after_login(hit.at));
            *self.logouts.at_slot(slot) = logout;
        }

        let users = cx.users;
        let clock = cx.calendar.wall_clock();
        if let Some(other) = elsewhere {
            cx.fire(key, event, || {
                elsewhere_opening(event, users, window, [other.min(hit), other.max(hit)])
            });
        } else if let Some(logout) = logout.filter(|logout| {
            hit.at > logout.first
                && hit.at.since(logout.last) < self.params.remember_logout
                && header.category != Category::System
        }) {
            cx.fire(key, event, || {
                after_logout_opening(event, users, &clock.minutes(logout.first), hit)
            });
        }
    }

    fn observe_user(&mut self, used: Use, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(key), Some(place)) = (cx.user, cx.user_slot) else {
            return;
        };
        let Params {
            window,
            max_sessions,
            ..
        } = self.params;

        let state = self.users.touch(place);
        let cutoff = state.newest_time().max(used.hit.at).minus(window);
        if used.hit.at <= cutoff {
            cx.counters.late += 1;
            return;
        }

        let Some((sessions, places)) = state.record_use(used, cutoff) else {
            return;
        };
        let Some(id) = event
            .user_id
            .as_ref()
            .filter(|_| sessions > max_sessions && places >= 2)
        else {
            return;
        };

        let users = cx.users;
        cx.fire(key, event, || {
            let user = users.person(id, event);
            let title = format!(
                "Concurrent sessions: user {user} has {sessions} sessions from {places} addresses \
                    within {window}"
            );
            let description = format!(
                "User {user} used {sessions} different sessions from {places} addresses within \
                    {window}. Several people may be using the account."
            );

            let mut hits: Vec<Hit> = state.all_uses().map(|u| u.hit).collect();
            hits.sort_unstable();
            NewDetection::about_user(id, &user, title, description).with_evidence(hits)
        });
    }
}

fn session_name<'a>(event: &'a SecurityEvent<'_>) -> &'a str {
    event.session_id.as_deref().unwrap_or_default()
}

/// Returns the session as a title names it: by its user, where there is one.
fn titled_session(event: &SecurityEvent<'_>, users: &Users) -> String {
    match &event.user_id {
        Some(id) => format!("a session of user {}", users.person(id, event)),
        None => format!("session {}", session_name(event)),
    }
}

fn elsewhere_opening(
    event: &SecurityEvent<'_>,
    users: &Users,
    window: Span,
    evidence: [Hit; 2],
) -> NewDetection {
    let name = session_name(event);
    let title = format!(
        "Session replay: {} used from two addresses within {window}",
        titled_session(event, users)
    );
    let description = format!(
        "Session {name} was used from two addresses within {window}, most recently from {}. The \
            session token may be stolen: end the session and ask the user.",
        event
            .ip_address
            .map(|ip| ip.to_string())
            .unwrap_or_default()
    );

    NewDetection::new(EntityKind::Session, name, title, description).with_evidence(evidence)
}

/// Describes a use after logout. The use alone is the evidence: another use hours later, after the
/// same logout, is another detection with another first event.
fn after_logout_opening(
    event: &SecurityEvent<'_>,
    users: &Users,
    logout: &str,
    used: Hit,
) -> NewDetection {
    let name = session_name(event);
    let title = format!(
        "Session replay: {} used after its logout",
        titled_session(event, users)
    );
    let description = format!(
        "Session {name} was used after it had been logged out at {logout}. The session token may be \
            stolen, or logging out does not end the session on the server."
    );
    NewDetection::new(EntityKind::Session, name, title, description).with_evidence([used])
}

impl Rule for SessionAnomaly {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let header = cx.header;
        let Some(key) = header.session_key() else {
            return;
        };
        self.observe_session(key, event, cx);

        if let Some(ip) = header.ip_halves() {
            let [_, session] = key.halves();
            self.observe_user(
                Use {
                    hit: Hit::from_header(header),
                    session,
                    ip,
                },
                event,
                cx,
            );
        }
    }

    fn can_prefetch(&self) -> bool {
        true
    }

    fn find_prefetch_slots(&self, header: &EventHeader, hints: &mut PrefetchHints) {
        hints.session = header
            .session_key()
            .map_or(NO_HINT, |key| self.sessions.find_hint(key));
    }

    fn prefetch(&self, hints: PrefetchHints) -> u64 {
        let last = self
            .sessions
            .state_at_hint(hints.session)
            .and_then(|session| session.last.as_ref());
        let used = self.users.state_at_hint(hints.user);
        last.map_or(0, |last| last.at.as_micros() as u64 ^ last.ip[1])
            ^ used.map_or(0, |used| used.session)
    }

    fn login_lookback(&self) -> Span {
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
