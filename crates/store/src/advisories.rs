//! Security advisories, the components in use, and where they match (3.14.3).
//!
//! What publishers say is everybody's, and is kept for the tenant `default`. Inventories, and what is
//! found in them, are those of the tenant that the connection works for.

mod matches;

use std::collections::BTreeMap;

use model::Actor;
use model::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::StoreError;
use crate::db::{Ts, set_actor};

pub use matches::{
    Decision, Filter, Found, Match, decide, matches, over, save_matches, told, untold,
};

/// Where advisories or components come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// `feed` or `inventory`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The file or address that it was read from.
    pub origin: String,
    /// SHA-256 of what was read, in hexadecimal.
    pub digest: String,
    /// How many advisories or components there were.
    pub items: i64,
    /// Who had it read.
    pub imported_by: String,
    /// When.
    pub imported_at: Timestamp,
    /// Why it could not be read since.
    pub failed: Option<String>,
    /// Of an inventory, how many of its components no feed can concern, by ecosystem or
    /// distribution.
    pub uncovered: BTreeMap<String, u64>,
    /// Who has done with it.
    pub retired_by: Option<String>,
    /// When.
    pub retired_at: Option<Timestamp>,
    /// Why.
    pub retired_reason: Option<String>,
}

/// What is to be noted of an import.
#[derive(Clone, Copy, Debug)]
pub struct Import<'a> {
    /// `feed` or `inventory`.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The file or address.
    pub origin: &'a str,
    /// SHA-256 of what was read, in hexadecimal.
    pub digest: &'a str,
    /// Who had it read.
    pub actor: &'a Actor,
}

/// An advisory as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAdvisory {
    /// The feed's format.
    pub feed: String,
    /// Its id.
    pub advisory_id: String,
    /// The id that all publishers know it by.
    pub vulnerability: String,
    /// Attackers use it.
    pub known_exploited: bool,
    /// Whether a feed lists it still.
    pub listed: bool,
    /// All of it.
    pub document: serde_json::Value,
}

/// A component as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StoredComponent {
    pub inventory: String,
    pub ecosystem: String,
    /// The distribution and its release, `debian:12`; empty where there is none.
    pub distribution: String,
    pub name: String,
    pub version: String,
}

/// Writes the advisories of a feed, all or none; what this feed said of them before is replaced,
/// and those that this feed listed before and lists no longer are withdrawn, unless another one
/// lists them. With `keep_others` nothing is withdrawn. Must run in a transaction.
pub async fn save_advisories(
    conn: &mut PgConnection,
    import: Import<'_>,
    advisories: &[StoredAdvisory],
    keep_others: bool,
) -> Result<(), StoreError> {
    set_actor(conn, import.actor).await?;
    if !keep_others {
        sqlx::query!(
            "DELETE FROM blueteam.advisory_listings WHERE source = $1",
            import.name
        )
        .execute(&mut *conn)
        .await?;
    }

    // In pieces: one statement with a hundred megabytes of parameters would be refused.
    for piece in advisories.chunks(500) {
        let text = |of: fn(&StoredAdvisory) -> &String| {
            piece.iter().map(|a| of(a).clone()).collect::<Vec<_>>()
        };
        let exploited: Vec<bool> = piece.iter().map(|a| a.known_exploited).collect();
        let documents: Vec<serde_json::Value> = piece.iter().map(|a| a.document.clone()).collect();

        // What other feeds say of them stands in the table so far, and is about to be overwritten.
        sqlx::query!(
            "UPDATE blueteam.advisory_listings l
             SET
                 vulnerability = a.vulnerability,
                 known_exploited = a.known_exploited,
                 document = a.document
             FROM unnest(
                 $1::text[], $2::text[], $3::bool[], $4::jsonb[]
             ) AS n (feed, id, exploited, document)
             JOIN blueteam.advisories a ON (a.feed, a.advisory_id) = (n.feed, n.id)
             WHERE (l.feed, l.advisory_id) = (n.feed, n.id)
               AND l.document IS NULL
               AND (a.document, a.known_exploited) IS DISTINCT FROM (n.document, n.exploited)",
            &text(|a| &a.feed),
            &text(|a| &a.advisory_id),
            &exploited,
            &documents
        )
        .execute(&mut *conn)
        .await?;

        sqlx::query!(
            "INSERT INTO blueteam.advisories AS a (
                 feed, advisory_id, vulnerability, known_exploited, document
             )
             SELECT DISTINCT ON (feed, id) feed, id, vulnerability, exploited, document
             FROM unnest(
                 $1::text[], $2::text[], $3::text[], $4::bool[], $5::jsonb[]
             ) AS n (feed, id, vulnerability, exploited, document)
             ON CONFLICT (feed, advisory_id) DO UPDATE
             SET
                 vulnerability = excluded.vulnerability,
                 known_exploited = excluded.known_exploited,
                 document = excluded.document,
                 updated_at = now()
             WHERE a.document IS DISTINCT FROM excluded.document
                OR a.known_exploited <> excluded.known_exploited",
            &text(|a| &a.feed),
            &text(|a| &a.advisory_id),
            &text(|a| &a.vulnerability),
            &exploited,
            &documents
        )
        .execute(&mut *conn)
        .await?;

        sqlx::query_file!(
            "src/advisories/insert_listings.sql",
            import.name,
            &text(|a| &a.feed),
            &text(|a| &a.advisory_id),
            &text(|a| &a.vulnerability),
            &exploited,
            &documents
        )
        .execute(&mut *conn)
        .await?;
    }

    settle_matches(conn).await?;
    note_import(conn, import, advisories.len()).await?;
    forget_the_time_before(conn).await
}

/// Of advisories of which feeds say different things, puts into force what weighs most: that
/// attackers use it, then the severity, then the newest.
async fn settle_matches(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query_file!("src/advisories/choose_documents.sql")
        .execute(conn)
        .await?;

    Ok(())
}

/// Once every feed has been read with its listings, what none of them lists is withdrawn.
async fn forget_the_time_before(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE blueteam.advisories
         SET unlisted_before = false
         WHERE unlisted_before
           AND NOT EXISTS (
               SELECT
               FROM blueteam.advisory_sources s
               WHERE s.kind = 'feed'
                 AND s.items > 0
                 AND s.retired_at IS NULL
                 AND s.digest = repeat('0', 64)
           )"
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Takes a feed or an inventory out of use: what it listed is withdrawn, what ran is gone, and the
/// row stays. False when there is none of that name that is in use. Must run in a transaction.
pub async fn retire(
    conn: &mut PgConnection,
    actor: &Actor,
    kind: &str,
    name: &str,
    reason: &str,
) -> Result<bool, StoreError> {
    set_actor(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE blueteam.advisory_sources
         SET
             retired_by = $3, retired_at = now(), retired_reason = $4, digest = repeat('0', 64),
             failed = NULL, failed_at = NULL
         WHERE tenant_id = (SELECT blueteam.tenant_of_new())
           AND kind = $1
           AND name = $2
           AND retired_at IS NULL",
        kind,
        name,
        actor.to_string(),
        reason
    )
    .execute(&mut *conn)
    .await?;

    if done.rows_affected() == 0 {
        return Ok(false);
    }

    if kind == "feed" {
        sqlx::query!(
            "DELETE FROM blueteam.advisory_listings WHERE source = $1",
            name
        )
        .execute(&mut *conn)
        .await?;
        settle_matches(conn).await?;
        forget_the_time_before(conn).await?;
    } else {
        delete_components(conn, name).await?;
    }

    Ok(true)
}

async fn delete_components(conn: &mut PgConnection, inventory: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM blueteam.components
         WHERE tenant_id = (SELECT blueteam.tenant_of_new()) AND inventory = $1",
        inventory
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Replaces the components of an inventory. Must run in a transaction.
pub async fn save_components(
    conn: &mut PgConnection,
    import: Import<'_>,
    components: &[StoredComponent],
) -> Result<(), StoreError> {
    set_actor(conn, import.actor).await?;
    delete_components(conn, import.name).await?;

    let column = |of: fn(&StoredComponent) -> &String| {
        components.iter().map(|c| of(c).clone()).collect::<Vec<_>>()
    };
    sqlx::query!(
        "INSERT INTO blueteam.components (inventory, ecosystem, distribution, name, version)
         SELECT $1, e, d, n, v
         FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS c (e, d, n, v)
         ON CONFLICT DO NOTHING",
        import.name,
        &column(|c| &c.ecosystem),
        &column(|c| &c.distribution),
        &column(|c| &c.name),
        &column(|c| &c.version)
    )
    .execute(&mut *conn)
    .await?;

    note_import(conn, import, components.len()).await
}

async fn note_import(
    conn: &mut PgConnection,
    import: Import<'_>,
    items: usize,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO blueteam.advisory_sources (kind, name, origin, digest, items, imported_by)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, kind, name) DO UPDATE
         SET
             origin = excluded.origin, digest = excluded.digest, items = excluded.items,
             imported_by = excluded.imported_by, imported_at = now(), failed = NULL,
             failed_at = NULL, retired_by = NULL, retired_at = NULL, retired_reason = NULL",
        import.kind,
        import.name,
        import.origin,
        import.digest,
        items as i64,
        import.actor.to_string()
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Notes that what was read is what was read before. False when it is not.
pub async fn unchanged(
    conn: &mut PgConnection,
    kind: &str,
    name: &str,
    digest: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE blueteam.advisory_sources SET imported_at = now(), failed = NULL, failed_at = NULL
          WHERE tenant_id = (SELECT blueteam.tenant_of_new())
            AND kind = $1
            AND name = $2
            AND digest = $3",
        kind,
        name,
        digest
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a source could not be read. What it said before stays.
pub async fn note_failure(
    conn: &mut PgConnection,
    import: Import<'_>,
    why: &str,
) -> Result<(), StoreError> {
    let why: String = why.chars().take(2000).collect();
    sqlx::query!(
        "INSERT INTO blueteam.advisory_sources (
             kind, name, origin, digest, items, imported_by, failed, failed_at
         )
         VALUES ($1, $2, $3, repeat('0', 64), 0, $4, $5, now())
         ON CONFLICT (tenant_id, kind, name) DO UPDATE
         SET failed = excluded.failed, failed_at = excluded.failed_at",
        import.kind,
        import.name,
        import.origin,
        import.actor.to_string(),
        why
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Writes how many components of each inventory no feed can concern, by ecosystem or distribution.
pub async fn save_uncovered(
    conn: &mut PgConnection,
    by_inventory: &BTreeMap<String, BTreeMap<String, u64>>,
) -> Result<(), StoreError> {
    let counts = serde_json::to_value(by_inventory)?;
    sqlx::query!(
        "UPDATE blueteam.advisory_sources
         SET uncovered = coalesce($1::jsonb -> name, '{}')
         WHERE tenant_id = (SELECT blueteam.tenant_of_new())
           AND kind = 'inventory'
           AND uncovered IS DISTINCT FROM coalesce($1::jsonb -> name, '{}')",
        counts
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Where everything comes from, by kind and name: every feed, and the tenant's inventories.
pub async fn origins(conn: &mut PgConnection) -> Result<Vec<Origin>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               kind, name, origin, digest, items, imported_by, imported_at AS "imported_at: Ts",
               failed, uncovered AS "uncovered: Json<BTreeMap<String, u64>>", retired_by,
               retired_at AS "retired_at: Ts", retired_reason
           FROM blueteam.advisory_sources
           WHERE tenant_id = (SELECT blueteam.tenant_of_new()) OR kind = 'feed'
           ORDER BY kind, name"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Origin {
            kind: r.kind,
            name: r.name,
            origin: r.origin,
            digest: r.digest,
            items: r.items,
            imported_by: r.imported_by,
            imported_at: r.imported_at.0,
            failed: r.failed,
            uncovered: r.uncovered.0,
            retired_by: r.retired_by,
            retired_at: r.retired_at.map(|at| at.0),
            retired_reason: r.retired_reason,
        })
        .collect())
}

/// Returns every component that the tenant uses.
pub async fn components(conn: &mut PgConnection) -> Result<Vec<StoredComponent>, StoreError> {
    let rows = sqlx::query_as!(
        StoredComponent,
        "SELECT inventory, ecosystem, distribution, name, version
         FROM blueteam.components
         WHERE tenant_id = (SELECT blueteam.tenant_of_new())
         ORDER BY inventory, ecosystem, distribution, name, version"
    );
    Ok(rows.fetch_all(conn).await?)
}

/// The stored advisories that a feed lists after a place, about so many, in the order of their
/// place; the first ones without a place. Where feeds say different things of one, each of them:
/// what concerns us by any of them concerns us. All of one place come together.
pub async fn page(
    conn: &mut PgConnection,
    after: Option<(&str, &str)>,
    limit: u32,
) -> Result<Vec<StoredAdvisory>, StoreError> {
    let (feed, id) = after.unwrap_or_default();
    let rows = sqlx::query_file_as!(
        StoredAdvisory,
        "src/advisories/advisories_page.sql",
        feed,
        id,
        i64::from(limit)
    );

    Ok(rows.fetch_all(conn).await?)
}

/// What attackers are known to use, by the ids that all publishers know.
pub async fn exploited(conn: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT DISTINCT vulnerability
         FROM blueteam.advisories a
         WHERE known_exploited
           AND (
               unlisted_before
               OR EXISTS (
                   SELECT
                   FROM blueteam.advisory_listings l
                   WHERE l.feed = a.feed AND l.advisory_id = a.advisory_id
               )
           )"
    );
    Ok(ids.fetch_all(conn).await?)
}

/// What is stored of a vulnerability or an advisory, by whoever published it.
pub async fn about(conn: &mut PgConnection, id: &str) -> Result<Vec<StoredAdvisory>, StoreError> {
    let rows = sqlx::query_as!(
        StoredAdvisory,
        r#"SELECT
               feed,
               advisory_id,
               vulnerability,
               known_exploited,
               unlisted_before OR EXISTS (
                   SELECT
                   FROM blueteam.advisory_listings l
                   WHERE l.feed = a.feed AND l.advisory_id = a.advisory_id
               ) AS "listed!",
               document
           FROM blueteam.advisories a
           WHERE vulnerability = $1 OR advisory_id = $1
           ORDER BY feed, advisory_id"#,
        id
    );
    Ok(rows.fetch_all(conn).await?)
}
