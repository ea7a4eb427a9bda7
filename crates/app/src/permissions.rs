//! What roles may do: what is built in, and what an administrator has changed of it, within the safe
//! core of `identity`.

use std::sync::Arc;

use identity::role::{Effect, Permissions, Rule, is_possible};
use model::Timestamp;
use store::PgConnection;
use store::permissions::{PermissionKey, PermissionRow};

use crate::actor::{Action, Resource, Role};
use crate::{AppError, Session};

/// Whether a role may do something.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Permission {
    /// Whose.
    pub role: Role,
    /// To what.
    pub resource: Resource,
    /// What is done.
    pub action: Action,
    /// Whether it may.
    pub allowed: bool,
    /// Whether it may without what was changed.
    pub built_in: bool,
    /// When it was changed.
    pub changed_at: Option<Timestamp>,
}

/// A row as `identity` reads it; none if no command of blueteam can have written it.
fn to_rule(row: &PermissionRow) -> Option<Rule> {
    let rule = Rule {
        role: row.role.parse().ok()?,
        action: row.action.parse().ok()?,
        resource: row.resource.parse().ok()?,
        effect: match row.effect.as_str() {
            "allow" => Effect::Allow,
            "deny" => Effect::Deny,
            _ => return None,
        },
    };
    rule.check().is_ok().then_some(rule)
}

/// What roles may do in the tenant of a connection. A row that the safe core refuses counts for
/// nothing, and the others stay in force: one that denies must not fall with it.
pub(crate) async fn in_force(
    conn: &mut PgConnection,
    built_in: &Arc<Permissions>,
) -> Result<Arc<Permissions>, AppError> {
    let rows = store::permissions::list(conn).await?;
    if rows.is_empty() {
        return Ok(Arc::clone(built_in));
    }
    let rules: Vec<Rule> = rows.iter().filter_map(to_rule).collect();
    if rules.len() < rows.len() {
        tracing::warn!(
            rows = rows.len() - rules.len(),
            "permissions that blueteam has not written are left out"
        );
    }
    let permissions = Permissions::with_rules(&rules);
    Ok(Arc::new(permissions.map_err(|(_, sentence)| {
        AppError::Failed(anyhow::Error::new(sentence))
    })?))
}

/// Everything that can be allowed, and whether it is.
pub async fn list(session: &mut Session) -> Result<Vec<Permission>, AppError> {
    let conn = session.read(Resource::Permissions)?;
    let rows = store::permissions::list(conn).await?;
    let built_in = Arc::new(Permissions::built_in());
    let in_force = in_force(conn, &built_in).await?;

    let mut all = Vec::new();
    for role in Role::ALL {
        for resource in Resource::ALL {
            for action in Action::ALL {
                if !is_possible(*action, *resource) {
                    continue;
                }
                let changed = rows.iter().find(|row| {
                    row.role == role.as_str()
                        && row.resource == resource.as_str()
                        && row.action == action.as_str()
                });
                all.push(Permission {
                    role: *role,
                    resource: *resource,
                    action: *action,
                    allowed: in_force.allows(*role, *action, *resource),
                    built_in: built_in.allows(*role, *action, *resource),
                    changed_at: changed.map(|row| row.created_at),
                });
            }
        }
    }
    Ok(all)
}

/// What is to be allowed or not.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Whose.
    pub role: Role,
    /// What is done.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// Whether the role may.
    pub allowed: bool,
}

/// Changes what a role may do; false if it was so before. Refused is what the safe core keeps.
pub async fn set(session: &mut Session, change: Change) -> Result<bool, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Permissions)?;
    let Change {
        role,
        action,
        resource,
        allowed,
    } = change;
    let effect = if allowed { Effect::Allow } else { Effect::Deny };
    let rule = Rule {
        role,
        action,
        resource,
        effect,
    };
    let refuse = |sentence: identity::role::SafeCore| AppError::conflict(sentence.to_string());
    rule.check().map_err(refuse)?;
    if !is_possible(action, resource) {
        return Err(refuse(identity::role::SafeCore::Impossible));
    }

    let is_built_in = Permissions::built_in().allows(role, action, resource) == allowed;
    let effect = match effect {
        _ if is_built_in => None,
        Effect::Allow => Some("allow"),
        Effect::Deny => Some("deny"),
    };
    let key = PermissionKey {
        role: role.as_str(),
        action: action.as_str(),
        resource: resource.as_str(),
    };
    Ok(store::permissions::set(conn, actor, key, effect).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_rows_count_for_nothing() {
        let row = |role: &str, action: &str, resource: &str, effect: &str| PermissionRow {
            role: role.to_owned(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            effect: effect.to_owned(),
            created_at: Timestamp::MIN,
        };
        assert!(to_rule(&row("user", "write", "silences", "allow")).is_some());
        for planted in [
            row("assessor", "write", "evidence", "allow"),
            row("user", "write", "users", "allow"),
            row("admin", "write", "permissions", "allow"),
            row("system_admin", "write", "users", "deny"),
            row("user", "write", "audit_log", "allow"),
            row("root", "write", "silences", "allow"),
            row("user", "read", "everything", "allow"),
            row("user", "read", "silences", "maybe"),
        ] {
            assert_eq!(to_rule(&planted), None, "{planted:?}");
        }
    }
}
