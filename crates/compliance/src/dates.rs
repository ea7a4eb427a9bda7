//! Dates as documents and messages show them.

use model::Timestamp;

/// Formats the day of a time in UTC, as `2027-01-15`.
pub(crate) fn format_day(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%d").to_string()
}
