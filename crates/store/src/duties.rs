//! What waits for a person: alerts, incidents, silent sources, dates that come near.

use model::{Severity, Timestamp};
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::Ts;

/// What waits comes from these places; a reader sees those that their role may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Alerts and their notifications.
    Alerts,
    /// Incidents.
    Incidents,
    /// Sources.
    Sources,
    /// Items of the plan of action.
    Plans,
    /// Evidence.
    Evidence,
    /// Silences.
    Silences,
    /// Accounts.
    Accounts,
    /// Advisories.
    Advisories,
}

impl Place {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Incidents => "incidents",
            Self::Sources => "sources",
            Self::Plans => "plans",
            Self::Evidence => "evidence",
            Self::Silences => "silences",
            Self::Accounts => "accounts",
            Self::Advisories => "advisories",
        }
    }
}

/// Something that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it is: `alert`, `incident`, `source`, `delivery`, `plan`, `draft`, `evidence`, `silence`,
    /// `account` or `advisory`.
    pub kind: String,
    /// What names it among its kind.
    pub id: String,
    /// How pressing.
    pub severity: Severity,
    /// What it is, in a line.
    pub what: String,
    /// More of it; by its kind whom or what it is about, its phase, its number or its owner.
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub due: Option<Timestamp>,
    /// How many of its kind wait, whether or not they are listed; [`COUNTED_MAX`] or more.
    pub of_kind: u64,
}

/// The most of a kind that are counted.
pub const COUNTED_MAX: u32 = 1000;

/// What waits, at most `limit`: first what has a legal clock, by that, then by severity and age.
pub async fn list(
    conn: &mut PgConnection,
    places: &[Place],
    limit: u32,
) -> Result<Vec<Waiting>, StoreError> {
    let places: Vec<String> = places
        .iter()
        .map(|place| place.as_str().to_owned())
        .collect();
    let rows = sqlx::query_file!(
        "src/duties/list.sql",
        &places as &[String],
        i64::from(limit),
        i64::from(COUNTED_MAX)
    )
    .fetch_all(conn)
    .await?;

    rows.into_iter()
        .map(|row| {
            Ok(Waiting {
                severity: row.severity.parse().unwrap_or(Severity::Medium),
                kind: row.kind,
                id: row.id,
                what: row.what,
                detail: row.detail,
                since: row.since.0,
                due: row.due.map(|due| due.0),
                of_kind: row.of_kind.unsigned_abs(),
            })
        })
        .collect()
}

/// Whether any source has ever sent anything.
pub async fn has_sources(conn: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM blueteam.sources WHERE received > 0) AS "has!""#
    )
    .fetch_one(conn)
    .await?)
}
