//! The permissions in force: the built-in table and an administrator's rows, within the safe core.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::table::{Actions, BUILT_IN, possible};
use super::{Action, Resource, Role};

/// Whether a row adds or takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The role may do it.
    Allow,
    /// The role may not, whatever other rows say.
    Deny,
}

/// A row that an administrator adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The role.
    pub role: Role,
    /// What it does.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// Whether it may.
    pub effect: Effect,
}

/// A sentence of the safe core, which refuses a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SafeCore {
    /// Recorded events and the audit log stay as they are (3.3.8).
    #[error("the record cannot be changed: events and the audit log are read and exported only")]
    Record,
    /// An assessor who writes would assess their own work.
    #[error("an assessor writes nothing but assessor notes")]
    Assessor,
    /// Someone must be able to put things right.
    #[error("a system_admin always keeps users, sessions, permissions, policy and the audit log")]
    LastResort,
    /// Who changes these gives themselves everything else.
    #[error("only a system_admin changes permissions, policy, tenants and the system")]
    Power,
    /// Who gives out keys or accounts, or runs commands on hosts, acts as others.
    #[error("only an admin or a system_admin changes users, keys and sessions, or sends commands")]
    Access,
    /// They are the assessors' own.
    #[error("only an assessor writes assessor notes")]
    Notes,
    /// There is no such thing to be done.
    #[error("nothing of this kind can be done to this resource")]
    Impossible,
}

/// Which role may do what.
#[derive(Clone, Debug)]
pub struct Permissions {
    allowed: HashMap<(Role, Resource), Actions>,
}

impl Permissions {
    /// Returns the built-in permissions.
    pub fn built_in() -> Self {
        let allowed = BUILT_IN
            .iter()
            .flat_map(|row| {
                let of = |role: &Role| ((*role, row.resource), row.of(*role));
                Role::ALL.iter().map(of)
            })
            .collect();
        Self { allowed }
    }

    /// Returns the built-in permissions with an administrator's rows. What one row allows and
    /// another denies is denied, in any order.
    ///
    /// # Errors
    ///
    /// The first row that the safe core refuses, with its sentence; then none of them counts.
    pub fn with_rules(rules: &[Rule]) -> Result<Self, (Rule, SafeCore)> {
        let mut permissions = Self::built_in();
        for effect in [Effect::Allow, Effect::Deny] {
            for rule in rules.iter().filter(|rule| rule.effect == effect) {
                rule.check().map_err(|sentence| (*rule, sentence))?;
                permissions.apply(*rule);
            }
        }

        Ok(permissions)
    }

    /// Returns whether a role may do something. What no row says is refused.
    pub fn allows(&self, role: Role, action: Action, resource: Resource) -> bool {
        self.allowed
            .get(&(role, resource))
            .is_some_and(|actions| actions.has(action))
    }

    fn apply(&mut self, rule: Rule) {
        let allowed = self
            .allowed
            .entry((rule.role, rule.resource))
            .or_insert(Actions::NONE);
        let action = Actions::of(rule.action);
        *allowed = match rule.effect {
            Effect::Allow => allowed.with(action),
            Effect::Deny => allowed.without(action),
        };
    }
}

impl Rule {
    /// Checks a row against the safe core.
    pub fn check(self) -> Result<(), SafeCore> {
        match self.effect {
            Effect::Allow => self.check_allowed(),
            Effect::Deny => self.check_denied(),
        }
    }

    fn check_allowed(self) -> Result<(), SafeCore> {
        let is_reading = matches!(self.action, Action::Read | Action::Export);
        if !is_reading && matches!(self.resource, Resource::Events | Resource::AuditLog) {
            return Err(SafeCore::Record);
        }
        if !possible(self.resource).has(self.action) {
            return Err(SafeCore::Impossible);
        }
        if is_reading {
            return Ok(());
        }

        match (self.role, self.resource) {
            (Role::Assessor, Resource::AssessorNotes) => Ok(()),
            (Role::Assessor, _) => Err(SafeCore::Assessor),
            (_, Resource::AssessorNotes) => Err(SafeCore::Notes),
            (Role::SystemAdmin, _) => Ok(()),
            (
                _,
                Resource::Permissions | Resource::Policy | Resource::Tenants | Resource::System,
            ) => Err(SafeCore::Power),
            (
                Role::User | Role::Manager,
                Resource::Users | Resource::Keys | Resource::Sessions | Resource::Commands,
            ) => Err(SafeCore::Access),
            _ => Ok(()),
        }
    }

    fn check_denied(self) -> Result<(), SafeCore> {
        let is_kept = matches!(
            self.resource,
            Resource::Users
                | Resource::Sessions
                | Resource::Permissions
                | Resource::Policy
                | Resource::AuditLog
        );
        if self.role == Role::SystemAdmin && is_kept {
            return Err(SafeCore::LastResort);
        }

        Ok(())
    }
}

/// A change of a person's role: giving one, taking one away, disabling or enabling the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// The role of who changes it.
    pub actor: Role,
    /// Whether they change their own.
    pub is_own: bool,
    /// The role before; `None` for a new account.
    pub from: Option<Role>,
    /// The role after; `None` if the account is disabled or removed.
    pub to: Option<Role>,
    /// Whether it is the only active system_admin.
    pub is_last_system_admin: bool,
}

/// Why a role is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleChangeError {
    /// Nobody would be left to put things right.
    #[error("the last system_admin cannot be disabled or given another role")]
    LastSystemAdmin,
    /// Nobody raises themselves, and nobody locks themselves out by mistake (3.1.4).
    #[error("nobody changes their own role: ask another administrator")]
    Own,
    /// Only who has the role gives it or takes it away.
    #[error("only a system_admin changes who is a system_admin")]
    SystemAdmin,
    /// The role does not manage people.
    #[error("only an admin or a system_admin changes roles")]
    NotAllowed,
}

/// Returns whether a person may unlock another's account, reset its factors, or end its sessions:
/// who resets an account can become its owner, so nobody does who could not give its role.
pub const fn may_manage(actor: Role, owner: Role) -> bool {
    match actor {
        Role::SystemAdmin => true,
        Role::Admin => !matches!(owner, Role::SystemAdmin),
        Role::User | Role::Manager | Role::Assessor => false,
    }
}

/// Checks a change of a person's role. Comes on top of [`Permissions::allows`], which knows no
/// persons.
pub fn check_role_change(change: &RoleChange) -> Result<(), RoleChangeError> {
    let leaves = change.from == Some(Role::SystemAdmin) && change.to != Some(Role::SystemAdmin);
    if leaves && change.is_last_system_admin {
        return Err(RoleChangeError::LastSystemAdmin);
    }
    if change.is_own {
        return Err(RoleChangeError::Own);
    }

    let touches_system_admin = [change.from, change.to].contains(&Some(Role::SystemAdmin));
    match change.actor {
        Role::SystemAdmin => Ok(()),
        Role::Admin if touches_system_admin => Err(RoleChangeError::SystemAdmin),
        Role::Admin => Ok(()),
        Role::User | Role::Manager | Role::Assessor => Err(RoleChangeError::NotAllowed),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::super::requires_step_up;
    use super::*;

    fn letters(allows: impl Fn(Action) -> bool) -> String {
        Action::ALL
            .iter()
            .map(|action| match (allows(*action), action) {
                (false, _) => '.',
                (true, Action::Read) => 'r',
                (true, Action::Acknowledge) => 'a',
                (true, Action::Write) => 'w',
                (true, Action::Approve) => 'p',
                (true, Action::Export) => 'x',
            })
            .collect()
    }

    #[test]
    fn the_built_in_table_is_this_one() {
        let permissions = Permissions::built_in();
        let mut matrix = format!("{:15}", "");
        for role in Role::ALL {
            write!(matrix, "{role:13}").unwrap();
        }
        matrix.push_str("step-up");
        for resource in Resource::ALL {
            write!(matrix, "\n{resource:15}").unwrap();
            for role in Role::ALL {
                let allowed = letters(|action| permissions.allows(*role, action, *resource));
                write!(matrix, "{allowed:13}").unwrap();
            }
            let step_up = letters(|action| {
                possible(*resource).has(action) && requires_step_up(action, *resource)
            });
            matrix.push_str(&step_up);
        }

        insta::assert_snapshot!(matrix, @r"
                       user         manager      admin        system_admin assessor     step-up
        alerts         ra...        ra..x        ra..x        ra..x        .....        .....
        incidents      r.w..        r.w.x        r.w.x        r.w.x        r....        .....
        events         r....        r...x        r...x        r...x        r....        .....
        audit_log      .....        r....        r...x        r...x        r....        .....
        compliance     r....        r.w.x        r.w.x        r.w.x        r....        .....
        evidence       r.w..        r.wpx        r.wpx        r.wpx        r....        ...p.
        poam           r....        r.w.x        r.w.x        r.w.x        r....        .....
        redteam        r....        r.wp.        r.wp.        r.wp.        r....        .....
        reports        r....        r.w.x        r.w.x        r.w.x        r...x        .....
        assessor_notes .....        r....        r....        r...x        r.w.x        .....
        silences       r....        r.w..        r.w..        r.w..        .....        .....
        rules          r....        r....        r.w.x        r.w.x        r....        ..w..
        sources        r....        r....        r.w..        r.w..        r....        .....
        agents         r....        r....        r.wp.        r.wp.        r....        ...p.
        commands       .....        r....        r.w..        r.w..        .....        ..w..
        channels       .....        r....        r.w..        r.w..        .....        .....
        keys           .....        .....        r.w..        r.w..        .....        ..w..
        users          .....        r....        r.w.x        r.w.x        .....        ..w..
        sessions       .....        .....        r.w..        r.w..        .....        ..w..
        permissions    .....        r....        r....        r.w..        r....        ..w..
        policy         r....        r....        r....        r.w..        r....        ..w..
        tenants        .....        .....        .....        r.w..        .....        ..w..
        system         .....        r....        r....        r.w.x        .....        .....
        ");
    }

    #[test]
    fn rows_stand_in_order_and_within_what_is_possible() {
        for (row, resource) in BUILT_IN.iter().zip(Resource::ALL) {
            assert_eq!(row.resource, *resource);
            for role in Role::ALL {
                assert!(row.of(*role).is_within(row.possible), "{resource} {role}");
            }
        }
    }

    #[test]
    fn built_in_rows_keep_the_safe_core() {
        let permissions = Permissions::built_in();
        for rule in all_rules(Effect::Allow) {
            if permissions.allows(rule.role, rule.action, rule.resource) {
                assert_eq!(rule.check(), Ok(()), "{rule:?}");
            }
        }
    }

    fn all_rules(effect: Effect) -> impl Iterator<Item = Rule> {
        Role::ALL.iter().flat_map(move |role| {
            Resource::ALL.iter().flat_map(move |resource| {
                Action::ALL.iter().map(move |action| Rule {
                    role: *role,
                    action: *action,
                    resource: *resource,
                    effect,
                })
            })
        })
    }

    fn rule(role: Role, effect: Effect, action: Action, resource: Resource) -> Rule {
        Rule {
            role,
            action,
            resource,
            effect,
        }
    }

    #[test]
    fn rows_beyond_the_safe_core_are_refused_with_its_sentence() {
        use Action::{Approve, Read, Write};
        use Effect::{Allow, Deny};
        for (rule, sentence) in [
            (
                rule(Role::SystemAdmin, Allow, Write, Resource::AuditLog),
                SafeCore::Record,
            ),
            (
                rule(Role::SystemAdmin, Allow, Write, Resource::Events),
                SafeCore::Record,
            ),
            (
                rule(Role::Assessor, Allow, Write, Resource::Evidence),
                SafeCore::Assessor,
            ),
            (
                rule(Role::Assessor, Allow, Approve, Resource::Evidence),
                SafeCore::Assessor,
            ),
            (
                rule(Role::SystemAdmin, Deny, Write, Resource::Users),
                SafeCore::LastResort,
            ),
            (
                rule(Role::SystemAdmin, Deny, Read, Resource::AuditLog),
                SafeCore::LastResort,
            ),
            (
                rule(Role::Admin, Allow, Write, Resource::Permissions),
                SafeCore::Power,
            ),
            (
                rule(Role::Manager, Allow, Write, Resource::Keys),
                SafeCore::Access,
            ),
            (
                rule(Role::SystemAdmin, Allow, Write, Resource::AssessorNotes),
                SafeCore::Notes,
            ),
            (
                rule(Role::User, Allow, Approve, Resource::Alerts),
                SafeCore::Impossible,
            ),
        ] {
            let refused = Permissions::with_rules(&[rule]).unwrap_err();
            assert_eq!(refused, (rule, sentence));
        }
    }

    #[test]
    fn an_administrator_may_add_and_take_away() {
        let permissions = Permissions::with_rules(&[
            rule(Role::User, Effect::Deny, Action::Write, Resource::Incidents),
            rule(
                Role::User,
                Effect::Allow,
                Action::Write,
                Resource::Incidents,
            ),
            rule(Role::User, Effect::Allow, Action::Write, Resource::Silences),
            rule(
                Role::Assessor,
                Effect::Allow,
                Action::Export,
                Resource::Events,
            ),
        ])
        .unwrap();

        assert!(!permissions.allows(Role::User, Action::Write, Resource::Incidents));
        assert!(permissions.allows(Role::User, Action::Write, Resource::Silences));
        assert!(permissions.allows(Role::Assessor, Action::Export, Resource::Events));
        assert!(permissions.allows(Role::User, Action::Read, Resource::Incidents));
    }

    #[test]
    fn roles_are_changed_by_those_who_may() {
        let change = RoleChange {
            actor: Role::SystemAdmin,
            is_own: false,
            from: Some(Role::User),
            to: Some(Role::Admin),
            is_last_system_admin: false,
        };
        assert_eq!(check_role_change(&change), Ok(()));

        for (change, error) in [
            (
                RoleChange {
                    actor: Role::Manager,
                    ..change
                },
                RoleChangeError::NotAllowed,
            ),
            (
                RoleChange {
                    is_own: true,
                    ..change
                },
                RoleChangeError::Own,
            ),
            (
                RoleChange {
                    actor: Role::Admin,
                    to: Some(Role::SystemAdmin),
                    ..change
                },
                RoleChangeError::SystemAdmin,
            ),
            (
                RoleChange {
                    actor: Role::Admin,
                    from: Some(Role::SystemAdmin),
                    to: None,
                    ..change
                },
                RoleChangeError::SystemAdmin,
            ),
            (
                RoleChange {
                    from: Some(Role::SystemAdmin),
                    to: None,
                    is_last_system_admin: true,
                    ..change
                },
                RoleChangeError::LastSystemAdmin,
            ),
        ] {
            assert_eq!(check_role_change(&change), Err(error), "{change:?}");
        }
    }

    #[test]
    fn nobody_resets_the_account_of_a_higher_role() {
        assert!(may_manage(Role::Admin, Role::Admin));
        assert!(!may_manage(Role::Admin, Role::SystemAdmin));
        for role in Role::ALL {
            assert!(may_manage(Role::SystemAdmin, *role));
            assert!(!may_manage(Role::Manager, *role) && !may_manage(Role::Assessor, *role));
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(*role));
        }
        for resource in Resource::ALL {
            assert_eq!(resource.as_str().parse(), Ok(*resource));
            let json = serde_json::to_string(resource).unwrap();
            assert_eq!(json, format!("\"{resource}\""));
        }
        assert_eq!(
            "Root".parse::<Role>().unwrap_err().to_string(),
            "`Root` is not a role: it must be one of user, manager, admin, system_admin, assessor"
        );
        let unknown =
            r#"{"role":"user","action":"read","resource":"alerts","effect":"allow","x":1}"#;
        assert!(serde_json::from_str::<Rule>(unknown).is_err());
    }

    fn accepted(rules: Vec<Rule>) -> Vec<Rule> {
        rules
            .into_iter()
            .filter(|rule| rule.check().is_ok())
            .collect()
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        (
            proptest::sample::select(Role::ALL),
            proptest::sample::select(Action::ALL),
            proptest::sample::select(Resource::ALL),
            any::<bool>(),
        )
            .prop_map(|(role, action, resource, is_allowed)| Rule {
                role,
                action,
                resource,
                effect: if is_allowed {
                    Effect::Allow
                } else {
                    Effect::Deny
                },
            })
    }

    proptest! {
        /// Whatever rows are taken, in whatever number and order.
        #[test]
        fn no_rows_get_below_the_safe_core(rules in proptest::collection::vec(any_rule(), 0..60)) {
            let accepted = accepted(rules);
            let permissions = Permissions::with_rules(&accepted).unwrap();

            for resource in Resource::ALL {
                for action in Action::ALL {
                    let is_writing = !matches!(action, Action::Read | Action::Export);
                    let allows = |role| permissions.allows(role, *action, *resource);
                    if is_writing && *resource != Resource::AssessorNotes {
                        prop_assert!(!allows(Role::Assessor));
                    }
                    if is_writing && *resource == Resource::AssessorNotes {
                        prop_assert!(!allows(Role::Admin) && !allows(Role::SystemAdmin));
                    }
                    if is_writing && matches!(resource, Resource::Events | Resource::AuditLog) {
                        prop_assert!(!Role::ALL.iter().any(|role| allows(*role)));
                    }
                    if is_writing && matches!(resource, Resource::Permissions | Resource::Policy) {
                        let lower = [Role::User, Role::Manager, Role::Admin];
                        prop_assert!(!lower.into_iter().any(allows));
                    }
                }
            }

            for resource in [Resource::Users, Resource::Permissions, Resource::Policy] {
                prop_assert!(permissions.allows(Role::SystemAdmin, Action::Write, resource));
                prop_assert!(permissions.allows(Role::SystemAdmin, Action::Read, resource));
            }
        }

        #[test]
        fn the_order_of_rows_does_not_matter(
            rules in proptest::collection::vec(any_rule(), 0..20)
        ) {
            let accepted = accepted(rules);
            let reversed: Vec<Rule> = accepted.iter().rev().copied().collect();
            let (one, other) = (
                Permissions::with_rules(&accepted).unwrap(),
                Permissions::with_rules(&reversed).unwrap(),
            );
            prop_assert_eq!(one.allowed, other.allowed);
        }
    }
}
