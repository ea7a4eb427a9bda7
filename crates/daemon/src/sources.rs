//! What the daemon reads from outside: one file per kind of source, and the list.

pub mod files;
pub mod journald;
pub mod listener;
pub mod remote_audit;

use std::collections::BTreeSet;

use model::Source;

use crate::context::TaskContext;
use crate::supervisor::{SourceKind, Supervisor};

/// Every kind of source.
pub const ALL: &[&SourceKind] = &[
    &files::SOURCE,
    &journald::SOURCE,
    &listener::SOURCE,
    &remote_audit::SOURCE,
];

/// Starts a reader for each configured source. Returns their names in the completeness ledger.
pub(crate) fn start(
    supervisor: &mut Supervisor,
    context: &TaskContext,
) -> anyhow::Result<BTreeSet<String>> {
    let mut configured = BTreeSet::from([Source::AuditDb.as_str().to_owned()]);
    for kind in ALL {
        for reader in (kind.start)(context)? {
            configured.extend(reader.source_id);
            supervisor.spawn(kind.name, reader.run);
        }
    }

    Ok(configured)
}
