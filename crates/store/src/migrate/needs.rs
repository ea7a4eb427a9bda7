//! Whether this login can run the pending migrations to their end.

use sqlx::PgConnection;

use super::{Lacking, MigrationError};
use crate::StoreError;

/// Roles that the login must be able to become: the first owns functions, the daemon works as the
/// others.
const BECOMES: [&str; 5] = [
    "audit_retention",
    "blueteam_engine",
    "blueteam_ingest",
    "blueteam_admin",
    "blueteam_accounts",
];
/// All roles that migrations make where they are missing.
const ROLES: [&str; 7] = [
    "eqmon_audit_writer",
    "blueteam_reader",
    "blueteam_admin",
    "blueteam_ingest",
    "blueteam_engine",
    "blueteam_accounts",
    "audit_retention",
];

/// Refuses when something is missing, before anything is changed. `base`: roles and schemas are
/// still to be made; `adopts`: so is the table of audit events, unless an application made it.
pub(super) async fn check(
    conn: &mut PgConnection,
    base: bool,
    adopts: bool,
) -> Result<(), StoreError> {
    let needs: Vec<(String, bool)> = sqlx::query_as(include_str!("needs.sql"))
        .bind(BECOMES.as_slice())
        .bind(ROLES.as_slice())
        .bind(base)
        .fetch_all(&mut *conn)
        .await?;

    if needs.iter().any(|(_, required)| *required) {
        let (login, owner) = sqlx::query_as(
            "SELECT
                 current_user::text,
                 (
                     SELECT r.rolname::text
                     FROM pg_namespace n
                     JOIN pg_roles r ON r.oid = n.nspowner
                     WHERE n.nspname = 'blueteam' AND r.rolname <> current_user AND r.rolcanlogin
                 )",
        )
        .fetch_one(conn)
        .await?;
        let statements = needs.into_iter().map(|(statement, _)| statement).collect();
        let lacking = Lacking {
            login,
            owner,
            statements,
        };
        return Err(MigrationError::Lacking(lacking).into());
    }

    if adopts {
        check_table(conn).await
    } else {
        Ok(())
    }
}

/// Refuses a table that is there and cannot be given our columns.
async fn check_table(conn: &mut PgConnection) -> Result<(), StoreError> {
    let found: Option<(bool, bool)> = sqlx::query_as(
        "SELECT
             c.relkind = 'r'
             AND NOT EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
             NOT EXISTS (
                 SELECT
                 FROM pg_attribute a
                 WHERE a.attrelid = c.oid
                   AND a.attname IN ('seq', 'xact_id')
                   AND NOT a.attisdropped
             )
         FROM pg_class c
         WHERE c.oid = to_regclass('public.audit_events')",
    )
    .fetch_optional(conn)
    .await?;

    match found {
        Some((false, _)) => {
            Err(MigrationError::Unadoptable("it is partitioned, inherited or not a table").into())
        }
        Some((_, false)) => Err(MigrationError::Unadoptable(
            "it has columns named seq or xact_id, which blueteam adds",
        )
        .into()),
        _ => Ok(()),
    }
}
