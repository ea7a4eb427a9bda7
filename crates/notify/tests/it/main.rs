//! The channels against real receivers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "clippy only takes functions marked as tests for tests; their helpers are tests as \
        well"
)]

use std::time::Duration;

use model::{
    Alert, AlertId, AlertState, Content, ControlId, Entity, EntityKind, Fingerprint, RuleId,
    Severity, Timestamp,
};
use notify::channels::Outlet;
use notify::{Kind, Notification, Receipt, SendError, SetupError};
use uuid::Uuid;

mod email;
mod siem;
mod smtp_server;
mod syslog;
mod webhook;

/// Long enough for a loaded machine, short enough for a test that waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
const IMPATIENCE: Duration = Duration::from_millis(300);

fn message() -> Notification {
    Notification {
        content: Content::Alert(Box::new(Alert {
            alert_id: AlertId(Uuid::from_u128(0xa1)),
            rule_id: RuleId::builtin("brute_force"),
            severity: Severity::High,
            title: "Brute force from 203.0.113.7 – “żółw”".to_owned(),
            description: "7 failed logins within 5 minutes.\n.\n.stuffed".to_owned(),
            entity: Entity {
                kind: EntityKind::Ip,
                value: "203.0.113.7".to_owned(),
            },
            rule_name: None,
            entity_name: None,
            accounts: Vec::new(),
            hosts: Vec::new(),
            source: "syslog".to_owned(),
            services: Vec::new(),
            tenant: Some(Uuid::from_u128(0x7e)),
            first_seen: Timestamp::from_secs(1_772_719_651),
            last_seen: Timestamp::from_secs(1_772_719_951),
            event_count: 7,
            event_ids: Vec::new(),
            nist_controls: vec![ControlId::known("3.1.8")],
            cui_involved: false,
            incident_id: None,
            state: AlertState::Open,
            fingerprint: Fingerprint(Uuid::from_u128(0xf)),
            acknowledged_by: None,
            acknowledged_at: None,
            created_at: Timestamp::from_secs(1_772_719_952),
            muted_by: None,
        })),
        delivery_id: Uuid::from_u128(0xd1),
        kind: Kind::Opened,
        sent_at: Timestamp::from_secs(1_772_719_953),
        people: Vec::new(),
        ack_url: None,
        clock: model::WallClock::default(),
        within: None,
    }
}

/// A channel that was opened.
type Opened = Result<Box<dyn Outlet>, SetupError>;

async fn send(outlet: Opened) -> Result<Receipt, SendError> {
    outlet.unwrap().send(&message()).await
}
