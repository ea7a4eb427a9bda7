//! The review of what is logged (3.3.3), which a person judges and signs.

use compliance::review::{CONTROL, Review, TITLE, VALID};
use model::evidence::{Evidence, EvidenceKind};
use model::{Actor, Clock as _, EvidenceId, ObjectiveId, Span, SystemClock, Timestamp};
use store::PgConnection;
use store::evidence::EvidenceFilter;
use uuid::Uuid;

use super::evidence_store;
use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// Events of so many days are looked at.
const DAYS: u16 = 30;

/// A review as it stands today.
#[derive(Debug)]
pub struct Prepared {
    /// What is to be judged.
    pub review: Review,
    /// The same for people.
    pub text: String,
}

/// A review that somebody signed.
#[derive(Debug)]
pub struct Signed {
    /// What was judged.
    pub prepared: Prepared,
    /// Where it is kept.
    pub evidence_id: EvidenceId,
    /// Who signed.
    pub by: String,
}

/// Compares what is logged with the last review that was signed.
pub async fn prepare(session: &mut Session) -> Result<Prepared, AppError> {
    prepare_review(session.read(Resource::Compliance)?, SystemClock.now()).await
}

/// Keeps today's review as evidence of 3.3.3[b], under the actor's name and with what follows from
/// it.
pub async fn sign(session: &mut Session, conclusion: &str) -> Result<Signed, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    let conclusion = conclusion.trim();
    if conclusion.chars().count() < 3 {
        return Err(AppError::invalid(
            "--conclusion: say what follows from it, in 3 characters or more",
        ));
    }

    let now = SystemClock.now();
    let prepared = prepare_review(conn, now).await?;
    let content = format!("Signed by {actor}: {conclusion}\n\n{}", prepared.text);
    let piece = to_evidence(content, actor, now);
    store::evidence::add(conn, actor, &piece).await?;

    Ok(Signed {
        prepared,
        evidence_id: piece.evidence_id,
        by: actor.to_string(),
    })
}

async fn prepare_review(conn: &mut PgConnection, now: Timestamp) -> Result<Prepared, AppError> {
    super::current_controls(conn, now).await?;
    let filter = EvidenceFilter {
        control: Some(CONTROL),
        ..EvidenceFilter::default()
    };

    let before = store::evidence::list(conn, &filter).await?;
    let last = before
        .iter()
        .rev()
        .filter(|e| e.review && e.upkeep.is_none())
        .find_map(|e| e.content.as_deref());
    let events = store::facts::events(conn, now.minus(Span::days(i64::from(DAYS)))).await?;
    let review = Review::of(&events, last);
    let text = review.text(now, DAYS);

    Ok(Prepared { review, text })
}

fn to_evidence(content: String, actor: &Actor, now: Timestamp) -> Evidence {
    Evidence {
        objectives: vec![ObjectiveId("3.3.3[b]".to_owned())],
        description: TITLE.to_owned(),
        size_bytes: Some(content.len() as u64),
        sha256: Some(evidence_store::sha256(content.as_bytes())),
        content: Some(content),
        valid_until: Some(now.plus(VALID)),
        owner: Some(actor.to_string()),
        approved_by: Some(actor.to_string()),
        approved_at: Some(now),
        review: true,
        ..Evidence::draft(
            EvidenceId(Uuid::now_v7()),
            CONTROL,
            EvidenceKind::LogSample,
            &actor.to_string(),
            now,
        )
    }
}
