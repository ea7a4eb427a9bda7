//! What the database knows of how things go, for monitoring systems.

use sqlx::PgConnection;

use crate::StoreError;

/// A number by one or two labels.
pub type Labeled = (String, String, u64);

/// The numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// Entries of each source by what became of them: accepted, ignored, repeated, rejected, late.
    pub entries: Vec<Labeled>,
    /// Seconds since each source was last heard.
    pub silence: Vec<(String, f64)>,
    /// Alerts of the last 90 days by severity, and whether they are open or closed.
    pub alerts: Vec<Labeled>,
    /// Unacknowledged alerts, by severity.
    pub unacknowledged: Vec<(String, u64)>,
    /// Attempts to deliver in the last 90 days, by channel and outcome.
    pub attempts: Vec<Labeled>,
    /// Deliveries that are pending or dead, by channel and state.
    pub deliveries: Vec<Labeled>,
    /// Connections to the server, and the most that it allows.
    pub connections: (u64, u64),
    /// Bytes of the database.
    pub database_bytes: u64,
}

/// Reads them. One look at tables that are small or indexed by time; a scrape every few seconds
/// costs little.
pub async fn read(conn: &mut PgConnection) -> Result<Numbers, StoreError> {
    let sources = sqlx::query!(
        r#"SELECT source_id, accepted, ignored, repeated, rejected, late,
                  extract(epoch FROM now() - last_received_at)::double precision AS silence
             FROM blueteam.sources ORDER BY source_id LIMIT 1000"#
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut numbers = Numbers::default();

    for s in sources {
        let counts = [
            ("accepted", s.accepted),
            ("ignored", s.ignored),
            ("repeated", s.repeated),
            ("rejected", s.rejected),
            ("late", s.late),
        ];
        let entry =
            |(outcome, n): (&str, i64)| (s.source_id.clone(), outcome.to_owned(), n.unsigned_abs());
        numbers.entries.extend(counts.map(entry));

        numbers
            .silence
            .extend(s.silence.map(|seconds| (s.source_id.clone(), seconds)));
    }

    let alerts = sqlx::query!(
        r#"SELECT
               severity,
               state,
               count(*) AS "count!",
               count(*) FILTER (WHERE acknowledged IS NOT TRUE) AS "waiting!"
           FROM blueteam.alert_history
           WHERE created_at > now() - interval '90 days'
           GROUP BY 1, 2
           ORDER BY 1, 2"#
    )
    .fetch_all(&mut *conn)
    .await?;

    for a in alerts {
        match numbers.unacknowledged.last_mut() {
            Some((severity, n)) if *severity == a.severity => *n += a.waiting.unsigned_abs(),
            _ => numbers
                .unacknowledged
                .push((a.severity.clone(), a.waiting.unsigned_abs())),
        }

        numbers
            .alerts
            .push((a.severity, a.state, a.count.unsigned_abs()));
    }

    let attempts = sqlx::query!(
        r#"SELECT d.channel, t.outcome, count(*) AS "count!" FROM blueteam.notifications d
             JOIN blueteam.notification_attempts t USING (delivery_id)
            WHERE d.created_at > now() - interval '90 days' GROUP BY 1, 2 ORDER BY 1, 2"#
    )
    .fetch_all(&mut *conn)
    .await?;
    numbers.attempts = attempts
        .into_iter()
        .map(|r| (r.channel, r.outcome, r.count.unsigned_abs()))
        .collect();

    let waiting = sqlx::query!(
        r#"SELECT channel, state, count(*) AS "count!"
           FROM blueteam.notifications
           WHERE state <> 'delivered'
           GROUP BY 1, 2
           ORDER BY 1, 2"#
    )
    .fetch_all(&mut *conn)
    .await?;
    numbers.deliveries = waiting
        .into_iter()
        .map(|r| (r.channel, r.state, r.count.unsigned_abs()))
        .collect();

    let server = sqlx::query!(
        r#"SELECT
               (SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_stat_database) AS "used!",
               current_setting('max_connections')::bigint AS "most!",
               pg_database_size(current_database()) AS "bytes!""#
    )
    .fetch_one(conn)
    .await?;
    numbers.connections = (server.used.unsigned_abs(), server.most.unsigned_abs());
    numbers.database_bytes = server.bytes.unsigned_abs();

    Ok(numbers)
}
