//! Bounds of what logs say: a client chooses how long its name is, and must not have its event
//! refused by it.

use std::borrow::Cow;

use super::{SecurityEvent, UserId};
use crate::audit::limits;
use crate::text::{KEY_BYTES_MAX, Text};

/// Longest names that are kept, in bytes.
pub const NAME_MAX: usize = 1024;
/// Longest agents.
const AGENT_MAX: usize = 4 * limits::USER_AGENT;

impl SecurityEvent<'_> {
    /// Shortens what may key a rule. Doors bound what they take in, but an application that inserts
    /// into the table itself may store a text of any length, and one alert that no index can hold
    /// would keep all others from being written.
    pub(super) fn bound(&mut self) {
        if let Some(UserId::Name(name)) = &mut self.user_id {
            name.shorten(KEY_BYTES_MAX);
        }
        for text in [
            &mut self.account_name,
            &mut self.session_id,
            &mut self.resource_type,
        ]
        .into_iter()
        .flatten()
        {
            text.shorten(KEY_BYTES_MAX);
        }
        self.action.shorten(KEY_BYTES_MAX);
    }

    /// Cuts what is too long, and replaces NUL, which PostgreSQL cannot hold; the details say which
    /// fields that concerned.
    pub fn fit(&mut self) {
        let mut cut: Vec<&'static str> = Vec::new();
        let mut note = |field, changed| {
            if changed {
                cut.push(field);
            }
        };

        if let Some(UserId::Name(name)) = &mut self.user_id {
            note("user_name", fit_text(name, NAME_MAX));
        }

        let texts = [
            ("account", &mut self.account_name, NAME_MAX),
            ("session_id", &mut self.session_id, limits::SESSION_ID),
            ("user_agent", &mut self.user_agent, AGENT_MAX),
            (
                "resource_type",
                &mut self.resource_type,
                limits::RESOURCE_TYPE,
            ),
            ("resource_id", &mut self.resource_id, limits::RESOURCE_ID),
        ];

        for (field, text, most) in texts {
            note(
                field,
                text.as_mut().is_some_and(|text| fit_text(text, most)),
            );
        }

        if let Some(provenance) = &mut self.provenance {
            provenance.fit();
        }

        if !cut.is_empty() {
            let cut: Vec<String> = cut.iter().map(|field| format!("\"{field}\"")).collect();
            self.details = self
                .details
                .with_fields(format_args!("\"cut\":[{}]", cut.join(",")));
        }
    }
}

/// A name out of `metadata`, where it may have any length; see [`SecurityEvent::bound`].
pub(super) fn shortened(name: String) -> String {
    crate::text::shortened(name, KEY_BYTES_MAX)
}

/// Whether there was anything to do.
pub(super) fn fit_text(text: &mut Text<'_>, most: usize) -> bool {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        *text = text.replace('\0', "\u{fffd}").into();
    } else if text.len() <= most {
        return false;
    }

    let end = text.floor_char_boundary(most);
    match &mut text.0 {
        Cow::Borrowed(text) => *text = &text[..end],
        Cow::Owned(text) => text.truncate(end),
    }

    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Category, EventId, Outcome, Source, Timestamp};

    proptest! {
        #[test]
        fn whatever_a_log_says_fits(name in "(\\PC|\\x00){0,2000}", long in any::<bool>()) {
            let name = if long { name.repeat(3) } else { name };
            let at = Timestamp::from_secs(0);
            let id = EventId(uuid::Uuid::nil());
            let mut event = SecurityEvent::new(id, at, Source::Nginx, Category::Network, "a".into(), Outcome::Success);
            event.user_id = Some(UserId::Name((&*name).into()));
            event.account_name = Some(name.clone().into());
            event.session_id = Some((&*name).into());
            event.fit();

            let changed = name.len() > NAME_MAX || name.contains('\0');
            prop_assert_eq!(event.details.as_json().contains("\"cut\":[\"user_name\",\"account\",\"session_id\"]"), changed);
            let account = event.account_name.unwrap();
            prop_assert!(account.len() <= NAME_MAX && !account.contains('\0'));
            prop_assert!(changed || *account == *name);
        }
    }
}
