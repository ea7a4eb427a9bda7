//! Channels: whether a message arrives.

use model::{
    Actor, Alert, AlertId, AlertState, Channel, Clock as _, ControlId, Entity, EntityKind,
    Fingerprint, RuleId, Severity, SystemClock,
};
use notify::{Channels, Kind, Message};
use uuid::Uuid;

use crate::AppError;
use crate::actor::{Permission, require};

pub use notify::{Receipt, SendError};

/// Sends a test message through one channel, or through each that is configured, and hands each
/// answer to `each` as it comes.
pub async fn send_test(
    actor: &Actor,
    channels: &Channels,
    only: Option<Channel>,
    severity: Severity,
    mut each: impl FnMut(Channel, Result<Receipt, SendError>),
) -> Result<(), AppError> {
    require(actor, Permission::Operate)?;
    let wanted = only.map_or_else(|| channels.configured(), |channel| vec![channel]);
    if wanted.is_empty() {
        return Err(AppError::conflict(
            "no channel is configured; see [channels] in `blueteam config sample`",
        ));
    }

    let message = test_message(actor, severity);
    for channel in wanted {
        each(channel, channels.send(channel, &message).await);
    }

    Ok(())
}

fn test_message(actor: &Actor, severity: Severity) -> Message {
    let now = SystemClock.now();
    let hostname = crate::actor::hostname();

    // A test of its own each time: a receiver must not take the second for a repetition of the
    // first.
    let id = Uuid::now_v7();
    let alert = Alert {
        alert_id: AlertId(id),
        rule_id: RuleId::builtin("test"),
        severity,
        title: format!("Test of the alert channel from {hostname}"),
        description: format!(
            "{actor} on {hostname} checks that alerts arrive. Nothing has happened."
        ),
        entity: Entity {
            kind: EntityKind::Source,
            value: hostname,
        },
        source: "test".to_owned(),
        services: Vec::new(),
        tenant: None,
        first_seen: now,
        last_seen: now,
        event_count: 0,
        event_ids: Vec::new(),
        nist_controls: vec![ControlId::known("3.14.3")],
        cui_involved: false,
        incident_id: None,
        state: AlertState::Closed,
        fingerprint: Fingerprint(id),
        acknowledged_by: None,
        acknowledged_at: None,
        created_at: now,
        muted_by: None,
    };

    Message {
        alert,
        delivery_id: id,
        kind: Kind::Test,
        sent_at: now,
        people: Vec::new(),
        ack_url: None,
        within: None,
    }
}
