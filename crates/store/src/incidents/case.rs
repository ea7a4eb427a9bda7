//! What belongs to an incident: steps, notes, tasks, alerts, merges, decisions, reports.

use model::{AlertId, IncidentId, IncidentStatus, Severity, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::Ts;

/// The most rows of each kind that are read: nobody reads more, and a page must not grow with them.
const ROWS_MAX: i64 = 2000;

/// Makes an enum of the words that a column may hold.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$of])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every one, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            fn of(word: &str) -> Result<Self, StoreError> {
                let found = Self::ALL.iter().find(|one| one.as_str() == word);
                found.copied().ok_or_else(|| StoreError::corrupt(stringify!($name), word))
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(word: &str) -> Result<Self, String> {
                let all: Vec<&str> = Self::ALL.iter().map(|one| one.as_str()).collect();
                Self::of(word).map_err(|_| format!("one of {}", all.join(", ")))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// What someone wrote down.
    EntryKind {
        /// A thought, a finding, a call.
        Note = "note",
        /// Something that happened at its time.
        Timeline = "timeline",
        /// What someone changed beside the phase.
        Change = "change",
    }
}

words! {
    /// How far a task is.
    TaskState {
        /// To be done.
        Open = "open",
        /// Done.
        Done = "done",
        /// Not to be done.
        Dropped = "dropped",
    }
}

words! {
    /// What an attack can be recognized by.
    ObservableKind {
        /// An address.
        Ip = "ip",
        /// An account.
        User = "user",
        /// A machine.
        Host = "host",
        /// A name in the DNS.
        Domain = "domain",
        /// A URL.
        Url = "url",
        /// The SHA-256 of a file.
        Sha256 = "sha256",
    }
}

/// What there is to know of an incident beside its row in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What happened, in the words of the worst alert or of the person who opened it.
    pub description: String,
    /// Requirements that it concerns.
    pub nist_controls: Vec<String>,
    /// What it came from.
    pub root_cause: String,
    /// What was learned from it.
    pub lessons_learned: String,
    /// Why it counts as discovered when it does, where a person has decided that.
    pub discovery_reason: Option<String>,
    /// Who has.
    pub discovery_set_by: Option<String>,
}

/// From when and until when events are kept for an incident (DFARS 252.204-7012 (e)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// From when.
    pub since: Timestamp,
    /// Until when; none before the report is sent.
    pub until: Option<Timestamp>,
}

/// A change of an incident's status that a person made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusChange {
    /// Where it stood.
    pub previous: IncidentStatus,
    /// Where it stands since.
    pub status: IncidentStatus,
    /// Why.
    pub reason: String,
    /// Who changed it, and for whom.
    pub changed_by: String,
    /// When.
    pub changed_at: Timestamp,
}

/// What someone wrote down about an incident, or changed of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// When what it says happened.
    pub happened_at: Timestamp,
    /// What it says.
    pub body: String,
    /// Who wrote it.
    pub author: String,
    /// When it was written.
    pub created_at: Timestamp,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Its number in the incident.
    pub number: u32,
    /// What to do.
    pub task: String,
    /// The playbook that it comes from.
    pub playbook: Option<String>,
    /// How far it is.
    pub state: TaskState,
    /// What came of it.
    pub remark: Option<String>,
    /// Who says so.
    pub settled_by: Option<String>,
    /// Since when.
    pub settled_at: Option<Timestamp>,
    /// Who added it.
    pub added_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// That an alert belongs to an incident, or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The alert.
    pub alert_id: AlertId,
    /// What it says.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// The first event of the alert, by the clock of whoever logged it.
    pub first_seen: Timestamp,
    /// Its last one.
    pub last_seen: Timestamp,
    /// Who put it there.
    pub linked_by: String,
    /// When.
    pub linked_at: Timestamp,
    /// Why, where a person did.
    pub reason: Option<String>,
    /// When it was taken out.
    pub ended_at: Option<Timestamp>,
    /// By whom.
    pub ended_by: Option<String>,
    /// Why.
    pub end_reason: Option<String>,
}

/// That an incident was merged into another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Merge {
    /// The one that was merged.
    pub source_id: IncidentId,
    /// What it says.
    pub source_title: String,
    /// The one that it is part of.
    pub target_id: IncidentId,
    /// What that says.
    pub target_title: String,
    /// Why.
    pub reason: String,
    /// Who merged it.
    pub merged_by: String,
    /// When.
    pub merged_at: Timestamp,
    /// When it was taken back.
    pub undone_at: Option<Timestamp>,
    /// By whom.
    pub undone_by: Option<String>,
    /// Why.
    pub undo_reason: Option<String>,
}

/// A decision on a duty to report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// The duty.
    pub duty: String,
    /// Whether it applies.
    pub applies: bool,
    /// Why.
    pub reason: String,
    /// Who decided.
    pub decided_by: String,
    /// When.
    pub decided_at: Timestamp,
}

/// A report that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The duty that it fulfills.
    pub duty: String,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// The number that came back.
    pub number: Option<String>,
    /// What else is to be known of it.
    pub remark: Option<String>,
    /// Who recorded it.
    pub recorded_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// What an attack can be recognized by, as a person found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Observable {
    /// What it is.
    pub kind: ObservableKind,
    /// The address, name or hash.
    pub value: String,
    /// What is to be known of it.
    pub remark: Option<String>,
    /// Who found it.
    pub added_by: String,
    /// When.
    pub added_at: Timestamp,
}

/// What there is to know of an incident; none when there is no such incident.
pub async fn part(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<Option<Part>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT coalesce(description, '') AS "description!",
                  coalesce(nist_controls, '{}') AS "nist_controls!",
                  coalesce(root_cause, '') AS "root_cause!",
                  coalesce(lessons_learned, '') AS "lessons_learned!",
                  discovery_reason, discovery_set_by
             FROM blueteam.security_incidents
            WHERE incident_id = $1"#,
        incident.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Part {
        description: row.description,
        nist_controls: row.nist_controls,
        root_cause: row.root_cause,
        lessons_learned: row.lessons_learned,
        discovery_reason: row.discovery_reason,
        discovery_set_by: row.discovery_set_by,
    }))
}

/// The hold of an incident, if there is one.
pub async fn hold(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<Option<Hold>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT since AS "since!: Ts", until AS "until: Ts"
             FROM blueteam.preservation_holds
            WHERE incident_id = $1"#,
        incident.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Hold {
        since: row.since.0,
        until: row.until.map(|at| at.0),
    }))
}

/// The changes of an incident's status, the first one first.
pub async fn status_changes(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<Vec<StatusChange>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT previous, status, reason, changed_by, changed_at AS "changed_at: Ts"
             FROM blueteam.incident_history
            WHERE incident_id = $1
            ORDER BY change_id
            LIMIT $2"#,
        incident.0,
        ROWS_MAX
    )
    .fetch_all(conn)
    .await?;

    let status = |text: String| {
        text.parse()
            .map_err(|e| StoreError::corrupt("incident_history.status", e))
    };
    rows.into_iter()
        .map(|row| {
            Ok(StatusChange {
                previous: status(row.previous)?,
                status: status(row.status)?,
                reason: row.reason,
                changed_by: row.changed_by,
                changed_at: row.changed_at.0,
            })
        })
        .collect()
}

/// What people wrote down and changed, the earliest first.
pub async fn entries(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<Vec<Entry>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT kind, happened_at AS "happened_at: Ts", body, author, created_at AS "created_at: Ts"
             FROM blueteam.incident_entries
            WHERE incident_id = $1
            ORDER BY happened_at, entry_id
            LIMIT $2"#,
        incident.0,
        ROWS_MAX
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Entry {
                kind: EntryKind::of(&row.kind)?,
                happened_at: row.happened_at.0,
                body: row.body,
                author: row.author,
                created_at: row.created_at.0,
            })
        })
        .collect()
}

/// What is to be done and was, by number.
pub async fn tasks(conn: &mut PgConnection, incident: IncidentId) -> Result<Vec<Task>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT number, task, playbook, state, remark, settled_by, settled_at AS "settled_at: Ts",
                  added_by, created_at AS "created_at: Ts"
             FROM blueteam.incident_tasks
            WHERE incident_id = $1
            ORDER BY number
            LIMIT $2"#,
        incident.0,
        ROWS_MAX
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Task {
                number: row.number.unsigned_abs(),
                task: row.task,
                playbook: row.playbook,
                state: TaskState::of(&row.state)?,
                remark: row.remark,
                settled_by: row.settled_by,
                settled_at: row.settled_at.map(|at| at.0),
                added_by: row.added_by,
                created_at: row.created_at.0,
            })
        })
        .collect()
}

/// The alerts of an incident and those that were taken out, the first one first.
pub async fn links(conn: &mut PgConnection, incident: IncidentId) -> Result<Vec<Link>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT l.alert_id, a.title, a.severity, a.first_seen AS "first_seen!: Ts",
                  a.last_seen AS "last_seen!: Ts", l.linked_by, l.linked_at AS "linked_at: Ts",
                  l.reason, l.ended_at AS "ended_at: Ts", l.ended_by, l.end_reason
             FROM blueteam.incident_alerts l
             JOIN blueteam.alert_history a USING (alert_id)
            WHERE l.incident_id = $1
            ORDER BY l.linked_at, l.link_id
            LIMIT $2"#,
        incident.0,
        ROWS_MAX
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let severity = row.severity.parse();
            Ok(Link {
                alert_id: AlertId(row.alert_id),
                title: row.title,
                severity: severity.map_err(|e| StoreError::corrupt("alert_history.severity", e))?,
                first_seen: row.first_seen.0,
                last_seen: row.last_seen.0,
                linked_by: row.linked_by,
                linked_at: row.linked_at.0,
                reason: row.reason,
                ended_at: row.ended_at.map(|at| at.0),
                ended_by: row.ended_by,
                end_reason: row.end_reason,
            })
        })
        .collect()
}

/// The merges of which an incident is a part, the first one first.
pub async fn merges(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<Vec<Merge>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT m.source_id, s.title AS source_title, m.target_id, t.title AS target_title,
                  m.reason, m.merged_by, m.merged_at AS "merged_at: Ts",
                  m.undone_at AS "undone_at: Ts", m.undone_by, m.undo_reason
             FROM blueteam.incident_merges m
             JOIN blueteam.security_incidents s ON s.incident_id = m.source_id
             JOIN blueteam.security_incidents t ON t.incident_id = m.target_id
            WHERE $1 IN (m.source_id, m.target_id)
            ORDER BY m.merged_at, m.merge_id
            LIMIT $2"#,
        incident.0,
        ROWS_MAX
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Merge {
            source_id: IncidentId(row.source_id),
            source_title: row.source_title,
            target_id: IncidentId(row.target_id),
            target_title: row.target_title,
            reason: row.reason,
            merged_by: row.merged_by,
            merged_at: row.merged_at.0,
            undone_at: row.undone_at.map(|at| at.0),
            undone_by: row.undone_by,
            undo_reason: row.undo_reason,
        })
        .collect())
}

/// The decisions on duties to report, the first one first.
pub async fn decisions(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<Vec<Decided>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT duty, applies, reason, decided_by, decided_at AS "decided_at: Ts"
             FROM blueteam.incident_decisions
            WHERE incident_id = $1
            ORDER BY decision_id
            LIMIT $2"#,
        incident.0,
        ROWS_MAX
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Decided {
            duty: row.duty,
            applies: row.applies,
            reason: row.reason,
            decided_by: row.decided_by,
            decided_at: row.decided_at.0,
        })
        .collect())
}

/// The reports that were sent, the first one first.
pub async fn reports(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<Vec<Report>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT duty, sent_at AS "sent_at: Ts", number, remark, recorded_by,
                  created_at AS "created_at: Ts"
             FROM blueteam.incident_reports
            WHERE incident_id = $1
            ORDER BY sent_at, report_id
            LIMIT $2"#,
        incident.0,
        ROWS_MAX
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Report {
            duty: row.duty,
            sent_at: row.sent_at.0,
            number: row.number,
            remark: row.remark,
            recorded_by: row.recorded_by,
            created_at: row.created_at.0,
        })
        .collect())
}

/// What people found that the attack can be recognized by, in the order in which they did.
pub async fn observables(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<Vec<Observable>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT kind, value, remark, added_by, added_at AS "added_at: Ts"
             FROM blueteam.incident_observables
            WHERE incident_id = $1 AND dropped_at IS NULL
            ORDER BY added_at, observable_id
            LIMIT $2"#,
        incident.0,
        ROWS_MAX
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Observable {
                kind: ObservableKind::of(&row.kind)?,
                value: row.value,
                remark: row.remark,
                added_by: row.added_by,
                added_at: row.added_at.0,
            })
        })
        .collect()
}
