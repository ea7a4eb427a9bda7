//! Where every requirement stands, and what of them costs points.

use compliance::claim::Claim;
use compliance::reminders::Reminder;
use compliance::{Catalog, Eligibility, Requirement};
use config::StateDir;
use model::{
    Clock as _, Control, Evidence, Implementation, Span, Standing, SystemClock, Timestamp,
};
use serde::{Deserialize, Deserializer, Serialize};
use store::PgConnection;

use super::claims::{self, Grounds};
use super::{find_control, reminders, require_loaded};
use crate::actor::Resource;
use crate::{AppError, Session};

/// The requirements that somebody asks for; what is not said takes all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Of this family: `3.3`, `AU`, or part of its name.
    pub family: Option<&'a str>,
    /// With one of these statuses.
    pub status: &'a [Implementation],
    /// That this person answers for.
    pub owner: Option<&'a str>,
    /// To be assessed within this time from now.
    pub due: Option<Span>,
}

impl Filter<'_> {
    /// That there is such a family: a misspelled one would look like one without gaps.
    fn check(&self) -> Result<(), AppError> {
        let all = &Catalog::r2().requirements;
        match self.family {
            Some(wanted) if !all.iter().any(|r| is_of_family(r, wanted)) => {
                let families = Catalog::r2().families();
                let known: Vec<String> = families
                    .iter()
                    .map(|(id, name)| format!("{id} {name}"))
                    .collect();
                Err(AppError::invalid(format!(
                    "--family: there is no `{}`; there are {}",
                    model::text::sanitize(wanted),
                    known.join(", ")
                )))
            }
            _ => Ok(()),
        }
    }

    fn takes(&self, requirement: &Requirement, control: &Control, now: Timestamp) -> bool {
        let of_owner = |wanted: &str| {
            control
                .owner
                .as_ref()
                .is_some_and(|owner| owner.to_lowercase().contains(&wanted.to_lowercase()))
        };

        self.family
            .is_none_or(|wanted| is_of_family(requirement, wanted))
            && (self.status.is_empty() || self.status.contains(&control.implementation()))
            && self.owner.is_none_or(of_owner)
            && self
                .due
                .is_none_or(|within| control.due.is_some_and(|due| due <= now.plus(within)))
    }
}

fn is_of_family(requirement: &Requirement, wanted: &str) -> bool {
    let name = requirement.family.to_ascii_lowercase();
    requirement.family_id == wanted
        || requirement.domain.eq_ignore_ascii_case(wanted)
        // Two letters are a domain: AU is not "Identification and Authentication".
        || (wanted.len() > 2 && name.contains(&wanted.to_ascii_lowercase()))
}

/// A requirement in a list.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "as in the catalog and in model::Control")]
pub struct Listed {
    pub control_id: &'static str,
    pub cmmc_practice: &'static str,
    pub family: &'static str,
    pub title: &'static str,
    pub status: Implementation,
    pub finding: Standing,
    pub objectives: usize,
    pub objectives_met: usize,
    pub weight: Option<u8>,
    pub poam_eligibility: Eligibility,
    pub planned: bool,
    pub lacks_evidence: bool,
    pub lacks_statement: bool,
    pub owner: Option<String>,
    pub due: Option<Timestamp>,
}

/// A requirement as the API answers it: its texts are those of the catalog.
#[derive(Deserialize)]
struct Answered {
    control_id: String,
    status: Implementation,
    finding: Standing,
    objectives: usize,
    objectives_met: usize,
    weight: Option<u8>,
    poam_eligibility: Eligibility,
    planned: bool,
    lacks_evidence: bool,
    lacks_statement: bool,
    owner: Option<String>,
    due: Option<Timestamp>,
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let answered = Answered::deserialize(from)?;
        let is_it = |requirement: &&Requirement| requirement.control_id.0 == answered.control_id;
        let requirement = Catalog::r2().requirements.iter().find(is_it);
        let requirement = requirement
            .ok_or_else(|| serde::de::Error::custom("a requirement that is not in the catalog"))?;
        Ok(Self {
            control_id: &requirement.control_id.0,
            cmmc_practice: &requirement.cmmc_practice,
            family: &requirement.family,
            title: &requirement.title,
            status: answered.status,
            finding: answered.finding,
            objectives: answered.objectives,
            objectives_met: answered.objectives_met,
            weight: answered.weight,
            poam_eligibility: answered.poam_eligibility,
            planned: answered.planned,
            lacks_evidence: answered.lacks_evidence,
            lacks_statement: answered.lacks_statement,
            owner: answered.owner,
            due: answered.due,
        })
    }
}

impl Listed {
    fn of(requirement: &'static Requirement, control: &Control) -> Self {
        Self {
            control_id: &requirement.control_id.0,
            cmmc_practice: &requirement.cmmc_practice,
            family: &requirement.family,
            title: &requirement.title,
            status: control.implementation(),
            finding: control.standing(),
            objectives: control.objectives.len(),
            objectives_met: control
                .objectives
                .iter()
                .filter(|o| o.standing().counts())
                .count(),
            weight: requirement.dod_weight,
            poam_eligibility: requirement.poam_eligibility,
            planned: control.planned,
            lacks_evidence: control.lacks_evidence(),
            lacks_statement: control.standing() == Standing::Met && !control.is_described(),
            owner: control.owner.clone(),
            due: control.due,
        }
    }
}

/// Requirements, and what follows from all of them.
#[derive(Debug)]
pub struct Overview {
    /// Those that were asked for.
    pub requirements: Vec<Listed>,
    /// Where each of all 110 stands.
    pub standings: Vec<Standing>,
    /// What may be claimed.
    pub claim: Claim,
    /// What is due soon or late; nothing among the gaps.
    pub due: Vec<Reminder>,
    /// Evidence that is not what was taken in.
    pub tampered: Vec<Evidence>,
}

/// Where the requirements stand, by their number.
pub async fn status(
    session: &mut Session,
    state: &StateDir,
    filter: &Filter<'_>,
) -> Result<Overview, AppError> {
    let conn = session.read(Resource::Compliance)?;
    let mut overview = read_overview(conn, state, filter).await?;
    overview.due = reminders::read(conn, SystemClock.now()).await?;
    Ok(overview)
}

/// Everything that costs points, the heaviest first.
pub async fn gaps(
    session: &mut Session,
    state: &StateDir,
    filter: &Filter<'_>,
) -> Result<Overview, AppError> {
    let mut overview = read_overview(session.read(Resource::Compliance)?, state, filter).await?;
    overview.requirements.retain(|r| !r.finding.counts());

    // 3.12.4 has no weight because there is no score without it.
    overview
        .requirements
        .sort_by_key(|r| std::cmp::Reverse(r.weight.unwrap_or(u8::MAX)));

    Ok(overview)
}

async fn read_overview(
    conn: &mut PgConnection,
    state: &StateDir,
    filter: &Filter<'_>,
) -> Result<Overview, AppError> {
    filter.check()?;
    let now = SystemClock.now();
    let system = claims::describe(conn, state).await;
    let grounds = Grounds::read(conn, system, state, now).await?;
    require_loaded(&grounds.controls)?;

    let requirements = Catalog::r2()
        .requirements
        .iter()
        .filter_map(|r| Some((r, find_control(r, &grounds.controls).ok()?)))
        .filter(|(requirement, control)| filter.takes(requirement, control, now))
        .map(|(requirement, control)| Listed::of(requirement, control))
        .collect();

    Ok(Overview {
        requirements,
        standings: grounds.controls.iter().map(Control::standing).collect(),
        claim: grounds.claim(),
        due: Vec::new(),
        tampered: grounds.tampered().cloned().collect(),
    })
}
