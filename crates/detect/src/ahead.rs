//! What is worked out of events before they are shown to the rules, and what is fetched for them.
//!
//! What the engine remembers of thousands of users and sessions is far larger than a processor's caches, so that nearly every event waits for
//! memory, several times, one after the other. The places of some events looked up together wait together: none of the look-ups needs what
//! another one finds. A hint that is out of date when its event's turn comes is noticed by the key that stands in the slot.

use model::SecurityEvent;
use model::event::{Marks, UserId};

use crate::keyed::{Key, NOWHERE, Names};
use crate::profile::Profiles;

/// Events that are looked up together.
pub(crate) const AHEAD: usize = 16;

/// What is known of an event before it is shown to the rules.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    /// The user's key, when the event names one.
    pub(crate) user: Option<Key>,
    /// Where the user's profile probably is.
    pub(crate) user_hint: u32,
    /// The session's key, when the event names one.
    pub(crate) session: Option<Key>,
    /// Where its state probably is, for the rule that keeps it.
    pub(crate) session_hint: u32,
}

impl Ahead {
    pub(crate) const NOTHING: Self = Self { user: None, user_hint: NOWHERE, session: None, session_hint: NOWHERE };

    /// The keys of an event.
    pub(crate) fn of(event: &SecurityEvent<'_>, names: &Names) -> Self {
        let user = event.user_id.as_ref().map(|user| match user {
            UserId::Uuid(id) => Key::new(event.source, id.as_u128()),
            UserId::Name(name) => Key::new(event.source, names.value(name)),
        });
        let name = event.session_id.as_deref().filter(|name| event.marks.meets(Marks::SESSION) && !name.is_empty());
        let session = name.map(|name| Key::new(event.source, names.value(name)));
        Self { user, session, ..Self::NOTHING }
    }

    /// Finds the user's profile.
    pub(crate) fn find_user(&mut self, profiles: &Profiles) {
        self.user_hint = self.user.and_then(|user| profiles.slot(user)).unwrap_or(NOWHERE);
    }
}
