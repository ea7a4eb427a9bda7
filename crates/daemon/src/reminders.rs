//! Reminders: what is due is told to people once, in one message for each channel.

use config::Config;
use model::{Channel, Notice, TenantId};
use store::tenants::Tenant;
use store::{Connection as _, PgConnection};

/// The kind, as the database and the channels call it.
const KIND: &str = "reminder";

/// What was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// How many things that had not been told.
    pub(crate) items: usize,
    /// In how many messages.
    pub(crate) messages: u64,
}

/// Where a tenant is reminded: of another than `default`, whose channels are `own`, only where its
/// alerts go.
pub(crate) fn channels_of(config: &Config, tenant: &Tenant, own: Vec<Channel>) -> Vec<Channel> {
    if tenant.id == TenantId::DEFAULT {
        return own;
    }
    let named = config.alerts.organizations.get(&tenant.name);
    named
        .and_then(|lists| lists.channels.clone())
        .unwrap_or_default()
}

/// Tells what of `due` has not been told yet, as `compose` words it; each thing is known by its
/// key. None where there is nothing to tell, or nobody to tell it to.
pub(crate) async fn tell<T>(
    conn: &mut PgConnection,
    channels: &[Channel],
    due: &[T],
    key: impl Fn(&T) -> &str,
    compose: impl FnOnce(&[&T]) -> Notice,
) -> anyhow::Result<Option<Told>> {
    if due.is_empty() || channels.is_empty() {
        return Ok(None);
    }

    let keys: Vec<String> = due.iter().map(|one| key(one).to_owned()).collect();
    let mut tx = conn.begin().await?;
    let unsaid = store::notices::unsaid(&mut tx, KIND, &keys).await?;
    let new: Vec<&T> = due
        .iter()
        .filter(|one| unsaid.iter().any(|unsaid| unsaid == key(one)))
        .collect();
    if new.is_empty() {
        return Ok(None);
    }

    let notice = compose(&new);
    let messages =
        store::notices::write_together(&mut tx, KIND, &unsaid, &notice, channels).await?;
    tx.commit().await?;
    Ok(Some(Told {
        items: new.len(),
        messages,
    }))
}
