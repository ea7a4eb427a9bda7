//! The right to read events as a reader of that name: one connection has it at a time.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;

/// Takes the right to read as `name`, or renews it; false when another connection has it. It ends
/// with the connection. `holder` tells connections apart, and is chosen at random for each.
///
/// A lease and not a lock: a row lock would keep a transaction open for days, which holds up
/// vacuum, and an advisory lock can be taken by any login, which would keep the reader out without
/// a trace. Only the engine's role may write leases. A holder whose backend or server is gone has
/// lost the right at once; one that is connected but has not renewed for two minutes hangs, and
/// what it would still write fails on the version of the cursor.
pub async fn claim(conn: &mut PgConnection, name: &str, holder: Uuid) -> Result<bool, StoreError> {
    let claimed = sqlx::query!(
        "INSERT INTO blueteam.reader_leases AS l (name, holder, backend_pid)
         VALUES ($1, $2, pg_backend_pid())
         ON CONFLICT (name) DO UPDATE
         SET
             holder = excluded.holder, backend_pid = excluded.backend_pid,
             renewed_at = clock_timestamp()
         WHERE (l.holder, l.backend_pid) = (excluded.holder, excluded.backend_pid)
            OR l.renewed_at < clock_timestamp() - interval '2 minutes'
            OR l.renewed_at < pg_postmaster_start_time()
            OR NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.backend_pid)",
        name,
        holder
    )
    .execute(conn)
    .await?;

    Ok(claimed.rows_affected() == 1)
}
