//! What comes back from a channel.

use std::time::Duration;

/// The alert was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What the other side said, or how far its word can be trusted; one line, bounded, safe to log
    /// and store.
    pub detail: String,
}

/// Whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same message will be refused again; a person has to change something.
    Never,
    /// It may work later.
    Later {
        /// The least wait that the other side asked for.
        after: Option<Duration>,
    },
}

/// The alert was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {advice}")]
pub struct SendError {
    /// Whether another attempt makes sense.
    pub retry: Retry,
    /// What went wrong; holds no secret, and no control characters.
    pub what: String,
    /// What a person should do about it.
    pub advice: String,
}

impl SendError {
    pub(crate) fn later(what: impl AsRef<str>, advice: impl Into<String>) -> Self {
        Self {
            retry: Retry::Later { after: None },
            what: tidy(what.as_ref()),
            advice: advice.into(),
        }
    }

    pub(crate) fn never(what: impl AsRef<str>, advice: impl Into<String>) -> Self {
        Self {
            retry: Retry::Never,
            what: tidy(what.as_ref()),
            advice: advice.into(),
        }
    }

    /// Whether another attempt makes sense.
    pub fn is_temporary(&self) -> bool {
        matches!(self.retry, Retry::Later { .. })
    }
}

/// The configuration of a channel cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("channel {channel}: {key}: {message}")]
pub struct SetupError {
    /// The channel.
    pub channel: model::Channel,
    /// The setting.
    pub key: &'static str,
    /// What is wrong with it.
    pub message: String,
}

impl SetupError {
    pub(crate) fn new(
        channel: model::Channel,
        key: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            channel,
            key,
            message: message.into(),
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }

    text
}

/// One bounded line, whatever the other side wrote.
pub(crate) fn tidy(text: &str) -> String {
    model::text::clip(&model::text::sanitize(text.trim()), 500).into_owned()
}
