//! The first things to do about an incident: the operator's playbook, or the built-in one.

use config::Config;
use model::IncidentId;
use respond::playbooks::{built_in, names, parse};
use store::incidents::{Change, unplanned};

use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// The largest playbook that is read, in bytes.
const SIZE_MAX: u64 = 64 * 1024;
/// Incidents that are planned at once.
const AT_ONCE: u32 = 200;

/// A playbook: its name and its tasks.
struct Playbook {
    name: String,
    tasks: Vec<String>,
}

/// The closest playbook of a rule. One of the operator's that is there and says nothing is taken
/// for what it is: nothing to do.
fn playbook(config: &Config, rule: Option<&str>) -> Result<Playbook, AppError> {
    let folder = config.incidents.playbooks();
    for name in names(rule) {
        if let Some(folder) = &folder {
            let path = folder.join(format!("{name}.txt"));
            match std::fs::metadata(&path) {
                Ok(file) if file.len() > SIZE_MAX => {
                    return Err(AppError::Failed(anyhow::anyhow!(
                        "{}: a playbook is at most {SIZE_MAX} bytes",
                        path.display()
                    )));
                }
                Ok(_) => {
                    let text = std::fs::read_to_string(&path).map_err(|error| {
                        AppError::Failed(anyhow::anyhow!("{}: {error}", path.display()))
                    })?;
                    return Ok(Playbook {
                        name: name.to_owned(),
                        tasks: parse(&text),
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(AppError::Failed(anyhow::anyhow!(
                        "{}: {error}",
                        path.display()
                    )));
                }
            }
        }
        if let Some(tasks) = built_in(name) {
            return Ok(Playbook {
                name: name.to_owned(),
                tasks,
            });
        }
    }
    Ok(Playbook {
        name: respond::playbooks::DEFAULT.to_owned(),
        tasks: Vec::new(),
    })
}

/// Takes in the tasks of an incident that a rule opened, or a person.
pub(super) async fn plan(
    change: &mut Change<'_>,
    config: &Config,
    incident: IncidentId,
    rule: Option<&str>,
) -> Result<(), AppError> {
    let playbook = playbook(config, rule)?;
    change
        .plan(incident, &playbook.name, &playbook.tasks)
        .await?;
    Ok(())
}

/// Takes in the tasks of incidents that have none yet. Returns how many incidents.
pub async fn plan_new(session: &mut Session, config: &Config) -> Result<usize, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Incidents)?;
    let new = unplanned(conn, AT_ONCE).await?;
    let mut planned = 0;
    for incident in &new {
        let found = playbook(config, incident.rule.as_deref())?;
        if found.tasks.is_empty() {
            continue;
        }
        let mut change = Change::begin(conn, actor).await?;
        change
            .plan(incident.incident_id, &found.name, &found.tasks)
            .await?;
        change.commit().await?;
        planned += 1;
    }
    Ok(planned)
}
