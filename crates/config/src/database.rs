//! `[database]`.

use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://…` without a password; empty: a private cluster under the state directory.
    pub url: String,
    /// A file that holds the URL, password and all.
    pub url_file: String,
    /// The most connections that the program opens.
    pub max_connections: u32,
    /// Whether the schema may be brought up to date although `monitors.backup_files` shows no
    /// backup of the last day. Otherwise `serve` waits for one, or for `blueteam migrate
    /// --without-backup`; meanwhile it keeps what applications send on disk.
    pub migrate_without_backup: bool,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: String::new(),
            url_file: String::new(),
            max_connections: 16,
            migrate_without_backup: false,
        }
    }
}

impl Database {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        crate::check_positive(
            problems,
            "database.max_connections",
            self.max_connections.into(),
        );

        let is_postgres = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| self.url.starts_with(scheme));
        if !self.url.is_empty() && !is_postgres {
            let message = "must begin with postgres://";
            problems.push(Problem::new("database.url", message));
        }

        let authority = self
            .url
            .split_once("://")
            .map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or(""));
        let login = authority.rsplit_once('@').map_or("", |(login, _)| login);
        if login.contains(':') || self.url.contains("password=") {
            let message = "holds a password, which does not belong in this file; use `url_file` \
                or DATABASE_URL";
            problems.push(Problem::new("database.url", message));
        }
    }
}
