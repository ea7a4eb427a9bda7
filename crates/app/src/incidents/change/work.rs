//! Notes, tasks and observables.

use config::Config;
use model::Timestamp;
use respond::playbooks::TASK_MAX;
use store::incidents::{EntryKind, ObservableKind, TaskState};

use super::{REMARK_MAX, TEXT_MAX, change_one, hold, maybe, text};
use crate::incidents::Incident;
use crate::{AppError, Session};

/// The longest observable, in characters.
const OBSERVABLE_MAX: usize = 2000;

/// What becomes of a task.
#[derive(Clone, Copy, Debug)]
pub struct Settle<'a> {
    /// Its number.
    pub number: u32,
    /// How far it is.
    pub state: TaskState,
    /// What came of it.
    pub remark: Option<&'a str>,
}

/// Writes a note, or into the timeline what happened when. Also of a closed one: it takes nothing
/// away.
pub async fn write(
    session: &mut Session,
    config: &Config,
    id: &str,
    happened_at: Option<Timestamp>,
    body: &str,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let body = text("the text", body, 1, TEXT_MAX)?;
    let kind = match happened_at {
        Some(_) => EntryKind::Timeline,
        None => EntryKind::Note,
    };
    change_one(held, config, async |change, before| {
        Ok(change
            .write(before.row.incident_id, kind, happened_at, body)
            .await?)
    })
    .await
}

/// Adds a task.
pub async fn task(
    session: &mut Session,
    config: &Config,
    id: &str,
    task: &str,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let task = text("the task", task, 1, TASK_MAX)?;
    change_one(held, config, async |change, before| {
        Ok(change.add_task(before.row.incident_id, task).await?)
    })
    .await
}

/// Says what became of a task. One that is dropped says why.
pub async fn settle(
    session: &mut Session,
    config: &Config,
    id: &str,
    settle: &Settle<'_>,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let remark = maybe("--remark", settle.remark, REMARK_MAX)?;
    if settle.state == TaskState::Dropped && remark.is_none() {
        return Err(AppError::invalid(
            "--remark: say why the task is not to be done; it stays on record",
        ));
    }
    change_one(held, config, async |change, before| {
        Ok(change
            .settle_task(before.row.incident_id, settle.number, settle.state, remark)
            .await?)
    })
    .await
}

/// Adds what the attack can be recognized by.
pub async fn observe(
    session: &mut Session,
    config: &Config,
    id: &str,
    kind: ObservableKind,
    value: &str,
    remark: Option<&str>,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let value = observable(kind, value)?;
    let remark = maybe("--remark", remark, REMARK_MAX)?;
    change_one(held, config, async |change, before| {
        Ok(change
            .add_observable(before.row.incident_id, kind, &value, remark)
            .await?)
    })
    .await
}

/// Takes an observable back.
pub async fn drop_observable(
    session: &mut Session,
    config: &Config,
    id: &str,
    kind: ObservableKind,
    value: &str,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let value = observable(kind, value)?;
    change_one(held, config, async |change, before| {
        Ok(change
            .drop_observable(before.row.incident_id, kind, &value)
            .await?)
    })
    .await
}

/// An observable in the form in which it is compared.
fn observable(kind: ObservableKind, value: &str) -> Result<String, AppError> {
    let value = text("the value", value, 1, OBSERVABLE_MAX)?;
    Ok(match kind {
        ObservableKind::Ip => {
            let address = value.parse::<std::net::IpAddr>();
            let address =
                address.map_err(|_| AppError::invalid("ip: an address, such as 203.0.113.7"))?;
            address.to_canonical().to_string()
        }
        ObservableKind::Sha256 => {
            if value.len() != 64 || !value.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(AppError::invalid("sha256: 64 hexadecimal digits"));
            }
            value.to_ascii_lowercase()
        }
        ObservableKind::Url => {
            if !value.contains("://") || value.contains(char::is_whitespace) {
                return Err(AppError::invalid("url: such as https://example.com/x"));
            }
            value.to_owned()
        }
        ObservableKind::Domain => value.trim_end_matches('.').to_ascii_lowercase(),
        ObservableKind::User | ObservableKind::Host => value.to_owned(),
    })
}
