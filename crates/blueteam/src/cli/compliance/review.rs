//! `blueteam compliance review`: the review of what is logged (3.3.3).

use std::process::ExitCode;

use compliance::review::{CONTROL, Review, TITLE, VALID};
use model::evidence::{Evidence, EvidenceKind};
use model::{Clock as _, EvidenceId, ObjectiveId, Span, SystemClock};
use store::evidence::EvidenceFilter;
use uuid::Uuid;

use super::when::actor;
use crate::cli::out;
use crate::cli::session::{Globals, with_database};
use app::evidence_store;

/// Events of so many days are looked at.
const DAYS: u16 = 30;

/// Review what is logged (3.3.3): types of events that are new or silent since the last review,
/// what is refused most, what touches CUI.
///
/// Read it, then sign it: it is kept as evidence of 3.3.3[b] for a quarter, with your name and what
/// you concluded.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam compliance review
  blueteam compliance review --sign --as alice --conclusion 'the new export type is wanted; nginx \
  is silent because it was moved'

Exit code: 0 done, 1 failed, 2 wrong arguments.")]
pub(super) struct Args {
    /// Keep it as evidence under your name
    #[arg(long, requires = "conclusion")]
    sign: bool,
    /// What follows from it
    #[arg(long, requires = "sign")]
    conclusion: Option<String>,
    /// Who signs; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (now, who) = (SystemClock.now(), actor(args.actor.as_deref())?);
    let conclusion = args.conclusion.as_deref().unwrap_or_default().trim();
    if args.sign && conclusion.chars().count() < 3 {
        out::usage!("--conclusion: say what follows from it, in 3 characters or more");
    }

    let (review, text, signed) = with_database(globals, async |conn, _| {
        super::controls(conn).await?;
        let filter = EvidenceFilter {
            control: Some(CONTROL),
            ..EvidenceFilter::default()
        };

        let before = store::evidence::list(conn, &filter).await?;
        let last = before
            .iter()
            .rev()
            .filter(|e| e.review)
            .find_map(|e| e.content.as_deref());
        let events = store::facts::events(conn, now.minus(Span::days(i64::from(DAYS)))).await?;
        let review = Review::of(&events, last);
        let text = review.text(now, DAYS);
        if !args.sign {
            return Ok((review, text, None));
        }

        let content = format!("Signed by {who}: {conclusion}\n\n{text}");
        let piece = piece(content, &who, now);
        store::evidence::add(conn, &who, &piece).await?;

        Ok((review, text, Some(piece.evidence_id)))
    })?;

    if args.json {
        out::json(&serde_json::json!({ "review": review, "text": text, "evidence_id": signed }))?;
        return Ok(ExitCode::SUCCESS);
    }

    let lines: Vec<_> = text.lines().map(model::text::sanitize).collect();
    out::line(lines.join("\n"))?;
    if let Some(id) = signed {
        out::line(format_args!(
            "\nsigned by {} and kept as {id}",
            model::text::sanitize(&who)
        ))?;
    }

    Ok(ExitCode::SUCCESS)
}

fn piece(content: String, who: &str, now: model::Timestamp) -> Evidence {
    Evidence {
        objectives: vec![ObjectiveId("3.3.3[b]".to_owned())],
        description: TITLE.to_owned(),
        size_bytes: Some(content.len() as u64),
        sha256: Some(evidence_store::sha256(content.as_bytes())),
        content: Some(content),
        valid_until: Some(now.plus(VALID)),
        owner: Some(who.to_owned()),
        approved_by: Some(who.to_owned()),
        approved_at: Some(now),
        review: true,
        ..Evidence::draft(
            EvidenceId(Uuid::now_v7()),
            CONTROL,
            EvidenceKind::LogSample,
            who,
            now,
        )
    }
}
