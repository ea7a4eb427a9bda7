//! Writing rows that may be there already.

use model::TenantId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::AuditRow;

/// The batch as one array a column.
#[derive(Default)]
struct Columns {
    event_id: Vec<Uuid>,
    /// Microseconds since 1970. Multiplied with an interval they go through a double; split in two,
    /// they stay exact.
    timestamp: Vec<i64>,
    category: Vec<String>,
    action: Vec<String>,
    result: Vec<String>,
    user_id: Vec<Option<Uuid>>,
    session_id: Vec<Option<String>>,
    ip_address: Vec<Option<String>>,
    user_agent: Vec<Option<String>>,
    resource_type: Vec<Option<String>>,
    resource_id: Vec<Option<String>>,
    instance_id: Vec<Option<Uuid>>,
    cui_accessed: Vec<bool>,
    metadata: Vec<String>,
    tenant_id: Vec<Uuid>,
    /// The id instead, where another tenant's event has the row's.
    other_id: Vec<Uuid>,
}

impl Columns {
    fn of(rows: &[AuditRow<'_>]) -> Self {
        let mut columns = Self::default();
        for row in rows {
            let r = &row.record;
            let owned = |t: &Option<model::Text<'_>>| t.as_ref().map(ToString::to_string);
            columns.event_id.push(row.event_id);
            columns.timestamp.push(row.timestamp.as_micros());
            columns.category.push(r.category.to_string());
            columns.action.push(r.action.to_string());
            columns.result.push(r.result.to_string());
            columns.user_id.push(r.user_id);

            columns.session_id.push(owned(&r.session_id));
            columns
                .ip_address
                .push(r.ip_address.map(|ip| ip.to_string()));
            columns.user_agent.push(owned(&r.user_agent));
            columns.resource_type.push(owned(&r.resource_type));
            columns.resource_id.push(owned(&r.resource_id));
            columns.instance_id.push(r.instance_id);

            columns.cui_accessed.push(r.cui_accessed);
            let json = r.metadata.as_json();
            columns
                .metadata
                .push(if json.is_empty() { "{}" } else { json }.to_owned());
            columns.tenant_id.push(row.tenant.0);
            columns.other_id.push(row.other_id());
        }

        columns
    }
}

/// Writes the rows that are not there yet, whatever the table's key is; returns how many.
///
/// Where another tenant's event has the id and the time of a row, that is no duplicate: nobody may
/// keep another tenant's event out, or learn of it, by sending the same id. The row is written
/// under another id.
pub(super) async fn insert_ignoring_known(
    conn: &mut PgConnection,
    rows: &[AuditRow<'_>],
) -> Result<u64, sqlx::Error> {
    let columns = Columns::of(rows);
    let is_of_default = rows.iter().all(|row| row.tenant == TenantId::DEFAULT);
    let written = if is_of_default {
        columns.insert_for_default(conn).await?
    } else {
        columns.insert(conn, false).await?
    };
    if written == rows.len() as u64 {
        return Ok(written);
    }
    Ok(written + columns.insert(conn, true).await?)
}

impl Columns {
    /// Inserts the rows whose key is free, of the tenant that a row has which names none.
    async fn insert_for_default(&self, conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
        let done = sqlx::query_file!(
            "src/events/insert_ignoring_known.sql",
            &self.event_id,
            &self.timestamp,
            &self.category,
            &self.action,
            &self.result,
            &self.user_id as &[Option<Uuid>],
            &self.session_id as &[Option<String>],
            &self.ip_address as &[Option<String>],
            &self.user_agent as &[Option<String>],
            &self.resource_type as &[Option<String>],
            &self.resource_id as &[Option<String>],
            &self.instance_id as &[Option<Uuid>],
            &self.cui_accessed,
            &self.metadata,
        )
        .execute(conn)
        .await?;

        Ok(done.rows_affected())
    }

    /// Inserts the rows whose key is free; `taken`: those whose key is another tenant's, under
    /// their other id.
    async fn insert(&self, conn: &mut PgConnection, taken: bool) -> Result<u64, sqlx::Error> {
        let done = sqlx::query_file!(
            "src/events/insert_of_tenants.sql",
            &self.event_id,
            &self.timestamp,
            &self.category,
            &self.action,
            &self.result,
            &self.user_id as &[Option<Uuid>],
            &self.session_id as &[Option<String>],
            &self.ip_address as &[Option<String>],
            &self.user_agent as &[Option<String>],
            &self.resource_type as &[Option<String>],
            &self.resource_id as &[Option<String>],
            &self.instance_id as &[Option<Uuid>],
            &self.cui_accessed,
            &self.metadata,
            &self.tenant_id,
            &self.other_id,
            taken,
        )
        .execute(conn)
        .await?;

        Ok(done.rows_affected())
    }
}
