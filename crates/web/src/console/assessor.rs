//! What an assessor reads: where an assessment begins, and the assessor's own trail.

use app::actor::{Action, Resource};
use app::compliance::{evidence, overview, poam, score};
use app::trail;
use axum::response::Response;
use model::Validity;
use pages::{Back, Block, Cell, Grid, count_of};

use super::{Desk, NoPage, Visit, compliance, html};

/// Steps of a trail that are shown.
const STEPS: u32 = 500;

/// Everything that the page shows.
struct Shown {
    says: String,
    requirements: Vec<overview::Listed>,
    pieces: Vec<evidence::Listed>,
    plans: Vec<poam::Listed>,
}

/// `GET /assessor`.
pub(super) async fn show(mut visit: Visit) -> Result<Response, NoPage> {
    let state = visit.console.state.clone();
    let found = async {
        let all =
            overview::status(&mut visit.session, &state, &overview::Filter::default()).await?;
        let today = score::today(&mut visit.session, &state, None).await?;
        let filter = evidence::Filter::default();
        let pieces = evidence::list(&mut visit.session, &state, &filter).await?;
        let plans = poam::list(&mut visit.session, poam::Filter::default()).await?;
        Ok(Shown {
            says: compliance::says(today.claim.points()),
            requirements: all.requirements,
            pieces,
            plans,
        })
    };
    let found = found.await;
    let (shown, desk) = visit.finish(found).await?;
    let blocks = blocks(&desk, &shown);
    Ok(html(&desk.page("Assessment", "Assessment", None, blocks)))
}

fn blocks(desk: &Desk, shown: &Shown) -> Vec<Block> {
    let count = |validity| {
        let pieces = shown.pieces.iter();
        pieces.filter(|piece| piece.validity == validity).count() as u64
    };
    let pieces = format!(
        "Evidence: {} in all; {} valid, {} about to lapse, {} lapsed, {} drafts, {} refused, {} not what was \
         taken in.",
        count_of(shown.pieces.len() as u64, "piece"),
        count(Validity::Valid),
        count(Validity::Lapsing),
        count(Validity::Lapsed),
        count(Validity::Draft),
        count(Validity::Refused),
        count(Validity::Tampered)
    );
    let overdue = shown.plans.iter().filter(|listed| listed.overdue).count();
    let plans = format!(
        "Plan of action: {}, {overdue} overdue.",
        count_of(shown.plans.len() as u64, "open item")
    );
    let link = |path: &str, words: &str| (path.to_owned(), words.to_owned());
    let mut links = vec![
        link("/compliance/ssp", "System security plan"),
        link("/compliance/evidence", "Evidence"),
        link("/compliance/poam", "Plan of action"),
        link("/compliance/review", "Event review"),
        link("/assessor/trail", "What you have looked at"),
    ];
    if desk.may(Action::Export, Resource::Reports) {
        let path = "/api/v1/reports/assessor?format=pdf";
        links.push(link(path, "Report for the assessor (PDF)"));
    }
    let mut blocks = vec![
        Block::Text(shown.says.clone()),
        Block::Text(pieces),
        Block::Text(plans),
        Block::Links(links),
    ];
    blocks.extend(families(shown));
    blocks
}

/// A table for each family: its requirements, how they stand, and what they rest on.
fn families(shown: &Shown) -> Vec<Block> {
    let mut blocks = Vec::new();
    for family in compliance::families(&shown.requirements) {
        let of_family = shown.requirements.iter().filter(|listed| {
            let number = listed.control_id.rsplit_once('.').map_or("", |(n, _)| n);
            family.name == format!("{number} {}", listed.family)
        });
        let rows = of_family.map(|listed| row(shown, listed)).collect();
        blocks.push(Block::Heading(family.name.clone()));
        blocks.push(Block::Table(Grid {
            label: family.name.clone(),
            columns: vec![
                "Requirement",
                "Status",
                "Objectives met",
                "Evidence that counts",
                "Owner",
                "Remarks",
            ],
            rows,
            empty: String::new(),
        }));
    }
    blocks
}

fn row(shown: &Shown, listed: &overview::Listed) -> Vec<Cell> {
    let row = compliance::requirement(listed);
    let supports = |piece: &&evidence::Listed| {
        let evidence = &piece.evidence;
        let of_it = evidence.control_id.0 == listed.control_id
            || evidence
                .objectives
                .iter()
                .any(|objective| objective.control() == listed.control_id);
        piece.validity.counts() && of_it
    };
    let pieces = shown.pieces.iter().filter(supports).count();
    vec![
        Cell::Link(
            format!("/compliance/{}", listed.control_id),
            format!("{} {}", listed.control_id, listed.title),
        ),
        Cell::from(row.status),
        Cell::from(row.objectives),
        Cell::Number(pieces as u64),
        Cell::from(row.owner),
        Cell::from(row.remarks),
    ]
}

/// `GET /assessor/trail`: what this account has looked at, taken out and noted.
pub(super) async fn trail(mut visit: Visit) -> Result<Response, NoPage> {
    let found = trail::own(&mut visit.session, STEPS).await;
    let (steps, desk) = visit.finish(found).await?;
    let rows = steps
        .iter()
        .filter_map(|step| {
            let (what, which) = match step.action.as_str() {
                "READ" => ("looked at", step.what.as_str()),
                "EXPORT" => ("downloaded", step.what.as_str()),
                "UPDATE" => ("wrote", step.what.as_str()),
                "PERMISSION_DENIED" => ("was refused", step.what.as_str()),
                "LOGIN" => ("signed in", ""),
                "LOGOUT" => ("signed out", ""),
                // How the account was set up.
                _ => return None,
            };
            Some(vec![
                Cell::Time(Some(desk.when(step.at))),
                Cell::from(what),
                Cell::from(which),
                Cell::from(step.address.clone().unwrap_or_default()),
            ])
        })
        .collect();
    let grid = Grid {
        label: "Trail".to_owned(),
        columns: vec!["When", "What", "Which", "From"],
        rows,
        empty: "Nothing yet.".to_owned(),
    };
    let blocks = vec![
        Block::Text(
            "What your account has done here, from the audit log: the latest 500 entries. The organization \
             sees the same."
                .to_owned(),
        ),
        Block::Table(grid),
    ];
    let back = Some(Back {
        path: "/assessor",
        words: "Assessment",
    });
    let page = desk.page("What you have looked at", "Assessment", back, blocks);
    Ok(html(&page))
}
