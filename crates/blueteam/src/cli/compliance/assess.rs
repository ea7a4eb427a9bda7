//! `blueteam compliance assess`: a named person decides.

use std::process::ExitCode;

use app::compliance::assessment::{self, Changes, Decided, Request};
use model::{EvidenceType, Method, Responsibility, Timestamp};

use super::when::day;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Decide a finding, or say who does a requirement and how.
///
/// Given a requirement, --finding decides all of its objectives; given an objective (3.1.1[a], or
/// 3.1.1a for shells that expand brackets), that one. 3.12.4 can be met only when an approved
/// system security plan is among its evidence, and the description of the system, where there is
/// one, lacks nothing; then each requirement must also say how it is implemented (--notes), not be
/// applicable, or be on a plan of action.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam compliance assess 3.3.1 --finding met --reason 'journal and application events, see SSP \
  3.3' --method examine --method test
  blueteam compliance assess 3.5.3a --finding not_met --reason 'no second factor for the VPN'
  blueteam compliance assess 3.10.1 --responsibility inherited --provider 'Acme Hosting' \
  --provider-duties 'locks the data center'
  blueteam compliance assess 3.3.1 --owner alice --due 2027-01-31 --notes 'rsyslog over TLS to the \
  collector; kept for six years'

Exit code: 0 done, 1 failed, 2 wrong arguments.")]
pub(super) struct Args {
    /// The requirement or the objective
    id: String,
    /// met, not_met, not_applicable; or not_assessed, which takes a decision back
    #[arg(long, requires = "reason")]
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
    /// The part of your own organization
    #[arg(long, value_name = "TEXT")]
    our_duties: Option<String>,
    /// Whether the partial score counts (3.5.3: MFA for remote and privileged users alone; 3.13.11:
    /// encryption that is not FIPS-validated)
    #[arg(long, value_name = "BOOL")]
    partial: Option<bool>,
    /// Where its evidence comes from: automated, manual or hybrid
    #[arg(long, value_name = "TYPE")]
    evidence_type: Option<EvidenceType>,
    /// What an assessor should know of it, such as why no check looks at it
    #[arg(long, value_name = "TEXT")]
    assessor_notes: Option<String>,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object: the requirement as it stands then, as `show` has it
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let request = Request {
        id: &args.id,
        finding: args.finding,
        reason: args.reason.as_deref(),
        methods: &args.methods,
        changes: requested_changes(args),
    };

    let state = globals.state()?;
    let outcome = with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
        Ok(assessment::set(session, &state, &request).await?)
    })?;

    if args.json {
        out::json(&outcome.assessed)?;
        return Ok(ExitCode::SUCCESS);
    }

    if args.partial.is_some() {
        out::note(
            "the plan of action that it belongs on may have changed; `compliance poam generate` \
                moves its item",
        );
    }

    let ids: Vec<&str> = outcome.decided.iter().map(|id| id.0.as_str()).collect();
    let what = if ids.is_empty() {
        outcome.assessed.requirement.control_id.to_string()
    } else {
        ids.join(", ")
    };

    out::line(format_args!("set {what}"))?;
    Ok(ExitCode::SUCCESS)
}

fn requested_changes(args: &Args) -> Changes {
    Changes {
        notes: args.notes.clone(),
        owner: args.owner.clone(),
        due: args.due,
        responsibility: args.responsibility,
        provider: args.provider.clone(),
        provider_duties: args.provider_duties.clone(),
        customer_duties: args.our_duties.clone(),
        partial_credit: args.partial,
        evidence_type: args.evidence_type,
        assessor_notes: args.assessor_notes.clone(),
    }
}
