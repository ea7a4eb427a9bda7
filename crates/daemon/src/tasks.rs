//! What runs beside the sources, one file per task, and the list.

pub mod accounts;
pub mod advisory_sync;
pub mod certificate_renewal;
pub mod certificate_watch;
pub mod clock_watch;
pub mod cluster_watch;
pub mod compliance_checks;
pub mod detection;
pub mod directory;
pub mod dispatcher;
pub mod escalation;
pub mod incidents;
pub mod monitors;
pub mod partitions;
pub mod redteam_reports;
pub mod rules_folder;
pub mod scheduled_notifications;
pub mod self_check;
pub mod source_health;
pub mod subscriptions;
pub mod upkeep;
pub mod watchdog;

use crate::supervisor::Task;

/// Every task.
pub const ALL: &[&Task] = &[
    &accounts::TASK,
    &advisory_sync::TASK,
    &certificate_renewal::TASK,
    &certificate_watch::TASK,
    &clock_watch::TASK,
    &cluster_watch::TASK,
    &compliance_checks::TASK,
    &detection::TASK,
    &directory::TASK,
    &dispatcher::TASK,
    &escalation::TASK,
    &incidents::TASK,
    &monitors::TASK,
    &partitions::TASK,
    &redteam_reports::TASK,
    &rules_folder::TASK,
    &scheduled_notifications::TASK,
    &self_check::TASK,
    &source_health::TASK,
    &subscriptions::TASK,
    &upkeep::TASK,
    &watchdog::TASK,
];
