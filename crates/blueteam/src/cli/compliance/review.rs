//! `blueteam compliance review`: the review of what is logged (3.3.3).

use std::process::ExitCode;

use app::compliance::review;

use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Review what is logged (3.3.3): types of events that are new or silent since the last review,
/// what is refused most, what touches CUI.
///
/// Read it, then sign it: it is kept as evidence of 3.3.3[b] for a quarter, with your name and what
/// you concluded.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam compliance review
  blueteam compliance review --sign --conclusion 'the new export type is wanted; nginx \
  is silent because it was moved'

Exit code: 0 done, 1 failed, 2 wrong arguments.")]
pub(super) struct Args {
    /// Keep it as evidence under your name
    #[arg(long, requires = "conclusion")]
    sign: bool,
    /// What follows from it
    #[arg(long, requires = "sign")]
    conclusion: Option<String>,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (prepared, signed) =
        with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
            let Some(conclusion) = args.conclusion.as_deref().filter(|_| args.sign) else {
                return Ok((review::prepare(session).await?, None));
            };

            let signed = review::sign(session, conclusion).await?;
            Ok((signed.prepared, Some((signed.evidence_id, signed.by))))
        })?;

    if args.json {
        out::json(&serde_json::json!({
            "review": prepared.review,
            "text": prepared.text,
            "evidence_id": signed.map(|(id, _)| id),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }

    let lines: Vec<_> = prepared.text.lines().map(model::text::sanitize).collect();
    out::line(lines.join("\n"))?;
    if let Some((id, by)) = signed {
        out::line(format_args!(
            "\nsigned by {} and kept as {id}",
            model::text::sanitize(&by)
        ))?;
    }

    Ok(ExitCode::SUCCESS)
}
