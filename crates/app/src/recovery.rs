//! A code that lets a person back into their account, as an audit event of blueteam's own: the rule
//! `console_account` makes an alert of it.

use model::event::{ACCOUNT_RECOVERY, OURSELVES};
use model::{Actor, AuditRecord, Clock as _, EventId, SystemClock};
use serde_json::json;
use store::events::AuditRow;

use crate::AppError;
use crate::accounts::Invitation;
use crate::database::{Database, Role};

/// The event of a code that was made; none for the first one of an account.
pub fn event(
    invitation: &Invitation,
    actor: &Actor,
) -> Result<Option<AuditRecord<'static>>, AppError> {
    if !invitation.is_recovery {
        return Ok(None);
    }
    let by = match &actor.on_behalf_of {
        Some(person) => format!("{} (for {person})", actor.name),
        None => actor.name.clone(),
    };
    let address = actor.origin.address.as_deref();
    let address = address.filter(|text| text.parse::<std::net::IpAddr>().is_ok());
    let event = json!({
        "category": "admin",
        "action": ACCOUNT_RECOVERY,
        "result": "success",
        "ip_address": address,
        "user_agent": actor.origin.user_agent,
        "resource_type": OURSELVES,
        "resource_id": invitation.user_id,
        "metadata": { "service": OURSELVES, "username": invitation.username, "by": by },
    });
    let bytes = serde_json::to_vec(&event).map_err(AppError::unwritable)?;
    let record = AuditRecord::from_json(&bytes, model::audit::Strangers::Refuse);
    let record = record.map_err(|error| AppError::Failed(anyhow::anyhow!("{error:?}")))?;
    Ok(Some(record.into_owned()))
}

/// Writes the event from the command line, where no daemon takes it. A code that cannot be recorded
/// must not be shown.
pub async fn record(
    database: &Database,
    invitation: &Invitation,
    actor: &Actor,
) -> anyhow::Result<()> {
    let Some(event) = event(invitation, actor)? else {
        return Ok(());
    };
    let row = AuditRow::new(event, || EventId(uuid::Uuid::now_v7()), SystemClock.now());
    let mut conn = database.connect(Role::Ingest).await?;
    store::events::insert_audit(&mut conn, &[row]).await?;
    Ok(())
}
