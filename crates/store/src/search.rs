//! The stored events, asked by people (3.3.6): what applications and logs said, by who, where, what
//! and when.
//!
//! Statements are put together from the filters that are set, so that the planner sees no more than
//! it must and takes the index that serves; every value is bound. What is asked is recorded before
//! it is answered.

use std::str::FromStr;

use futures_util::TryStreamExt as _;
use model::Actor;
use model::{Category, Outcome, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::types::ipnetwork::IpNetwork;
use sqlx::{Connection as _, PgConnection, Postgres, QueryBuilder, Row as _};
use uuid::Uuid;

use crate::db::{Ts, begin};
use crate::{Before, StoreError};

/// An address, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range(IpNetwork);

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Range {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |_| format!("`{text}` is neither an address nor a network (203.0.113.0/24)");
        let range: IpNetwork = text.parse().map_err(bad)?;
        IpNetwork::new(range.network(), range.prefix())
            .map(Self)
            .map_err(bad)
    }
}

impl Serialize for Range {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Which events; everything that is not set matches all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Filter {
    /// At or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// A user's id, or the name that an application or a log gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// An address, or a network of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Range>,
    /// Of this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// This action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    /// `audit_db`, or the kind of log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `metadata.service`: which application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Of this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The machine that logged it; case does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The file, journal or listener that it came through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// The address, or a network of them, that sent it to a listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Range>,
    /// Only those that touched CUI.
    pub cui: bool,
    /// Text anywhere in metadata, resource, user agent, machine, program or raw line; case does not
    /// count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// One of these; empty for any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<Uuid>,
    /// After this one in a list that shows the newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
}

/// An event as people look at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Its id.
    pub event_id: Uuid,
    /// When it happened.
    pub timestamp: Timestamp,
    /// `audit_db`, or the kind of log.
    pub source: String,
    /// What it is about.
    pub category: String,
    /// What was done.
    pub action: String,
    /// How it ended.
    pub result: String,
    /// Who, as an id.
    pub user_id: Option<Uuid>,
    /// Who acted, or tried to log in, as a name.
    pub user_name: Option<String>,
    /// The account that was acted upon.
    pub target: Option<String>,
    /// In which session.
    pub session_id: Option<String>,
    /// From where.
    pub ip_address: Option<String>,
    /// With what.
    pub user_agent: Option<String>,
    /// To what kind of thing.
    pub resource_type: Option<String>,
    /// To which.
    pub resource_id: Option<String>,
    /// The tenant.
    pub instance_id: Option<Uuid>,
    /// Whether CUI was touched.
    pub cui_accessed: bool,
    /// The same by its earlier name.
    pub cui: bool,
    /// The rest.
    pub metadata: Value,
    /// Where it was, of an event of a log.
    #[serde(flatten)]
    pub place: Place,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// Where an event of a log was; see [`model::event::Provenance`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file, journal or listener.
    pub source_id: Option<String>,
    /// The machine that logged it.
    pub host: Option<String>,
    /// The program that logged it.
    pub program: Option<String>,
    /// Its process ID.
    pub pid: Option<i64>,
    /// The syslog facility.
    pub facility: Option<String>,
    /// The address that sent it to a listener.
    pub peer: Option<String>,
    /// The line, with secrets masked.
    pub raw: Option<String>,
}

const SELECT: &str = "
    SELECT
        event_id, timestamp, source, category, action, result, user_id, user_name, target, session_id,
        host(ip_address) AS ip, user_agent, resource_type, resource_id, instance_id,
        coalesce(cui_accessed, false) AS cui, coalesce(metadata, '{}') AS metadata, created_at,
        source_id, host, program, pid, facility, host(peer) AS peer, raw
    FROM blueteam.all_events
    WHERE true";

fn decode_found(row: &PgRow) -> Result<Found, sqlx::Error> {
    Ok(Found {
        event_id: row.try_get("event_id")?,
        timestamp: row.try_get::<Ts, _>("timestamp")?.0,
        source: row.try_get("source")?,
        category: row.try_get("category")?,
        action: row.try_get("action")?,
        result: row.try_get("result")?,
        user_id: row.try_get("user_id")?,
        user_name: row.try_get("user_name")?,
        target: row.try_get("target")?,
        session_id: row.try_get("session_id")?,
        ip_address: row.try_get("ip")?,
        user_agent: row.try_get("user_agent")?,
        resource_type: row.try_get("resource_type")?,
        resource_id: row.try_get("resource_id")?,
        instance_id: row.try_get("instance_id")?,
        cui_accessed: row.try_get("cui")?,
        cui: row.try_get("cui")?,
        metadata: row.try_get("metadata")?,
        place: Place {
            source_id: row.try_get("source_id")?,
            host: row.try_get("host")?,
            program: row.try_get("program")?,
            pid: row.try_get("pid")?,
            facility: row.try_get("facility")?,
            peer: row.try_get("peer")?,
            raw: row.try_get("raw")?,
        },
        created_at: row.try_get::<Ts, _>("created_at")?.0,
    })
}

/// `%` and `_` mean themselves.
fn escape_like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }

    pattern.push('%');
    pattern
}

fn push_conditions(sql: &mut QueryBuilder<Postgres>, f: &Filter) {
    if let Some(since) = f.since {
        sql.push(" AND timestamp >= ").push_bind(Ts(since));
    }

    if let Some(before) = f.before {
        sql.push(" AND (timestamp, event_id) < (")
            .push_bind(Ts(before.at))
            .push(", ")
            .push_bind(before.id)
            .push(")");
    }

    if let Some(until) = f.until {
        sql.push(" AND timestamp < ").push_bind(Ts(until));
    }

    match f.user.as_deref().map(|user| (user, Uuid::try_parse(user))) {
        Some((_, Ok(id))) => sql.push(" AND user_id = ").push_bind(id),
        Some((name, Err(_))) => sql
            .push(" AND (user_name = ")
            .push_bind(name.to_owned())
            .push(" OR target = ")
            .push_bind(name.to_owned())
            .push(")"),
        None => sql,
    };

    for (column, range) in [("ip_address", f.ip), ("peer", f.peer)] {
        let Some(Range(ip)) = range else { continue };
        let whole = ip.prefix() == if ip.is_ipv4() { 32 } else { 128 };
        sql.push(" AND ").push(column);
        sql.push(if whole { " = " } else { " <<= " }).push_bind(ip);
    }

    if let Some(host) = &f.host {
        sql.push(" AND lower(host) = ")
            .push_bind(host.to_lowercase());
    }

    if let Some(category) = f.category {
        sql.push(" AND category = ").push_bind(category.as_str());
    }

    if let Some(result) = f.result {
        sql.push(" AND result = ").push_bind(result.as_str());
    }

    let equal = [
        (" AND action = ", &f.action),
        (" AND source = ", &f.source),
        (" AND session_id = ", &f.session),
        (" AND source_id = ", &f.source_id),
    ];
    for (condition, value) in equal {
        if let Some(value) = value {
            sql.push(condition).push_bind(value.clone());
        }
    }

    if let Some(service) = &f.service {
        sql.push(" AND metadata ->> 'service' = ")
            .push_bind(service.clone());
    }

    if !f.ids.is_empty() {
        sql.push(" AND event_id = ANY(")
            .push_bind(f.ids.clone())
            .push(")");
    }

    if f.cui {
        sql.push(" AND cui_accessed");
    }

    if let Some(text) = &f.text {
        sql.push(" AND (metadata::text ILIKE ")
            .push_bind(escape_like(text));
        sql.push(
            " OR concat_ws(' ', resource_type, resource_id, user_agent, host, program, raw) ILIKE ",
        )
        .push_bind(escape_like(text));
        sql.push(")");
    }
}

/// Which comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The newest.
    Newest,
    /// The oldest: as it happened.
    Oldest,
}

/// What the events are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A few of them.
    Search,
    /// Those that come from now on.
    Tail,
    /// How many.
    Stats,
    /// All of them.
    Export,
}

impl Command {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Tail => "tail",
            Self::Stats => "stats",
            Self::Export => "export",
        }
    }
}

/// Records who asks what; to be committed before the answer is given. Returns the record's number.
pub async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    command: Command,
    filter: &Value,
) -> Result<i64, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let id = sqlx::query_scalar!(
        "INSERT INTO blueteam.event_searches (actor, command, filter)
         VALUES ($1, $2, $3)
         RETURNING query_id",
        actor.to_string(),
        command.as_str(),
        filter
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(id)
}

/// Records how many rows the answer had. A query without this was broken off, or is not answered
/// yet.
pub async fn answered(conn: &mut PgConnection, query: i64, rows: u64) -> Result<(), StoreError> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    sqlx::query!(
        "INSERT INTO blueteam.event_search_results (query_id, rows) VALUES ($1, $2)",
        query,
        rows
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// A query that somebody made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Asked {
    /// When.
    pub asked_at: Timestamp,
    /// Who, as they said.
    pub actor: String,
    /// With which database login.
    pub login: String,
    /// `search`, `tail`, `stats`, `export`.
    pub command: String,
    /// For what.
    pub filter: Value,
    /// How many rows they saw; none when it was broken off or lasts.
    pub rows: Option<i64>,
}

/// The newest queries first, at most `limit`.
pub async fn asked(conn: &mut PgConnection, limit: u32) -> Result<Vec<Asked>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT asked_at AS "asked_at: Ts", actor, login, command, filter, a.rows AS "rows?"
             FROM blueteam.event_searches LEFT JOIN blueteam.event_search_results a USING (query_id)
            ORDER BY query_id DESC LIMIT $1"#,
        i64::from(limit)
    )
    .fetch_all(conn)
    .await?;
    let asked = rows.into_iter().map(|r| Asked {
        asked_at: r.asked_at.0,
        actor: r.actor,
        login: r.login,
        command: r.command,
        filter: r.filter,
        rows: r.rows,
    });

    Ok(asked.collect())
}

/// Hands each matching event to `each`, as they come from the server, until it says that it wants
/// no more; memory stays bounded. A `limit` of none is all of them. Returns how many were handed
/// over.
pub async fn events(
    conn: &mut PgConnection,
    filter: &Filter,
    order: Order,
    limit: Option<u32>,
    mut each: impl FnMut(Found) -> bool,
) -> Result<u64, StoreError> {
    let mut sql = QueryBuilder::new(SELECT);
    push_conditions(&mut sql, filter);
    sql.push(match order {
        Order::Newest => " ORDER BY timestamp DESC, event_id DESC",
        Order::Oldest => " ORDER BY timestamp, event_id",
    });

    if let Some(limit) = limit {
        sql.push(" LIMIT ").push_bind(i64::from(limit));
    }

    let mut count = 0;
    let query = sql.build().persistent(false);
    let mut rows = query.fetch(conn);
    while let Some(row) = rows.try_next().await? {
        count += 1;
        if !each(decode_found(&row)?) {
            break;
        }
    }

    Ok(count)
}

/// Counts matching events from a time on, up to `most`.
pub async fn count_from(
    conn: &mut PgConnection,
    filter: &Filter,
    from: Timestamp,
    most: u32,
) -> Result<u64, StoreError> {
    let mut sql =
        QueryBuilder::new("SELECT count(*) FROM (SELECT FROM blueteam.all_events WHERE true");
    let filter = Filter {
        since: Some(from),
        until: None,
        ..filter.clone()
    };
    push_conditions(&mut sql, &filter);
    sql.push(" LIMIT ")
        .push_bind(i64::from(most))
        .push(") AS ahead");
    let count: i64 = sql
        .build_query_scalar()
        .persistent(false)
        .fetch_one(conn)
        .await?;

    Ok(count.unsigned_abs())
}

/// What events can be counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    sql: &'static str,
}

/// Everything that events can be counted by.
pub const FIELDS: &[Field] = &[
    Field {
        name: "hour",
        sql: "to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:00\"Z\"')",
    },
    Field {
        name: "day",
        sql: "to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    },
    Field {
        name: "source",
        sql: "source",
    },
    Field {
        name: "host",
        sql: "host",
    },
    Field {
        name: "program",
        sql: "program",
    },
    Field {
        name: "source_id",
        sql: "source_id",
    },
    Field {
        name: "peer",
        sql: "host(peer)",
    },
    Field {
        name: "target",
        sql: "target",
    },
    Field {
        name: "service",
        sql: "metadata ->> 'service'",
    },
    Field {
        name: "category",
        sql: "category",
    },
    Field {
        name: "action",
        sql: "action",
    },
    Field {
        name: "result",
        sql: "result",
    },
    Field {
        name: "user",
        sql: "coalesce(user_id::text, user_name)",
    },
    Field {
        name: "ip",
        sql: "host(ip_address)",
    },
    Field {
        name: "session",
        sql: "session_id",
    },
    Field {
        name: "resource",
        sql: "concat_ws(' ', resource_type, resource_id)",
    },
    Field {
        name: "tenant",
        sql: "instance_id::text",
    },
    Field {
        name: "cui",
        sql: "CASE WHEN cui_accessed THEN 'yes' ELSE 'no' END",
    },
];

/// A number among an event's details that can be summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Bytes of an export or a response.
    Bytes,
    /// Milliseconds that a request took.
    Duration,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Bytes, Self::Duration];

    /// The detail's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Duration => "duration_ms",
        }
    }
}

/// What the measured number is over the events that have one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// How many of the events have the number.
    pub events: i64,
    /// Its sum.
    pub total: f64,
    /// Its mean.
    pub mean: f64,
    /// What 95 of 100 events do not exceed.
    pub p95: f64,
    /// The largest.
    pub max: f64,
}

/// How many events share these values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Count {
    /// The values, in the order of the fields that were asked for; none where an event has none.
    pub values: Vec<Option<String>>,
    /// How many.
    pub events: i64,
    /// What was to be measured; none where no event has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

/// Counts by one or two fields, at most `limit`: the most first, or the largest sum of `measure`.
pub async fn stats(
    conn: &mut PgConnection,
    filter: &Filter,
    by: &[Field],
    measure: Option<Measure>,
    limit: u32,
) -> Result<Vec<Count>, StoreError> {
    let mut sql = QueryBuilder::new("SELECT ARRAY[");
    for (i, field) in by.iter().enumerate() {
        sql.push(if i == 0 { "" } else { ", " }).push(field.sql);
    }

    sql.push("]::text[] AS values, count(*) AS events");
    if let Some(measure) = measure {
        // A detail is what a sender wrote: numbers that are none, or explode, are left out.
        sql.push(
            ", count(number) AS measured, sum(number) AS total, avg(number) AS mean,
               percentile_cont(0.95) WITHIN GROUP (ORDER BY number) AS p95, max(number) AS max
             FROM (SELECT *, CASE WHEN metadata ->> ",
        )
        .push_bind(measure.name())
        .push(" ~ '^[0-9]{1,15}([.][0-9]{1,15})?$' THEN (metadata ->> ")
        .push_bind(measure.name())
        .push(")::float8 END AS number FROM blueteam.all_events) AS measured WHERE true");
    } else {
        sql.push(" FROM blueteam.all_events WHERE true");
    }
    push_conditions(&mut sql, filter);
    sql.push(" GROUP BY 1 ORDER BY ")
        .push(if measure.is_some() {
            "total DESC NULLS LAST, "
        } else {
            ""
        })
        .push("2 DESC, 1 LIMIT ")
        .push_bind(i64::from(limit));
    let rows = sql.build().persistent(false).fetch_all(conn).await?;

    let measured = |row: &PgRow| -> Result<Option<Measured>, sqlx::Error> {
        let events: i64 = row.try_get("measured")?;
        if events == 0 {
            return Ok(None);
        }
        Ok(Some(Measured {
            events,
            total: row.try_get("total")?,
            mean: row.try_get("mean")?,
            p95: row.try_get("p95")?,
            max: row.try_get("max")?,
        }))
    };
    let count = |row: &PgRow| {
        Ok(Count {
            values: row.try_get("values")?,
            events: row.try_get("events")?,
            measured: measure.map(|_| measured(row)).transpose()?.flatten(),
        })
    };

    Ok(rows.iter().map(count).collect::<Result<_, sqlx::Error>>()?)
}

/// Follows events as they become visible: each once, in whatever order writers commit (decision 8
/// of the design).
#[derive(Debug)]
pub struct Tail {
    snapshot: String,
}

impl Tail {
    /// From now on.
    pub async fn begin(conn: &mut PgConnection) -> Result<Self, StoreError> {
        let snapshot = sqlx::query_scalar!(r#"SELECT pg_current_snapshot()::text AS "snapshot!""#)
            .fetch_one(conn)
            .await?;
        Ok(Self { snapshot })
    }

    /// Hands out what became visible since the last time, oldest first, as it comes from the
    /// server; memory stays bounded, however much that is. When `each` wants no more, the next time
    /// begins where this one did.
    pub async fn next(
        &mut self,
        conn: &mut PgConnection,
        filter: &Filter,
        mut each: impl FnMut(Found) -> bool,
    ) -> Result<(), StoreError> {
        let mut tx = conn.begin().await?;
        sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .execute(&mut *tx)
            .await?;
        let next = sqlx::query_scalar!(r#"SELECT pg_current_snapshot()::text AS "snapshot!""#)
            .fetch_one(&mut *tx)
            .await?;
        let mut sql = QueryBuilder::new(SELECT);
        push_conditions(&mut sql, filter);

        sql.push(" AND xact_id >= pg_snapshot_xmin(")
            .push_bind(self.snapshot.clone())
            .push("::pg_snapshot)");
        sql.push(" AND NOT pg_visible_in_snapshot(xact_id, ")
            .push_bind(self.snapshot.clone())
            .push("::pg_snapshot)");
        sql.push(" ORDER BY timestamp, event_id");

        let query = sql.build().persistent(false);
        let mut rows = query.fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            if !each(decode_found(&row)?) {
                return Ok(());
            }
        }

        drop(rows);
        tx.commit().await?;
        self.snapshot = next;

        Ok(())
    }
}
