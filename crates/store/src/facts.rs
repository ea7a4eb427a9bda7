//! What the database knows that a check of compliance may decide from.

use std::collections::BTreeMap;

use model::facts::{
    AccountFacts, AdvisoryFacts, AlertFacts, DaemonFacts, DatabaseFacts, EventFacts, EventType,
    FeedFacts, IncidentFacts, InventoryFacts, ProgrammeFacts, RuleFacts, SampleAlert, SampleEvent,
    SourceFacts,
};
use model::{Span, Timestamp};
use sqlx::PgConnection;

use crate::db::Ts;
use crate::{StoreError, overview, reader};

/// As many events and alerts are kept as a sample.
const SAMPLE: i64 = 5;
/// Maximum number of event types that are counted separately. The rest is counted together by
/// source and category, so that nothing is left out of a sum.
const TYPES_MAX: i64 = 500;

fn to_u64(n: i64) -> u64 {
    n.unsigned_abs()
}

/// Events since a time.
pub async fn events(conn: &mut PgConnection, since: Timestamp) -> Result<EventFacts, StoreError> {
    let rows = sqlx::query_file!("src/facts/event_types.sql", Ts(since) as Ts, TYPES_MAX)
        .fetch_all(&mut *conn)
        .await?;

    let types: Vec<EventType> = rows
        .into_iter()
        .map(|r| EventType {
            source: r.source,
            category: r.category,
            action: r.action,
            events: to_u64(r.events),
            with_user: to_u64(r.with_user),
            with_address: to_u64(r.with_address),
            refused: to_u64(r.refused),
            cui: to_u64(r.cui),
        })
        .collect();

    let oldest = sqlx::query_scalar!(
        r#"SELECT least((SELECT min(timestamp) FROM blueteam.audit_events),
                        (SELECT min(timestamp) FROM blueteam.log_events)) AS "oldest: Ts""#
    )
    .fetch_one(&mut *conn)
    .await?;
    let sample = sample_rows(conn, since, None).await?;
    let chain = match sample.iter().find_map(|e| e.user_id.clone()) {
        Some(user) => sample_rows(conn, since, Some(&user)).await?,
        None => Vec::new(),
    };

    Ok(EventFacts {
        total: types.iter().map(|t| t.events).sum(),
        types,
        oldest: oldest.map(|t| t.0),
        sample,
        chain,
    })
}

/// The newest events, of one user or of all.
async fn sample_rows(
    conn: &mut PgConnection,
    since: Timestamp,
    user: Option<&str>,
) -> Result<Vec<SampleEvent>, StoreError> {
    let user = user.and_then(|id| uuid::Uuid::try_parse(id).ok());
    let rows = sqlx::query_file!("src/facts/sample_events.sql", Ts(since) as Ts, user, SAMPLE)
        .fetch_all(conn)
        .await?;

    Ok(rows
        .into_iter()
        .map(|r| SampleEvent {
            event_id: r.event_id.to_string(),
            timestamp: r.timestamp.0,
            category: r.category,
            action: r.action,
            result: r.result,
            user_id: r.user_id.map(|id| id.to_string()),
            user_name: r.user_name,
            ip_address: r.ip,
            resource: r.resource.filter(|r| !r.is_empty()),
        })
        .collect())
}

/// The ledger.
pub async fn sources(
    conn: &mut PgConnection,
    since: Timestamp,
) -> Result<Vec<SourceFacts>, StoreError> {
    let rows = sqlx::query_file!("src/facts/sources.sql", Ts(since) as Ts)
        .fetch_all(conn)
        .await?;

    Ok(rows
        .into_iter()
        .map(|r| SourceFacts {
            source_id: r.source_id,
            last_received: r.last.map(|t| t.0),
            rejected: to_u64(r.rejected),
            open_gaps: to_u64(r.open),
            gaps: to_u64(r.gaps),
            skew_ms: r.skew_ms,
            kind: Some(r.kind),
            first_seen: Some(r.first.0),
            understood: Some(to_u64(r.understood)),
            unread: Some(to_u64(r.unread)),
        })
        .collect())
}

/// Whether the daemon's reader of that name reads the events.
pub async fn daemon(conn: &mut PgConnection, reader: &str) -> Result<DaemonFacts, StoreError> {
    let pulse = reader::pulse(conn, reader).await?;
    let unread_since = overview::lag(conn, reader)
        .await?
        .and_then(|lag| lag.oldest);
    Ok(DaemonFacts {
        running: pulse.held,
        pulse: pulse.beat_at,
        unread_since,
    })
}

/// The rights and the guards that the database really has.
pub async fn database(conn: &mut PgConnection) -> Result<DatabaseFacts, StoreError> {
    let row = sqlx::query_file!("src/facts/database.sql")
        .fetch_one(conn)
        .await?;

    Ok(DatabaseFacts {
        may_change: row.may_change,
        owners: Some(row.owners),
        unguarded: row.unguarded,
        superusers: row.superusers,
        managers: row.managers,
        readers: row.readers,
        password_encryption: row.password_encryption,
        ssl: row.ssl,
        checksums: row.checksums,
        listen_addresses: row.listen,
        version: row.version,
    })
}

/// Accounts and keys of the product.
pub async fn accounts(conn: &mut PgConnection, now: Timestamp) -> Result<AccountFacts, StoreError> {
    let idle = now.minus(Span::days(90));
    let active = sqlx::query!(
        r#"SELECT role, count(*) AS "n!" FROM users.users WHERE is_active GROUP BY role"#
    )
    .fetch_all(&mut *conn)
    .await?;

    // A hash says by its beginning what it is. What cannot be a hash of a password ("!", "*") lets
    // nobody in.
    let schemes = sqlx::query!(
        r#"SELECT password_kind AS "scheme!", count(*) AS "n!"
           FROM users.users
           WHERE password_kind IS NOT NULL
           GROUP BY 1"#
    )
    .fetch_all(&mut *conn)
    .await?;

    let row = sqlx::query_file!("src/facts/accounts.sql", Ts(now) as Ts, Ts(idle) as Ts)
        .fetch_one(&mut *conn)
        .await?;

    let keys = sqlx::query!(
        r#"SELECT
               count(*) AS "active!",
               count(*) FILTER (WHERE expires_at IS NULL) AS "without_end!",
               count(*) FILTER (WHERE coalesce(last_used, created_at) < $2) AS "idle!"
           FROM users.api_keys
           WHERE is_active AND (expires_at IS NULL OR expires_at > $1)"#,
        Ts(now) as Ts,
        Ts(idle) as Ts
    )
    .fetch_one(conn)
    .await?;
    Ok(AccountFacts {
        active: active.into_iter().map(|r| (r.role, to_u64(r.n))).collect(),
        schemes: schemes
            .into_iter()
            .map(|r| (r.scheme, to_u64(r.n)))
            .collect(),
        idle: to_u64(row.idle),
        locked: to_u64(row.locked),
        temporary_used: to_u64(row.temporary),
        changed: Some(to_u64(row.changed)),
        changed_without_history: Some(to_u64(row.forgotten)),
        keys: to_u64(keys.active),
        keys_without_end: to_u64(keys.without_end),
        keys_idle: to_u64(keys.idle),
    })
}

/// The rules, with when they last fired and were last proven. Monitors are none: a threshold needs
/// no proof.
pub async fn rules(conn: &mut PgConnection) -> Result<Vec<RuleFacts>, StoreError> {
    let rows = sqlx::query_file!("src/facts/rules.sql")
        .fetch_all(conn)
        .await?;

    Ok(rows
        .into_iter()
        .map(|r| RuleFacts {
            rule_id: r.rule_id,
            enabled: r.enabled,
            controls: r.controls,
            last_fired: r.fired.map(|t| t.0),
            last_proven: r.proven.map(|t| t.0),
            proof_failed: r.proof_failed,
            // What a rule looks at is not the database's to know.
            blind_to: None,
            partly_blind_to: Vec::new(),
            changed_parameters: Vec::new(),
        })
        .collect())
}

/// Alerts and deliveries since a time.
pub async fn alerts(conn: &mut PgConnection, since: Timestamp) -> Result<AlertFacts, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               severity,
               count(*) AS "n!",
               count(*) FILTER (WHERE acknowledged) AS "acknowledged!",
               count(*) FILTER (
                   WHERE rule_id IN ('audit_log_gap', 'audit_tampering')
               ) AS "failures!"
           FROM blueteam.alert_history
           WHERE created_at >= $1
           GROUP BY severity"#,
        Ts(since) as Ts
    )
    .fetch_all(&mut *conn)
    .await?;

    let deliveries = sqlx::query!(
        r#"SELECT channel || ' ' || state AS "what!", count(*) AS "n!"
           FROM blueteam.notifications
           WHERE created_at >= $1
           GROUP BY 1"#,
        Ts(since) as Ts
    )
    .fetch_all(&mut *conn)
    .await?;

    let sample = sqlx::query!(
        r#"SELECT alert_id, rule_id, severity, title, created_at AS "created_at: Ts"
           FROM blueteam.alert_history
           WHERE created_at >= $1
           ORDER BY created_at DESC, alert_id
           LIMIT $2"#,
        Ts(since) as Ts,
        SAMPLE
    )
    .fetch_all(&mut *conn)
    .await?;

    let silences = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM blueteam.silences
           WHERE starts_at <= now() AND ends_at > now()"#
    )
    .fetch_one(conn)
    .await?;

    Ok(AlertFacts {
        acknowledged: rows.iter().map(|r| to_u64(r.acknowledged)).sum(),
        audit_failures: rows.iter().map(|r| to_u64(r.failures)).sum(),
        by_severity: rows
            .into_iter()
            .map(|r| (r.severity, to_u64(r.n)))
            .collect(),
        deliveries: deliveries
            .into_iter()
            .map(|r| (r.what, to_u64(r.n)))
            .collect(),
        to_people: None,
        silences: Some(to_u64(silences)),
        sample: sample
            .into_iter()
            .map(|r| SampleAlert {
                alert_id: r.alert_id.to_string(),
                rule_id: r.rule_id.unwrap_or_default(),
                severity: r.severity,
                title: r.title,
                created_at: r.created_at.0,
            })
            .collect(),
    })
}

/// Incidents.
pub async fn incidents(conn: &mut PgConnection) -> Result<IncidentFacts, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               status,
               count(*) AS "n!",
               count(*) FILTER (WHERE dfars_reportable) AS "reportable!",
               count(*) FILTER (
                   WHERE status = 'closed' AND coalesce(root_cause, '') = ''
               ) AS "undocumented!"
           FROM blueteam.security_incidents
           GROUP BY status"#
    )
    .fetch_all(conn)
    .await?;
    Ok(IncidentFacts {
        closed_undocumented: rows.iter().map(|r| to_u64(r.undocumented)).sum(),
        reportable: rows.iter().map(|r| to_u64(r.reportable)).sum(),
        by_status: rows.into_iter().map(|r| (r.status, to_u64(r.n))).collect(),
    })
}

/// The compliance work since a time.
pub async fn programme(
    conn: &mut PgConnection,
    now: Timestamp,
    since: Timestamp,
) -> Result<ProgrammeFacts, StoreError> {
    let row = sqlx::query_file!("src/facts/program.sql", Ts(now) as Ts, Ts(since) as Ts)
        .fetch_one(&mut *conn)
        .await?;

    let assets =
        sqlx::query!(r#"SELECT category, count(*) AS "n!" FROM blueteam.assets GROUP BY category"#)
            .fetch_all(conn)
            .await?;
    Ok(ProgrammeFacts {
        objectives: to_u64(row.objectives),
        decided_in_a_year: to_u64(row.decided),
        not_met: to_u64(row.not_met),
        unplanned: to_u64(row.unplanned),
        plans_overdue: to_u64(row.overdue),
        plans_completed: to_u64(row.completed),
        checks_run: to_u64(row.checks),
        lapsed: to_u64(row.lapsed),
        queries: to_u64(row.queries),
        last_review: row.review.map(|t| t.0),
        assets: assets
            .into_iter()
            .map(|r| (r.category, to_u64(r.n)))
            .collect::<BTreeMap<_, _>>(),
        plan_approved: row.plan.map(|t| t.0),
    })
}

/// What the assessment is about, and which machines were heard since `since`. Which machine this
/// is, is not known here.
pub async fn inventory(
    conn: &mut PgConnection,
    now: Timestamp,
    since: Timestamp,
) -> Result<InventoryFacts, StoreError> {
    let row = sqlx::query_file!("src/facts/inventory.sql", Ts(now) as Ts)
        .fetch_one(&mut *conn)
        .await?;
    let heard = sqlx::query_file!(
        "src/facts/reporting_hosts.sql",
        Ts(now) as Ts,
        Ts(since) as Ts
    )
    .fetch_all(conn)
    .await?;
    let heard = heard
        .into_iter()
        .map(|row| (row.host, u16::try_from(row.days).unwrap_or(u16::MAX)));

    Ok(InventoryFacts {
        in_scope: row.in_scope,
        confirmed: row.confirmed.map(|at| at.0),
        this_host: None,
        reporting: Some(heard.collect()),
    })
}

/// Returns what is read of security advisories, and what became of their matches.
pub async fn advisories(
    conn: &mut PgConnection,
    now: Timestamp,
    since: Timestamp,
) -> Result<AdvisoryFacts, StoreError> {
    let feeds = sqlx::query!(
        r#"SELECT name, items, imported_at AS "read_at: Ts", failed IS NOT NULL AS "failed!"
           FROM blueteam.advisory_sources
           WHERE kind = 'feed' AND retired_at IS NULL
           ORDER BY name"#
    )
    .fetch_all(&mut *conn)
    .await?;
    let feeds = feeds.into_iter().map(|r| FeedFacts {
        name: r.name,
        items: to_u64(r.items),
        read_at: r.read_at.0,
        failed: r.failed,
    });

    let row = sqlx::query_file!("src/facts/advisories.sql", Ts(now) as Ts, Ts(since) as Ts)
        .fetch_one(conn)
        .await?;

    Ok(AdvisoryFacts {
        feeds: feeds.collect(),
        components: to_u64(row.components),
        open: to_u64(row.open),
        overdue: to_u64(row.overdue),
        answered: to_u64(row.answered),
    })
}
