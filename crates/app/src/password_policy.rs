//! What passwords must meet, in one place: the tenant's row of `users.password_policies`.

use identity::lockout::LockoutPolicy;
use identity::policy::{Contradiction, RequiredClasses};
use identity::{PasswordPolicy, Profile};
use store::passwords::PolicyRow;

use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// The policy in force, and what each setting of it contradicts.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The policy.
    pub policy: PasswordPolicy,
    /// What a standard says against it.
    pub contradictions: Vec<Contradiction>,
}

impl InForce {
    /// As commands and the API print it.
    pub fn to_json(&self) -> serde_json::Value {
        let policy = &self.policy;
        let contradictions: Vec<_> = self
            .contradictions
            .iter()
            .map(|c| {
                serde_json::json!({
                    "field": c.field.as_str(),
                    "requirements": c.requirements,
                    "statement": c.statement,
                })
            })
            .collect();
        serde_json::json!({
            "profile": policy.profile.as_str(),
            "min_length": policy.min_length,
            "mfa_min_length": policy.mfa_min_length,
            "require_uppercase": policy.classes.uppercase,
            "require_lowercase": policy.classes.lowercase,
            "require_numbers": policy.classes.numbers,
            "require_special_chars": policy.classes.special_chars,
            "max_age_days": policy.max_age_days,
            "history_count": policy.history_count,
            "min_changed_characters": policy.min_changed_characters,
            "use_blocklist": policy.use_blocklist,
            "max_failed_attempts": policy.lockout.max_failed_attempts,
            "lockout_duration_minutes": policy.lockout.lockout_duration_minutes,
            "idle_disable_days": policy.idle_disable_days,
            "contradictions": contradictions,
        })
    }
}

/// The policy in force.
pub async fn show(session: &mut Session) -> Result<InForce, AppError> {
    let row = store::passwords::policy(session.read(Resource::Policy)?, None).await?;
    let policy = from_row(&row)?;
    Ok(InForce {
        contradictions: policy.contradictions(),
        policy,
    })
}

/// Single settings to change; none stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    /// All numbers of this profile, before the others are changed.
    pub profile: Option<Profile>,
    /// Characters of a password that is the only factor.
    pub min_length: Option<u32>,
    /// Characters of a password that is used with another factor.
    pub mfa_min_length: Option<u32>,
    /// All four classes of characters, or none.
    pub require_classes: Option<bool>,
    /// Days after which a password must be changed; 0 for never.
    pub max_age_days: Option<u32>,
    /// Former passwords that are not taken again.
    pub history_count: Option<u32>,
    /// Characters that must be new.
    pub min_changed_characters: Option<u32>,
    /// Wrong attempts in a row that lock an account.
    pub max_failed_attempts: Option<u32>,
    /// For how many minutes.
    pub lockout_minutes: Option<u32>,
    /// Days without a sign-in after which an account is disabled.
    pub idle_disable_days: Option<u32>,
}

impl Changes {
    fn apply(&self, policy: PasswordPolicy) -> PasswordPolicy {
        let base = match self.profile {
            Some(Profile::Nist63b4) => PasswordPolicy::nist_63b_4(),
            Some(Profile::Document) => PasswordPolicy::document(),
            Some(Profile::Custom) | None => policy,
        };
        let classes = match self.require_classes {
            Some(true) => RequiredClasses::ALL,
            Some(false) => RequiredClasses::NONE,
            None => base.classes,
        };

        let mut changed = PasswordPolicy {
            min_length: self.min_length.unwrap_or(base.min_length),
            mfa_min_length: self.mfa_min_length.unwrap_or(base.mfa_min_length),
            classes,
            max_age_days: self.max_age_days.unwrap_or(base.max_age_days),
            history_count: self.history_count.unwrap_or(base.history_count),
            min_changed_characters: self
                .min_changed_characters
                .unwrap_or(base.min_changed_characters),
            lockout: LockoutPolicy {
                max_failed_attempts: self
                    .max_failed_attempts
                    .unwrap_or(base.lockout.max_failed_attempts),
                lockout_duration_minutes: self
                    .lockout_minutes
                    .unwrap_or(base.lockout.lockout_duration_minutes),
            },
            idle_disable_days: self.idle_disable_days.unwrap_or(base.idle_disable_days),
            ..base
        };
        changed.profile = changed.matching_profile();
        changed
    }
}

/// Changes the policy; returns the new one. Passwords that are there already are asked at their
/// next change.
pub async fn set(session: &mut Session, changes: &Changes) -> Result<InForce, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Policy)?;
    let before = from_row(&store::passwords::policy(conn, None).await?)?;
    let policy = changes.apply(before);
    policy.validate().map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        AppError::invalid(faults.join("; "))
    })?;

    store::passwords::set_policy(conn, actor, &to_row(&policy)).await?;
    Ok(InForce {
        contradictions: policy.contradictions(),
        policy,
    })
}

/// The policy that a row is. Another program may have written it, so that numbers may be any.
pub(crate) fn from_row(row: &PolicyRow) -> anyhow::Result<PasswordPolicy> {
    let number = |n: i32| u32::try_from(n).unwrap_or_default();
    let policy = PasswordPolicy {
        profile: row.profile.parse()?,
        min_length: number(row.min_length),
        mfa_min_length: number(row.mfa_min_length.min(row.min_length)),
        classes: RequiredClasses {
            uppercase: row.require_uppercase,
            lowercase: row.require_lowercase,
            numbers: row.require_numbers,
            special_chars: row.require_special_chars,
        },
        max_age_days: number(row.max_age_days),
        history_count: number(row.history_count),
        min_changed_characters: number(row.min_changed_characters),
        use_blocklist: row.use_blocklist,
        lockout: LockoutPolicy {
            max_failed_attempts: number(row.max_failed_attempts),
            lockout_duration_minutes: number(row.lockout_duration_minutes),
        },
        idle_disable_days: number(row.idle_disable_days),
    };
    Ok(PasswordPolicy {
        profile: policy.matching_profile(),
        ..policy
    })
}

fn to_row(policy: &PasswordPolicy) -> PolicyRow {
    // Each was checked against its range, which is far from this one's end.
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    PolicyRow {
        profile: policy.profile.as_str().to_owned(),
        min_length: number(policy.min_length),
        mfa_min_length: number(policy.mfa_min_length),
        require_uppercase: policy.classes.uppercase,
        require_lowercase: policy.classes.lowercase,
        require_numbers: policy.classes.numbers,
        require_special_chars: policy.classes.special_chars,
        max_age_days: number(policy.max_age_days),
        history_count: number(policy.history_count),
        min_changed_characters: number(policy.min_changed_characters),
        use_blocklist: policy.use_blocklist,
        max_failed_attempts: number(policy.lockout.max_failed_attempts),
        lockout_duration_minutes: number(policy.lockout.lockout_duration_minutes),
        idle_disable_days: number(policy.idle_disable_days),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_change_makes_a_policy_of_ones_own() {
        let changed = Changes {
            max_age_days: Some(365),
            ..Changes::default()
        }
        .apply(PasswordPolicy::nist_63b_4());
        assert_eq!(changed.profile, Profile::Custom);

        let back = Changes {
            profile: Some(Profile::Document),
            ..Changes::default()
        }
        .apply(changed);
        assert_eq!(back, PasswordPolicy::document());
    }

    #[test]
    fn a_policy_survives_its_row() {
        for policy in [PasswordPolicy::nist_63b_4(), PasswordPolicy::document()] {
            assert_eq!(from_row(&to_row(&policy)).unwrap(), policy);
        }
    }
}
