//! What someone had typed when their session locked: kept in memory until they are back, and never
//! on the page that covers it, whose source a passer-by could read (3.1.10).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use model::{Span, Timestamp};
use uuid::Uuid;

/// How long a draft is kept.
const KEPT: Span = Span::hours(12);
/// The most drafts, one of each person; beyond, the oldest goes.
const DRAFTS_MAX: usize = 64;

/// A form that was typed and not sent, or sent to a session that was locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Where the form goes: a path.
    pub action: String,
    /// What was typed, without the token of its session.
    pub fields: Vec<(String, String)>,
    /// When.
    pub at: Timestamp,
}

/// Drafts, the newest of each person.
#[derive(Debug, Default)]
pub struct Drafts(Mutex<HashMap<Uuid, Draft>>);

impl Drafts {
    /// Keeps a draft of a person in the place of the one before.
    pub fn keep(&self, person: Uuid, draft: Draft) {
        let mut drafts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drafts.retain(|_, kept| draft.at.since(kept.at) < KEPT);
        if drafts.len() >= DRAFTS_MAX && !drafts.contains_key(&person) {
            let oldest = drafts.iter().min_by_key(|(_, kept)| kept.at);
            if let Some(oldest) = oldest.map(|(person, _)| *person) {
                drafts.remove(&oldest);
            }
        }
        drafts.insert(person, draft);
    }

    /// Hands a person their draft, once.
    pub fn take(&self, person: Uuid, now: Timestamp) -> Option<Draft> {
        let mut drafts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match drafts.entry(person) {
            Entry::Occupied(kept) => Some(kept.remove()).filter(|draft| now.since(draft.at) < KEPT),
            Entry::Vacant(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(text: &str, at: i64) -> Draft {
        Draft {
            action: "/x".to_owned(),
            fields: vec![("reason".to_owned(), text.to_owned())],
            at: Timestamp::from_micros(at),
        }
    }

    #[test]
    fn each_person_gets_their_own_newest_draft_once() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let drafts = Drafts::default();
        drafts.keep(one, draft("first", 1));
        drafts.keep(one, draft("second", 2));
        drafts.keep(other, draft("theirs", 3));
        let now = Timestamp::from_micros(4);
        assert_eq!(drafts.take(one, now), Some(draft("second", 2)));
        assert_eq!(drafts.take(one, now), None);
        let later = now.plus(KEPT);
        assert_eq!(drafts.take(other, later), None, "too old");
    }

    #[test]
    fn there_are_not_more_than_so_many() {
        let drafts = Drafts::default();
        for n in 0..200 {
            drafts.keep(Uuid::from_u128(n), draft("text", i64::try_from(n).unwrap()));
        }
        let now = Timestamp::from_micros(200);
        assert_eq!(drafts.take(Uuid::from_u128(0), now), None);
        assert!(drafts.take(Uuid::from_u128(199), now).is_some());
        assert!(drafts.0.lock().unwrap().len() < DRAFTS_MAX);
    }
}
