//! The detection engine: [`SecurityEvent`](model::SecurityEvent)s in,
//! [`Detection`](model::Detection)s out.
//!
//! Invariants: no I/O, no clock, no knowledge of where events come from. The same [`Engine`] runs
//! live, in `replay` and in `backtest`. State is bounded: every rule has a cap on the keys it
//! tracks, and counts evictions.
//!
//! Adding a rule touches its file in `rules/`, its fixtures beside it, and the list in `rules.rs`.

mod account_changes;
mod client;
mod clock_cache;
mod engine;
mod event_header;
pub mod fixtures;
mod glob;
mod injection;
mod keyed;
mod open;
mod params;
mod pending;
mod profile;
mod rule;
pub mod rules;
pub mod sigma;
mod users;
mod window;

pub use engine::{Counters, Engine, RuleStatus, Settings, SettingsError};
pub use event_header::{EventHeader, Prefilter};
pub use open::{EVENT_IDS_MAX, Restored};
pub use profile::{ExportHour, KnownAgent, KnownIp, Profile, StoredProfile};
pub use rule::{Definition, Info, ParamError, Usage};
pub use users::{User, Users};
