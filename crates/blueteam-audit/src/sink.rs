//! Where events go.

#[cfg(feature = "http")]
mod http;
#[cfg(feature = "postgres")]
mod postgres;

use std::time::Duration;

use crate::config::StartError;
use crate::spool::Batch;

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is there, but for those lines (their place, and why) that are refused for good.
    Done(Vec<(usize, String)>),
    /// Nothing was taken, or nobody knows; all of it is to be sent again, after the wait that the
    /// sink asks for.
    Later(Option<Duration>, String),
    /// It is refused as a whole: fewer lines may be taken. A single one is refused for good.
    Refused(String),
}

/// One of the ways. Opened by [`Builder::start`](crate::Builder::start), used by the thread of the
/// logger alone.
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

    /// Sends the batch; ends within the patience that it was opened with.
    pub(crate) async fn send(&mut self, batch: &Batch) -> Sent {
        match *self {
            #[cfg(feature = "http")]
            Self::Http(ref http) => http.send(batch).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(ref mut postgres) => postgres.send(batch).await,
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
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
