//! Where alerts are told, and what keeps them quiet: for each tenant by itself.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use app::alert_routing::AlertRouter;
use model::{TenantId, Timestamp};
use notify::Silences;
use store::PgConnection;
use store::tenants::Tenant;

use super::{NEVER, Options, STALE_NEWS};

/// The silences of each tenant that count now or later. Leaves the connection working for
/// `default`.
pub(super) async fn silences_of(
    conn: &mut PgConnection,
    tenants: &[TenantId],
    now: Timestamp,
) -> anyhow::Result<BTreeMap<TenantId, Silences>> {
    let mut silences = BTreeMap::new();
    for tenant in tenants {
        store::tenants::act_for(conn, *tenant).await?;
        let own = store::silences::ending_after(conn, now).await?;
        silences.insert(*tenant, Silences::new(own));
    }
    store::tenants::act_for(conn, TenantId::DEFAULT).await?;
    Ok(silences)
}

/// What silences nothing.
static NO_SILENCES: LazyLock<Silences> = LazyLock::new(|| Silences::new(Vec::new()));

/// The router of a tenant's alerts at present.
pub(super) fn alert_router<'a>(
    options: &'a Options,
    silences: &'a BTreeMap<TenantId, Silences>,
    tenant: &'a Tenant,
) -> AlertRouter<'a> {
    let now = options.clock.now();
    // A clock that may be wrong makes nothing old news.
    let stale_after = if options.clock.is_trusted() {
        STALE_NEWS
    } else {
        NEVER
    };

    AlertRouter {
        routing: &options.routing,
        silences: silences.get(&tenant.id).unwrap_or(&NO_SILENCES),
        tenant: (tenant.id != TenantId::DEFAULT).then_some(&tenant.name),
        now,
        business_hours: options.calendar.clone().period(now).open,
        stale_before: now.minus(stale_after),
    }
}
