//! Scheduled notifications: the daily digest, the heartbeat, and reminders. Each once, whatever
//! restarts.

use model::{Alert, Channel, Notice, Severity, Silence, Span, Timestamp};
use sqlx::PgConnection;

use crate::StoreError;
use crate::alerts::{self, AlertFilter};
use crate::db::{Ts, take_exclusively};
use crate::silences;

/// Writes a notice and its messages, unless it is written already. `kind` is `digest` or
/// `heartbeat`, `key` its day or period. Without any `channels` it is only noted. With it stands
/// how much all sources but `own` (our own account) had been read. Returns how many messages were
/// written; none when the notice was there.
pub async fn write(
    conn: &mut PgConnection,
    kind: &str,
    key: &str,
    own: &str,
    notice: &Notice,
    channels: &[Channel],
) -> Result<Option<u64>, StoreError> {
    let channels: Vec<String> = channels.iter().map(ToString::to_string).collect();
    let noted = sqlx::query_file_scalar!(
        "src/notices/write.sql",
        kind,
        key,
        &channels,
        serde_json::to_value(notice)?,
        own
    )
    .fetch_optional(conn)
    .await?;

    Ok(noted.map(i64::unsigned_abs))
}

/// Of these keys those that no notice of the kind has, in their order. Until the end of the
/// transaction nobody else asks.
pub async fn unsaid(
    conn: &mut PgConnection,
    kind: &str,
    keys: &[String],
) -> Result<Vec<String>, StoreError> {
    take_exclusively(conn, "notices").await?;
    let unsaid = sqlx::query_scalar!(
        r#"SELECT k AS "key!" FROM unnest($2::text[]) WITH ORDINALITY AS u (k, n)
            WHERE NOT EXISTS (
                SELECT
                FROM blueteam.scheduled_notifications
                WHERE tenant_id = (SELECT blueteam.tenant_of_new()) AND kind = $1 AND key = k
            )
            ORDER BY n"#,
        kind,
        keys
    )
    .fetch_all(conn)
    .await?;
    Ok(unsaid)
}

/// Notes several keys and writes one message about all of them for each channel. Returns how many
/// messages.
pub async fn write_together(
    conn: &mut PgConnection,
    kind: &str,
    keys: &[String],
    notice: &Notice,
    channels: &[Channel],
) -> Result<u64, StoreError> {
    let channels: Vec<String> = channels.iter().map(ToString::to_string).collect();
    let written = sqlx::query!(
        "WITH noted AS (
             INSERT INTO blueteam.scheduled_notifications (kind, key) SELECT $1, unnest($2::text[])
         )
         INSERT INTO blueteam.notifications (channel, kind, payload)
         SELECT c, $1, $4
         FROM unnest($3::text[]) AS c",
        kind,
        keys,
        &channels,
        serde_json::to_value(notice)?
    )
    .execute(conn)
    .await?;

    Ok(written.rows_affected())
}

/// The newest notice of a kind: its key and when it was written.
pub async fn last(
    conn: &mut PgConnection,
    kind: &str,
) -> Result<Option<(String, Timestamp)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT key, at AS "at: Ts"
           FROM blueteam.scheduled_notifications
           WHERE kind = $1 AND tenant_id = (SELECT blueteam.tenant_of_new())
           ORDER BY at DESC
           LIMIT 1"#,
        kind
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.key, row.at.0)))
}

/// What happened in a period, for its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Entries that were read, of all sources: lines, rows, records.
    pub entries: u64,
    /// Events that were stored of them.
    pub events: u64,
    /// Sources that said something, by name; at most as many as were asked for.
    pub alive: Vec<String>,
    /// How many there are.
    pub alive_count: u64,
    /// Sources that are silent now, by name.
    pub silent: Vec<String>,
    /// How many alerts were written, the worst severity first.
    pub alerts: Vec<(Severity, u64)>,
    /// The newest medium and low ones, at most as many as were asked for.
    pub told: Vec<Alert>,
    /// Silences, maintenance windows and exceptions that end soon, the next one first.
    pub ending: Vec<Silence>,
    /// Messages that could not be delivered, ever.
    pub dead: u64,
}

/// What happened from `from` to `now`. `own` is the name of our own account among the sources;
/// silences that end before `until` are named.
pub async fn summary(
    conn: &mut PgConnection,
    from: Timestamp,
    now: Timestamp,
    until: Timestamp,
    own: &str,
    most: usize,
) -> Result<Summary, StoreError> {
    // What was read since the last digest, by the accounts of the sources: the times in a log may
    // be those of last year. Before the accounts were noted, by the time at which it was stored.
    let row = sqlx::query_file!("src/notices/summary.sql", Ts(from) as Ts, own, most as i64)
        .fetch_one(&mut *conn)
        .await?;

    let filter = AlertFilter {
        since: Some(from),
        ..AlertFilter::default()
    };

    let mut told = alerts::list(conn, &filter, 10_000).await?;
    told.retain(|alert| matches!(alert.severity, Severity::Medium | Severity::Low));
    told.truncate(most);
    let mut ending = silences::ending_after(conn, now).await?;
    ending.retain(|silence| silence.ends_at <= until);
    ending.truncate(most);

    Ok(Summary {
        entries: row.entries.unsigned_abs(),
        events: row.events.unsigned_abs(),
        alive: row.alive,
        alive_count: row.alive_count.unsigned_abs(),
        silent: row.silent,
        alerts: alert_counts(conn, from).await?,
        told,
        ending,
        dead: row.dead.unsigned_abs(),
    })
}

/// How many alerts were written since, the worst severity first.
async fn alert_counts(
    conn: &mut PgConnection,
    from: Timestamp,
) -> Result<Vec<(Severity, u64)>, StoreError> {
    let counted = sqlx::query!(
        r#"SELECT severity, count(*) AS "count!"
           FROM blueteam.alert_history
           WHERE created_at > $1
           GROUP BY severity"#,
        Ts(from) as Ts
    )
    .fetch_all(conn)
    .await?;

    let mut counts = Vec::with_capacity(counted.len());
    for row in counted {
        let severity = row
            .severity
            .parse()
            .map_err(|e| StoreError::corrupt("alert_history.severity", e))?;
        counts.push((severity, row.count.unsigned_abs()));
    }

    counts.sort_by_key(|(severity, _): &(Severity, u64)| std::cmp::Reverse(*severity));
    Ok(counts)
}

/// Alerts that were folded for a channel and that are in no summary yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The channel.
    pub channel: Channel,
    /// How many, by severity and rule; the worst first.
    pub groups: Vec<(Severity, String, u64)>,
    /// When the first and the last of them came.
    pub span: (Timestamp, Timestamp),
}

/// What was folded and is to be told: of each channel whose first untold alert is older than
/// `patience`, and that was told of no summary for `per`. Holds the rows until the transaction
/// ends.
pub async fn folded(
    conn: &mut PgConnection,
    patience: Span,
    per: Span,
) -> Result<Vec<Folded>, StoreError> {
    take_exclusively(conn, "folded_alerts").await?;
    let rows = sqlx::query_file!(
        "src/notices/folded.sql",
        patience.as_micros(),
        per.as_micros()
    )
    .fetch_all(conn)
    .await?;

    let mut all: Vec<Folded> = Vec::new();
    for row in rows {
        let channel: Channel = row
            .channel
            .parse()
            .map_err(|e| StoreError::corrupt("folded_alerts.channel", e))?;
        let severity: Severity = row
            .severity
            .parse()
            .map_err(|e| StoreError::corrupt("alert_history.severity", e))?;

        let (first, last) = (row.first.0, row.last.0);
        let group = (severity, row.rule, row.count.unsigned_abs());
        match all.last_mut().filter(|f| f.channel == channel) {
            Some(known) => {
                known.groups.push(group);
                known.span = (known.span.0.min(first), known.span.1.max(last));
            }
            None => all.push(Folded {
                channel,
                groups: vec![group],
                span: (first, last),
            }),
        }
    }

    Ok(all)
}

/// Writes the summary of what was folded for a channel until `until`.
pub async fn tell_folded(
    conn: &mut PgConnection,
    channel: Channel,
    until: Timestamp,
    notice: &Notice,
) -> Result<(), StoreError> {
    sqlx::query!(
        "WITH d AS (
             INSERT INTO blueteam.notifications (channel, kind, payload)
             VALUES ($1, 'digest', $2)
             RETURNING delivery_id
         )
         UPDATE blueteam.rate_limited_alerts f
         SET told_by = d.delivery_id
         FROM d
         WHERE f.tenant_id = (SELECT blueteam.tenant_of_new())
           AND f.channel = $1
           AND f.told_by IS NULL
           AND f.at <= $3",
        channel.as_str(),
        serde_json::to_value(notice)?,
        Ts(until) as Ts
    )
    .execute(conn)
    .await?;

    Ok(())
}
