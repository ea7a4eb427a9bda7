//! `blueteam compliance show`: all that is known of one requirement.

use std::process::ExitCode;

use app::compliance::assessment::{self, LastResult};
use compliance::catalog::Methods;
use compliance::checks::{CheckResult, Verdict};
use compliance::{Catalog, Requirement};
use model::{Control, EvidenceType, Objective, Responsibility};

use super::evidence::collect::shown;
use super::grid::paragraph;
use super::ids::many;
use super::standing_word;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Show a requirement: its wording, its objectives, what was found, by whom and why, and what its
/// check last saw, also where it can't tell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance show 3.3.1\n  blueteam compliance show \
        AU.L2-3.3.1 --json"
)]
pub(super) struct Args {
    /// The requirement
    id: String,
    /// What an assessor may examine, ask and test, too
    #[arg(long)]
    methods: bool,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let assessed = with_session(globals, None, async |session, _| {
        Ok(assessment::show(session, &state, &args.id).await?)
    })?;
    if args.json {
        out::json(&assessed)?;
        return Ok(ExitCode::SUCCESS);
    }

    let (requirement, control) = (assessed.requirement, &assessed.standing);
    print_head(requirement, control)?;
    for (text, objective) in requirement
        .assessment_objectives
        .iter()
        .zip(&control.objectives)
    {
        objective_lines(&text.text, objective)?;
        let says = assessed
            .check
            .iter()
            .flat_map(|last| &last.says)
            .find(|s| s.objective_id(&control.control_id) == objective.objective_id);
        if let (Some(says), Some(last)) = (says, &assessed.check) {
            check_line(says, last, objective)?;
        }
    }

    if args.methods {
        print_methods(&requirement.assessment_methods)?;
    }

    Ok(ExitCode::SUCCESS)
}

/// What an assessor may examine, ask and test.
fn print_methods(methods: &Methods) -> anyhow::Result<()> {
    for (name, objects) in [
        ("examine", &methods.examine),
        ("interview", &methods.interview),
        ("test", &methods.test),
    ] {
        out::line(format_args!("\n{name}:"))?;
        for object in objects {
            paragraph("", 2, object)?;
        }
    }

    Ok(())
}

fn print_head(r: &Requirement, c: &Control) -> anyhow::Result<()> {
    const MARGIN: usize = 12;
    let tell = |label: &str, text: &str| paragraph(label, MARGIN, &model::text::sanitize(text));
    out::line(format_args!("{}  {}", r.control_id, r.cmmc_practice))?;
    paragraph("", 0, &r.title)?;
    paragraph("", 0, &r.requirement)?;
    out::line("")?;

    let (status, finding) = (
        c.implementation().as_str().replace('_', " "),
        standing_word(c.standing()),
    );
    let finding = if status == finding {
        String::new()
    } else {
        format!(" ({finding})")
    };

    tell("status", &format!("{status}{finding}"))?;
    let weight = r.dod_weight.map_or("no score without it".to_owned(), |w| {
        many(usize::from(w), "point", "points")
    });
    let partial = if c.partial_credit {
        ", the partial score is taken"
    } else {
        ""
    };

    tell("weight", &format!("{weight}{partial}"))?;
    if let Some(note) = &r.weight_note {
        tell("", note)?;
    }

    let plan = if c.planned {
        "on a plan of action; "
    } else {
        ""
    };

    let may = if r.poam_allowed {
        "may wait on one"
    } else {
        "may not wait on one"
    };

    let note = r
        .poam_note
        .as_ref()
        .map_or_else(String::new, |n| format!(" ({n})"));
    tell("poa&m", &format!("{plan}{may}{note}"))?;
    tell("owner", c.owner.as_deref().unwrap_or("-"))?;
    tell("next due", &out::maybe_time(c.due))?;
    tell(
        "evidence",
        c.evidence_type.map_or("-", EvidenceType::as_str),
    )?;
    if let Some(notes) = &c.assessor_notes {
        tell("notes", notes)?;
    }

    let provider = c
        .provider
        .as_deref()
        .map_or_else(String::new, |p| format!(" ({p})"));
    tell("done by", &format!("{}{provider}", c.responsibility))?;

    if c.responsibility != Responsibility::Own {
        tell("  provider", c.provider_duties.as_deref().unwrap_or("-"))?;
        tell("  own part", c.customer_duties.as_deref().unwrap_or("-"))?;
    }

    tell(
        "how",
        c.notes.as_deref().unwrap_or("not written yet: set --notes"),
    )?;
    tell("800-53", &r.nist_800_53_r4_mappings.join(", "))?;

    tell(
        "source",
        &format!(
            "{}, last verified {}",
            Catalog::r2().name(),
            Catalog::r2().last_verified
        ),
    )?;

    out::line("")
}

/// What the check said of an objective, unless that stands there as a proposal.
fn check_line(s: &CheckResult, c: &LastResult, o: &Objective) -> anyhow::Result<()> {
    let proposed = o
        .proposal
        .as_ref()
        .is_some_and(|p| p.by == c.check_id && Some(p.finding) == s.verdict.finding());
    if proposed && !matches!(s.verdict, Verdict::CantTell { .. }) {
        return Ok(());
    }

    print_heading(&format!(
        "{}, {} by {}: {}",
        shown(s).1,
        out::time(c.at),
        c.check_id,
        s.verdict.text()
    ))
}

/// A line below an objective.
fn print_heading(text: &str) -> anyhow::Result<()> {
    paragraph("", 14, &model::text::sanitize(text))
}

fn objective_lines(text: &str, o: &Objective) -> anyhow::Result<()> {
    paragraph(
        &format!("{:<11} {}", o.objective_id.0, standing_word(o.standing())),
        26,
        text,
    )?;

    if let Some(d) = &o.decision {
        let methods: Vec<&str> = d.methods.iter().map(|m| m.as_str()).collect();
        let how = if methods.is_empty() {
            String::new()
        } else {
            format!(" ({})", methods.join(", "))
        };
        print_heading(&format!("{}, {}{how}: {}", d.by, out::time(d.at), d.reason))?;
    }

    if let Some(p) = &o.proposal {
        let finding = p.finding.as_str().replace('_', " ");
        print_heading(&format!(
            "proposed {finding}, {} by {}: {}",
            out::time(p.at),
            p.by,
            p.reason
        ))?;
    }

    let s = o.support;
    if s != model::Support::default() {
        print_heading(&format!(
            "evidence: {} valid, {} lapsed, {}{}",
            s.valid,
            s.lapsed,
            many(s.drafts as usize, "draft", "drafts"),
            if s.tampered > 0 {
                format!(", {} TAMPERED WITH", s.tampered)
            } else {
                String::new()
            }
        ))?;
    }

    Ok(())
}
