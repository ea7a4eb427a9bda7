//! Password policies: the columns of `users.password_policies`, the profiles that fill them, and
//! what each setting contradicts.
//!
//! 800-171 wants a defined complexity and change of characters (3.5.7); SP 800-63B-4 and ASVS 5
//! forbid rules of composition and rotation. Both are met by a profile with long passwords and a
//! blocklist. Where a customer needs the older rules, they are one setting away, and the
//! contradiction is printed beside it.

mod new_password;
mod strength;

use std::fmt;
use std::str::FromStr;

use model::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::lockout::LockoutPolicy;

pub use new_password::{Candidate, Weakness};
pub use strength::{CharacterClass, changed_characters, is_strong_enough};

/// Where the numbers of a policy come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Profile {
    /// SP 800-63B-4: length and blocklist, no composition, no rotation.
    #[serde(rename = "nist-63b-4")]
    Nist63b4,
    /// The policy that the SecureGuard document sets: four classes, 90 days.
    #[serde(rename = "document")]
    Document,
    /// Any other numbers.
    #[serde(rename = "custom")]
    Custom,
}

/// The text is not the name of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password profile is `nist-63b-4`, `document` or `custom`")]
pub struct ProfileError;

impl Profile {
    /// All profiles, the recommended one first.
    pub const ALL: [Self; 3] = [Self::Nist63b4, Self::Document, Self::Custom];

    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nist63b4 => "nist-63b-4",
            Self::Document => "document",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let named = |profile: &Self| profile.as_str() == text;
        Self::ALL.into_iter().find(named).ok_or(ProfileError)
    }
}

/// Classes of characters that a password must hold.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent columns of users.password_policies"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequiredClasses {
    /// `A` to `Z`.
    pub uppercase: bool,
    /// `a` to `z`.
    pub lowercase: bool,
    /// `0` to `9`.
    pub numbers: bool,
    /// Anything else, also letters of other alphabets.
    pub special_chars: bool,
}

impl RequiredClasses {
    /// Characters of any kind.
    pub const NONE: Self = Self {
        uppercase: false,
        lowercase: false,
        numbers: false,
        special_chars: false,
    };
    /// At least one of each kind.
    pub const ALL: Self = Self {
        uppercase: true,
        lowercase: true,
        numbers: true,
        special_chars: true,
    };

    /// Returns the classes that are required.
    pub fn iter(self) -> impl Iterator<Item = CharacterClass> {
        [
            (self.uppercase, CharacterClass::Uppercase),
            (self.lowercase, CharacterClass::Lowercase),
            (self.numbers, CharacterClass::Number),
            (self.special_chars, CharacterClass::Special),
        ]
        .into_iter()
        .filter_map(|(is_required, class)| is_required.then_some(class))
    }
}

/// A password policy of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Where its numbers come from.
    pub profile: Profile,
    /// Characters of a password that is the only factor.
    pub min_length: u32,
    /// Characters of a password that is used with another factor.
    pub mfa_min_length: u32,
    /// Classes of characters that are required.
    pub classes: RequiredClasses,
    /// Days after which a password must be changed; 0 for never.
    pub max_age_days: u32,
    /// Former passwords that are not taken again (3.5.8).
    pub history_count: u32,
    /// Characters of a new password that are not in the old one (3.5.7).
    pub min_changed_characters: u32,
    /// Whether common passwords, patterns and names are refused.
    pub use_blocklist: bool,
    /// When an account is locked.
    pub lockout: LockoutPolicy,
    /// Days without a sign-in after which an account is disabled (3.5.6).
    pub idle_disable_days: u32,
}

impl PasswordPolicy {
    /// Returns the policy of SP 800-63B-4: 15 characters, 12 with another factor, no composition,
    /// no rotation.
    pub const fn nist_63b_4() -> Self {
        Self {
            profile: Profile::Nist63b4,
            min_length: 15,
            mfa_min_length: 12,
            classes: RequiredClasses::NONE,
            max_age_days: 0,
            history_count: 5,
            min_changed_characters: 4,
            use_blocklist: true,
            lockout: LockoutPolicy {
                max_failed_attempts: 5,
                lockout_duration_minutes: 30,
            },
            idle_disable_days: 90,
        }
    }

    /// Returns the policy of the SecureGuard document: 12 characters of four classes, 90 days.
    pub const fn document() -> Self {
        Self {
            profile: Profile::Document,
            min_length: 12,
            mfa_min_length: 12,
            classes: RequiredClasses::ALL,
            max_age_days: 90,
            ..Self::nist_63b_4()
        }
    }

    /// Returns the profile that sets exactly these numbers, whatever the policy calls itself: the
    /// documented statements change single columns.
    pub fn matching_profile(&self) -> Profile {
        [Self::nist_63b_4(), Self::document()]
            .into_iter()
            .find(|known| {
                Self {
                    profile: known.profile,
                    ..*self
                } == *known
            })
            .map_or(Profile::Custom, |known| known.profile)
    }

    /// Returns the characters that a password must have.
    pub const fn required_length(&self, has_mfa: bool) -> u32 {
        if has_mfa {
            self.mfa_min_length
        } else {
            self.min_length
        }
    }

    /// Returns when a password that was set at `changed` must be changed; `None` for never.
    pub fn expires_at(&self, changed: Timestamp) -> Option<Timestamp> {
        (self.max_age_days > 0).then(|| changed.plus(Span::days(i64::from(self.max_age_days))))
    }

    /// Returns whether an account that was last used at `last_used` is to be disabled (3.5.6).
    pub fn is_idle(&self, last_used: Timestamp, now: Timestamp) -> bool {
        let days = i64::from(self.idle_disable_days);
        days > 0 && now.since(last_used) >= Span::days(days)
    }

    /// Checks each field against its range.
    pub fn validate(&self) -> Result<(), Vec<PolicyFault>> {
        let ranges = [
            (Field::MinLength, self.min_length, 8, 128),
            (Field::MfaMinLength, self.mfa_min_length, 8, 128),
            (Field::MaxAgeDays, self.max_age_days, 0, 3650),
            (Field::HistoryCount, self.history_count, 0, 24),
            (
                Field::MinChangedCharacters,
                self.min_changed_characters,
                0,
                16,
            ),
            (
                Field::MaxFailedAttempts,
                self.lockout.max_failed_attempts,
                3,
                100,
            ),
            (
                Field::LockoutDurationMinutes,
                self.lockout.lockout_duration_minutes,
                1,
                1440,
            ),
            (Field::IdleDisableDays, self.idle_disable_days, 1, 365),
        ];

        let mut faults: Vec<PolicyFault> = ranges
            .into_iter()
            .filter(|(_, value, min, max)| !(min..=max).contains(&value))
            .map(|(field, value, min, max)| PolicyFault::Range {
                field,
                value,
                min,
                max,
            })
            .collect();
        if self.mfa_min_length > self.min_length {
            faults.push(PolicyFault::MfaLonger);
        }

        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    /// Returns what its settings contradict, to be shown beside them and in the system security
    /// plan. Nothing of it makes the policy invalid.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let rules = [
            (self.min_length < 15, SHORT),
            (self.classes != RequiredClasses::NONE, COMPOSITION),
            (self.max_age_days > 0, ROTATION),
            (self.history_count == 0, REUSE),
            (self.min_changed_characters == 0, UNCHANGED),
            (!self.use_blocklist, NO_BLOCKLIST),
        ];

        rules
            .into_iter()
            .filter_map(|(applies, contradiction)| applies.then_some(contradiction))
            .collect()
    }
}

/// A setting of a policy, by its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `min_length`
    MinLength,
    /// `mfa_min_length`
    MfaMinLength,
    /// `require_uppercase` and its like
    Classes,
    /// `max_age_days`
    MaxAgeDays,
    /// `history_count`
    HistoryCount,
    /// `min_changed_characters`
    MinChangedCharacters,
    /// `use_blocklist`
    UseBlocklist,
    /// `max_failed_attempts`
    MaxFailedAttempts,
    /// `lockout_duration_minutes`
    LockoutDurationMinutes,
    /// `idle_disable_days`
    IdleDisableDays,
}

impl Field {
    /// Returns the name of the column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MinLength => "min_length",
            Self::MfaMinLength => "mfa_min_length",
            Self::Classes => "require_*",
            Self::MaxAgeDays => "max_age_days",
            Self::HistoryCount => "history_count",
            Self::MinChangedCharacters => "min_changed_characters",
            Self::UseBlocklist => "use_blocklist",
            Self::MaxFailedAttempts => "max_failed_attempts",
            Self::LockoutDurationMinutes => "lockout_duration_minutes",
            Self::IdleDisableDays => "idle_disable_days",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a policy is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// A number is out of its range.
    #[error("`{field}` must be {min} to {max}, not {value}")]
    Range {
        /// The setting.
        field: Field,
        /// Its number.
        value: u32,
        /// The least that is allowed.
        min: u32,
        /// The most that is allowed.
        max: u32,
    },
    /// Another factor would make passwords harder.
    #[error("`mfa_min_length` must not exceed `min_length`")]
    MfaLonger,
}

/// What a setting contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The setting.
    pub field: Field,
    /// The requirements, as their sources number them.
    pub requirements: &'static str,
    /// What they say, in a sentence.
    pub statement: &'static str,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}`: {} ({})",
            self.field, self.statement, self.requirements
        )
    }
}

const SHORT: Contradiction = Contradiction {
    field: Field::MinLength,
    requirements: "SP 800-63B-4 3.1.1.2; ASVS 6.2.1 recommends it",
    statement: "a password that is the only factor has at least 15 characters",
};
const COMPOSITION: Contradiction = Contradiction {
    field: Field::Classes,
    requirements: "SP 800-63B-4 3.1.1.2, ASVS 6.2.5",
    statement: "no classes of characters are required",
};
const ROTATION: Contradiction = Contradiction {
    field: Field::MaxAgeDays,
    requirements: "SP 800-63B-4 3.1.1.2, ASVS 6.2.10",
    statement: "passwords are changed on evidence of compromise, not by the calendar",
};
const REUSE: Contradiction = Contradiction {
    field: Field::HistoryCount,
    requirements: "SP 800-171 3.5.8",
    statement: "former passwords are not taken again for a number of generations",
};
const UNCHANGED: Contradiction = Contradiction {
    field: Field::MinChangedCharacters,
    requirements: "SP 800-171 3.5.7",
    statement: "a new password has a least number of changed characters",
};
const NO_BLOCKLIST: Contradiction = Contradiction {
    field: Field::UseBlocklist,
    requirements: "SP 800-63B-4 3.1.1.2, ASVS 6.2.4, 6.2.11 and 6.2.12",
    statement: "new passwords are compared with common, expected and breached ones",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_valid_and_match_themselves() {
        for policy in [PasswordPolicy::nist_63b_4(), PasswordPolicy::document()] {
            assert_eq!(policy.validate(), Ok(()));
            assert_eq!(policy.matching_profile(), policy.profile);
        }

        let changed = PasswordPolicy {
            min_length: 14,
            ..PasswordPolicy::document()
        };
        assert_eq!(changed.matching_profile(), Profile::Custom);
        let renamed = PasswordPolicy {
            profile: Profile::Custom,
            ..PasswordPolicy::document()
        };
        assert_eq!(renamed.matching_profile(), Profile::Document);
    }

    #[test]
    fn profiles_have_text_forms() {
        for profile in Profile::ALL {
            assert_eq!(profile.as_str().parse(), Ok(profile));
            let json = serde_json::to_string(&profile).unwrap();
            assert_eq!(json, format!("\"{profile}\""));
        }
        assert_eq!("NIST".parse::<Profile>(), Err(ProfileError));
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let policy = PasswordPolicy {
            min_length: 7,
            mfa_min_length: 129,
            max_age_days: u32::MAX,
            history_count: 25,
            min_changed_characters: 17,
            lockout: LockoutPolicy {
                max_failed_attempts: 2,
                lockout_duration_minutes: 0,
            },
            idle_disable_days: 0,
            ..PasswordPolicy::document()
        };
        let faults: Vec<String> = policy
            .validate()
            .unwrap_err()
            .iter()
            .map(PolicyFault::to_string)
            .collect();

        assert_eq!(
            faults,
            [
                "`min_length` must be 8 to 128, not 7",
                "`mfa_min_length` must be 8 to 128, not 129",
                "`max_age_days` must be 0 to 3650, not 4294967295",
                "`history_count` must be 0 to 24, not 25",
                "`min_changed_characters` must be 0 to 16, not 17",
                "`max_failed_attempts` must be 3 to 100, not 2",
                "`lockout_duration_minutes` must be 1 to 1440, not 0",
                "`idle_disable_days` must be 1 to 365, not 0",
                "`mfa_min_length` must not exceed `min_length`",
            ]
        );
    }

    #[test]
    fn contradictions_stand_beside_their_settings() {
        assert_eq!(PasswordPolicy::nist_63b_4().contradictions(), []);

        let document: Vec<String> = PasswordPolicy::document()
            .contradictions()
            .iter()
            .map(Contradiction::to_string)
            .collect();
        assert_eq!(
            document,
            [
                "`min_length`: a password that is the only factor has at least 15 characters \
                 (SP 800-63B-4 3.1.1.2; ASVS 6.2.1 recommends it)",
                "`require_*`: no classes of characters are required \
                 (SP 800-63B-4 3.1.1.2, ASVS 6.2.5)",
                "`max_age_days`: passwords are changed on evidence of compromise, not by the \
                 calendar (SP 800-63B-4 3.1.1.2, ASVS 6.2.10)",
            ]
        );

        let lax = PasswordPolicy {
            history_count: 0,
            min_changed_characters: 0,
            use_blocklist: false,
            ..PasswordPolicy::nist_63b_4()
        };
        let fields: Vec<Field> = lax.contradictions().iter().map(|c| c.field).collect();
        assert_eq!(
            fields,
            [
                Field::HistoryCount,
                Field::MinChangedCharacters,
                Field::UseBlocklist
            ]
        );
    }

    #[test]
    fn ages_are_counted_in_days() {
        let changed = Timestamp::from_secs(0);
        assert_eq!(PasswordPolicy::nist_63b_4().expires_at(changed), None);
        let document = PasswordPolicy::document();
        assert_eq!(
            document.expires_at(changed),
            Some(changed.plus(Span::days(90)))
        );

        let almost = changed.plus(Span::days(90)).minus(Span::secs(1));
        assert!(!document.is_idle(changed, almost));
        assert!(document.is_idle(changed, changed.plus(Span::days(90))));
        assert!(!document.is_idle(almost, changed), "the clock went back");
    }
}
