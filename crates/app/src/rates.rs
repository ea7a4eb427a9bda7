//! How many requests a sender may make within a minute: also who has a good session or key, so that
//! one person's program does not take the others' share of the database.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests of a session, or of a person's key, within a minute.
pub const OF_SESSION: u32 = 600;
/// Requests of a network within a minute for what needs no session: to sign in.
pub const OF_NETWORK: u32 = 600;
/// Reports that are written at once.
pub const REPORTS_AT_ONCE: usize = 2;

const MINUTE: Duration = Duration::from_mins(1);
/// Who is told apart.
const KEPT_MAX: usize = 10_000;

/// Requests within a minute that began with the first of them.
#[derive(Clone, Copy, Debug)]
struct Count {
    since: Instant,
    times: u32,
}

/// Counts of requests, bounded in number.
#[derive(Debug)]
pub struct Rates<K> {
    most: u32,
    kept: Mutex<HashMap<K, Count>>,
}

impl<K: Eq + Hash> Rates<K> {
    /// Allows `most` requests within a minute.
    pub fn new(most: u32) -> Self {
        Self {
            most,
            kept: Mutex::default(),
        }
    }

    /// Counts a request; returns how long to wait if there were too many.
    pub fn take(&self, who: K, now: Instant) -> Result<(), Duration> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX && !kept.contains_key(&who) {
            kept.retain(|_, count| now.duration_since(count.since) < MINUTE);
            // Whoever fills it with made-up networks must not keep anybody else out.
            if kept.len() >= KEPT_MAX {
                kept.clear();
            }
        }

        let count = kept.entry(who).or_insert(Count {
            since: now,
            times: 0,
        });
        let age = now.duration_since(count.since);
        if age >= MINUTE {
            *count = Count {
                since: now,
                times: 0,
            };
        }
        if count.times >= self.most {
            return Err(MINUTE.saturating_sub(age));
        }
        count.times += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_of_one_wait_until_the_minute_is_over() {
        let rates = Rates::new(3);
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(rates.take("dana", now), Ok(()));
        }
        let later = now + Duration::from_secs(20);
        assert_eq!(rates.take("dana", later), Err(Duration::from_secs(40)));
        assert_eq!(rates.take("eve", later), Ok(()));
        assert_eq!(rates.take("dana", now + MINUTE), Ok(()));
    }

    #[test]
    fn made_up_networks_do_not_fill_the_memory_or_keep_others_out() {
        let rates = Rates::new(1);
        let now = Instant::now();
        for n in 0..2 * KEPT_MAX {
            assert_eq!(rates.take(n, now), Ok(()));
        }
        assert!(rates.kept.lock().unwrap().len() <= KEPT_MAX);
        assert_eq!(rates.take(usize::MAX, now), Ok(()));
    }
}
