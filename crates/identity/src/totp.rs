//! One-time codes of authenticator apps (TOTP, RFC 6238): SHA-1, 6 digits, steps of 30 seconds, as
//! every app has them.
//!
//! A code counts during its own step and the next: people type slowly. ASVS 6.5.5 caps the life of
//! a code at 30 seconds, so this is a documented deviation by one step; codes of the future never
//! count. Each step counts once (ASVS 6.5.1), and no step before one that was used.

use std::fmt;

use model::Timestamp;
use secrecy::SecretString;
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::random::{RandomError, random_bytes};

/// Bytes of a secret: 160 bits, as RFC 4226 section 4 recommends.
pub const SECRET_LENGTH: usize = 20;
/// Seconds of a step.
const STEP_SECS: u64 = 30;
/// Digits of a code.
const DIGITS: usize = 6;
/// The most bytes that are looked at: six digits and some blanks.
const LONGEST_INPUT: usize = 16;

/// Why a code does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TotpError {
    /// It has not six digits.
    #[error("the code has 6 digits")]
    Shape,
    /// It is not the code of this time.
    #[error("the code is wrong or has expired: enter the one that is shown now")]
    Wrong,
    /// It is the code of a step that was used already.
    #[error("this code was used already: wait for the next one")]
    Used,
}

/// A step of 30 seconds since 1970. The newest one that was used is stored with the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TotpStep(u64);

impl TotpStep {
    /// Takes a stored step; `None` for a number that no step has.
    pub fn from_i64(step: i64) -> Option<Self> {
        u64::try_from(step).ok().map(Self)
    }

    /// Returns the step as it is stored.
    pub const fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// Returns the step at a time; that of 1970 for times before.
    fn at(now: Timestamp) -> Self {
        Self(u64::try_from(now.as_secs()).unwrap_or(0) / STEP_SECS)
    }

    fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

/// The secret that an authenticator app shares with blueteam. Stored encrypted, with a key that is
/// not in the database (ASVS 13.3.1).
pub struct TotpSecret(Zeroizing<[u8; SECRET_LENGTH]>);

impl TotpSecret {
    /// Makes a secret of 160 random bits.
    pub fn generate() -> Result<Self, RandomError> {
        random_bytes().map(Self)
    }

    /// Takes a stored secret.
    pub fn from_bytes(bytes: [u8; SECRET_LENGTH]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes, to be encrypted and stored.
    pub fn expose(&self) -> &[u8; SECRET_LENGTH] {
        &self.0
    }

    /// Returns the secret in base 32, for those who type it into the app.
    pub fn to_base32(&self) -> SecretString {
        Secret::new_stack(*self.0).to_base32().into()
    }

    /// Returns the `otpauth` URI that an app reads from a QR code: of `issuer`, such as
    /// `blueteam (Example Corp)`, for `account`, such as the username.
    pub fn to_uri(&self, issuer: &str, account: &str) -> SecretString {
        let secret = Zeroizing::new(Secret::new_stack(*self.0).to_base32());
        let (issuer, account) = (percent_encoded(issuer), percent_encoded(account));
        format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1\
             &digits={DIGITS}&period={STEP_SECS}",
            secret.as_str()
        )
        .into()
    }

    /// Returns the code that an app shows at `now`: for people who are made up.
    pub fn code_at(&self, now: Timestamp) -> SecretString {
        let step = TotpStep::at(now);
        self.totp().generate(step.0 * STEP_SECS).to_string().into()
    }

    /// Returns the step that `code` belongs to: that of `now` or the one before, if it is newer
    /// than `last_used`. The caller stores the step as the last one used, in the transaction of the
    /// sign-in. Blanks in the code are ignored, because apps show them.
    pub fn verify(
        &self,
        code: &str,
        now: Timestamp,
        last_used: Option<TotpStep>,
    ) -> Result<TotpStep, TotpError> {
        let code = read_code(code)?;
        let current = TotpStep::at(now);
        let totp = self.totp();

        let mut matched = None;
        // The older step first, so that a code of both is the newer one's and never counts again.
        for step in current.previous().into_iter().chain([current]) {
            if totp.check(&code, step.0 * STEP_SECS).is_some() {
                matched = Some(step);
            }
        }

        match matched {
            None => Err(TotpError::Wrong),
            Some(step) if last_used.is_some_and(|last| step <= last) => Err(TotpError::Used),
            Some(step) => Ok(step),
        }
    }

    fn totp(&self) -> Totp {
        // Without tolerance of its own: it would take codes of the future too. All values are
        // constants, so that there is nothing to check.
        Builder::new()
            .with_digits(DIGITS as u8)
            .with_skew(0)
            .with_step_duration(STEP_SECS)
            .with_secret(Secret::new_stack(*self.0))
            .build_noncompliant()
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

/// Reads a code as a person types it.
fn read_code(text: &str) -> Result<Zeroizing<String>, TotpError> {
    if text.len() > LONGEST_INPUT {
        return Err(TotpError::Shape);
    }

    let mut code = Zeroizing::new(String::with_capacity(LONGEST_INPUT));
    code.extend(text.chars().filter(|c| *c != ' '));
    if code.len() == DIGITS && code.bytes().all(|b| b.is_ascii_digit()) {
        Ok(code)
    } else {
        Err(TotpError::Shape)
    }
}

/// Returns a text with everything encoded that RFC 3986 does not call unreserved: a colon would end
/// the issuer, an ampersand would begin a parameter.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit = |n: u8| char::from(b"0123456789ABCDEF"[usize::from(n & 15)]);
            out.extend(['%', digit(byte >> 4), digit(byte)]);
        }
    }

    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    /// The secret of the test vectors in RFC 4226 and 6238.
    const RFC: &[u8; SECRET_LENGTH] = b"12345678901234567890";

    fn secret() -> TotpSecret {
        TotpSecret::from_bytes(*RFC)
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    /// The codes of counters 0 to 9 (RFC 4226 appendix D).
    const HOTP: [&str; 10] = [
        "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
        "520489",
    ];

    #[test]
    fn codes_are_those_of_rfc_4226() {
        for (counter, code) in HOTP.iter().enumerate() {
            let step = secret().verify(code, at(counter as i64 * 30), None);
            assert_eq!(step.unwrap().as_i64(), counter as i64);
        }
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // The last six of the eight digits in appendix B.
        for (secs, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step = secret().verify(code, at(secs), None).unwrap();
            assert_eq!(step.as_i64(), secs / 30);
        }
    }

    #[test]
    fn a_code_counts_in_its_step_and_the_next_only() {
        let verify = |secs| secret().verify(HOTP[2], at(secs), None);
        assert_eq!(verify(59), Err(TotpError::Wrong), "not before its step");
        assert!(verify(60).is_ok());
        assert!(verify(119).is_ok());
        assert_eq!(verify(120), Err(TotpError::Wrong));
    }

    #[test]
    fn a_step_counts_once_and_none_before_it() {
        let used = secret().verify(HOTP[3], at(95), None).unwrap();
        let again = secret().verify(HOTP[3], at(96), Some(used));
        assert_eq!(again, Err(TotpError::Used));

        // Someone who saw the code before that one does not get in with it either.
        let older = secret().verify(HOTP[2], at(96), Some(used));
        assert_eq!(older, Err(TotpError::Used));
        assert!(secret().verify(HOTP[4], at(121), Some(used)).is_ok());
    }

    #[test]
    fn blanks_are_passed_over_and_nothing_else() {
        assert!(secret().verify(" 755 224 ", at(0), None).is_ok());
        for bad in [
            "",
            "75522",
            "7552240",
            "755-224",
            "+55224",
            "７55224",
            "755224\n",
            "0x5522",
            "755224\0",
            &" ".repeat(1 << 20),
        ] {
            assert_eq!(
                secret().verify(bad, at(0), None),
                Err(TotpError::Shape),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn times_before_1970_do_not_panic() {
        let _ = secret().verify(HOTP[0], at(-1), None);
        let _ = secret().verify(HOTP[0], Timestamp::MIN, None);
        let _ = secret().verify(HOTP[0], Timestamp::MAX, None);
        assert_eq!(TotpStep::from_i64(-1), None);
    }

    #[test]
    fn the_uri_cannot_be_broken_by_names() {
        let uri = secret().to_uri("blueteam (Ex: 1)", "a&secret=x/ä@b");
        assert_eq!(
            uri.expose_secret(),
            "otpauth://totp/blueteam%20%28Ex%3A%201%29:a%26secret%3Dx%2F%C3%A4%40b\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=blueteam%20%28Ex%3A%201%29\
             &algorithm=SHA1&digits=6&period=30"
        );
    }

    #[test]
    fn generated_secrets_differ_and_do_not_show() {
        let (a, b) = (
            TotpSecret::generate().unwrap(),
            TotpSecret::generate().unwrap(),
        );
        assert_ne!(a.expose(), b.expose());
        assert_eq!(a.to_base32().expose_secret().len(), 32);
        assert_eq!(format!("{a:?}"), "TotpSecret(…)");
    }

    proptest! {
        #[test]
        fn no_code_counts_twice(
            bytes in any::<[u8; 20]>(),
            secs in proptest::collection::vec(0_i64..300, 1..20)
        ) {
            let secret = TotpSecret::from_bytes(bytes);
            let (mut last, mut now) = (None, 0);
            let mut used = Vec::new();
            for advance in secs {
                now += advance;
                let code = secret.totp().generate(now as u64).to_string();
                if let Ok(step) = secret.verify(&code, at(now), last) {
                    prop_assert!(!used.contains(&step));
                    prop_assert!(Some(step) > last);
                    used.push(step);
                    last = Some(step);
                }
            }
        }

        #[test]
        fn any_code_is_read_without_panic(code in ".{0,20}", secs in any::<i32>()) {
            let _ = secret().verify(&code, at(i64::from(secs)), None);
        }
    }
}
