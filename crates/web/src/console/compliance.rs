//! How the requirements stand, their evidence and plans.

use app::actor::{Action, Resource};
use app::compliance::{assessment, evidence, overview, poam, score};
use axum::extract::Path;
use axum::http::Uri;
use axum::response::Response;
use model::{Scored, Standing};
use pages::{
    Cell, CompliancePage, Fact, FamilyRow, ListPage, Requirement, RequirementPage, ScoreCard,
};

use super::form::Fields;
use super::{Desk, NoPage, Visit, html};

/// The pages beside.
const BESIDE: [(&str, &str); 4] = [
    ("/compliance", "Requirements"),
    ("/compliance/evidence", "Evidence"),
    ("/compliance/poam", "Plan of action"),
    ("/advisories", "Advisories"),
];

/// `GET /compliance`.
pub(super) async fn overview(mut visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let gaps = Fields::of_query(uri.query()).get("gaps") == "yes";
    let state = visit.console.state.clone();
    let filter = overview::Filter::default();
    let found = async {
        let all = overview::status(&mut visit.session, &state, &filter).await?;
        let scores = score::history(&mut visit.session).await?;
        let today = score::today(&mut visit.session, &state, None).await?;
        Ok((all, scores, today))
    };
    let found = found.await;
    let ((all, scores, today), desk) = visit.finish(found).await?;

    let is_gap = |listed: &&overview::Listed| !gaps || !listed.finding.counts();
    let says = match today.claim.points() {
        Some(points) => format!("The score is {points} of 110 (DoD assessment methodology)."),
        None => {
            "No score yet: a score requires an approved system security plan (3.12.4).".to_owned()
        }
    };
    let page = CompliancePage {
        score: score_card(&desk, says, &scores),
        families: families(&all.requirements),
        rows: all
            .requirements
            .iter()
            .filter(is_gap)
            .map(requirement)
            .collect(),
        gaps,
        may_export: desk.may(Action::Export, Resource::Reports),
        frame: desk.frame("Compliance", "Compliance"),
    };
    Ok(html(&page))
}

/// Scores that are shown.
const SCORES: usize = 120;

fn score_card(desk: &Desk, says: String, scores: &[Scored]) -> ScoreCard {
    let counted: Vec<(&Scored, i32)> = scores
        .iter()
        .filter_map(|scored| Some((scored, scored.points?)))
        .collect();
    let counted = &counted[counted.len().saturating_sub(SCORES)..];
    let (lowest, highest) = (-203.0_f64, 110.0_f64);
    let step = 600.0 / (counted.len().max(2) - 1) as f64;
    let point = |(i, (_, points)): (usize, &(&Scored, i32))| {
        let y = 116.0 - (f64::from(*points) - lowest) / (highest - lowest) * 112.0;
        format!("{:.1},{y:.1}", step * i as f64)
    };
    let line: Vec<String> = counted.iter().enumerate().map(point).collect();
    ScoreCard {
        says,
        history: counted
            .iter()
            .rev()
            .map(|(scored, points)| (desk.when(scored.at), *points))
            .collect(),
        line: line.join(" "),
    }
}

fn families(all: &[overview::Listed]) -> Vec<FamilyRow> {
    let mut families: Vec<FamilyRow> = Vec::new();
    for listed in all {
        let number = listed
            .control_id
            .rsplit_once('.')
            .map_or("", |(family, _)| family);
        let name = format!("{number} {}", listed.family);
        let at = families.iter().position(|family| family.name == name);
        let at = at.unwrap_or_else(|| {
            families.push(FamilyRow {
                name,
                counts: [0; 4],
            });
            families.len() - 1
        });
        let place = match listed.finding {
            finding if finding.counts() => 0,
            Standing::NotAssessed if listed.objectives_met == 0 => 3,
            Standing::NotMet if listed.objectives_met == 0 => 2,
            _ => 1,
        };
        families[at].counts[place] += 1;
    }
    families
}

fn requirement(listed: &overview::Listed) -> Requirement {
    let mut remarks = Vec::new();
    if listed.planned {
        remarks.push("in the plan of action");
    }
    if listed.lacks_evidence {
        remarks.push("met, but no evidence");
    }
    if listed.lacks_statement {
        remarks.push("no implementation statement");
    }
    Requirement {
        id: listed.control_id.to_owned(),
        title: listed.title.to_owned(),
        family: listed.family.to_owned(),
        status: listed.finding.to_string().replace('_', " "),
        weight: listed
            .weight
            .map_or_else(|| "-".to_owned(), |weight| weight.to_string()),
        owner: listed.owner.clone().unwrap_or_default(),
        objectives: format!("{} of {}", listed.objectives_met, listed.objectives),
        remarks: remarks.join("; "),
    }
}

/// `GET /compliance/{id}`.
pub(super) async fn requirement_page(
    mut visit: Visit,
    Path(id): Path<String>,
) -> Result<Response, NoPage> {
    let state = visit.console.state.clone();
    let may_see_evidence = visit.desk.may(Action::Read, Resource::Evidence);
    let of_requirement = evidence::Filter {
        control: Some(&id),
        ..evidence::Filter::default()
    };
    let found = async {
        let assessed = assessment::show(&mut visit.session, &state, &id).await?;
        let history = assessment::history(&mut visit.session, Some(&id)).await?;
        let pieces = if may_see_evidence {
            evidence::list(&mut visit.session, &state, &of_requirement).await?
        } else {
            Vec::new()
        };
        Ok((assessed, history, pieces))
    };
    let found = found.await;
    let ((assessed, history, pieces), desk) = visit.finish(found).await?;

    let standing = &assessed.standing;
    let texts = &assessed.requirement.assessment_objectives;
    let objectives = standing
        .objectives
        .iter()
        .map(|objective| {
            let text = texts.iter().find(|text| text.id == objective.objective_id);
            let decision = objective.decision.as_ref();
            [
                objective.objective_id.0.clone(),
                text.map_or_else(String::new, |text| text.text.clone()),
                objective.standing().to_string().replace('_', " "),
                decision.map_or_else(String::new, |decision| decision.by.clone()),
            ]
        })
        .collect();
    let requirement = assessed.requirement;
    let page = RequirementPage {
        row: Requirement {
            id: requirement.control_id.0.to_string(),
            title: requirement.title.clone(),
            family: requirement.family.clone(),
            status: assessed.finding.to_string().replace('_', " "),
            weight: String::new(),
            owner: standing.owner.clone().unwrap_or_default(),
            objectives: String::new(),
            remarks: requirement.requirement.clone(),
        },
        facts: facts(&assessed),
        objectives,
        evidence: pieces.iter().map(|piece| piece_row(&desk, piece)).collect(),
        history: history
            .iter()
            .map(|change| {
                (
                    desk.when(change.at),
                    change.by.clone().unwrap_or_else(|| change.login.clone()),
                    format!(
                        "{}: {} to {}",
                        change.objective_id.0, change.previous, change.finding
                    ),
                    change.reason.clone().unwrap_or_default(),
                )
            })
            .collect(),
        frame: desk.frame(&requirement.title, "Compliance"),
    };
    Ok(html(&page))
}

fn facts(assessed: &assessment::Assessed) -> Vec<Fact> {
    let standing = &assessed.standing;
    let fact = |name, value: Option<String>| Fact {
        name,
        value: value.unwrap_or_default(),
        link: None,
    };
    let mut facts = vec![
        fact(
            "CMMC practice",
            Some(assessed.requirement.cmmc_practice.clone()),
        ),
        fact("Family", Some(assessed.requirement.family.clone())),
        fact("Implementation", standing.notes.clone()),
        fact("Owner", standing.owner.clone()),
        fact("Provider", standing.provider.clone()),
        fact("Assessor notes", standing.assessor_notes.clone()),
    ];
    facts.retain(|fact| !fact.value.is_empty());
    facts
}

fn piece_row(desk: &Desk, listed: &evidence::Listed) -> [String; 4] {
    let piece = &listed.evidence;
    let until = piece.valid_until.map(|at| at.to_string());
    let _ = desk;
    [
        piece.description.clone(),
        piece.kind.to_string(),
        listed.validity.to_string(),
        until.map_or_else(
            || "no end".to_owned(),
            |until| until.chars().take(10).collect(),
        ),
    ]
}

/// `GET /compliance/evidence`.
pub(super) async fn evidence(mut visit: Visit) -> Result<Response, NoPage> {
    let state = visit.console.state.clone();
    let found = evidence::list(&mut visit.session, &state, &evidence::Filter::default()).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|listed| {
            let piece = &listed.evidence;
            vec![
                Cell::from(piece.description.clone()),
                Cell::Link(
                    format!("/compliance/{}", piece.control_id),
                    piece.control_id.to_string(),
                ),
                Cell::from(piece.kind.to_string()),
                Cell::from(listed.validity.to_string()),
                Cell::from(piece.collected_by.clone().unwrap_or_default()),
                Cell::Time(Some(desk.when(piece.collected_at))),
                Cell::Time(piece.valid_until.map(|at| desk.when(at))),
            ]
        })
        .collect();
    let page = ListPage {
        about: "What shows that requirements are met. Use `blueteam compliance evidence` to add and approve \
                pieces."
            .to_owned(),
        columns: vec!["Evidence", "Requirement", "Kind", "State", "Added by", "Added", "Valid until"],
        rows,
        empty: "No evidence yet.".to_owned(),
        beside: BESIDE.to_vec(),
        frame: desk.frame("Evidence", "Compliance"),
    };
    Ok(html(&page))
}

/// `GET /compliance/poam`.
pub(super) async fn plans(mut visit: Visit) -> Result<Response, NoPage> {
    let found = poam::list(&mut visit.session, poam::Filter::default()).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|listed| {
            let plan = &listed.plan;
            let number = plan
                .item_number
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            let state = if listed.overdue {
                Cell::Trouble(format!("{}, overdue", plan.status))
            } else {
                Cell::from(plan.status.to_string())
            };
            vec![
                Cell::from(number),
                Cell::Link(
                    format!("/compliance/{}", plan.control_id),
                    plan.control_id.to_string(),
                ),
                Cell::from(plan.weakness.clone()),
                Cell::from(plan.risk.to_string()),
                state,
                Cell::from(plan.owner.clone().unwrap_or_default()),
                Cell::Time(plan.due.map(|at| desk.when(at))),
            ]
        })
        .collect();
    let page = ListPage {
        about: "Requirements that are not met yet, and when they will be.".to_owned(),
        columns: vec![
            "Item",
            "Requirement",
            "Weakness",
            "Risk",
            "State",
            "Owner",
            "Due",
        ],
        rows,
        empty: "No open items.".to_owned(),
        beside: BESIDE.to_vec(),
        frame: desk.frame("Plan of action", "Compliance"),
    };
    Ok(html(&page))
}
