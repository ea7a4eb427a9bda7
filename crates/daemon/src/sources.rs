//! What the daemon reads from outside: one file per kind of source, and the list.

pub mod files;
pub mod journald;
pub mod listener;
pub mod remote_audit;

use std::collections::BTreeSet;

use crate::context::TaskContext;
use crate::supervisor::{SourceKind, Supervisor};
use crate::tenancy::TenantSource;

/// Every kind of source.
pub const ALL: &[&SourceKind] = &[
    &files::SOURCE,
    &journald::SOURCE,
    &listener::SOURCE,
    &remote_audit::SOURCE,
];

/// Starts a reader for each configured source. Returns them as the completeness ledger has them.
pub(crate) fn start(
    supervisor: &mut Supervisor,
    context: &TaskContext,
) -> anyhow::Result<BTreeSet<TenantSource>> {
    let mut configured = BTreeSet::new();
    for kind in ALL {
        for reader in (kind.start)(context)? {
            configured.extend(reader.source);
            supervisor.spawn(kind.name, reader.run);
        }
    }

    Ok(configured)
}
