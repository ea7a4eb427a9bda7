//! What waits in the spools of listeners for the database.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use model::Timestamp;

/// Since when messages wait for the database, by listener.
#[derive(Debug, Default)]
pub struct SpoolBacklog(Mutex<BTreeMap<String, Timestamp>>);

impl SpoolBacklog {
    /// Records when the oldest message that waits was received; none when nothing waits.
    pub fn record(&self, listener: &str, since: Option<Timestamp>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match since {
            Some(since) => waiting.insert(listener.to_owned(), since),
            None => waiting.remove(listener),
        };
    }

    /// When the oldest of all was received.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .min()
            .copied()
    }
}
