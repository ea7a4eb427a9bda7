//! The plan of action, item by item, and the review of logged events.

use app::AppError;
use app::actor::{Action, Resource};
use app::compliance::{evidence, poam, review};
use axum::extract::Path;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use model::{PlanKind, PlanStatus, RiskLevel, Timestamp};
use pages::{Back, Block, Cell, Control, EditField, EditForm, Fact, ListPage};

use super::compliance::BESIDE;
use super::form::{Done, Fields, version_of};
use super::{Desk, NoPage, Visit, html, see_other};
use crate::turn::turn;

/// The list that items belong to.
const BACK: Option<Back> = Some(Back {
    path: "/compliance/poam",
    words: "Plan of action",
});

/// `GET /compliance/poam`.
pub(super) async fn list(mut visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let closed = Fields::of_query(uri.query()).get("closed") == "yes";
    let filter = poam::Filter {
        closed,
        ..poam::Filter::default()
    };
    let found = poam::list(&mut visit.session, filter).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|listed| {
            let plan = &listed.plan;
            let state = plan.status.to_string().replace('_', " ");
            let state = if listed.overdue {
                Cell::Trouble(format!("{state}, overdue"))
            } else {
                Cell::from(state)
            };
            vec![
                Cell::Link(format!("/compliance/poam/{}", plan.poam_id), plan.name()),
                Cell::Link(
                    format!("/compliance/{}", plan.control_id),
                    plan.control_id.to_string(),
                ),
                Cell::from(plan.weakness.clone()),
                Cell::from(plan.risk.to_string().replace('_', " ")),
                state,
                Cell::from(plan.owner.clone().unwrap_or_default()),
                Cell::Time(plan.due.map(|at| desk.when(at))),
            ]
        })
        .collect();
    let mut beside = BESIDE.to_vec();
    beside.insert(
        0,
        if closed {
            ("/compliance/poam", "Open items only")
        } else {
            ("/compliance/poam?closed=yes", "Include completed items")
        },
    );
    if desk.may(Action::Write, Resource::Poam) {
        beside.insert(0, ("/compliance/poam/add", "Add an item"));
    }
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
        beside,
        frame: desk.frame("Plan of action", "Compliance"),
    };
    Ok(html(&page))
}

/// A day as a field has it.
fn day(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| at.to_string().chars().take(10).collect())
}

fn choices<T: ToString>(all: &[T]) -> Vec<(String, String)> {
    let choice = |one: &T| (one.to_string(), one.to_string().replace('_', " "));
    all.iter().map(choice).collect()
}

/// What an item says now, by the names of the fields.
fn there(listed: &poam::Listed) -> Fields {
    let plan = &listed.plan;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let fields = [
        ("weakness", plan.weakness.clone()),
        ("remediation", plan.remediation.clone()),
        ("risk", plan.risk.to_string()),
        ("status", plan.status.to_string()),
        ("owner", text(&plan.owner)),
        ("due", day(plan.due)),
        ("milestones", text(&plan.milestones)),
        ("resources", text(&plan.resources)),
        ("mitigation", text(&plan.mitigation)),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Fields::from(fields.to_vec())
}

/// The fields that a new item and a change have in common. `theirs`: what someone else has written
/// meanwhile.
fn text_fields(typed: &Fields, theirs: Option<&Fields>) -> Vec<EditField> {
    let get = |name: &str| typed.get(name).to_owned();
    let fields = vec![
        EditField::new("weakness", "Weakness", Control::Area(get("weakness"), 4000)).required(),
        EditField::new(
            "remediation",
            "Remediation",
            Control::Area(get("remediation"), 4000),
        )
        .required(),
        EditField::new("owner", "Owner", Control::Line(get("owner"), 200)),
        EditField::new("due", "Due", Control::Day(get("due"))),
        EditField::new(
            "milestones",
            "Milestones",
            Control::Area(get("milestones"), 4000),
        )
        .hint("Steps with their days. Earlier ones stay on record."),
        EditField::new(
            "resources",
            "Resources",
            Control::Area(get("resources"), 4000),
        ),
        EditField::new(
            "mitigation",
            "Mitigation until then",
            Control::Area(get("mitigation"), 4000),
        ),
    ];
    let beside = |field: EditField| {
        let other = theirs.map(|theirs| theirs.get(&field.name).to_owned());
        field.beside(other.as_deref())
    };
    fields.into_iter().map(beside).collect()
}

fn risk_field(typed: &Fields, first: &str) -> EditField {
    let mut risks = choices(RiskLevel::ALL);
    if !first.is_empty() {
        risks.insert(0, (String::new(), first.to_owned()));
    }
    EditField::new(
        "risk",
        "Risk",
        Control::Choice(risks, typed.get("risk").to_owned()),
    )
}

fn details(typed: &Fields) -> Result<poam::Details, AppError> {
    let due = typed.written("due");
    let due = due
        .map(|day| Timestamp::parse(&format!("{day}T23:59:59Z")))
        .transpose()
        .map_err(|_| AppError::invalid("Due: write a day such as 2027-03-01"))?;
    let risk = typed.written("risk").map(|word| word.parse::<RiskLevel>());
    let kind = typed.written("kind").map(|word| word.parse::<PlanKind>());
    let status = typed.written("status");
    let status = status.map(|word| word.parse::<PlanStatus>());
    let unknown = || AppError::invalid("Choose one of the words that are offered.");
    if typed.written("weakness").is_none() || typed.written("remediation").is_none() {
        return Err(AppError::invalid(
            "Weakness and remediation: say what is wrong and what is done about it",
        ));
    }
    Ok(poam::Details {
        weakness: typed.written("weakness"),
        remediation: typed.written("remediation"),
        risk: risk.transpose().map_err(|_| unknown())?,
        kind: kind.transpose().map_err(|_| unknown())?,
        status: status.transpose().map_err(|_| unknown())?,
        owner: typed.written("owner"),
        due,
        milestones: typed.written("milestones"),
        resources: typed.written("resources"),
        mitigation: typed.written("mitigation"),
        ..poam::Details::default()
    })
}

fn add_form(desk: &Desk, typed: &Fields) -> EditForm {
    let mut form = desk.form("item", "/compliance/poam/add".to_owned(), "Add item");
    let mut kinds = choices(PlanKind::ALL);
    kinds.insert(0, (String::new(), "as the requirement allows".to_owned()));
    let control = Control::Line(typed.get("control").to_owned(), 30);
    form.fields = vec![
        EditField::new("control", "Requirement", control)
            .required()
            .hint("Such as 3.1.1."),
        EditField::new(
            "kind",
            "Plan",
            Control::Choice(kinds, typed.get("kind").to_owned()),
        ),
        risk_field(typed, "by the weight of the requirement"),
    ];
    form.fields.extend(text_fields(typed, None));
    form
}

/// `GET /compliance/poam/add`.
pub(super) async fn form(visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let typed = Fields::of_query(uri.query());
    let ((), desk) = visit.finish(Ok(())).await?;
    let blocks = vec![Block::Form(add_form(&desk, &typed))];
    Ok(html(&desk.page("Add an item", "Compliance", BACK, blocks)))
}

/// `POST /compliance/poam/add`.
pub(super) async fn add(mut visit: Visit, typed: Fields) -> Result<Response, NoPage> {
    visit.check_form(&typed)?;
    let done = async {
        let details = details(&typed)?;
        poam::add(&mut visit.session, typed.get("control").trim(), &details).await
    };
    let done = done.await;
    let (done, mut desk) = visit.tried(done).await?;
    match done {
        Ok(saved) => {
            let place = format!("/compliance/poam/{}", saved.plan.poam_id);
            Ok(see_other(&Done::Saved.at(&place)))
        }
        Err(why) => {
            desk.refuse(why);
            let blocks = vec![Block::Form(add_form(&desk, &typed))];
            let page = desk.page("Add an item", "Compliance", BACK, blocks);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response())
        }
    }
}

/// An item, and the evidence that may complete it.
struct Shown {
    listed: poam::Listed,
    evidence: Vec<evidence::Listed>,
}

async fn read(visit: &mut Visit, id: &str) -> Result<Shown, AppError> {
    let state = visit.console.state.clone();
    let listed = poam::show(&mut visit.session, id).await?;
    let control = listed.plan.control_id.to_string();
    let filter = evidence::Filter {
        control: Some(&control),
        ..evidence::Filter::default()
    };
    let evidence = if visit.desk.may(Action::Read, Resource::Evidence) {
        evidence::list(&mut visit.session, &state, &filter).await?
    } else {
        Vec::new()
    };
    Ok(Shown { listed, evidence })
}

fn version(listed: &poam::Listed) -> String {
    version_of(&format!("{:?}", listed.plan))
}

fn update_form(desk: &Desk, shown: &Shown, typed: Option<&Fields>, is_conflict: bool) -> EditForm {
    let there = there(&shown.listed);
    let path = format!("/compliance/poam/{}/update", shown.listed.plan.poam_id);
    let mut form = desk.form("item", path, "Save item");
    form.hidden = vec![("version", version(&shown.listed))];
    let fields = typed.unwrap_or(&there);
    let statuses = PlanStatus::ALL
        .iter()
        .filter(|status| **status != PlanStatus::Completed)
        .copied()
        .collect::<Vec<_>>();
    let status = Control::Choice(choices(&statuses), fields.get("status").to_owned());
    let theirs = is_conflict.then_some(&there);
    let beside = |field: EditField| {
        let other = theirs.map(|theirs| theirs.get(&field.name).replace('_', " "));
        field.beside(other.as_deref())
    };
    form.fields = vec![
        beside(EditField::new("status", "Status", status)),
        beside(risk_field(fields, "")),
    ];
    form.fields.extend(text_fields(fields, theirs));
    form
}

fn close_form(desk: &Desk, shown: &Shown) -> Option<EditForm> {
    let approved = shown
        .evidence
        .iter()
        .filter(|listed| listed.validity.counts());
    let pieces: Vec<(String, String)> = approved
        .map(|listed| {
            let piece = &listed.evidence;
            (piece.evidence_id.to_string(), piece.description.clone())
        })
        .collect();
    if pieces.is_empty() {
        return None;
    }
    let path = format!("/compliance/poam/{}/close", shown.listed.plan.poam_id);
    let mut form = desk.form("close", path, "Complete item");
    form.hidden = vec![("version", version(&shown.listed))];
    form.fields = vec![
        EditField::new(
            "evidence",
            "Evidence",
            Control::Choice(pieces, String::new()),
        )
        .hint("What shows that it is done. A completed item stays as it is."),
    ];
    Some(form)
}

fn page(desk: &Desk, shown: &Shown, typed: Option<&Fields>, is_conflict: bool) -> Response {
    let listed = &shown.listed;
    let plan = &listed.plan;
    let fact = |name, value: String| Fact {
        name,
        value,
        link: None,
    };
    let mut facts = vec![
        Fact {
            name: "Requirement",
            value: plan.control_id.to_string(),
            link: Some(format!("/compliance/{}", plan.control_id)),
        },
        fact("Plan", plan.kind.to_string()),
        fact("Status", plan.status.to_string().replace('_', " ")),
        fact("Risk", plan.risk.to_string().replace('_', " ")),
        fact("Owner", plan.owner.clone().unwrap_or_default()),
        fact(
            "Identified by",
            plan.identified_by.clone().unwrap_or_default(),
        ),
        fact("Earlier milestones", plan.milestone_changes.clone()),
        fact("Completed by", plan.closed_by.clone().unwrap_or_default()),
        Fact {
            name: "Closing evidence",
            value: plan
                .closing_evidence
                .map_or_else(String::new, |id| id.to_string()),
            link: plan
                .closing_evidence
                .map(|id| format!("/compliance/evidence/{id}")),
        },
    ];
    facts.retain(|fact| !fact.value.is_empty());
    let when = |at: Option<Timestamp>| Cell::Time(at.map(|at| desk.when(at)));
    let times = pages::Grid {
        label: "Times".to_owned(),
        columns: vec!["Added", "Due", "To be closed out by", "Completed"],
        rows: vec![vec![
            when(Some(plan.created_at)),
            when(plan.due),
            when(listed.close_out_by),
            when(plan.completed),
        ]],
        empty: String::new(),
    };

    let mut blocks = vec![Block::Table(times), Block::Facts(facts)];
    if listed.overdue {
        blocks.insert(0, Block::Trouble("This item is overdue.".to_owned()));
    }
    let is_open = plan.status != PlanStatus::Completed;
    if is_open && desk.may(Action::Write, Resource::Poam) {
        blocks.push(Block::Heading("Change".to_owned()));
        blocks.push(Block::Form(update_form(desk, shown, typed, is_conflict)));
        blocks.push(Block::Heading("Complete".to_owned()));
        if let Some(form) = close_form(desk, shown) {
            blocks.push(Block::Form(form));
        } else {
            blocks.push(Block::Text(format!(
                "An item is completed with approved evidence for {}, and there is none yet.",
                plan.control_id
            )));
            blocks.push(Block::Links(vec![(
                format!("/compliance/evidence/add?supports={}", plan.control_id),
                "Add evidence".to_owned(),
            )]));
        }
    } else {
        blocks.push(Block::Heading("Weakness".to_owned()));
        blocks.push(Block::Plain(plan.weakness.clone()));
        blocks.push(Block::Heading("Remediation".to_owned()));
        blocks.push(Block::Plain(plan.remediation.clone()));
        for (name, text) in [
            ("Milestones", &plan.milestones),
            ("Mitigation", &plan.mitigation),
        ] {
            if let Some(text) = text {
                blocks.push(Block::Heading(name.to_owned()));
                blocks.push(Block::Plain(text.clone()));
            }
        }
    }
    html(&desk.page(&plan.name(), "Compliance", BACK, blocks))
}

/// `GET /compliance/poam/{id}`.
pub(super) async fn show(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let found = read(&mut visit, &id).await;
    let (shown, desk) = visit.finish(found).await?;
    Ok(page(&desk, &shown, None, false))
}

/// Changes an item, unless someone else has changed it since it was shown.
async fn change(
    mut visit: Visit,
    id: &str,
    typed: &Fields,
    done: Done,
    what: impl AsyncFnOnce(&mut Visit, &Shown) -> Result<(), AppError>,
) -> Result<Response, NoPage> {
    visit.check_form(typed)?;
    let _turn = turn().await;
    let shown = match read(&mut visit, id).await {
        Ok(shown) => shown,
        Err(error) => return Err(visit.failed(error).await),
    };
    let id = shown.listed.plan.poam_id.to_string();
    if typed.get("version") != version(&shown.listed) {
        let mut desk = visit.leave().await;
        desk.refuse(
            "Someone else has changed this item since you opened the page. Your text is still here, beside \
             theirs: nothing of yours was saved yet.",
        );
        // Whoever wanted to complete it has typed nothing.
        let typed = (done != Done::Closed).then_some(typed);
        let page = page(&desk, &shown, typed, true);
        return Ok((StatusCode::CONFLICT, page).into_response());
    }

    let result = what(&mut visit, &shown).await;
    let (result, mut desk) = visit.tried(result).await?;
    match result {
        Ok(()) => Ok(see_other(&done.at(&format!("/compliance/poam/{id}")))),
        Err(why) => {
            desk.refuse(why);
            let typed = (done != Done::Closed).then_some(typed);
            let page = page(&desk, &shown, typed, false);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

/// `POST /compliance/poam/{id}/update`.
pub(super) async fn update(
    visit: Visit,
    Path(id): Path<String>,
    typed: Fields,
) -> Result<Response, NoPage> {
    let what = async |visit: &mut Visit, shown: &Shown| {
        let plan = &shown.listed.plan;
        let mut details = details(&typed)?;
        // The same day is no other time of it.
        if typed.get("due") == day(plan.due) {
            details.due = None;
        }
        let id = plan.poam_id.to_string();
        poam::update(&mut visit.session, &id, &details).await?;
        Ok(())
    };
    change(visit, &id, &typed, Done::Saved, what).await
}

/// `POST /compliance/poam/{id}/close`.
pub(super) async fn close(
    visit: Visit,
    Path(id): Path<String>,
    typed: Fields,
) -> Result<Response, NoPage> {
    let what = async |visit: &mut Visit, shown: &Shown| {
        let id = shown.listed.plan.poam_id.to_string();
        poam::close(&mut visit.session, &id, typed.get("evidence")).await?;
        Ok(())
    };
    change(visit, &id, &typed, Done::Closed, what).await
}

/// The version of a review: what is new and what has fallen silent. Counts change all the time.
fn review_version(prepared: &review::Prepared) -> String {
    let review = &prepared.review;
    version_of(&format!("{:?} {:?}", review.new, review.silent))
}

fn review_page(desk: &Desk, prepared: &review::Prepared, typed: &str) -> Response {
    let mut blocks = vec![
        Block::Text(
            "What is logged, compared with the last review that was signed (3.3.3). Say what follows from it: \
             what should be logged and is not, and what need not be."
                .to_owned(),
        ),
        Block::Plain(prepared.text.clone()),
    ];
    if desk.may(Action::Write, Resource::Compliance) {
        let mut form = desk.form(
            "review",
            "/compliance/review/sign".to_owned(),
            "Sign review",
        );
        form.hidden = vec![("version", review_version(prepared))];
        form.fields = vec![
            EditField::new(
                "conclusion",
                "Conclusion",
                Control::Area(typed.to_owned(), 4000),
            )
            .required()
            .hint("Kept with the review, under your name, as evidence of 3.3.3."),
        ];
        blocks.push(Block::Form(form));
    }
    let back = Some(Back {
        path: "/compliance",
        words: "Compliance",
    });
    html(&desk.page("Event review", "Compliance", back, blocks))
}

/// `GET /compliance/review`.
pub(super) async fn review(mut visit: Visit) -> Result<Response, NoPage> {
    let found = review::prepare(&mut visit.session).await;
    let (prepared, desk) = visit.finish(found).await?;
    Ok(review_page(&desk, &prepared, ""))
}

/// `POST /compliance/review/sign`: what was shown is what is signed.
pub(super) async fn sign(mut visit: Visit, typed: Fields) -> Result<Response, NoPage> {
    visit.check_form(&typed)?;
    let _turn = turn().await;
    let prepared = match review::prepare(&mut visit.session).await {
        Ok(prepared) => prepared,
        Err(error) => return Err(visit.failed(error).await),
    };
    let conclusion = typed.get("conclusion").to_owned();
    let done = if typed.get("version") == review_version(&prepared) {
        review::sign(&mut visit.session, &conclusion).await
    } else {
        Err(AppError::conflict(
            "What is logged has changed since you opened the page. Your text is still here; look at the list \
             again first.",
        ))
    };
    let (done, mut desk) = visit.tried(done).await?;
    match done {
        Ok(signed) => {
            let place = format!("/compliance/evidence/{}", signed.evidence_id);
            Ok(see_other(&Done::Signed.at(&place)))
        }
        Err(why) => {
            desk.refuse(why);
            let page = review_page(&desk, &prepared, &conclusion);
            Ok((StatusCode::CONFLICT, page).into_response())
        }
    }
}
