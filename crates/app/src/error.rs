//! Why a use case did not do what was asked: the same for a command, a page and the API.

use store::StoreError;

use crate::actor::Denied;

/// Why a use case did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The actor may not. Exit code 1, HTTP 403.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// What was asked cannot be right, whatever the database holds. Exit code 2, HTTP 422.
    #[error("{0}")]
    Invalid(String),
    /// What was asked for does not exist. Exit code 1, HTTP 404.
    #[error("{0}")]
    NotFound(String),
    /// What was asked contradicts what is there. Exit code 1, HTTP 409.
    #[error("{0}")]
    Conflict(String),
    /// The database. Exit code 1, HTTP 503.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Anything else: a file, a program, the network. Exit code 1, HTTP 500.
    #[error("{0:#}")]
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for AppError {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(known) => known,
            Err(other) => Self::Failed(other),
        }
    }
}

impl AppError {
    /// An answer that cannot be written as JSON: a mistake of the program.
    pub fn unwritable(error: serde_json::Error) -> Self {
        Self::Failed(error.into())
    }

    /// Shorthand for [`AppError::Invalid`].
    pub fn invalid(why: impl Into<String>) -> Self {
        Self::Invalid(why.into())
    }

    /// Shorthand for [`AppError::NotFound`].
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound(what.into())
    }

    /// Shorthand for [`AppError::Conflict`].
    pub fn conflict(why: impl Into<String>) -> Self {
        Self::Conflict(why.into())
    }
}
