//! How long a certificate is valid, and what people should know of it.

use std::path::PathBuf;

use model::{Span, Timestamp};

/// How long before its end a certificate is worth a word.
pub const SOON: Span = Span::days(30);

/// A certificate and how long it is valid, for people.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Expiry {
    /// Its place in the configuration.
    pub key: String,
    /// The file.
    pub file: PathBuf,
    /// From when; none when it cannot be read.
    pub not_before: Option<Timestamp>,
    /// Until when.
    pub not_after: Option<Timestamp>,
    /// Why it cannot be read.
    pub problem: Option<String>,
}

impl Expiry {
    /// Whether it is no longer valid after that span, or not valid yet.
    pub fn ends_within(&self, span: Span, now: Timestamp) -> bool {
        self.not_after.is_some_and(|until| until <= now.plus(span))
            || self.not_before.is_some_and(|from| from > now)
    }

    /// Whole days that are left; none where it is not valid now.
    pub fn days_left(&self, now: Timestamp) -> Option<u64> {
        let (from, until) = (self.not_before?, self.not_after?);
        let left = until.since(now).as_micros() / Span::days(1).as_micros();
        (from <= now && now < until).then_some(left.unsigned_abs())
    }

    /// What people should know of it; none while all is well.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let (file, key) = (self.file.display(), &self.key);
        let (from, until) = (self.not_before?, self.not_after?);
        if until <= now {
            return Some(format!(
                "the certificate {file} ({key}) expired on {until}: clients refuse it"
            ));
        }

        if from > now {
            return Some(format!(
                "the certificate {file} ({key}) is not valid before {from}: clients refuse it"
            ));
        }

        let left = until.since(now);
        (left <= SOON).then(|| {
            let days = left.as_micros() / Span::days(1).as_micros();
            format!("the certificate {file} ({key}) expires on {until}, in {days} days: renew it")
        })
    }
}
