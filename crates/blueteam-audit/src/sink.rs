//! The sinks of events.

#[cfg(feature = "http")]
mod http;
#[cfg(feature = "postgres")]
mod postgres;

use std::time::Duration;

use crate::config::StartError;
use crate::spool::Batch;

/// The result of sending a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The sink has it, except for these lines (index and reason), which it rejected permanently.
    Done(Vec<(usize, String)>),
    /// Nothing was accepted, or that is unknown. The whole batch must be sent again, after the wait
    /// that the sink asks for.
    Later(Option<Duration>, String),
    /// The batch is refused as a whole, but fewer lines may be accepted. A single refused line is
    /// rejected permanently.
    Refused(String),
}

/// A sink. Opened by [`Builder::start`](crate::Builder::start), used only by the logger's thread.
#[derive(Debug)]
pub(crate) enum Sink {
    #[cfg(feature = "http")]
    Http(http::Http),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::Postgres>),
}

impl Sink {
    #[cfg(feature = "http")]
    pub(crate) fn http(
        url: &str,
        key: &str,
        ca_pem: Option<&str>,
        patience: Duration,
    ) -> Result<Self, StartError> {
        http::Http::new(url, key, ca_pem, patience).map(Self::Http)
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn postgres(url: &str, patience: Duration) -> Result<Self, StartError> {
        postgres::Postgres::new(url, patience).map(|sink| Self::Postgres(Box::new(sink)))
    }

    /// Sends a batch within the timeout that the sink was opened with.
    pub(crate) async fn send(&mut self, batch: &Batch) -> Sent {
        match *self {
            #[cfg(feature = "http")]
            Self::Http(ref http) => http.send(batch).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(ref mut postgres) => postgres.send(batch).await,
        }
    }
}

/// Formats an error with its causes on one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }

    text.replace(['\n', '\r'], " ")
}
