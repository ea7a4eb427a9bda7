//! The weekly and monthly reviews of upkeep, which a person judges and signs.

use std::fmt::{Display, Write as _};

use compliance::upkeep::{control, objective, title, valid};
use model::evidence::{Evidence, EvidenceKind, UpkeepReview};
use model::text::{counted, sanitize, shorten};
use model::{Actor, Clock as _, EvidenceId, ObjectiveId, Span, SystemClock, Timestamp};
use store::PgConnection;
use store::upkeep::{AuditCount, FailureRow, RuleRecord};
use uuid::Uuid;

use super::{Failures, Passwords, Upkeep, read};
use crate::actor::{Action, Resource};
use crate::compliance::{current_controls, evidence_store};
use crate::{AppError, Session};

/// Lines of the audit log that a review holds. What is left out is counted, and is what was done
/// most often by its actor: nobody hides something by doing other things more often.
const AUDIT_LINES: usize = 500;
/// Characters of a name that others chose.
const NAME_MAX: usize = 80;

/// A review that somebody signed.
#[derive(Clone, Debug)]
pub struct Signed {
    /// What was judged.
    pub text: String,
    /// Where it is kept.
    pub evidence_id: EvidenceId,
    /// Who signed.
    pub by: String,
}

/// Prepares a review as it stands today.
pub async fn prepare(session: &mut Session, review: UpkeepReview) -> Result<String, AppError> {
    require_reading(session)?;
    let conn = session.read(Resource::Compliance)?;
    prepare_text(conn, review, SystemClock.now()).await
}

/// Keeps today's review as evidence, under the actor's name and with what follows from it.
pub async fn sign(
    session: &mut Session,
    review: UpkeepReview,
    conclusion: &str,
) -> Result<Signed, AppError> {
    require_reading(session)?;
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    let conclusion = conclusion.trim();
    if conclusion.chars().count() < 3 {
        return Err(AppError::invalid(
            "--conclusion: say what follows from it, in 3 characters or more",
        ));
    }

    let now = SystemClock.now();
    current_controls(conn, now).await?;
    let text = prepare_text(conn, review, now).await?;
    let content = format!("Signed by {actor}: {conclusion}\n\n{text}");
    let piece = to_evidence(review, content, actor, now);
    store::evidence::add(conn, actor, &piece).await?;

    Ok(Signed {
        text,
        evidence_id: piece.evidence_id,
        by: actor.to_string(),
    })
}

/// A review holds what belongs to all of these.
fn require_reading(session: &Session) -> Result<(), AppError> {
    for resource in [Resource::System, Resource::Users, Resource::AuditLog] {
        session.require(Action::Read, resource)?;
    }
    Ok(())
}

fn to_evidence(review: UpkeepReview, content: String, actor: &Actor, now: Timestamp) -> Evidence {
    Evidence {
        objectives: vec![ObjectiveId(objective(review).to_owned())],
        description: title(review).to_owned(),
        size_bytes: Some(content.len() as u64),
        sha256: Some(evidence_store::sha256(content.as_bytes())),
        content: Some(content),
        valid_until: Some(now.plus(valid(review))),
        owner: Some(actor.to_string()),
        approved_by: Some(actor.to_string()),
        approved_at: Some(now),
        review: true,
        upkeep: Some(review),
        ..Evidence::draft(
            EvidenceId(Uuid::now_v7()),
            control(review),
            EvidenceKind::LogSample,
            &actor.to_string(),
            now,
        )
    }
}

async fn prepare_text(
    conn: &mut PgConnection,
    review: UpkeepReview,
    now: Timestamp,
) -> Result<String, AppError> {
    let mut upkeep = read(conn, now).await?;
    let since = now.minus(Span::days(i64::from(review.days())));
    Ok(match review {
        UpkeepReview::Weekly => {
            upkeep.rules = store::upkeep::rules(conn, since).await?;
            weekly_text(&upkeep)
        }
        UpkeepReview::Monthly => {
            monthly_text(&upkeep, store::upkeep::audit_counts(conn, since).await?)
        }
    })
}

/// A text of headings with indented lines. What others chose is clean when it gets here: it can
/// begin no line of its own.
struct Text(String);

impl Text {
    fn new(review: UpkeepReview, now: Timestamp) -> Self {
        let days = review.days();
        Self(format!("{}, {now}: {days} days\n", title(review)))
    }

    fn part(&mut self, heading: &str, lines: impl IntoIterator<Item = String>) {
        let _ = writeln!(self.0, "\n{heading}:");
        let mut is_empty = true;
        for line in lines {
            is_empty = false;
            let _ = writeln!(self.0, "  {line}");
        }

        if is_empty {
            self.0.push_str("  none\n");
        }
    }
}

/// A name that somebody else chose.
fn clean(name: impl Display) -> String {
    let name = name.to_string();
    shorten(&sanitize(&name), NAME_MAX).into_owned()
}

fn weekly_text(upkeep: &Upkeep) -> String {
    let mut text = Text::new(UpkeepReview::Weekly, upkeep.at);
    text.part("Failed sign-ins", failure_lines(&upkeep.sign_ins.failed));
    text.part("Lockouts", failure_lines(&upkeep.sign_ins.locked));
    text.part(
        &format!("Slow statements, seen by {}", upkeep.statements.seen_by),
        statement_lines(upkeep),
    );
    text.part("Detections by rule", upkeep.rules.iter().map(rule_line));
    text.part("Backups", [backup_line(upkeep)]);
    text.part("Statistics of tables (ANALYZE)", [analyze_line(upkeep)]);
    text.0
}

fn monthly_text(upkeep: &Upkeep, audit: Vec<AuditCount>) -> String {
    let mut text = Text::new(UpkeepReview::Monthly, upkeep.at);
    text.part("Password policy", password_lines(&upkeep.passwords));
    let since = upkeep.indexes.since.map_or_else(
        || "since the database was made or the server crashed".to_owned(),
        |at| format!("since {at}"),
    );
    text.part(
        &format!("Indexes that no statement used, {since}"),
        upkeep.indexes.unused.iter().map(|i| {
            format!(
                "{} of {}: {} bytes",
                clean(&i.name),
                clean(&i.table),
                i.bytes
            )
        }),
    );
    text.part("Audit log by action and actor", audit_lines(audit));
    text.0
}

fn failure_lines(failures: &Failures) -> Vec<String> {
    if failures.week == 0 {
        return Vec::new();
    }

    let mut lines = vec![format!(
        "{} in 7 days, {} today, {}",
        failures.week,
        failures.today,
        counted(failures.accounts, "account")
    )];
    let line = |row: &FailureRow, one: &str, several: &str| {
        let name = row.name.as_deref().unwrap_or_default();
        format!(
            "{} {}: {}, {}",
            row.by,
            clean(name),
            row.week,
            format_args!(
                "{} {}",
                row.others,
                if row.others == 1 { one } else { several }
            )
        )
    };
    lines.extend(
        failures
            .by_account
            .iter()
            .map(|row| line(row, "address", "addresses")),
    );
    lines.extend(
        failures
            .by_address
            .iter()
            .map(|row| line(row, "account", "accounts")),
    );
    lines
}

fn statement_lines(upkeep: &Upkeep) -> Vec<String> {
    let statements = &upkeep.statements;
    let Some(samples) = &statements.samples else {
        return statements
            .slowest
            .iter()
            .map(|s| {
                format!(
                    "{:.1} ms on average, {:.1} ms at most, {} calls: {}",
                    s.mean_ms,
                    s.max_ms,
                    s.calls,
                    sanitize(&s.statement)
                )
            })
            .collect();
    };

    let longest = samples.longest_s.map_or_else(
        || "nothing was sampled".to_owned(),
        |longest| format!("the longest ran for {longest:.1} s when it was seen"),
    );
    vec![format!(
        "{longest}; {} of {} hours had one over the threshold ({})",
        samples.hours_over,
        samples.hours,
        statements.because.as_deref().unwrap_or_default()
    )]
}

fn rule_line(rule: &RuleRecord) -> String {
    format!(
        "{}: {}, {} acknowledged, {} silenced, {} in incidents, {} judged to be noise",
        clean(&rule.rule_id),
        counted(rule.alerts, "alert"),
        rule.acknowledged,
        rule.silenced,
        rule.in_incidents,
        rule.noise
    )
}

fn backup_line(upkeep: &Upkeep) -> String {
    let backup = &upkeep.backup;
    match backup.age_hours {
        Some(hours) => format!("the newest is {hours:.0} h old: {}", clean(&backup.detail)),
        None => clean(&backup.detail),
    }
}

fn analyze_line(upkeep: &Upkeep) -> String {
    upkeep.analyzed.as_ref().map_or_else(
        || "never taken".to_owned(),
        |run| {
            format!(
                "taken at {} by {}: {}, {} skipped",
                run.at,
                clean(&run.done_by),
                counted(run.analyzed, "table"),
                run.skipped.len()
            )
        },
    )
}

fn password_lines(passwords: &Passwords) -> Vec<String> {
    let list = |what: &str, names: &[String]| {
        let names: Vec<_> = names.iter().map(clean).collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        format!("{what}: {names}")
    };
    vec![
        format!(
            "{} of {} comply",
            passwords.compliant,
            counted(passwords.accounts, "account")
        ),
        list("past the age that is allowed", &passwords.past_age),
        list("without a second factor", &passwords.without_factor),
        list("must change their password", &passwords.must_change),
    ]
}

/// The rarest first: what somebody did once is what a reviewer must see.
fn audit_lines(mut audit: Vec<AuditCount>) -> Vec<String> {
    audit.sort_by(|a, b| {
        (a.times, &a.action, &a.resource, &a.actor).cmp(&(
            b.times,
            &b.action,
            &b.resource,
            &b.actor,
        ))
    });
    let left_out = audit.len().saturating_sub(AUDIT_LINES);
    let mut lines: Vec<_> = audit
        .iter()
        .take(AUDIT_LINES)
        .map(|a| {
            format!(
                "{} {} by {}: {}",
                a.action,
                a.resource,
                clean(&a.actor),
                a.times
            )
        })
        .collect();
    if left_out > 0 {
        lines.push(format!("and {left_out} more that were done more often"));
    }

    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_an_attacker_chose_begins_no_line() {
        let failures = Failures {
            week: 3,
            accounts: 1,
            by_account: vec![FailureRow {
                kind: "failed".to_owned(),
                by: "account".to_owned(),
                name: Some("eve\n\nBackups:\n  all is well\u{1b}[2J".to_owned()),
                today: 0,
                week: 3,
                others: 1,
            }],
            ..Failures::default()
        };

        let mut text = Text(String::new());
        text.part("Failed sign-ins", failure_lines(&failures));
        assert_eq!(text.0.lines().count(), 4, "{}", text.0);
        assert!(!text.0.contains('\u{1b}'));
        assert!(text.0.contains(": 3, 1 address"), "{}", text.0);
    }

    #[test]
    fn what_was_done_once_is_not_hidden_by_what_was_done_often() {
        let count = |n: usize, times| AuditCount {
            action: "UPDATE".to_owned(),
            resource: "USER".to_owned(),
            actor: format!("actor {n:04}"),
            times,
        };
        let mut audit: Vec<_> = (0..AUDIT_LINES + 10).map(|n| count(n, 900)).collect();
        audit.push(AuditCount {
            actor: "mallory".to_owned(),
            ..count(0, 1)
        });

        let lines = audit_lines(audit);
        assert!(lines[0].contains("by mallory: 1"), "{}", lines[0]);
        assert_eq!(
            lines.last().unwrap(),
            "and 11 more that were done more often"
        );
    }
}
