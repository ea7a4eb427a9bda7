//! What people change of incidents. Each of these is one transaction: all of it is done, or nothing.

mod duties;
mod join;
mod work;

use config::Config;
use model::{Actor, IncidentId, IncidentStatus, Severity, Timestamp};
use respond::clocks::{Clock, Decision};
use respond::phases::{self, Asked, is_text};
use store::PgConnection;
use store::incidents::{Answer, Change, Step};

use super::{Incident, find, playbooks};
use crate::actor::{Action, Resource};
use crate::{AppError, Session, alerts};

pub use duties::{Choice, Told, decide, release, reported};
pub use join::{Merged, link, merge, split, undo_merge, unlink};
pub use work::{Settle, drop_observable, observe, settle, task, write};

/// The longest title, in characters.
const TITLE_MAX: usize = 300;
/// The longest remark, in characters.
const REMARK_MAX: usize = 4000;
/// The longest text, in characters.
const TEXT_MAX: usize = 20_000;

/// An incident that a person opens.
#[derive(Clone, Copy, Debug)]
pub struct NewIncident<'a> {
    /// One line for a person; none takes that of the alert.
    pub title: Option<&'a str>,
    /// How bad it is; none takes what the alert says.
    pub severity: Option<Severity>,
    /// What happened; none takes what the alert says.
    pub description: Option<&'a str>,
    /// The alert that it is about, by the first characters of its ID.
    pub alert: Option<&'a str>,
}

/// What is changed of an incident at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edit<'a> {
    /// The version that was seen.
    pub version: Option<u64>,
    /// Its title.
    pub title: Option<&'a str>,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// The phase that it goes to.
    pub status: Option<IncidentStatus>,
    /// When it counts as discovered.
    pub discovered_at: Option<Timestamp>,
    /// What it came from; with a phase.
    pub root_cause: &'a str,
    /// What was learned; with a phase.
    pub lessons: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// An incident that is about to be changed.
struct Held<'s> {
    conn: &'s mut PgConnection,
    actor: &'s Actor,
    before: Incident,
}

impl Held<'_> {
    fn id(&self) -> IncidentId {
        self.before.row.incident_id
    }
}

async fn hold<'s>(
    session: &'s mut Session,
    config: &Config,
    id: &str,
) -> Result<Held<'s>, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Incidents)?;
    let before = Incident::of(find(conn, id).await?, config);
    Ok(Held {
        conn,
        actor,
        before,
    })
}

/// What became of a change, or why it is none: every refusal says where the incident stands.
fn done(answer: Answer, before: &Incident) -> Result<(), AppError> {
    let id = before.row.incident_id;
    let standing = before.standing();
    Err(match answer {
        Answer::Done => return Ok(()),
        Answer::Absent => AppError::not_found(format!("the incident {id} is gone")),
        Answer::Stale => AppError::conflict(format!(
            "someone else has changed the incident since the version that you saw; {standing}"
        )),
        Answer::Merged => {
            let into = before.row.merged_into.map(|into| into.to_string());
            let into = into.unwrap_or_else(|| "another incident".to_owned());
            AppError::conflict(format!(
                "it is part of {into}, which is the one to change; {standing}"
            ))
        }
        Answer::Closed => AppError::conflict(format!(
            "{standing}; `blueteam incidents update {id} --status analyzing --reason …` reopens it"
        )),
        Answer::Same => AppError::conflict(format!("that is so already; {standing}")),
        Answer::Incomplete => AppError::invalid(format!(
            "an incident is closed with its root cause and the lessons learned; {standing}"
        )),
        Answer::Future => AppError::invalid(format!("that time lies in the future; {standing}")),
        Answer::NoAccount => AppError::not_found(
            "there is no such account that may sign in; `blueteam users list` shows them",
        ),
        Answer::NoAlert => AppError::not_found(format!(
            "the alert is none of this incident's, or is gone; {standing}"
        )),
        Answer::NoTask => AppError::not_found(format!(
            "the incident has no such task; `blueteam incidents show {id}` lists them; {standing}"
        )),
        Answer::NoObservable => {
            AppError::not_found(format!("nobody has added that to the incident; {standing}"))
        }
        Answer::Full => AppError::conflict(format!("it has as many as it can have; {standing}")),
        Answer::Holds => AppError::conflict(format!(
            "others were merged into it, and what is merged stays where it is: merge those into the \
             other one, or take them out first; {standing}"
        )),
        Answer::Free => AppError::conflict(format!("nothing is kept for it; {standing}")),
        Answer::Apart => AppError::conflict(format!("it is part of no other one; {standing}")),
        Answer::Occupied => AppError::conflict(format!(
            "another open incident is about the same; merge the two instead; {standing}"
        )),
        Answer::OtherAbsent => AppError::not_found("the other incident is gone"),
        Answer::OtherClosed => AppError::conflict("the other incident is closed"),
        Answer::OtherMerged => {
            AppError::conflict("the other incident is part of a third one; name that")
        }
    })
}

/// A change by one function of the database.
async fn change_one(
    held: Held<'_>,
    config: &Config,
    work: impl AsyncFnOnce(&mut Change<'_>, &Incident) -> Result<Answer, AppError>,
) -> Result<Incident, AppError> {
    let id = held.id();
    let mut change = Change::begin(held.conn, held.actor).await?;
    let answer = work(&mut change, &held.before).await?;
    done(answer, &held.before)?;
    let after = again(&mut change, config, id).await?;
    change.commit().await?;
    Ok(after)
}

/// The incident as it is now.
async fn again(
    change: &mut Change<'_>,
    config: &Config,
    id: IncidentId,
) -> Result<Incident, AppError> {
    Ok(Incident::of(
        find(change.conn(), &id.to_string()).await?,
        config,
    ))
}

/// A text that is asked for, without blanks around it.
fn text<'a>(
    name: &str,
    text: &'a str,
    shortest: usize,
    longest: usize,
) -> Result<&'a str, AppError> {
    let text = text.trim();
    if (shortest..=longest).contains(&text.chars().count()) {
        return Ok(text);
    }
    Err(AppError::invalid(format!(
        "{name}: from {shortest} to {longest} characters"
    )))
}

fn maybe<'a>(
    name: &str,
    given: Option<&'a str>,
    longest: usize,
) -> Result<Option<&'a str>, AppError> {
    let given = given.map(str::trim).filter(|given| !given.is_empty());
    given.map(|given| text(name, given, 1, longest)).transpose()
}

fn reason(given: &str) -> Result<&str, AppError> {
    if is_text(given) {
        return Ok(given.trim());
    }
    Err(AppError::invalid(
        "--reason: from 3 to 4000 characters; it stays in the incident's history",
    ))
}

/// Opens an incident, about an alert or about nothing that blueteam knows.
pub async fn create(
    session: &mut Session,
    config: &Config,
    new: &NewIncident<'_>,
) -> Result<Incident, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Incidents)?;
    let alert = match new.alert {
        Some(alert) => {
            let id = alerts::find(conn, alert).await?;
            let alert = store::alerts::show(conn, id).await?;
            Some(alert.ok_or_else(|| AppError::not_found("the alert is gone"))?)
        }
        None => None,
    };
    let title = new
        .title
        .or(alert.as_ref().map(|alert| alert.title.as_str()));
    let title = title.ok_or_else(|| {
        AppError::invalid("--title: say in a line what happened, or name the alert with --alert")
    })?;
    let title = text("--title", title, 3, TITLE_MAX)?;
    let severity = match (new.severity, &alert) {
        (Some(severity), _) => severity,
        (None, Some(alert)) => alert.severity,
        (None, None) => {
            return Err(AppError::invalid(
                "--severity: critical, high, medium or low",
            ));
        }
    };
    if severity == Severity::Info {
        return Err(AppError::invalid(
            "--severity: critical, high, medium or low",
        ));
    }
    if let Some(id) = alert.as_ref().and_then(|alert| alert.incident_id) {
        return Err(AppError::conflict(format!(
            "the alert belongs to the incident {id} already; `blueteam incidents split` gives it one \
             of its own"
        )));
    }

    let mut change = Change::begin(conn, actor).await?;
    let made = change
        .open(&store::incidents::NewIncident {
            title,
            description: maybe("--description", new.description, TEXT_MAX)?,
            severity,
            alert: alert.as_ref().map(|alert| alert.alert_id),
            reason: "the incident was opened about it",
        })
        .await?;
    let made = made.ok_or_else(|| AppError::not_found("the alert is gone"))?;
    let rule = alert.as_ref().map(|alert| alert.rule_id.as_str());
    playbooks::plan(&mut change, config, made, rule).await?;
    let after = again(&mut change, config, made).await?;
    change.commit().await?;
    Ok(after)
}

/// The clock of which nobody has decided whether it applies.
fn undecided(incident: &Incident) -> Option<&Clock> {
    let mut clocks = incident.clocks.iter();
    clocks.find(|clock| clock.decision == Decision::Undecided)
}

/// Changes title, severity, discovery and phase of an incident, each where it is given.
pub async fn update(
    session: &mut Session,
    config: &Config,
    id: &str,
    edit: &Edit<'_>,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let id = held.id();
    let title = edit.title.map(|title| text("--title", title, 3, TITLE_MAX));
    let title = title.transpose()?;
    let edits = title.is_some() || edit.severity.is_some();
    if !edits && edit.status.is_none() && edit.discovered_at.is_none() {
        return Err(AppError::invalid(format!(
            "nothing to change: give a status, a title, a severity or a time of discovery; {}",
            held.before.standing()
        )));
    }
    if edit.severity == Some(Severity::Info) {
        return Err(AppError::invalid(
            "--severity: critical, high, medium or low",
        ));
    }
    // A title alone explains itself.
    if edit.status.is_some() || edit.severity.is_some() || edit.discovered_at.is_some() {
        reason(edit.reason)?;
    }

    let mut change = Change::begin(held.conn, held.actor).await?;
    let mut seen = edit.version;
    // Someone who reopens an incident to change it does so with one command.
    if let Some(to) = edit.status {
        let part = store::incidents::part(change.conn(), id).await?;
        let part = part.ok_or_else(|| AppError::not_found("the incident is gone"))?;
        step(&mut change, &held.before, to, &part, edit, seen).await?;
        seen = None;
    }
    if edits {
        let answer = change
            .edit(id, seen, title, edit.severity, edit.reason.trim())
            .await?;
        done(answer, &held.before)?;
        seen = None;
    }
    if let Some(at) = edit.discovered_at {
        let answer = change.discover(id, seen, at, edit.reason.trim()).await?;
        done(answer, &held.before)?;
    }
    let after = again(&mut change, config, id).await?;
    change.commit().await?;
    Ok(after)
}

async fn step(
    change: &mut Change<'_>,
    before: &Incident,
    to: IncidentStatus,
    part: &store::incidents::Part,
    edit: &Edit<'_>,
    seen: Option<u64>,
) -> Result<(), AppError> {
    let given = |given: &str, kept: &str| {
        let text = if given.trim().is_empty() { kept } else { given };
        text.trim().to_owned()
    };
    let (root_cause, lessons) = (
        given(edit.root_cause, &part.root_cause),
        given(edit.lessons, &part.lessons_learned),
    );
    // Whoever saw another version hears of that first.
    if seen.is_some_and(|seen| seen != before.row.version) {
        return done(Answer::Stale, before);
    }
    if before.row.merged_into.is_some() {
        return done(Answer::Merged, before);
    }
    let asked = Asked {
        from: before.row.status,
        to,
        reason: edit.reason,
        root_cause: &root_cause,
        lessons: &lessons,
        undecided: undecided(before).map(|clock| clock.name.as_str()),
    };
    phases::step(&asked).map_err(|refused| match refused {
        phases::Refused::Same(_) => AppError::conflict(refused.to_string()),
        phases::Refused::Undecided { .. } => {
            AppError::conflict(format!("{refused} (version {})", before.row.version))
        }
        _ => AppError::invalid(refused.to_string()),
    })?;
    let answer = change
        .step(
            before.row.incident_id,
            seen,
            &Step {
                to,
                reason: edit.reason.trim(),
                root_cause: &root_cause,
                lessons: &lessons,
            },
        )
        .await?;
    done(answer, before)
}

/// Gives an incident to an account, or to nobody.
pub async fn assign(
    session: &mut Session,
    config: &Config,
    id: &str,
    version: Option<u64>,
    account: Option<&str>,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let account = account.map(str::trim);
    change_one(held, config, async |change, before| {
        Ok(change
            .assign(before.row.incident_id, version, account)
            .await?)
    })
    .await
}
