//! What can go wrong below.

use sqlx::migrate::MigrateError;

use crate::MigrationError;

/// An error of the database or of its content.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The driver's or the server's. It says all that its cause says, so the cause is not printed
    /// once more.
    #[error("{}", describe_error(.0))]
    Sql(sqlx::Error),
    /// The database was migrated by a newer program, or by another one.
    #[error("{}", describe_migrate_error(.0))]
    Migrate(MigrateError),
    /// Migrating stopped.
    #[error("{0}")]
    Migration(Box<MigrationError>),
    /// A value in the database that cannot be read back.
    #[error("{what} in the database cannot be read: {why}")]
    Corrupt {
        /// Table and column.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Another process has saved the cursor since it was loaded.
    #[error("the reader's cursor `{0}` was moved by another process; is a second monitor running?")]
    CursorMoved(String),
    /// Rows of a batch that must be written as a whole conflict with a transaction that is open.
    #[error("{0} events conflict with an open transaction; retrying when it has ended")]
    Conflict(usize),
    /// There is no such row.
    #[error("{0} has no `{1}`")]
    Missing(&'static str, String),
    /// A value that cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// Says which program a database needs that this one does not know.
fn describe_migrate_error(error: &MigrateError) -> String {
    match error {
        MigrateError::VersionMissing(version) => format!(
            "the database has migration {version}, and this is blueteam {}, which knows those up to \
             {}: run the version that migrated it, or a newer one",
            env!("CARGO_PKG_VERSION"),
            crate::migrate::newest_migration(),
        ),
        other => other.to_string(),
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        Self::Migrate(error)
    }
}

impl From<MigrationError> for StoreError {
    fn from(error: MigrationError) -> Self {
        Self::Migration(Box::new(error))
    }
}

impl StoreError {
    /// Shorthand for [`StoreError::Corrupt`].
    #[expect(
        clippy::needless_pass_by_value,
        reason = "errors and format_args! are made for this one call"
    )]
    pub(crate) fn corrupt(what: &'static str, why: impl ToString) -> Self {
        Self::Corrupt {
            what,
            why: why.to_string(),
        }
    }

    /// Whether the error concerns single rows, so that everything else can be processed: a value or
    /// constraint, a limit of the server, damaged storage, a trigger that refuses, or a lock that
    /// somebody else holds.
    pub fn concerns_rows(&self) -> bool {
        match self {
            Self::Sql(sqlx::Error::Database(e)) if !is_outage_code(e.code().as_deref()) => true,
            Self::Sql(
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_),
            ) => true,
            Self::Corrupt { .. } | Self::Json(_) => true,
            _ => false,
        }
    }

    /// Whether the server cannot put out a row: a value or limit (22, 54), damaged storage (XX), or
    /// a function that refuses (P0). A lock, a cancelled query or a missing right says nothing
    /// about any row, and must not make readers leave it out.
    pub fn is_about_output(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else {
            return false;
        };
        error.code().is_some_and(|code| {
            ["22", "54", "XX", "P0"]
                .iter()
                .any(|class| code.starts_with(class))
        })
    }

    /// The constraint that a change would have broken, if the server names one.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => error.constraint(),
            _ => None,
        }
    }

    /// What the server says, if it refused a statement. It may quote values.
    pub fn database_message(&self) -> Option<&str> {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => Some(error.message()),
            _ => None,
        }
    }

    /// Whether the server refused what this database cannot have (`feature_not_supported`).
    pub fn is_unsupported(&self) -> bool {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => error.code().as_deref() == Some("0A000"),
            _ => false,
        }
    }

    /// Whether another session holds what was asked for: worth trying again soon.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Sql(error) => is_conflict(error),
            Self::Conflict(_) => true,
            _ => false,
        }
    }

    /// Returns whether the server is unreachable (or shutting down), rather than refusing the
    /// statement: worth trying again later.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Sql(error) => is_outage(error),
            Self::Migrate(MigrateError::Execute(error)) => is_outage(error),
            Self::Migration(error) => {
                matches!(&**error, MigrationError::Failed { error, .. } | MigrationError::Index(error) if is_outage(error))
            }
            _ => false,
        }
    }
}

fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(e) => is_outage_code(e.code().as_deref()),
        _ => false,
    }
}

/// 08 connection, 53 out of resources (disk full, too many clients), 57P shutting down or starting,
/// 58 system error.
fn is_outage_code(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        ["08", "53", "57P", "58"]
            .iter()
            .any(|class| code.starts_with(class))
    })
}

/// A lock that was not granted in time (55P03), a deadlock (40P01), or a transaction that lost
/// against another (40001).
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["55P03", "40P01", "40001"].contains(&code.as_ref()))
}

/// What the server said, without the place in its own source that the driver adds; anything else in
/// the driver's words.
fn describe_error(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => format!("the database says: {}", error.message()),
        other => other.to_string(),
    }
}
