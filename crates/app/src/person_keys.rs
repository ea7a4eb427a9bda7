//! Who comes with an API key of a person: `bt_api_` and 256 random bits.
//!
//! A key is looked up at each request, so that one that is revoked, or whose owner is disabled or
//! locked, opens nothing from then on. Wrong keys are counted by the network they come from; one
//! that sends too many is answered without asking the database, but for keys that were good lately:
//! nobody locks a neighbor's programs out.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use identity::{KeyScopes, Role, Token, TokenKind};
use model::Clock;
use store::StoreError;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use crate::auth::{AuthError, Refused, RefusedKeys};
use crate::database::Pool;

/// The most wrong keys of a network within a minute that are looked up.
const REFUSED_MAX: u64 = 20;
/// Look-ups at once of keys that were not good lately.
const LOOKUPS: usize = 2;
/// How long the database has to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Secrets that are known to be good.
const GOOD_MAX: usize = 4096;

/// Whose key it is.
#[derive(Clone, Debug)]
pub struct KeyHolder {
    /// The key.
    pub key_id: Uuid,
    /// Its owner.
    pub user_id: Uuid,
    /// Their name.
    pub username: String,
    /// Their role now.
    pub role: Role,
    /// Their tenant.
    pub tenant_id: Option<Uuid>,
    /// What the key may do of what the role may.
    pub scopes: KeyScopes,
}

/// Checks keys of people.
pub struct PersonKeys {
    pool: Pool,
    clock: Arc<dyn Clock>,
    refused: RefusedKeys,
    lookups: Semaphore,
    /// Hashes of secrets that were good at their last look-up.
    good: Mutex<HashSet<[u8; 32]>>,
    /// Uses that are not written down yet.
    uses: Mutex<HashMap<Uuid, u32>>,
}

impl PersonKeys {
    /// Creates a checker that looks keys up through `pool`, of the role that signs people in.
    pub fn new(pool: Pool, clock: Arc<dyn Clock>) -> Self {
        Self {
            pool,
            clock,
            refused: RefusedKeys::new(REFUSED_MAX),
            lookups: Semaphore::new(LOOKUPS),
            good: Mutex::default(),
            uses: Mutex::default(),
        }
    }

    /// The holder of the key in an `Authorization` header. Who has none in force is counted by the
    /// network of `peer`.
    pub async fn resolve(&self, header: &str, peer: IpAddr) -> Result<KeyHolder, AuthError> {
        let found = self.find(header, peer).await;
        match &found {
            Ok(holder) => {
                let mut uses = lock(&self.uses);
                let count = uses.entry(holder.key_id).or_default();
                *count = count.saturating_add(1);
            }
            Err(error @ (AuthError::Unknown | AuthError::TooMany)) => {
                let unseen = *error == AuthError::TooMany;
                self.refused.note(peer, unseen, self.clock.now());
            }
            Err(_) => {}
        }
        found
    }

    async fn find(&self, header: &str, peer: IpAddr) -> Result<KeyHolder, AuthError> {
        let token = bearer_token(header).ok_or(AuthError::Unknown)?;
        let hash = *token.hash().as_bytes();
        let was_good = lock(&self.good).contains(&hash);
        if !was_good && !self.refused.may_try(peer) {
            return Err(AuthError::TooMany);
        }

        let found = timeout(PATIENCE, self.look_up(&hash, was_good)).await;
        let Ok(Ok(found)) = found else {
            tracing::warn!("API keys cannot be checked: the database is unreachable");
            return Err(AuthError::Away);
        };
        let Some(facts) = found else {
            lock(&self.good).remove(&hash);
            return Err(AuthError::Unknown);
        };

        let scopes = KeyScopes::parse(facts.scopes.iter().map(String::as_str));
        let (Ok(scopes), Ok(role)) = (scopes, facts.role.parse()) else {
            tracing::warn!(key = %facts.key_id, "refusing an API key: invalid scopes or role");
            return Err(AuthError::Unknown);
        };
        self.remember(hash);

        Ok(KeyHolder {
            key_id: facts.key_id,
            user_id: facts.user_id,
            username: facts.username,
            role,
            tenant_id: facts.tenant_id,
            scopes,
        })
    }

    async fn look_up(
        &self,
        hash: &[u8; 32],
        was_good: bool,
    ) -> Result<Option<store::person_keys::PersonKeyFacts>, StoreError> {
        // A flood of made-up keys must not take the connections by which people sign in.
        let _turn = if was_good {
            None
        } else {
            self.lookups.acquire().await.ok()
        };
        let mut conn = self.pool.acquire().await?;
        store::person_keys::authenticate(&mut conn, hash).await
    }

    fn remember(&self, hash: [u8; 32]) {
        let mut good = lock(&self.good);
        if good.len() >= GOOD_MAX && !good.contains(&hash) {
            good.clear();
        }
        good.insert(hash);
    }

    /// Requests without a good key of the minute that has just ended; `now`: also of the one that
    /// has not.
    pub fn take_refused(&self, now: bool) -> Vec<Refused> {
        self.refused.take(now)
    }

    /// Records how often keys were used since the last time. What cannot be written is kept for
    /// the next one.
    pub async fn flush_uses(&self) {
        let counted = std::mem::take(&mut *lock(&self.uses));
        for (key_id, times) in counted {
            let written = timeout(PATIENCE, async {
                let mut conn = self.pool.acquire().await?;
                store::person_keys::used(&mut conn, key_id, times).await
            });
            if !matches!(written.await, Ok(Ok(()))) {
                tracing::debug!("the use of an API key could not be counted");
                let mut uses = lock(&self.uses);
                let count = uses.entry(key_id).or_default();
                *count = count.saturating_add(times);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the key in a header, if it has the form of a person's key: one of a machine has not.
fn bearer_token(header: &str) -> Option<Token> {
    let (scheme, key) = header.split_once(' ')?;
    let key = Token::parse(TokenKind::ApiKey, key.trim()).ok()?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_machine_is_not_one_of_a_person() {
        let key = Token::generate(TokenKind::ApiKey).unwrap();
        let header = format!("bearer {}", key.expose());
        assert!(bearer_token(&header).is_some());
        let machine = crate::auth::mint([7; 32]).secret;
        let session = Token::generate(TokenKind::Session).unwrap();
        for bad in [
            format!("Bearer {machine}"),
            format!("Bearer {}", session.expose()),
            format!("Basic {}", key.expose()),
            format!("Bearer {}x", key.expose()),
            key.expose().to_owned(),
        ] {
            assert!(bearer_token(&bad).is_none(), "{bad}");
        }
    }
}
