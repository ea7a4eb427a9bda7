//! `blueteam compliance set`: a named person decides.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use compliance::claim::Obstacle;
use compliance::score::PLAN;
use model::{Clock as _, Finding, Method, ObjectiveId, Responsibility, SystemClock, Timestamp};
use store::compliance::{Changes, NewDecision};
use store::{Connection as _, PgConnection};

use super::ids::many;
use super::when::{actor, day};
use super::{find, show};
use crate::cli::out;
use crate::cli::session::{Globals, with_database};
use app::claims;
use app::dossier;

/// Decide a finding, or say who does a requirement and how.
///
/// Given a requirement, --finding decides all of its objectives; given an objective (3.1.1[a], or
/// 3.1.1a for shells that expand brackets), that one. 3.12.4 can be met only when an approved
/// system security plan is among its evidence, and the description of the system, where there is
/// one, lacks nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam compliance set 3.3.1 --finding met --reason 'journal and application events, see SSP \
  3.3' --method examine --method test
  blueteam compliance set 3.5.3a --finding not_met --reason 'no second factor for the VPN'
  blueteam compliance set 3.10.1 --responsibility inherited --provider 'Acme Hosting' \
  --provider-duties 'locks the data centre'
  blueteam compliance set 3.3.1 --owner alice --due 2027-01-31 --notes 'rsyslog over TLS to the \
  collector; kept for six years'

Exit code: 0 done, 1 failed, 2 wrong arguments.")]
pub(super) struct Args {
    /// The requirement or the objective
    id: String,
    /// met, not_met, not_applicable; or not_assessed, which takes a decision back
    #[arg(long, requires = "reason", value_parser = finding)]
    finding: Option<Decided>,
    /// Why: how it is met, what does not conform, or why it does not apply
    #[arg(long)]
    reason: Option<String>,
    /// How it was looked at: examine, interview, test; may be given several times [default:
    /// examine]
    #[arg(long = "method", value_name = "METHOD")]
    methods: Vec<Method>,
    /// Who answers for the requirement
    #[arg(long)]
    owner: Option<String>,
    /// When it is to be assessed next: 2027-01-31, a time with its zone, or a length of time from
    /// now (30d)
    #[arg(long, value_parser = day, value_name = "TIME")]
    due: Option<Timestamp>,
    /// How it is done here: what, by which product and setting, how often, by whom
    #[arg(long)]
    notes: Option<String>,
    /// own, inherited or shared
    #[arg(long)]
    responsibility: Option<Responsibility>,
    /// The provider of what is inherited or shared
    #[arg(long)]
    provider: Option<String>,
    /// The provider's part
    #[arg(long, value_name = "TEXT")]
    provider_duties: Option<String>,
    /// Our part
    #[arg(long, value_name = "TEXT")]
    our_duties: Option<String>,
    /// Whether the partial score counts (3.5.3: MFA for remote and privileged users alone; 3.13.11:
    /// encryption that is not FIPS-validated)
    #[arg(long, value_name = "BOOL")]
    partial: Option<bool>,
    /// Who decides; without it, the system's user name
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// As a JSON object: the requirement as it stands then, as `show` has it
    #[arg(long)]
    json: bool,
}

/// A finding, or none again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decided(pub Option<Finding>);

pub(super) fn finding(text: &str) -> Result<Decided, String> {
    if matches!(text, "not_assessed" | "not-assessed") {
        return Ok(Decided(None));
    }

    if text.eq_ignore_ascii_case("n/a") || text.eq_ignore_ascii_case("na") {
        return Ok(Decided(Some(Finding::NotApplicable)));
    }

    text.parse()
        .map(|f| Decided(Some(f)))
        .map_err(|e: model::ids::UnknownWord| e.to_string())
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (requirement, objective) = find(&args.id)?;
    let decisions = decisions(args, requirement, objective)?;
    let changes = changes(args);
    if decisions.is_empty() && changes.is_none() {
        out::usage!(
            "say what is to be set: --finding with --reason, --owner, --due, --notes, \
                --responsibility, --partial"
        );
    }

    let partial_wrong = args.partial == Some(true) && requirement.partial_weight.is_none();
    if partial_wrong {
        out::usage!(
            "--partial: only 3.5.3 and 3.13.11 have a partial score (DoD Assessment Methodology \
                v1.2.1)"
        );
    }

    let who = actor(args.actor.as_deref())?;
    let needs_plan = decisions.iter().any(needs_plan);
    let (controls, check) = with_database(globals, async |conn, _| {
        if needs_plan && let Some(why) = no_plan(conn, globals).await? {
            bail!("{why}");
        }
        if args
            .responsibility
            .is_some_and(|r| r != Responsibility::Own)
            && args.provider.is_none()
        {
            let all = super::controls(conn).await?;
            if super::known(requirement, &all).is_none_or(|c| c.provider.is_none()) {
                out::usage!("--responsibility: name the provider with --provider");
            }
        }
        let mut tx = conn.begin().await?;
        store::compliance::decide(&mut tx, &who, SystemClock.now(), &decisions).await?;
        if let Some(changes) = &changes {
            store::compliance::change(&mut tx, &who, &requirement.control_id, changes).await?;
        }
        tx.commit().await?;
        super::note_score(conn, &who, globals).await?;
        Ok((
            super::controls(conn).await?,
            show::looked(conn, requirement).await?,
        ))
    })?;

    if args.json {
        return show::json(requirement, &controls, check.as_ref());
    }

    if args.partial.is_some() {
        out::note(
            "the plan of action that it belongs on may have changed; `compliance poam generate` \
                moves its item",
        );
    }

    let ids: Vec<&str> = decisions
        .iter()
        .map(|d| d.objective_id.0.as_str())
        .collect();
    let what = if ids.is_empty() {
        requirement.control_id.to_string()
    } else {
        ids.join(", ")
    };

    out::line(format_args!("set {what}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a decision says that 3.12.4, or an objective of it, is met: that takes an approved plan.
pub(super) fn needs_plan(decision: &NewDecision) -> bool {
    decision.finding == Some(Finding::Met) && decision.objective_id.control() == PLAN.0
}

/// Why 3.12.4 cannot be met now, and what to do about it; `None` when it can.
pub(super) async fn no_plan(
    conn: &mut PgConnection,
    globals: Globals<'_>,
) -> anyhow::Result<Option<String>> {
    let state = globals.state()?;
    let obstacles = claims::against_plan(conn, &state, SystemClock.now()).await?;
    let path = state.join(dossier::SYSTEM);
    let Some(first) = obstacles.first() else {
        return Ok(None);
    };

    Ok(Some(match first {
        Obstacle::PlanIncomplete { missing } => incomplete(&path, missing),
        Obstacle::PlanUnreadable => {
            // The error names the line.
            dossier::system(None, &state)?;
            format!("{} cannot be read", path.display())
        }
        _ => format!("{}{}", not_approved(), described(&path, &obstacles)),
    }))
}

/// Why the plan is none yet, though one was approved: the description of the system, where there is
/// one, has gaps.
fn incomplete(path: &Path, missing: &[String]) -> String {
    format!(
        "3.12.4 is met by a plan that says all that it must, and the description of the system \
            ({}) lacks:\n  {}\n\
         Complete it, write the plan again (`blueteam compliance ssp`), and take it in as evidence",
        path.display(),
        missing.join("\n  ")
    )
}

/// What to do before 3.12.4 can be met.
fn not_approved() -> String {
    "3.12.4 is met by a system security plan, and no approved one is among the evidence. Take \
        yours in first:\n  \
     blueteam compliance ssp --output ssp.pdf\n  \
     blueteam compliance evidence add ssp.pdf --supports 3.12.4 --kind policy_doc --shows 'the \
     system security plan' --for 365d --final"
        .to_owned()
}

/// What the description of the system lacks, for those who have one or are about to write one.
fn described(path: &Path, obstacles: &[Obstacle]) -> String {
    let lacks = |o: &Obstacle| {
        if let Obstacle::PlanIncomplete { missing } = o {
            missing.clone()
        } else {
            Vec::new()
        }
    };

    let mut missing: Vec<String> = obstacles.iter().flat_map(lacks).collect();
    if missing.is_empty() && !path.exists() {
        missing = compliance::system::System::default().missing();
    }

    match missing.len() {
        0 => String::new(),
        n => format!(
            "\n{} missing in the description of the system ({}{}); `compliance ssp --sample` \
                shows what it holds",
            many(n, "thing is", "things are"),
            missing[..n.min(3)].join("; "),
            if n > 3 { "; ..." } else { "" }
        ),
    }
}

fn decisions(
    args: &Args,
    requirement: &compliance::Requirement,
    objective: Option<&compliance::catalog::ObjectiveText>,
) -> anyhow::Result<Vec<NewDecision>> {
    let Some(Decided(finding)) = args.finding else {
        if args.reason.is_some() || !args.methods.is_empty() {
            out::usage!("--reason and --method say something about a --finding");
        }
        return Ok(Vec::new());
    };

    let reason = args.reason.as_deref().unwrap_or_default().trim().to_owned();
    if !(3..=4000).contains(&reason.chars().count()) {
        out::usage!("--reason: from 3 to 4000 characters; an assessor will ask");
    }

    let methods = match (&args.methods[..], finding) {
        ([], Some(Finding::Met)) => vec![Method::Examine],
        (given, _) => given.to_vec(),
    };

    let ids: Vec<ObjectiveId> = match objective {
        Some(o) => vec![o.id.clone()],
        None => requirement
            .assessment_objectives
            .iter()
            .map(|o| o.id.clone())
            .collect(),
    };

    let decision = |objective_id| NewDecision {
        objective_id,
        finding,
        reason: reason.clone(),
        methods: methods.clone(),
    };

    Ok(ids.into_iter().map(decision).collect())
}

fn changes(args: &Args) -> Option<Changes> {
    let changes = Changes {
        notes: args.notes.clone(),
        owner: args.owner.clone(),
        due: args.due,
        responsibility: args.responsibility,
        provider: args.provider.clone(),
        provider_duties: args.provider_duties.clone(),
        customer_duties: args.our_duties.clone(),
        partial_credit: args.partial,
    };

    (changes != Changes::default()).then_some(changes)
}
