//! What runs beside the sources, one file per task.

pub mod advisory_sync;
pub mod compliance_checks;
pub mod detection;
pub mod dispatcher;
pub mod escalation;
pub mod monitors;
pub mod scheduled_notifications;
pub mod self_check;
pub mod source_health;
pub mod upkeep;
pub mod watchdog;
