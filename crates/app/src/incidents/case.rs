//! Everything that belongs to an incident, in one: for its page, its report and its worksheet.

use std::collections::BTreeSet;

use compliance::document::Document;
use compliance::reports::{IncidentReport, incident as incident_report};
use compliance::system::System;
use config::{Config, StateDir};
use model::{Alert, EntityKind, IncidentId, Span, Timestamp};
use respond::stix::{self, Bundle, Indicated, IndicatedKind};
use respond::worksheet::{self as sheet, Worksheet};
use serde::Serialize;
use store::PgConnection;
use store::alerts::AlertFilter;
use store::incidents::{
    Decided, Entry, EntryKind, Hold, Link, Merge, Observable, ObservableKind, Part, Report,
    StatusChange, Task,
};

use super::{Incident, find, minute};
use crate::actor::Resource;
use crate::compliance::description;
use crate::{AppError, Session};

/// Alerts whose names and addresses are looked at.
const ALERTS: u32 = 500;

/// Everything that belongs to an incident.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// The incident.
    #[serde(flatten)]
    pub incident: Incident,
    /// What there is to know of it beside that.
    #[serde(flatten)]
    pub part: Part,
    /// Its changes of status.
    pub steps: Vec<StatusChange>,
    /// What people wrote down and changed.
    pub entries: Vec<Entry>,
    /// What is to be done and was.
    pub tasks: Vec<Task>,
    /// Its alerts, and those that were taken out.
    pub links: Vec<Link>,
    /// The merges of which it is a part.
    pub merges: Vec<Merge>,
    /// What was decided on duties to report.
    pub decisions: Vec<Decided>,
    /// What was reported.
    pub reports: Vec<Report>,
    /// What the attack can be recognized by.
    pub indicators: Vec<Indicator>,
    /// From when and until when events are kept for it.
    pub hold: Option<Hold>,
}

/// What an attack can be recognized by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Indicator {
    /// What it is.
    pub kind: ObservableKind,
    /// The address, name or hash.
    pub value: String,
    /// Who found it: a person, or the alerts that name it.
    pub found_by: String,
    /// What is to be known of it.
    pub remark: Option<String>,
}

/// A hold in words.
pub fn hold_in_words(hold: &Hold) -> String {
    let until = hold.until.map_or_else(
        || "until 90 days after the report".to_owned(),
        |until| format!("until {}", minute(until)),
    );
    format!("events from {} on are kept {until}", minute(hold.since))
}

/// What happened, and what kind of thing it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: HappenedKind,
    /// Who did it or wrote it down; none for what a machine logged.
    pub who: Option<String>,
    /// What.
    pub what: String,
}

/// Kinds of things that happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HappenedKind {
    /// Events of an alert.
    Attack,
    /// A person wrote down what happened.
    Told,
    /// The incident went to another phase.
    Phase,
    /// A note.
    Note,
    /// A change of the incident.
    Change,
    /// A decision or a report.
    Duty,
}

/// Everything that belongs to the incident with this ID, or with these first characters of it.
pub async fn case(session: &mut Session, config: &Config, id: &str) -> Result<Case, AppError> {
    let conn = session.read(Resource::Incidents)?;
    let incident = Incident::of(find(conn, id).await?, config);
    read(conn, incident).await
}

async fn read(conn: &mut PgConnection, incident: Incident) -> Result<Case, AppError> {
    let id = incident.row.incident_id;
    let part = store::incidents::part(conn, id).await?;
    let filter = AlertFilter {
        incident_id: Some(id),
        ..AlertFilter::default()
    };
    let alerts = store::alerts::list(conn, &filter, ALERTS).await?;
    let found = store::incidents::observables(conn, id).await?;
    Ok(Case {
        part: part.ok_or_else(|| AppError::not_found("the incident is gone"))?,
        steps: store::incidents::status_changes(conn, id).await?,
        entries: store::incidents::entries(conn, id).await?,
        tasks: store::incidents::tasks(conn, id).await?,
        links: store::incidents::links(conn, id).await?,
        merges: store::incidents::merges(conn, id).await?,
        decisions: store::incidents::decisions(conn, id).await?,
        reports: store::incidents::reports(conn, id).await?,
        indicators: indicators(&alerts, found),
        hold: store::incidents::hold(conn, id).await?,
        incident,
    })
}

/// What alerts name, and what people found beside it.
fn indicators(alerts: &[Alert], found: Vec<Observable>) -> Vec<Indicator> {
    let mut named: BTreeSet<(&'static str, &str)> = BTreeSet::new();
    for alert in alerts {
        let kind = match alert.entity.kind {
            EntityKind::Ip => Some(ObservableKind::Ip),
            EntityKind::User => Some(ObservableKind::User),
            _ => None,
        };
        if let Some(kind) = kind {
            let value = match kind {
                ObservableKind::User => alert.entity_name.as_deref(),
                _ => None,
            };
            named.insert((kind.as_str(), value.unwrap_or(&alert.entity.value)));
        }
        let accounts = alert.accounts.iter();
        named.extend(accounts.map(|name| (ObservableKind::User.as_str(), name.as_str())));
        let hosts = alert.hosts.iter();
        named.extend(hosts.map(|name| (ObservableKind::Host.as_str(), name.as_str())));
    }

    let by_people: Vec<Indicator> = found
        .into_iter()
        .map(|one| Indicator {
            kind: one.kind,
            value: one.value,
            found_by: one.added_by,
            remark: one.remark,
        })
        .collect();
    let by_alerts = named.into_iter().filter_map(|(kind, value)| {
        let kind: ObservableKind = kind.parse().ok()?;
        let is_known = by_people
            .iter()
            .any(|known| known.kind == kind && known.value == value);
        (!is_known).then(|| Indicator {
            kind,
            value: value.to_owned(),
            found_by: "its alerts".to_owned(),
            remark: None,
        })
    });
    let mut all: Vec<Indicator> = by_alerts.collect();
    all.extend(by_people);
    all
}

impl Case {
    /// What happened, the earliest first.
    pub fn timeline(&self) -> Vec<Happened> {
        let row = &self.incident.row;
        let who = |who: &str| Some(who.to_owned());
        let mut all = vec![Happened {
            at: row.detected_at,
            kind: HappenedKind::Phase,
            who: row.opened_by.clone(),
            what: "The incident was opened".to_owned(),
        }];
        self.alerts_in_time(&mut all);
        all.extend(self.steps.iter().map(|step| Happened {
            at: step.changed_at,
            kind: HappenedKind::Phase,
            who: who(&step.changed_by),
            what: format!("From {} to {}: {}", step.previous, step.status, step.reason),
        }));
        all.extend(self.entries.iter().map(|entry| Happened {
            at: entry.happened_at,
            kind: match entry.kind {
                EntryKind::Note => HappenedKind::Note,
                EntryKind::Timeline => HappenedKind::Told,
                EntryKind::Change => HappenedKind::Change,
            },
            who: who(&entry.author),
            what: entry.body.clone(),
        }));
        all.extend(self.tasks.iter().filter_map(|task| {
            Some(Happened {
                at: task.settled_at?,
                kind: HappenedKind::Change,
                who: task.settled_by.clone(),
                what: format!(
                    "Task {} {}: {}{}",
                    task.number,
                    task.state,
                    task.task,
                    remark(task.remark.as_deref())
                ),
            })
        }));
        all.extend(self.decisions.iter().map(|decided| Happened {
            at: decided.decided_at,
            kind: HappenedKind::Duty,
            who: who(&decided.decided_by),
            what: format!(
                "Decided that {} {}: {}",
                decided.duty,
                if decided.applies {
                    "applies"
                } else {
                    "does not apply"
                },
                decided.reason
            ),
        }));
        all.extend(self.reports.iter().map(|report| Happened {
            at: report.sent_at,
            kind: HappenedKind::Duty,
            who: who(&report.recorded_by),
            what: format!(
                "Reported ({}){}{}",
                report.duty,
                report
                    .number
                    .as_ref()
                    .map_or_else(String::new, |number| format!(", number {number}")),
                remark(report.remark.as_deref())
            ),
        }));
        let id = row.incident_id;
        all.extend(self.merges.iter().flat_map(|merge| merged(merge, id)));
        all.sort_by_key(|happened| happened.at);
        all
    }
}

impl Case {
    /// When the events of its alerts were, and who put alerts in and took them out.
    fn alerts_in_time(&self, all: &mut Vec<Happened>) {
        let who = |who: &str| Some(who.to_owned());
        for link in self.links.iter().filter(|link| link.ended_at.is_none()) {
            all.push(Happened {
                at: link.first_seen,
                kind: HappenedKind::Attack,
                who: None,
                what: format!("First event: {}", link.title),
            });
            if link.last_seen > link.first_seen {
                all.push(Happened {
                    at: link.last_seen,
                    kind: HappenedKind::Attack,
                    who: None,
                    what: format!("Last event: {}", link.title),
                });
            }
        }
        for link in self.links.iter().filter(|link| link.reason.is_some()) {
            all.push(Happened {
                at: link.linked_at,
                kind: HappenedKind::Change,
                who: who(&link.linked_by),
                what: format!(
                    "Alert added: {} ({})",
                    link.title,
                    link.reason.as_deref().unwrap_or_default()
                ),
            });
        }
        for link in &self.links {
            if let Some(at) = link.ended_at {
                all.push(Happened {
                    at,
                    kind: HappenedKind::Change,
                    who: link.ended_by.clone(),
                    what: format!(
                        "Alert taken out: {} ({})",
                        link.title,
                        link.end_reason.as_deref().unwrap_or("no reason")
                    ),
                });
            }
        }
    }
}

fn remark(remark: Option<&str>) -> String {
    remark.map_or_else(String::new, |remark| format!(" ({remark})"))
}

fn merged(merge: &Merge, id: IncidentId) -> Vec<Happened> {
    let what = if merge.target_id == id {
        format!("{} ({})", merge.source_title, merge.source_id)
    } else {
        format!("into {} ({})", merge.target_title, merge.target_id)
    };
    let mut all = vec![Happened {
        at: merge.merged_at,
        kind: HappenedKind::Change,
        who: Some(merge.merged_by.clone()),
        what: format!("Merged: {what}: {}", merge.reason),
    }];
    all.extend(merge.undone_at.map(|at| Happened {
        at,
        kind: HappenedKind::Change,
        who: merge.undone_by.clone(),
        what: format!(
            "Merge taken back: {what}: {}",
            merge.undo_reason.as_deref().unwrap_or_default()
        ),
    }));
    all
}

/// What the attack can be recognized by, as a STIX 2.1 bundle.
pub fn stix(case: &Case, now: Timestamp) -> Bundle {
    let row = &case.incident.row;
    let indicated: Vec<Indicated<'_>> = case
        .indicators
        .iter()
        .map(|one| Indicated {
            kind: match one.kind {
                ObservableKind::Ip => IndicatedKind::Ip,
                ObservableKind::User => IndicatedKind::User,
                ObservableKind::Host | ObservableKind::Domain => IndicatedKind::Domain,
                ObservableKind::Url => IndicatedKind::Url,
                ObservableKind::Sha256 => IndicatedKind::Sha256,
            },
            value: &one.value,
        })
        .collect();
    stix::bundle(&stix::About {
        id: row.incident_id.0,
        name: &row.title,
        description: &case.part.description,
        created: row.detected_at,
        now,
        indicated: &indicated,
    })
}

/// The worksheet for a report to DC3, filled from the case and the description of the system.
pub async fn worksheet(
    session: &mut Session,
    state: &StateDir,
    case: &Case,
) -> Result<Worksheet, AppError> {
    let system = described(session, state).await?;
    Ok(filled(case, &system))
}

async fn described(session: &mut Session, state: &StateDir) -> Result<System, AppError> {
    let conn = session.read(Resource::Incidents)?;
    // What is missing in the description is missing in the worksheet, which says so.
    Ok(description::read(conn, None, state)
        .await
        .unwrap_or_default())
}

fn filled(case: &Case, system: &System) -> Worksheet {
    let row = &case.incident.row;
    let places = case
        .indicators
        .iter()
        .filter(|one| matches!(one.kind, ObservableKind::Host));
    let mut places: Vec<String> = places.map(|one| one.value.clone()).collect();
    places.extend(row.services.iter().cloned());
    let contacts = system.people.iter().map(|person| {
        let parts = [&person.name, &person.title, &person.phone, &person.email];
        let parts: Vec<&str> = parts
            .into_iter()
            .map(|part| part.trim())
            .filter(|part| !part.is_empty())
            .collect();
        parts.join(", ")
    });
    let links = case.links.iter().filter(|link| link.ended_at.is_none());
    let dfars = respond::clocks::DFARS;
    let decided = case.decisions.iter().rev().find(|one| one.duty == dfars);
    let chronology = case.timeline();
    let chronology = chronology.iter().filter(|one| {
        matches!(
            one.kind,
            HappenedKind::Attack | HappenedKind::Told | HappenedKind::Phase
        )
    });
    sheet::fill(&sheet::Case {
        first_number: case
            .reports
            .iter()
            .find(|report| report.duty == dfars)
            .and_then(|report| report.number.clone()),
        company: system.organization.name.clone(),
        cages: system.organization.cage_codes.clone(),
        contacts: contacts.collect(),
        discovered_at: row.discovered_at,
        discovery: case
            .part
            .discovery_set_by
            .as_ref()
            .zip(case.part.discovery_reason.as_ref())
            .map(|(who, why)| format!("decided by {who}: {why}")),
        first_event_at: row.first_event_at,
        system: system.name.clone(),
        places,
        techniques: links.map(|link| link.title.clone()).collect(),
        cui_involved: row.cui_involved,
        is_decided: decided.is_some_and(|one| one.applies),
        root_cause: case.part.root_cause.clone(),
        chronology: chronology
            .map(|one| format!("{}  {}", minute(one.at), one.what))
            .collect(),
    })
}

/// The report of an incident, with the worksheet where it must be reported or may have to be.
pub async fn report(
    session: &mut Session,
    config: &Config,
    state: &StateDir,
    case: &Case,
    now: Timestamp,
) -> Result<Document, AppError> {
    let system = described(session, state).await?;
    let row = &case.incident.row;
    let text = |name: &str, value: String| (name.to_owned(), value);
    let span = |span: Option<Span>| span.map_or_else(|| "not known".to_owned(), in_words);
    let measures = case.incident.measures();
    let mut facts = vec![
        text("Incident", row.incident_id.to_string()),
        text("Severity", row.severity.to_string()),
        text("Status", row.status.to_string()),
        text("Discovered", minute(row.discovered_at)),
        text(
            "CUI",
            if row.cui_involved {
                "events say that it was touched".to_owned()
            } else {
                "no event says that it was touched".to_owned()
            },
        ),
        text(
            "Led by",
            row.assigned_to
                .clone()
                .unwrap_or_else(|| "nobody".to_owned()),
        ),
        text("Requirements", case.part.nist_controls.join(", ")),
        text("Time to detect", span(measures.to_detect)),
        text("Time to contain", span(measures.to_contain)),
        text("Time to recover", span(measures.to_recover)),
    ];
    if let Some(why) = &case.part.discovery_reason {
        let who = case.part.discovery_set_by.as_deref().unwrap_or_default();
        facts.insert(4, text("Why then", format!("{why} ({who})")));
    }
    if let Some(hold) = &case.hold {
        facts.push(text("Preservation", hold_in_words(hold)));
    }
    facts.retain(|(_, value)| !value.is_empty());

    let clocks = case.incident.clocks.iter().map(|clock| {
        vec![
            clock.name.clone(),
            minute(clock.started_at),
            minute(clock.due_at),
            clock.in_words(now),
            clock.number.clone().unwrap_or_default(),
        ]
    });
    let timeline = case.timeline().into_iter().map(|one| {
        vec![
            minute(one.at),
            one.who.unwrap_or_else(|| "logs".to_owned()),
            one.what,
        ]
    });
    let tasks = case.tasks.iter().map(|task| {
        vec![
            task.number.to_string(),
            task.task.clone(),
            task.state.to_string(),
            task.settled_by.clone().unwrap_or_default(),
            task.remark.clone().unwrap_or_default(),
        ]
    });
    let indicators = case.indicators.iter().map(|one| {
        vec![
            one.kind.to_string(),
            one.value.clone(),
            one.found_by.clone(),
            one.remark.clone().unwrap_or_default(),
        ]
    });
    let needs_sheet = !case.incident.clocks.is_empty()
        && config.incidents.duties().iter().any(|duty| {
            duty.id == respond::clocks::DFARS
                && case
                    .incident
                    .clocks
                    .iter()
                    .any(|clock| clock.duty == duty.id)
        });
    let sheet = needs_sheet.then(|| filled(case, &system));
    Ok(incident_report(&IncidentReport {
        system: &system,
        title: &row.title,
        story: &case.part.description,
        facts,
        clocks: clocks.collect(),
        timeline: timeline.collect(),
        tasks: tasks.collect(),
        indicators: indicators.collect(),
        root_cause: &case.part.root_cause,
        lessons: &case.part.lessons_learned,
        worksheet: sheet.as_ref(),
        now,
    }))
}

/// A length of time as people say it.
pub fn in_words(span: Span) -> String {
    let minutes = span.as_micros().unsigned_abs() / 60_000_000;
    match minutes {
        0 => "under a minute".to_owned(),
        1..120 => format!("{minutes} min"),
        120..2880 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} days", minutes / 1440),
    }
}
