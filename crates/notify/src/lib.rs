//! Carries alerts to people and machines.
//!
//! A [`Notification`] is an alert or a notice on its way out. [`Routing`] says which channels an
//! alert takes;
//! [`Channels`] holds the ones that are configured and sends through them. What fails says whether
//! to try again ([`SendError::retry`]) and [`backoff()`] says when.
//!
//! Invariant: nothing here creates an alert, knows SQL, or sends the payload of an event. Text that
//! an attacker may have written goes through [`sanitize`] before it leaves.

pub mod backoff;
mod channel;
pub mod channels;
pub mod error;
mod hook;
pub mod http_post;
pub mod notification;
pub mod rotation;
pub mod routing;
pub mod silences;
pub mod tls;
mod ways;
mod wording;

pub use backoff::backoff;
pub use channels::{Channels, Sections};
pub use error::{Receipt, Retry, SendError, SetupError};
pub use notification::{Kind, Notification, Person};
pub use routing::{Routing, RoutingError, Wishes};
pub use silences::Silences;
