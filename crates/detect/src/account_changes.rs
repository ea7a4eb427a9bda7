//! Changes of accounts and their privileges, as the logs of systems and of PostgreSQL show them.

use model::sql::{logged, statements};
use model::{Action, Outcome, SecurityEvent, Source};

/// A change of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccountChange {
    /// It was created, and allows logins.
    Created(String),
    /// It was put into a group, or granted a role.
    Granted {
        /// The account.
        account: String,
        /// The group or role.
        group: String,
    },
    /// It was made a superuser of the database.
    Superuser(String),
}

/// The largest user ID that packages give to the accounts of services (`SYS_UID_MAX`).
const SYSTEM_UID_MAX: u32 = 999;
/// Shells that allow no login.
const NO_LOGIN: [&str; 3] = ["/nologin", "/false", "/sync"];

/// Returns the changes that an event reports. Only what happened counts, not what was refused.
pub(crate) fn account_changes(event: &SecurityEvent<'_>) -> Vec<AccountChange> {
    if event.result != Outcome::Success || event.action_kind != Action::Other {
        return Vec::new();
    }

    let account = || event.account_name.as_deref().map(str::to_owned);
    match (event.source, &*event.action) {
        (Source::Syslog, "user_create") => account()
            .filter(|_| !is_of_a_service(event.resource_id.as_deref().unwrap_or_default()))
            .map(AccountChange::Created)
            .into_iter()
            .collect(),
        (Source::Syslog, "group_add") => account()
            .zip(event.resource_id.as_deref())
            .map(|(account, group)| AccountChange::Granted {
                account,
                group: group.to_owned(),
            })
            .into_iter()
            .collect(),
        (Source::Postgres, "schema_change") => logged_statement(event)
            .map(|statement| role_changes(&statement))
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Returns whether `new user: name=x, UID=112, …, shell=/usr/sbin/nologin` is the account of a
/// service, such as packages create. useradd writes the name first, and it holds no comma, so the
/// other fields are useradd's own.
fn is_of_a_service(message: &str) -> bool {
    let field = |name: &str| {
        message
            .split(", ")
            .skip(1)
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    };
    let uid = field("UID").and_then(|uid| uid.parse::<u32>().ok());
    let is_system = uid.is_some_and(|uid| (1..=SYSTEM_UID_MAX).contains(&uid));
    is_system && field("shell").is_some_and(|shell| NO_LOGIN.iter().any(|end| shell.ends_with(end)))
}

/// Returns the statement that PostgreSQL logged: beside an error, or as the message itself.
pub(crate) fn logged_statement(event: &SecurityEvent<'_>) -> Option<String> {
    event
        .details
        .text("statement")
        .filter(|statement| !statement.is_empty())
        .or_else(|| {
            let message = event.details.text("message")?;
            logged(&message).map(str::to_owned)
        })
}

/// Returns what statements change of roles. Their words hold no strings and no comments.
fn role_changes(text: &str) -> Vec<AccountChange> {
    let mut changes = Vec::new();
    for words in statements(text) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [
                verb @ ("create" | "alter"),
                kind @ ("role" | "user"),
                name,
                options @ ..,
            ] => {
                let has = |option: &str| options.contains(&option);
                let logs_in = has("login") || (*kind == "user" && !has("nologin"));
                if *verb == "create" && logs_in {
                    changes.push(AccountChange::Created((*name).to_owned()));
                }
                if has("superuser") {
                    changes.push(AccountChange::Superuser((*name).to_owned()));
                }
                if let Some(at) = options
                    .iter()
                    .position(|word| *word == "role" || *word == "in")
                {
                    changes.extend(granted(name, &options[at + 1..]));
                }
            }
            ["alter", "group", group, "add", "user", accounts @ ..] => {
                for account in accounts {
                    changes.extend(granted(account, &[*group]));
                }
            }
            ["grant", rest @ ..] if !rest.contains(&"on") => {
                let Some(to) = rest.iter().position(|word| *word == "to") else {
                    continue;
                };
                for account in &rest[to + 1..] {
                    if matches!(*account, "with" | "granted") {
                        break;
                    }
                    changes.extend(granted(account, &rest[..to]));
                }
            }
            _ => {}
        }
    }
    changes
}

fn granted<'a>(account: &'a str, groups: &'a [&str]) -> impl Iterator<Item = AccountChange> + 'a {
    groups
        .iter()
        .filter(|word| !matches!(**word, "role" | "group"))
        .map(move |group| AccountChange::Granted {
            account: account.to_owned(),
            group: (*group).to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(statement: &str) -> Vec<String> {
        role_changes(statement)
            .into_iter()
            .map(|change| match change {
                AccountChange::Created(name) => format!("created {name}"),
                AccountChange::Granted { account, group } => format!("{account} in {group}"),
                AccountChange::Superuser(name) => format!("superuser {name}"),
            })
            .collect()
    }

    #[test]
    fn statements_about_roles_are_read() {
        for (statement, expected) in [
            (
                "CREATE ROLE eve LOGIN PASSWORD 'superuser'",
                vec!["created eve"],
            ),
            ("create user eve", vec!["created eve"]),
            ("CREATE ROLE reports", vec![]),
            ("ALTER ROLE webapp SUPERUSER", vec!["superuser webapp"]),
            ("ALTER ROLE webapp NOSUPERUSER", vec![]),
            (
                "/* x */ SELECT 1; ALTER USER \"Web App\" WITH SUPERUSER",
                vec!["superuser web app"],
            ),
            (
                "GRANT pg_execute_server_program, pg_read_all_data TO eve, bob WITH ADMIN OPTION",
                vec![
                    "eve in pg_execute_server_program",
                    "eve in pg_read_all_data",
                    "bob in pg_execute_server_program",
                    "bob in pg_read_all_data",
                ],
            ),
            ("GRANT SELECT ON audit_events TO eve", vec![]),
            (
                "CREATE ROLE eve LOGIN IN ROLE pg_write_all_data",
                vec!["created eve", "eve in pg_write_all_data"],
            ),
            ("ALTER GROUP postgres ADD USER eve", vec!["eve in postgres"]),
            ("SELECT 'ALTER ROLE webapp SUPERUSER'", vec![]),
        ] {
            assert_eq!(of(statement), expected, "{statement}");
        }
    }

    #[test]
    fn accounts_of_services_are_told_from_those_of_people() {
        let line = |uid: &str, shell: &str| {
            format!("new user: name=x, UID={uid}, GID=1, home=/x, shell={shell}, from=none")
        };
        assert!(is_of_a_service(&line("112", "/usr/sbin/nologin")));
        assert!(is_of_a_service(&line("998", "/bin/false")));
        for (uid, shell) in [
            ("1001", "/usr/sbin/nologin"),
            ("112", "/bin/bash"),
            ("0", "/usr/sbin/nologin"),
            ("x", "/usr/sbin/nologin"),
        ] {
            assert!(!is_of_a_service(&line(uid, shell)), "{uid} {shell}");
        }
        assert!(!is_of_a_service("new user: name=x"));
    }
}
