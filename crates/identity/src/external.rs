//! Roles of people whose accounts are kept elsewhere: by an OpenID Connect provider or a directory.

use crate::Role;

/// The most groups of a person that are looked at.
pub const GROUPS_MAX: usize = 2000;

/// Which role the members of a group have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRole {
    /// The group, as the provider or directory writes it.
    pub group: String,
    /// The role of its members.
    pub role: Role,
}

/// Roles by groups. Whoever is in no group that is listed is not let in, unless there is a default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleMap {
    /// The first entry that fits counts.
    pub groups: Vec<GroupRole>,
    /// The role of everybody else.
    pub default: Option<Role>,
    /// Whether names of groups differ in more than their case. Those of a directory do not.
    pub is_case_sensitive: bool,
}

impl RoleMap {
    /// Returns the role of a person in these groups; none if they are not to be let in.
    pub fn role_of<S: AsRef<str>>(&self, groups: &[S]) -> Option<Role> {
        let is_same = |one: &str, other: &str| {
            if self.is_case_sensitive {
                one == other
            } else {
                one.to_lowercase() == other.to_lowercase()
            }
        };
        self.groups
            .iter()
            .find(|entry| {
                groups
                    .iter()
                    .take(GROUPS_MAX)
                    .any(|group| is_same(group.as_ref(), &entry.group))
            })
            .map(|entry| entry.role)
            .or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(default: Option<Role>, is_case_sensitive: bool) -> RoleMap {
        let entry = |group: &str, role| GroupRole {
            group: group.to_owned(),
            role,
        };
        RoleMap {
            groups: vec![
                entry("soc-leads", Role::Admin),
                entry("soc", Role::User),
                entry("auditors", Role::Assessor),
            ],
            default,
            is_case_sensitive,
        }
    }

    #[test]
    fn the_first_group_that_is_listed_gives_the_role() {
        let map = map(None, true);
        assert_eq!(map.role_of(&["soc", "soc-leads"]), Some(Role::Admin));
        assert_eq!(map.role_of(&["auditors", "soc"]), Some(Role::User));
        assert_eq!(map.role_of(&["auditors"]), Some(Role::Assessor));
    }

    #[test]
    fn nobody_is_let_in_by_a_group_that_is_only_like_one() {
        let strict = map(None, true);
        for groups in [
            &["SOC"][..],
            &["soc "],
            &["soc-leads2", "xsoc"],
            &["", "*"],
            &[],
        ] {
            assert_eq!(strict.role_of(groups), None, "{groups:?}");
        }
        assert_eq!(map(None, false).role_of(&["SOC"]), Some(Role::User));
        assert_eq!(
            map(Some(Role::User), true).role_of(&["x"]),
            Some(Role::User)
        );
    }
}
