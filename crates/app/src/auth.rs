//! Bearer API keys: `bt_` and 256 random bits in base64url.
//!
//! A key is looked up by its SHA-256. The time of a lookup reveals only something about the hash,
//! which no one can choose, so neither table nor cache compares in constant time. Unknown, revoked
//! and expired keys get the same answer.
//!
//! Good keys are remembered for a short time ([`Trust::fresh`]), so a revocation
//! takes that long at most. While the database is unreachable they are trusted longer
//! ([`Trust::grace`]), so that events can still be spooled; and so are all keys that were in force
//! when it was last reachable, also by a former run ([`OfflineKeys`]).

mod offline;
mod refused;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::{Clock, Span, Timestamp};
use sha2::{Digest as _, Sha256};
use store::keys::KeyInfo;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use ingest::Sender;

use crate::database::Pool;
use offline::KeyTable;
pub use offline::OfflineKeys;
pub(crate) use refused::RefusedKeys;
pub use refused::{ACTION as KEY_REFUSED, Refused};

/// What every key begins with, so that scanners for leaked secrets can know it.
const PREFIX: &str = "bt_";
/// Length of a key: the prefix and 32 bytes as base64url without padding.
const LENGTH: usize = 3 + 43;
/// Remembered keys; an installation has a handful.
const CACHE: usize = 4096;
/// Lookups in the database at once: a flood of made-up keys must not take its connections.
const LOOKUPS: usize = 4;
/// The file of the keys in force is written this often when nothing changes.
const KEEP_EVERY: Span = Span::mins(1);
/// The most keys that are kept on disk.
const KEPT: u32 = 10_000;
/// After a lookup that failed, how long the database is not asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a key that was found valid is trusted without asking again, unless it is configured.
pub const KEY_CACHE: Duration = Duration::from_secs(10);

/// How long a key is trusted.
#[derive(Clone, Copy, Debug)]
pub struct Trust {
    /// Without asking the database again: a revocation takes this long at most.
    pub fresh: Duration,
    /// While the database is unreachable.
    pub grace: Duration,
    /// How long the database has to answer.
    pub patience: Duration,
    /// The most requests of a network within a minute whose keys are looked up although they are
    /// not in force.
    pub refused_max: u64,
}

/// A new key.
pub struct MintedKey {
    /// The key itself, to be shown once and forgotten.
    pub secret: String,
    /// Its first ten characters, for lists.
    pub prefix: String,
    /// Hex SHA-256 of the key, which is what is stored.
    pub hash: String,
}

/// Makes a key from 256 random bits.
pub fn mint(random: [u8; 32]) -> MintedKey {
    let secret = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
    let prefix = secret.chars().take(10).collect();
    let hash = to_hex(&key_digest(&secret));
    MintedKey {
        secret,
        prefix,
        hash,
    }
}

fn key_digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut out, byte| {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No key, or none that is in force.
    #[error("no valid key")]
    Unknown,
    /// The key may not do this.
    #[error("the key lacks the scope")]
    Scope,
    /// The database is unreachable, and the key was not seen lately.
    #[error("keys cannot be checked now")]
    Away,
    /// Too many keys that are not in force came from the same network.
    #[error("too many unknown keys")]
    TooMany,
}

struct Known {
    info: KeyInfo,
    checked: Instant,
    uses: AtomicU32,
}

/// Checks keys.
pub struct Auth {
    pool: Pool,
    clock: Arc<dyn Clock>,
    fresh: Duration,
    grace: Duration,
    patience: Duration,
    known: Mutex<HashMap<[u8; 32], Arc<Known>>>,
    lookups: Semaphore,
    paused_until: Mutex<Option<Instant>>,
    /// Where the keys in force are kept for an outage; none where they are not.
    offline: Option<OfflineKeys>,
    /// Those that were in force when the database was last reachable.
    in_force: Mutex<KeyTable>,
    /// When they were last written to disk.
    kept_at: Mutex<Option<Timestamp>>,
    refused: RefusedKeys,
}

impl Auth {
    /// Creates a checker that looks keys up through `pool`.
    pub fn new(pool: Pool, clock: Arc<dyn Clock>, trust: &Trust) -> Self {
        Self {
            pool,
            clock,
            fresh: trust.fresh,
            grace: trust.grace,
            patience: trust.patience,
            known: Mutex::default(),
            lookups: Semaphore::new(LOOKUPS),
            paused_until: Mutex::default(),
            offline: None,
            in_force: Mutex::default(),
            kept_at: Mutex::default(),
            refused: RefusedKeys::new(trust.refused_max),
        }
    }

    /// Takes up the keys that a former run kept, for an outage that lasts since then, and keeps
    /// those in force from now on.
    #[must_use]
    pub fn with_offline_keys(self, offline: OfflineKeys) -> Self {
        let known = self.known_offline(&offline);
        Self {
            offline: Some(offline),
            in_force: Mutex::new(known),
            ..self
        }
    }

    fn known_offline(&self, offline: &OfflineKeys) -> KeyTable {
        if offline.max_age <= Span::ZERO {
            return KeyTable::default();
        }

        offline.read(self.clock.now()).unwrap_or_else(|why| {
            let path = offline.path.display();
            tracing::info!("no keys of a former run: {path}: {why}");
            KeyTable::default()
        })
    }

    /// Reads the keys in force and keeps them on disk for an outage. To be called every few
    /// seconds.
    pub async fn keep_offline_keys(&self) {
        let Some(offline) = &self.offline else { return };
        if let Err(error) = self.keep_keys(offline).await {
            // The next time comes soon; until then what is kept counts.
            tracing::debug!(%error, "the keys in force cannot be kept for an outage");
        }
    }

    async fn keep_keys(&self, offline: &OfflineKeys) -> anyhow::Result<()> {
        if offline.max_age <= Span::ZERO {
            return Ok(offline.remove()?);
        }

        let keys = timeout(self.patience, async {
            let mut conn = self.pool.acquire().await?;
            store::keys::in_force(&mut conn, KEPT).await
        })
        .await??;

        if keys.len() >= KEPT as usize {
            tracing::warn!("more than {KEPT} API keys: not all of them count during an outage");
        }

        let now = self.clock.now();
        let table = KeyTable {
            read_at: now,
            keys: keys.into_iter().collect(),
        };

        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept_at = self.kept_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = kept_at.is_some_and(|at| (Span::ZERO..KEEP_EVERY).contains(&now.since(at)));
        let is_kept = is_recent && in_force.keys == table.keys;
        *in_force = table;

        if !is_kept {
            offline.write(&in_force)?;
            *kept_at = Some(now);
        }
        Ok(())
    }

    /// Lets the bearer of an `Authorization` header in, or not; says for whom they speak. Who is
    /// not let in is counted by the network of `peer`.
    pub async fn check(
        &self,
        header: Option<&str>,
        scope: &str,
        peer: IpAddr,
    ) -> Result<Sender, AuthError> {
        let checked = self.check_key(header, scope, peer).await;
        if let Err(error @ (AuthError::Unknown | AuthError::TooMany)) = checked {
            let unseen = error == AuthError::TooMany;
            self.refused.note(peer, unseen, self.clock.now());
        }
        checked
    }

    /// Requests without a good key of the minute that has just ended; `now`: also of the one that
    /// has not.
    pub fn take_refused(&self, now: bool) -> Vec<Refused> {
        self.refused.take(now)
    }

    async fn check_key(
        &self,
        header: Option<&str>,
        scope: &str,
        peer: IpAddr,
    ) -> Result<Sender, AuthError> {
        let key = header.and_then(bearer_token).ok_or(AuthError::Unknown)?;
        let digest = key_digest(key);
        let known = match self.remembered(&digest, self.fresh) {
            Some(known) => known,
            // Whoever else is on the sender's network, a key that was good lately is looked up.
            None if !self.was_good(&digest) && !self.refused.may_try(peer) => {
                return Err(AuthError::TooMany);
            }
            None => self.look_up(&digest).await?,
        };
        if known
            .info
            .expires_at
            .is_some_and(|end| end <= self.clock.now())
        {
            return Err(AuthError::Unknown);
        }
        if !known.info.scopes.iter().any(|s| s == scope) {
            return Err(AuthError::Scope);
        }
        known.uses.fetch_add(1, Ordering::Relaxed);
        Ok(Sender::of(&known.info))
    }

    /// Whether a key was in force when it was last looked at.
    fn was_good(&self, digest: &[u8; 32]) -> bool {
        let in_force = || {
            let table = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
            table.keys.contains_key(&to_hex(digest))
        };
        self.remembered(digest, Duration::MAX).is_some() || in_force()
    }

    fn remembered(&self, digest: &[u8; 32], age: Duration) -> Option<Arc<Known>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(digest)
            .filter(|k| k.checked.elapsed() < age)
            .cloned()
    }

    async fn look_up(&self, digest: &[u8; 32]) -> Result<Arc<Known>, AuthError> {
        // If another request is looking up the same key, the key is in the cache when this one gets
        // its turn.
        let Ok(Ok(_turn)) = timeout(self.patience, self.lookups.acquire()).await else {
            return self.in_grace(digest);
        };
        if let Some(known) = self.remembered(digest, self.fresh) {
            return Ok(known);
        }

        if self.is_paused() {
            return self.in_grace(digest);
        }

        let hash = to_hex(digest);
        let asked = timeout(self.patience, async {
            let mut conn = self.pool.acquire().await?;
            store::keys::authenticate(&mut conn, &hash).await
        });

        match asked.await {
            Ok(Ok(Some(info))) => Ok(self.remember(*digest, info)),
            Ok(Ok(None)) => {
                self.forget(digest).await;
                Err(AuthError::Unknown)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "API keys cannot be checked; those seen lately stay in \
                    force for a while");
                self.pause();
                self.in_grace(digest)
            }
            Err(_) => {
                tracing::warn!("API keys cannot be checked, the database does not answer");
                self.pause();
                self.in_grace(digest)
            }
        }
    }

    fn in_grace(&self, digest: &[u8; 32]) -> Result<Arc<Known>, AuthError> {
        self.remembered(digest, self.grace)
            .or_else(|| self.in_force_lately(digest))
            .ok_or(AuthError::Away)
    }

    /// A key that was in force when the database was last reachable. Its uses are not counted, and
    /// the database is asked each time.
    fn in_force_lately(&self, digest: &[u8; 32]) -> Option<Arc<Known>> {
        let max_age = self.offline.as_ref()?.max_age;
        let table = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let info = table.find(&to_hex(digest), self.clock.now(), max_age)?;
        Some(Arc::new(Known {
            info: info.clone(),
            checked: Instant::now(),
            uses: AtomicU32::default(),
        }))
    }

    fn is_paused(&self) -> bool {
        let until = self
            .paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn pause(&self) {
        *self
            .paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + PAUSE);
    }

    fn remember(&self, digest: [u8; 32], info: KeyInfo) -> Arc<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let uses = known
            .get(&digest)
            .map_or(0, |old| old.uses.swap(0, Ordering::Relaxed));
        if known.len() >= CACHE && !known.contains_key(&digest) {
            known.retain(|_, k| k.checked.elapsed() < self.grace);
            // Still full: the one checked longest ago makes room; at worst its uses since the last
            // flush go uncounted.
            let oldest = known
                .iter()
                .min_by_key(|(_, k)| k.checked)
                .map(|(digest, _)| *digest);
            if let Some(oldest) = oldest.filter(|_| known.len() >= CACHE) {
                known.remove(&oldest);
            }
        }

        let entry = Arc::new(Known {
            info,
            checked: Instant::now(),
            uses: AtomicU32::new(uses),
        });

        known.insert(digest, Arc::clone(&entry));
        entry
    }

    async fn forget(&self, digest: &[u8; 32]) {
        let gone = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(digest);
        let Some(gone) = gone else { return };
        self.count(gone.info.key_id, gone.uses.swap(0, Ordering::Relaxed))
            .await;
    }

    /// Records how often keys were used since the last flush. What cannot be written is kept for
    /// the next one.
    pub async fn flush_uses(&self) {
        let entries: Vec<_> = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();

        for entry in entries {
            let times = entry.uses.swap(0, Ordering::Relaxed);
            if times > 0 && !self.count(entry.info.key_id, times).await {
                entry.uses.fetch_add(times, Ordering::Relaxed);
                return;
            }
        }
    }

    async fn count(&self, key_id: uuid::Uuid, times: u32) -> bool {
        if times == 0 {
            return true;
        }

        let counted = timeout(self.patience, async {
            let mut conn = self.pool.acquire().await?;
            store::keys::used(&mut conn, key_id, times).await
        });

        match counted.await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the use of an API key could not be counted");
                false
            }
            Err(_) => false,
        }
    }
}

/// Returns the key in a header, if it has the form of an API key of blueteam.
fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, key) = header.split_once(' ')?;
    let key = key.trim();
    let shaped = key.len() == LENGTH
        && key.starts_with(PREFIX)
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (scheme.eq_ignore_ascii_case("bearer") && shaped).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_is_read_back() {
        let key = mint([0xfb; 32]);
        assert_eq!(
            (key.secret.len(), key.prefix.len(), key.hash.len()),
            (LENGTH, 10, 64)
        );
        assert_eq!(
            bearer_token(&format!("bearer {}", key.secret)),
            Some(&*key.secret)
        );

        for bad in [
            "",
            "Bearer",
            "Bearer bt_",
            "Basic x",
            &format!("Bearer {}x", key.secret),
            &key.secret,
        ] {
            assert_eq!(bearer_token(bad), None, "{bad}");
        }
    }
}
