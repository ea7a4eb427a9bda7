//! One requirement: how it stands, and what people say about it. Whoever saves second sees what the
//! first has written, and keeps their own words.

use app::AppError;
use app::actor::{Action, Resource};
use app::compliance::{assessment, evidence};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::{Method, Objective};
use pages::{Control, EditField, EditForm, Fact, Requirement, RequirementPage};

use super::form::{Done, Fields, address, version_of};
use super::{Desk, NoPage, Visit, evidence as pieces, html, see_other};
use crate::turn::turn;

/// The longest text about a requirement, in characters.
const TEXT_MAX: u32 = 20_000;

/// Everything that the page shows.
struct Shown {
    assessed: assessment::Assessed,
    history: Vec<assessment::Change>,
    pieces: Vec<evidence::Listed>,
}

async fn read(visit: &mut Visit, id: &str) -> Result<Shown, AppError> {
    let state = visit.console.state.clone();
    let of_requirement = evidence::Filter {
        control: Some(id),
        ..evidence::Filter::default()
    };
    let assessed = assessment::show(&mut visit.session, &state, id).await?;
    let history = assessment::history(&mut visit.session, Some(id)).await?;
    let pieces = if visit.desk.may(Action::Read, Resource::Evidence) {
        evidence::list(&mut visit.session, &state, &of_requirement).await?
    } else {
        Vec::new()
    };
    Ok(Shown {
        assessed,
        history,
        pieces,
    })
}

/// What a reader wants to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Decision,
    Statement,
    Notes,
}

impl Part {
    /// The version of what is there.
    fn version(self, shown: &Shown) -> String {
        let standing = &shown.assessed.standing;
        version_of(&match self {
            Self::Decision => {
                let decisions = standing.objectives.iter().map(|one| &one.decision);
                format!("{:?}", decisions.collect::<Vec<_>>())
            }
            Self::Statement => format!("{:?} {:?}", standing.notes, standing.owner),
            Self::Notes => format!("{:?}", standing.assessor_notes),
        })
    }
}

/// What was typed and not kept.
struct Typed<'a> {
    part: Part,
    fields: &'a Fields,
    /// Whether someone else has saved meanwhile.
    is_conflict: bool,
}

/// The value of a field: what was typed, or what is there; and what someone else wrote meanwhile.
fn value_of(
    typed: Option<&Typed<'_>>,
    part: Part,
    name: &str,
    there: &str,
) -> (String, Option<String>) {
    match typed.filter(|typed| typed.part == part) {
        Some(typed) => {
            let theirs = typed.is_conflict.then(|| there.to_owned());
            (typed.fields.get(name).to_owned(), theirs)
        }
        None => (there.to_owned(), None),
    }
}

fn words(text: &str) -> String {
    text.replace('_', " ")
}

/// The decisions that there are, for who would decide otherwise.
fn decided(objectives: &[Objective]) -> String {
    let lines = objectives.iter().filter_map(|objective| {
        let decision = objective.decision.as_ref()?;
        Some(format!(
            "{} {}, {}: {}",
            objective.objective_id,
            words(&decision.finding.to_string()),
            decision.by,
            decision.reason
        ))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn decide_form(desk: &Desk, shown: &Shown, typed: Option<&Typed<'_>>) -> EditForm {
    let requirement = shown.assessed.requirement;
    let id = &requirement.control_id;
    let mut objectives = vec![(String::new(), "all objectives".to_owned())];
    objectives.extend(requirement.assessment_objectives.iter().map(|objective| {
        let text: String = objective.text.chars().take(70).collect();
        (objective.id.0.clone(), format!("{} {text}", objective.id))
    }));
    let findings = ["met", "not_met", "not_applicable", "not_assessed"];
    let findings = findings.map(|finding| (finding.to_owned(), words(finding)));
    let typed = typed.filter(|typed| typed.part == Part::Decision);
    let get = |name: &str| typed.map_or("", |typed| typed.fields.get(name)).to_owned();
    let theirs = typed.filter(|typed| typed.is_conflict);
    let theirs = theirs.map(|_| decided(&shown.assessed.standing.objectives));

    let mut form = desk.form(
        "decide",
        format!("/compliance/{id}/decide"),
        "Save decision",
    );
    form.hidden = vec![("version", Part::Decision.version(shown))];
    form.fields = vec![
        EditField::new(
            "objective",
            "Objective",
            Control::Choice(objectives, get("objective")),
        ),
        EditField::new(
            "finding",
            "Finding",
            Control::Choice(findings.to_vec(), get("finding")),
        )
        .hint("Not assessed takes an earlier decision back."),
        EditField::new("reason", "Why", Control::Area(get("reason"), 4000))
            .required()
            .hint("3 to 4,000 characters: an assessor will ask.")
            .beside(theirs.as_deref()),
    ];
    for method in Method::ALL {
        let name = format!("method-{method}");
        let label = format!("Method: {method}");
        let is_chosen = typed.is_some_and(|typed| typed.fields.get(&name) == "yes");
        form.fields
            .push(EditField::new(&name, &label, Control::Check(is_chosen)));
    }
    form
}

fn statement_form(desk: &Desk, shown: &Shown, typed: Option<&Typed<'_>>) -> EditForm {
    let standing = &shown.assessed.standing;
    let notes = standing.notes.clone().unwrap_or_default();
    let owner = standing.owner.clone().unwrap_or_default();
    let (notes, their_notes) = value_of(typed, Part::Statement, "statement", &notes);
    let (owner, their_owner) = value_of(typed, Part::Statement, "owner", &owner);
    let id = &shown.assessed.requirement.control_id;
    let mut form = desk.form(
        "statement",
        format!("/compliance/{id}/statement"),
        "Save statement",
    );
    form.hidden = vec![("version", Part::Statement.version(shown))];
    form.fields = vec![
        EditField::new(
            "statement",
            "Implementation statement",
            Control::Area(notes, TEXT_MAX),
        )
        .required()
        .hint("Goes into the system security plan.")
        .beside(their_notes.as_deref()),
        EditField::new("owner", "Owner", Control::Line(owner, 200)).beside(their_owner.as_deref()),
    ];
    form
}

fn note_form(desk: &Desk, shown: &Shown, typed: Option<&Typed<'_>>) -> EditForm {
    let standing = &shown.assessed.standing;
    let notes = standing.assessor_notes.clone().unwrap_or_default();
    let (notes, theirs) = value_of(typed, Part::Notes, "notes", &notes);
    let id = &shown.assessed.requirement.control_id;
    let mut form = desk.form("notes", format!("/compliance/{id}/notes"), "Save notes");
    form.hidden = vec![("version", Part::Notes.version(shown))];
    form.fields = vec![
        EditField::new("notes", "Notes", Control::Area(notes, 10_000))
            .hint("The organization can read them, and only an assessor can change them.")
            .beside(theirs.as_deref()),
    ];
    form
}

fn page(desk: &Desk, shown: &Shown, typed: Option<&Typed<'_>>) -> RequirementPage {
    let assessed = &shown.assessed;
    let standing = &assessed.standing;
    let requirement = assessed.requirement;
    let id = &requirement.control_id;
    let objectives = standing
        .objectives
        .iter()
        .map(|objective| {
            let mut texts = requirement.assessment_objectives.iter();
            let text = texts.find(|text| text.id == objective.objective_id);
            let decision = objective.decision.as_ref();
            let proposal = objective.proposal.as_ref();
            [
                objective.objective_id.0.clone(),
                text.map_or_else(String::new, |text| text.text.clone()),
                words(&objective.standing().to_string()),
                decision.map_or_else(String::new, |decision| decision.by.clone()),
                proposal.map_or_else(String::new, |proposal| {
                    format!(
                        "{}: {}",
                        words(&proposal.finding.to_string()),
                        proposal.reason
                    )
                }),
            ]
        })
        .collect();

    let may_write = desk.may(Action::Write, Resource::Compliance);
    let may_note = desk.may(Action::Write, Resource::AssessorNotes);
    let notes = standing.assessor_notes.clone().unwrap_or_default();
    RequirementPage {
        row: Requirement {
            id: id.to_string(),
            title: requirement.title.clone(),
            family: requirement.family.clone(),
            status: words(&assessed.finding.to_string()),
            weight: String::new(),
            owner: standing.owner.clone().unwrap_or_default(),
            objectives: String::new(),
            remarks: requirement.requirement.clone(),
        },
        facts: facts(assessed, may_write),
        objectives,
        decide: may_write.then(|| decide_form(desk, shown, typed)),
        statement: may_write.then(|| statement_form(desk, shown, typed)),
        notes: desk
            .may(Action::Read, Resource::AssessorNotes)
            .then_some(notes),
        note: may_note.then(|| note_form(desk, shown, typed)),
        evidence: shown
            .pieces
            .iter()
            .map(|piece| pieces::row_of_requirement(desk, piece))
            .collect(),
        add_evidence: desk
            .may(Action::Write, Resource::Evidence)
            .then(|| address("/compliance/evidence/add", &[("supports", &id.to_string())])),
        history: shown
            .history
            .iter()
            .map(|change| {
                (
                    desk.when(change.at),
                    change.by.clone().unwrap_or_else(|| change.login.clone()),
                    format!(
                        "{}: {} to {}",
                        change.objective_id.0,
                        words(&change.previous),
                        words(&change.finding)
                    ),
                    change.reason.clone().unwrap_or_default(),
                )
            })
            .collect(),
        frame: desk.frame(&requirement.title, "Compliance"),
    }
}

fn facts(assessed: &assessment::Assessed, may_write: bool) -> Vec<Fact> {
    let standing = &assessed.standing;
    let fact = |name, value: Option<String>| Fact {
        name,
        value: value.unwrap_or_default(),
        link: None,
    };
    let requirement = assessed.requirement;
    let mut facts = vec![
        fact("CMMC practice", Some(requirement.cmmc_practice.clone())),
        fact("Family", Some(requirement.family.clone())),
        fact("Owner", standing.owner.clone()),
        fact("Provider", standing.provider.clone()),
    ];
    // Who may write it has it in a form.
    if !may_write {
        facts.push(fact("Implementation", standing.notes.clone()));
    }
    facts.retain(|fact| !fact.value.is_empty());
    facts
}

/// `GET /compliance/{id}`.
pub(super) async fn show(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let found = read(&mut visit, &id).await;
    let (shown, desk) = visit.finish(found).await?;
    Ok(html(&page(&desk, &shown, None)))
}

/// Shows a page again with what was typed, and why it was not kept.
fn again(mut desk: Desk, shown: &Shown, typed: &Typed<'_>, why: String) -> Response {
    let status = if typed.is_conflict {
        StatusCode::CONFLICT
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    desk.refuse(why);
    (status, html(&page(&desk, shown, Some(typed)))).into_response()
}

const CONFLICT: &str = "Someone else has saved this since you opened the page. Your text is still here, \
                        beside theirs: nothing of yours was saved yet.";

/// Changes a part, unless someone else has changed it since it was shown.
async fn change<T>(
    mut visit: Visit,
    id: &str,
    part: Part,
    fields: &Fields,
    what: impl AsyncFnOnce(&mut Visit, &Shown) -> Result<T, AppError>,
) -> Result<Response, NoPage> {
    visit.check_form(fields)?;
    let _turn = turn().await;
    let shown = match read(&mut visit, id).await {
        Ok(shown) => shown,
        Err(error) => return Err(visit.failed(error).await),
    };
    let mut typed = Typed {
        part,
        fields,
        is_conflict: fields.get("version") != part.version(&shown),
    };
    if typed.is_conflict {
        let desk = visit.leave().await;
        return Ok(again(desk, &shown, &typed, CONFLICT.to_owned()));
    }

    let done = what(&mut visit, &shown).await;
    let (done, desk) = visit.tried(done).await?;
    match done {
        Ok(_) => {
            let id = &shown.assessed.requirement.control_id;
            Ok(see_other(&Done::Saved.at(&format!("/compliance/{id}"))))
        }
        Err(why) => {
            typed.is_conflict = false;
            Ok(again(desk, &shown, &typed, why))
        }
    }
}

/// `POST /compliance/{id}/decide`.
pub(super) async fn decide(
    visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    let what = async |visit: &mut Visit, shown: &Shown| {
        let control = shown.assessed.requirement.control_id.to_string();
        let objective = match fields.get("objective") {
            "" => control,
            chosen => {
                let mut all = shown.assessed.standing.objectives.iter();
                if !all.any(|one| one.objective_id.0 == chosen) {
                    return Err(AppError::invalid(
                        "Choose an objective of this requirement.",
                    ));
                }
                chosen.to_owned()
            }
        };
        let finding = fields.get("finding").parse();
        let finding = finding.map_err(|_| AppError::invalid("Choose a finding."))?;
        let methods: Vec<Method> = Method::ALL
            .iter()
            .filter(|method| fields.get(&format!("method-{method}")) == "yes")
            .copied()
            .collect();
        let request = assessment::Request {
            id: &objective,
            finding: Some(finding),
            reason: Some(fields.get("reason")),
            methods: &methods,
            changes: assessment::Changes::default(),
        };
        let state = visit.console.state.clone();
        assessment::set(&mut visit.session, &state, &request).await
    };
    change(visit, &id, Part::Decision, &fields, what).await
}

/// `POST /compliance/{id}/statement`.
pub(super) async fn state(
    visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    let what = async |visit: &mut Visit, shown: &Shown| {
        let statement = fields.written("statement");
        let statement = statement
            .filter(|text| (3..=TEXT_MAX as usize).contains(&text.chars().count()))
            .ok_or_else(|| {
                AppError::invalid("Implementation statement: from 3 to 20,000 characters")
            })?;
        let control = shown.assessed.requirement.control_id.to_string();
        let request = assessment::Request {
            id: &control,
            finding: None,
            reason: None,
            methods: &[],
            changes: assessment::Changes {
                notes: Some(statement),
                owner: fields.written("owner"),
                ..assessment::Changes::default()
            },
        };
        let state = visit.console.state.clone();
        assessment::set(&mut visit.session, &state, &request).await
    };
    change(visit, &id, Part::Statement, &fields, what).await
}

/// `POST /compliance/{id}/notes`.
pub(super) async fn note(
    visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    let what = async |visit: &mut Visit, shown: &Shown| {
        let control = shown.assessed.requirement.control_id.to_string();
        let state = visit.console.state.clone();
        assessment::note(&mut visit.session, &state, &control, fields.get("notes")).await
    };
    change(visit, &id, Part::Notes, &fields, what).await
}
