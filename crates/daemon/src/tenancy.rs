//! For which tenant a source is read: the one that the configuration names, never one that its
//! lines name (decision 0049).

use anyhow::Context as _;
use model::{TenantId, TenantName};
use store::{PgConnectOptions, PgConnection};

/// A source, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TenantSource {
    /// Its tenant; none: `default`.
    pub tenant: Option<TenantName>,
    /// Its name in the completeness ledger.
    pub name: String,
}

impl TenantSource {
    /// What a tenant has in place of a name that is unique in the whole installation.
    pub fn key(&self) -> String {
        match &self.tenant {
            Some(tenant) => format!("{tenant}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Connects to work for a tenant: all that is written is that one's. A name of which there is no
/// tenant is an error, so that nothing is stored as another's; what waits to be read keeps.
pub(crate) async fn connect(
    database: &PgConnectOptions,
    tenant: Option<&TenantName>,
) -> anyhow::Result<(PgConnection, TenantId)> {
    let mut conn = store::connect(database)
        .await
        .context("cannot connect to the database")?;
    let id = match tenant {
        None => TenantId::DEFAULT,
        Some(name) => store::tenants::find(&mut conn, name)
            .await?
            .with_context(|| format!("there is no tenant `{name}`; see `blueteam tenants list`"))?,
    };
    store::tenants::act_for(&mut conn, id).await?;
    Ok((conn, id))
}
