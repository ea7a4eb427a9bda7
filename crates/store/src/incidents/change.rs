//! What people change of incidents: one transaction, one function of the database for each kind of
//! change, which says why it did nothing.

use model::{Actor, AlertId, IncidentId, IncidentStatus, Severity, Timestamp};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::case::{EntryKind, ObservableKind, TaskState};
use crate::StoreError;
use crate::db::{Ts, begin};

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// There is no such incident.
    Absent,
    /// The incident was changed since the version that was seen.
    Stale,
    /// It is part of another one.
    Merged,
    /// It is closed.
    Closed,
    /// It is like that already.
    Same,
    /// It cannot be closed without its root cause and lessons learned.
    Incomplete,
    /// What is told lies in the future.
    Future,
    /// There is no such account, or it is locked for good.
    NoAccount,
    /// There is no such alert, or it belongs elsewhere.
    NoAlert,
    /// There is no such task.
    NoTask,
    /// There is no such observable.
    NoObservable,
    /// It has as many as it may have.
    Full,
    /// Others were merged into it, and one step is all that a merge goes.
    Holds,
    /// Nothing is kept for it.
    Free,
    /// It is part of no other one.
    Apart,
    /// Another open incident is about the same.
    Occupied,
    /// The other one does not exist.
    OtherAbsent,
    /// The other one is closed.
    OtherClosed,
    /// The other one is part of a third one.
    OtherMerged,
}

impl Answer {
    fn of(word: &str) -> Result<Self, StoreError> {
        Ok(match word {
            "done" => Self::Done,
            "absent" => Self::Absent,
            "stale" => Self::Stale,
            "merged" => Self::Merged,
            "closed" => Self::Closed,
            "same" => Self::Same,
            "incomplete" => Self::Incomplete,
            "future" => Self::Future,
            "account" => Self::NoAccount,
            "alert" => Self::NoAlert,
            "task" => Self::NoTask,
            "observable" => Self::NoObservable,
            "full" => Self::Full,
            "holds" => Self::Holds,
            "free" => Self::Free,
            "apart" => Self::Apart,
            "occupied" => Self::Occupied,
            "into_absent" => Self::OtherAbsent,
            "into_closed" => Self::OtherClosed,
            "into_merged" => Self::OtherMerged,
            other => return Err(StoreError::corrupt("answer about an incident", other)),
        })
    }
}

/// An incident that a person opens.
#[derive(Clone, Copy, Debug)]
pub struct NewIncident<'a> {
    /// One line for a person.
    pub title: &'a str,
    /// What happened; none takes that of the alert.
    pub description: Option<&'a str>,
    /// How bad it is.
    pub severity: Severity,
    /// The alert that it is about.
    pub alert: Option<AlertId>,
    /// Why the alert belongs to it.
    pub reason: &'a str,
}

/// A step to another phase.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Where it goes.
    pub to: IncidentStatus,
    /// Why.
    pub reason: &'a str,
    /// What it came from; empty keeps what was written down.
    pub root_cause: &'a str,
    /// What was learned, likewise.
    pub lessons: &'a str,
}

/// Changes of incidents, all of them or none: what is not committed did not happen.
#[derive(Debug)]
pub struct Change<'c> {
    tx: Transaction<'c, Postgres>,
}

/// The version that was seen, for the database.
fn seen(version: Option<u64>) -> Option<i64> {
    version.map(|version| i64::try_from(version).unwrap_or(i64::MAX))
}

impl<'c> Change<'c> {
    /// Begins to change incidents on behalf of `actor`.
    pub async fn begin(conn: &'c mut PgConnection, actor: &Actor) -> Result<Self, StoreError> {
        Ok(Self {
            tx: begin(conn, actor).await?,
        })
    }

    /// Keeps what was changed.
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.tx.commit().await?)
    }

    /// The transaction, to read what it changed.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Opens an incident; none where there is no such alert.
    pub async fn open(&mut self, new: &NewIncident<'_>) -> Result<Option<IncidentId>, StoreError> {
        let made: Option<Uuid> = sqlx::query_scalar!(
            "SELECT blueteam.open_incident($1, $2, $3, $4, $5)",
            new.title,
            new.description,
            new.severity.as_str(),
            new.alert.map(|alert| alert.0),
            new.reason
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(made.map(IncidentId))
    }

    /// Sets title and severity, each where it is given.
    pub async fn edit(
        &mut self,
        incident: IncidentId,
        version: Option<u64>,
        title: Option<&str>,
        severity: Option<Severity>,
        reason: &str,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.edit_incident($1, $2, $3, $4, $5) AS "held!""#,
            incident.0,
            seen(version),
            title,
            severity.map(Severity::as_str),
            reason
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Gives it to an account, or to nobody.
    pub async fn assign(
        &mut self,
        incident: IncidentId,
        version: Option<u64>,
        account: Option<&str>,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.assign_incident($1, $2, $3) AS "held!""#,
            incident.0,
            seen(version),
            account
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Adds a note, or what happened when; also to a closed one.
    pub async fn write(
        &mut self,
        incident: IncidentId,
        kind: EntryKind,
        happened_at: Option<Timestamp>,
        text: &str,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.note_incident($1, $2, $3, $4) AS "held!""#,
            incident.0,
            kind.as_str(),
            happened_at.map(Ts) as Option<Ts>,
            text
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Takes in the tasks of a playbook, unless it has some of one.
    pub async fn plan(
        &mut self,
        incident: IncidentId,
        playbook: &str,
        tasks: &[String],
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.plan_incident($1, $2, $3) AS "held!""#,
            incident.0,
            playbook,
            tasks
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Adds a task.
    pub async fn add_task(
        &mut self,
        incident: IncidentId,
        task: &str,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.add_incident_task($1, $2) AS "held!""#,
            incident.0,
            task
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Says that a task is done, is dropped, or is open again.
    pub async fn settle_task(
        &mut self,
        incident: IncidentId,
        number: u32,
        state: TaskState,
        remark: Option<&str>,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.settle_incident_task($1, $2, $3, $4) AS "held!""#,
            incident.0,
            i32::try_from(number).unwrap_or(i32::MAX),
            state.as_str(),
            remark
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Adds what the attack can be recognized by.
    pub async fn add_observable(
        &mut self,
        incident: IncidentId,
        kind: ObservableKind,
        value: &str,
        remark: Option<&str>,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.add_observable($1, $2, $3, $4) AS "held!""#,
            incident.0,
            kind.as_str(),
            value,
            remark
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Takes an observable back.
    pub async fn drop_observable(
        &mut self,
        incident: IncidentId,
        kind: ObservableKind,
        value: &str,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.drop_observable($1, $2, $3) AS "held!""#,
            incident.0,
            kind.as_str(),
            value
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Puts an alert into an incident, out of the one that it belonged to.
    pub async fn link(
        &mut self,
        incident: IncidentId,
        alert: AlertId,
        reason: &str,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.link_alert($1, $2, $3) AS "held!""#,
            incident.0,
            alert.0,
            reason
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Takes an alert out of its incident; the engine does not put it back.
    pub async fn unlink(
        &mut self,
        incident: IncidentId,
        alert: AlertId,
        reason: &str,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.unlink_alert($1, $2, $3) AS "held!""#,
            incident.0,
            alert.0,
            reason
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Makes one incident part of another.
    pub async fn merge(
        &mut self,
        from: IncidentId,
        into: IncidentId,
        reason: &str,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.merge_incidents($1, $2, $3) AS "held!""#,
            from.0,
            into.0,
            reason
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Takes a merge back.
    pub async fn undo_merge(
        &mut self,
        from: IncidentId,
        reason: &str,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.undo_merge($1, $2) AS "held!""#,
            from.0,
            reason
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Moves it to another phase.
    pub async fn step(
        &mut self,
        incident: IncidentId,
        version: Option<u64>,
        step: &Step<'_>,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.step_incident($1, $2, $3, $4, $5, $6) AS "held!""#,
            incident.0,
            seen(version),
            step.to.as_str(),
            step.reason,
            step.root_cause,
            step.lessons
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Says when it was discovered, and why then.
    pub async fn discover(
        &mut self,
        incident: IncidentId,
        version: Option<u64>,
        at: Timestamp,
        reason: &str,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.set_discovery($1, $2, $3, $4) AS "held!""#,
            incident.0,
            seen(version),
            Ts(at) as Ts,
            reason
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Decides whether a duty to report applies; also of a closed one.
    pub async fn decide(
        &mut self,
        incident: IncidentId,
        version: Option<u64>,
        duty: &str,
        applies: bool,
        reason: &str,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.decide_duty($1, $2, $3, $4, $5) AS "held!""#,
            incident.0,
            seen(version),
            duty,
            applies,
            reason
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Records that a report was sent; also of a closed one.
    pub async fn report(
        &mut self,
        incident: IncidentId,
        duty: &str,
        sent_at: Timestamp,
        number: Option<&str>,
        remark: Option<&str>,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.record_report($1, NULL, $2, $3, $4, $5) AS "held!""#,
            incident.0,
            duty,
            Ts(sent_at) as Ts,
            number,
            remark
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }

    /// Ends the hold of an incident: what is older than the retention goes again.
    pub async fn release(
        &mut self,
        incident: IncidentId,
        reason: &str,
    ) -> Result<Answer, StoreError> {
        let word = sqlx::query_scalar!(
            r#"SELECT blueteam.release_hold($1, $2) AS "held!""#,
            incident.0,
            reason
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Answer::of(&word)
    }
}
