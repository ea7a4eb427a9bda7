//! How the requirements stand, their evidence and plans.

use app::actor::{Action, Resource};
use app::compliance::{overview, score};
use axum::http::Uri;
use axum::response::Response;
use model::{Scored, Standing};
use pages::{CompliancePage, FamilyRow, Requirement, ScoreCard};

use super::form::Fields;
use super::{Desk, NoPage, Visit, html};

/// The pages beside.
pub(super) const BESIDE: [(&str, &str); 7] = [
    ("/compliance", "Requirements"),
    ("/compliance/evidence", "Evidence"),
    ("/compliance/poam", "Plan of action"),
    ("/compliance/ssp", "System security plan"),
    ("/compliance/review", "Event review"),
    ("/advisories", "Advisories"),
    ("/redteam", "Red team"),
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
    let says = says(today.claim.points());
    let page = CompliancePage {
        beside: BESIDE[1..].to_vec(),
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

/// What may be said of the score.
pub(super) fn says(points: Option<i32>) -> String {
    match points {
        Some(points) => format!("The score is {points} of 110 (DoD assessment methodology)."),
        None => {
            "No score yet: a score requires an approved system security plan (3.12.4).".to_owned()
        }
    }
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

pub(super) fn families(all: &[overview::Listed]) -> Vec<FamilyRow> {
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

pub(super) fn requirement(listed: &overview::Listed) -> Requirement {
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
