//! Hashing of passwords: Argon2id, by default with 64 MiB and three passes.
//!
//! - A password longer than [`LONGEST_PASSWORD`] is refused before anything is computed, and never
//!   cut (ASVS 6.2.8).
//! - A stored hash says itself what it costs to check. What asks for more than blueteam ever wrote
//!   is refused: a planted row must not take all memory.
//! - An unknown name is checked against a hash of the same cost that fits no password, so that the
//!   answer takes as long (ASVS 6.3.8).
//!
//! Hashing takes a tenth of a second and 64 MiB: callers bound how many run at once.

use std::fmt;

use argon2::password_hash::{Error as PhcError, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use secrecy::{ExposeSecret as _, SecretString};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::random::{RandomError, random_bytes};

/// The most bytes of a password.
pub const LONGEST_PASSWORD: usize = 1024;
/// The most bytes of a stored hash; ours have under 100.
const LONGEST_HASH: usize = 512;
/// Bytes of a salt (RFC 9106 section 3.1).
const SALT_LENGTH: usize = 16;
/// Bytes of the hash itself.
const OUTPUT_LENGTH: usize = 32;
/// How far below blueteam's own costs a hash may be to count: one of another program's.
const MEMORY_MAX_KIB: u32 = 256 * 1024;
const PASSES_MAX: u32 = 10;
const LANES_MAX: u32 = 4;

/// Why a cost is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// Too little or too much.
    #[error("the memory of a password hash must be 19456 to 262144 KiB")]
    Memory,
    /// Too few or too many.
    #[error("the passes of a password hash must be 2 to 10")]
    Passes,
    /// None or too many.
    #[error("the lanes of a password hash must be 1 to 4")]
    Lanes,
}

/// What a hash costs. Never below 19 MiB and two passes, the least of the OWASP cheat sheet and of
/// ASVS appendix C.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost(Params);

impl Cost {
    /// The least memory, in KiB.
    pub const MEMORY_MIN_KIB: u32 = 19_456;
    /// The fewest passes.
    pub const PASSES_MIN: u32 = 2;

    /// Checks a cost: memory in KiB, passes over it, lanes.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, CostError> {
        if !(Self::MEMORY_MIN_KIB..=MEMORY_MAX_KIB).contains(&memory_kib) {
            return Err(CostError::Memory);
        }
        if !(Self::PASSES_MIN..=PASSES_MAX).contains(&passes) {
            return Err(CostError::Passes);
        }
        if !(1..=LANES_MAX).contains(&lanes) {
            return Err(CostError::Lanes);
        }

        Params::new(memory_kib, passes, lanes, Some(OUTPUT_LENGTH))
            .map(Self)
            .map_err(|_| CostError::Memory)
    }

    /// Returns the memory in KiB.
    pub const fn memory_kib(&self) -> u32 {
        self.0.m_cost()
    }

    /// Returns the passes over it.
    pub const fn passes(&self) -> u32 {
        self.0.t_cost()
    }

    /// Returns the lanes.
    pub const fn lanes(&self) -> u32 {
        self.0.p_cost()
    }

    /// Returns the default: 64 MiB, three passes, one lane.
    pub fn recommended() -> Result<Self, CostError> {
        Self::new(65_536, 3, 1)
    }
}

/// Why a password was not hashed or checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Longer than [`LONGEST_PASSWORD`].
    #[error("a password has at most 1024 bytes")]
    TooLong,
    /// No salt.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// There is not enough memory now.
    #[error("there is not enough memory to check a password now")]
    Memory,
    /// The function refused.
    #[error("the password hash cannot be computed")]
    Failed,
}

/// Why a stored text is not a hash that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Not a PHC string.
    #[error("the stored password hash is damaged: reset the password")]
    Shape,
    /// Another function.
    #[error("the stored password hash is not Argon2id version 19: reset the password")]
    Algorithm,
    /// It would take more memory or time than any that blueteam writes.
    #[error("the stored password hash asks for too much memory or time: reset the password")]
    TooCostly,
}

/// A stored hash, in PHC form (`$argon2id$v=19$…`), that costs no more to check than is allowed.
#[derive(Clone)]
pub struct PasswordHash(argon2::PasswordHash);

impl PasswordHash {
    /// Checks a stored text.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        if text.len() > LONGEST_HASH {
            return Err(HashError::Shape);
        }

        let hash = argon2::PasswordHash::new(text).map_err(|_| HashError::Shape)?;
        let is_ours = hash.algorithm.as_str() == Algorithm::Argon2id.as_str();
        if !is_ours || hash.version != Some(u32::from(Version::V0x13)) {
            return Err(HashError::Algorithm);
        }
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(HashError::Shape);
        }

        let params = Params::try_from(&hash).map_err(|_| HashError::Shape)?;
        if params.m_cost() > MEMORY_MAX_KIB
            || params.t_cost() > PASSES_MAX
            || params.p_cost() > LANES_MAX
        {
            return Err(HashError::TooCostly);
        }

        Ok(Self(hash))
    }

    /// Returns the PHC string, to be stored and nowhere shown.
    pub fn to_phc(&self) -> String {
        self.0.to_string()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Hashes and checks passwords at a cost.
pub struct PasswordHasher {
    cost: Cost,
    /// Of the same cost, and of no password: its output is random.
    decoy: PasswordHash,
}

impl PasswordHasher {
    /// Creates a hasher for new passwords of this cost.
    pub fn new(cost: Cost) -> Result<Self, PasswordError> {
        let salt = random_bytes::<SALT_LENGTH>()?;
        let output = random_bytes::<OUTPUT_LENGTH>()?;
        let decoy = argon2::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: (&cost.0).try_into().map_err(|_| PasswordError::Failed)?,
            salt: Some(
                salt.as_slice()
                    .try_into()
                    .map_err(|_| PasswordError::Failed)?,
            ),
            hash: Some(
                output
                    .as_slice()
                    .try_into()
                    .map_err(|_| PasswordError::Failed)?,
            ),
        };

        Ok(Self {
            cost,
            decoy: PasswordHash(decoy),
        })
    }

    /// Returns the cost of new hashes.
    pub const fn cost(&self) -> &Cost {
        &self.cost
    }

    /// Hashes a new password with a random salt.
    pub fn hash(&self, password: &SecretString) -> Result<PasswordHash, PasswordError> {
        let password = normalized_password(password)?;
        let salt = random_bytes::<SALT_LENGTH>()?;
        self.argon2()
            .hash_password_with_salt(password.as_bytes(), salt.as_slice())
            .map(PasswordHash)
            .map_err(password_error)
    }

    /// Returns whether a password is that of a stored hash. Without a hash, because nobody has that
    /// name, it takes as long and the answer is no.
    pub fn verify(
        &self,
        password: &SecretString,
        hash: Option<&PasswordHash>,
    ) -> Result<bool, PasswordError> {
        let password = normalized_password(password)?;
        let stored = hash.unwrap_or(&self.decoy);
        match self
            .argon2()
            .verify_password(password.as_bytes(), &stored.0)
        {
            Ok(()) => Ok(hash.is_some()),
            Err(PhcError::PasswordInvalid) => Ok(false),
            Err(error) => Err(password_error(error)),
        }
    }

    /// Returns whether a password is that of one of the stored hashes of former passwords (3.5.8).
    /// Costs a check for each of them, whatever the answer.
    pub fn was_used(
        &self,
        password: &SecretString,
        history: &[PasswordHash],
    ) -> Result<bool, PasswordError> {
        let mut was_used = false;
        for hash in history {
            was_used |= self.verify(password, Some(hash))?;
        }

        Ok(was_used)
    }

    /// Returns whether a hash is to be made again at the next sign-in, because it was made at
    /// another cost.
    pub fn needs_rehash(&self, hash: &PasswordHash) -> bool {
        let Ok(params) = Params::try_from(&hash.0) else {
            return true;
        };
        let has_full_length = |hash: &argon2::PasswordHash| {
            hash.salt.as_ref().is_some_and(|s| s.len() >= SALT_LENGTH)
                && hash.hash.as_ref().is_some_and(|h| h.len() >= OUTPUT_LENGTH)
        };

        params.m_cost() != self.cost.memory_kib()
            || params.t_cost() != self.cost.passes()
            || params.p_cost() != self.cost.lanes()
            || !has_full_length(&hash.0)
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.cost.0.clone())
    }
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHasher")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// Returns the password as it is hashed: in normalization form C (RFC 8265 section 4.2), because
/// one keyboard sends `ä` and another `a` with two dots.
pub(crate) fn normalized_password(
    password: &SecretString,
) -> Result<Zeroizing<String>, PasswordError> {
    let password = password.expose_secret();
    if password.len() > LONGEST_PASSWORD {
        return Err(PasswordError::TooLong);
    }

    // Large enough for every normalized form, so that growing leaves no copies behind.
    let mut normalized = Zeroizing::new(String::with_capacity(password.len() * 3));
    normalized.extend(password.nfc());
    Ok(normalized)
}

fn password_error(error: PhcError) -> PasswordError {
    match error {
        PhcError::OutOfMemory => PasswordError::Memory,
        _ => PasswordError::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher() -> PasswordHasher {
        PasswordHasher::new(Cost::new(Cost::MEMORY_MIN_KIB, Cost::PASSES_MIN, 1).unwrap()).unwrap()
    }

    fn secret(text: &str) -> SecretString {
        text.into()
    }

    /// A hash of `password` (RFC 9106's reference program) as another program may have written it.
    fn foreign(cost: &str) -> String {
        format!(
            "$argon2id$v=19${cost}$c29tZXNhbHRzb21lc2FsdA$\
             7rAH1BAXZ3dyOlS/bHX0hB5hTSbQTiuvQ2XAOgQYmLQ"
        )
    }

    #[test]
    fn a_password_is_verified_and_another_is_not() {
        let hasher = hasher();
        let hash = hasher.hash(&secret("correct horse")).unwrap();
        let hash = PasswordHash::parse(&hash.to_phc()).unwrap();

        assert!(hash.to_phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(
            hasher
                .verify(&secret("correct horse"), Some(&hash))
                .unwrap()
        );
        assert!(
            !hasher
                .verify(&secret("correct horse "), Some(&hash))
                .unwrap()
        );
        assert!(
            !hasher
                .verify(&secret("Correct horse"), Some(&hash))
                .unwrap()
        );
        assert!(!hasher.needs_rehash(&hash));
        assert_ne!(
            hasher.hash(&secret("correct horse")).unwrap().to_phc(),
            hash.to_phc()
        );
    }

    #[test]
    fn nobody_signs_in_under_an_unknown_name() {
        for password in ["", "x", "correct horse"] {
            assert!(!hasher().verify(&secret(password), None).unwrap());
        }
    }

    #[test]
    fn the_decoy_costs_what_a_hash_costs() {
        let hasher = hasher();
        let hash = hasher.hash(&secret("x")).unwrap();
        assert!(!hasher.needs_rehash(&hasher.decoy));
        assert_eq!(hash.to_phc().len(), hasher.decoy.to_phc().len());
        PasswordHash::parse(&hasher.decoy.to_phc()).unwrap();
    }

    #[test]
    fn the_same_text_of_two_keyboards_is_the_same_password() {
        let hasher = hasher();
        let hash = hasher.hash(&secret("p\u{e4}ssw\u{f6}rt")).unwrap();
        assert!(
            hasher
                .verify(&secret("pa\u{308}sswo\u{308}rt"), Some(&hash))
                .unwrap()
        );
        assert!(!hasher.verify(&secret("passwort"), Some(&hash)).unwrap());
    }

    #[test]
    fn long_passwords_count_whole_or_not_at_all() {
        let hasher = hasher();
        let longest = "x".repeat(LONGEST_PASSWORD);
        let hash = hasher.hash(&secret(&longest)).unwrap();
        let other = format!("{}y", &longest[1..]);
        assert!(!hasher.verify(&secret(&other), Some(&hash)).unwrap());

        let too_long = secret(&"x".repeat(LONGEST_PASSWORD + 1));
        assert_eq!(
            hasher.verify(&too_long, Some(&hash)),
            Err(PasswordError::TooLong)
        );
        assert_eq!(hasher.verify(&too_long, None), Err(PasswordError::TooLong));
        assert_eq!(hasher.hash(&too_long).unwrap_err(), PasswordError::TooLong);
    }

    #[test]
    fn former_passwords_are_recognized() {
        let hasher = hasher();
        let history: Vec<PasswordHash> = ["one", "two"]
            .iter()
            .map(|former| hasher.hash(&secret(former)).unwrap())
            .collect();
        assert!(hasher.was_used(&secret("one"), &history).unwrap());
        assert!(!hasher.was_used(&secret("three"), &history).unwrap());
    }

    #[test]
    fn hashes_that_would_exhaust_the_machine_are_refused() {
        for cost in [
            "m=4194304,t=3,p=1",
            "m=262145,t=3,p=1",
            "m=65536,t=4294967295,p=1",
            "m=65536,t=11,p=1",
            "m=65536,t=3,p=5",
        ] {
            let parsed = PasswordHash::parse(&foreign(cost));
            assert_eq!(parsed.unwrap_err(), HashError::TooCostly, "{cost}");
        }
        assert!(PasswordHash::parse(&foreign("m=262144,t=10,p=4")).is_ok());
    }

    #[test]
    fn other_functions_and_damaged_hashes_are_refused() {
        let good = foreign("m=65536,t=3,p=1");
        for (text, error) in [
            (good.replace("argon2id", "argon2i"), HashError::Algorithm),
            (good.replace("argon2id", "md5"), HashError::Algorithm),
            (good.replace("v=19", "v=16"), HashError::Algorithm),
            (good.replace("v=19$", ""), HashError::Algorithm),
            (good.replace("m=65536,", "m=0,"), HashError::Shape),
            (good.replace("m=65536,", "m=-1,"), HashError::Shape),
            (
                "$argon2id$v=19$m=65536,t=3,p=1".to_owned(),
                HashError::Shape,
            ),
            (String::new(), HashError::Shape),
            ("x".repeat(1 << 20), HashError::Shape),
            (format!("{good}\n"), HashError::Shape),
        ] {
            assert_eq!(PasswordHash::parse(&text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn weaker_hashes_are_made_again() {
        let hash = PasswordHash::parse(&foreign("m=4096,t=3,p=1")).unwrap();
        assert!(hasher().needs_rehash(&hash));
        let short = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$3DxGGZ0Oz4yRDWFnrBAF2g";
        assert!(hasher().needs_rehash(&PasswordHash::parse(short).unwrap()));
    }

    #[test]
    fn costs_below_the_least_are_refused() {
        assert_eq!(Cost::new(19_455, 2, 1), Err(CostError::Memory));
        assert_eq!(Cost::new(4_194_304, 3, 1), Err(CostError::Memory));
        assert_eq!(Cost::new(65_536, 1, 1), Err(CostError::Passes));
        assert_eq!(Cost::new(65_536, 3, 0), Err(CostError::Lanes));
        let default = Cost::recommended().unwrap();
        assert_eq!(
            (default.memory_kib(), default.passes(), default.lanes()),
            (65_536, 3, 1)
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let hasher = hasher();
        let hash = hasher.hash(&secret("correct horse")).unwrap();
        assert_eq!(format!("{hash:?}"), "PasswordHash(…)");
        assert!(!format!("{hasher:?}").contains("argon2id"));
    }

    proptest::proptest! {
        #[test]
        fn any_stored_text_is_read_without_panic(text in "(\\$argon2id\\$v=19\\$)?.{0,90}") {
            let _ = PasswordHash::parse(&text);
        }
    }
}
