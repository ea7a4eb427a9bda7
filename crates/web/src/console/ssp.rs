//! The system security plan: its sections, what is missing, and its diagrams.

use app::AppError;
use app::actor::{Action, Resource};
use app::compliance::ssp::{self, Plan, Section};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pages::{Back, Block, Cell, Control, EditField, Grid};

use super::compliance::BESIDE;
use super::form::{Done, Fields, version_of};
use super::{Desk, NoPage, Visit, html, see_other};
use crate::turn::turn;

/// Before the key in the name of a field.
const TEXT: &str = "text.";

/// `GET /compliance/ssp`.
pub(super) async fn list(mut visit: Visit) -> Result<Response, NoPage> {
    let state = visit.console.state.clone();
    let found = ssp::show(&mut visit.session, &state).await;
    let (plan, desk) = visit.finish(found).await?;
    let rows = plan
        .sections
        .iter()
        .map(|section| {
            let state = if section.is_empty() {
                Cell::Trouble("empty".to_owned())
            } else {
                Cell::from("written")
            };
            let title = format!("{} {}", section.number, section.title);
            vec![
                Cell::Link(format!("/compliance/ssp/{}", section.number), title),
                state,
            ]
        })
        .collect();
    let sections = Grid {
        label: "Sections".to_owned(),
        columns: vec!["Section", "State"],
        rows,
        empty: "There are no sections.".to_owned(),
    };
    let diagrams = Grid {
        label: "Diagrams".to_owned(),
        columns: vec!["Diagram", "Kind", "File", "What it shows"],
        rows: plan
            .diagrams
            .iter()
            .map(|diagram| {
                vec![
                    Cell::from(diagram.title()),
                    Cell::from(diagram.kind.clone()),
                    Cell::from(diagram.file.clone()),
                    Cell::from(diagram.caption.clone()),
                ]
            })
            .collect(),
        empty: "No diagrams yet. On the machine, `blueteam compliance ssp --import FILE` takes them in with \
                the description that names them."
            .to_owned(),
    };

    let links = BESIDE.map(|(path, words)| (path.to_owned(), words.to_owned()));
    let mut blocks = vec![Block::Links(links.to_vec())];
    if desk.may(Action::Export, Resource::Reports) {
        let path = "/api/v1/reports/ssp?format=pdf".to_owned();
        blocks.push(Block::Links(vec![(path, "The plan as PDF".to_owned())]));
    }
    blocks.push(Block::Text(if plan.is_imported {
        "How each requirement is implemented is on its own page. These sections describe the system.".to_owned()
    } else {
        "The description of the system is read from a file of the machine. The first change here takes it \
         over into the database, and the file no longer counts."
            .to_owned()
    }));
    blocks.push(Block::Table(sections));
    blocks.push(Block::Heading("Missing".to_owned()));
    if plan.missing.is_empty() {
        blocks.push(Block::Text(
            "Nothing that an assessor asks for is missing.".to_owned(),
        ));
    } else {
        blocks.push(Block::Items(plan.missing.clone()));
    }
    blocks.push(Block::Heading("Diagrams".to_owned()));
    blocks.push(Block::Table(diagrams));
    let page = desk.page("System security plan", "Compliance", None, blocks);
    Ok(html(&page))
}

fn version(section: &Section) -> String {
    version_of(&format!("{section:?}"))
}

fn find<'a>(plan: &'a Plan, number: &str) -> Result<&'a Section, AppError> {
    let found = plan
        .sections
        .iter()
        .find(|section| section.number == number);
    found.ok_or_else(|| AppError::not_found("The plan has no such section."))
}

fn label(key: &str) -> String {
    let words = key.replace('_', " ");
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// What was typed and not kept.
struct Typed<'a> {
    fields: &'a Fields,
    /// Whether someone else has saved meanwhile.
    is_conflict: bool,
}

fn page(desk: &Desk, plan: &Plan, section: &Section, typed: Option<&Typed<'_>>) -> Response {
    let keys: Vec<String> = section.texts.keys().cloned().collect();
    let missing: Vec<String> = plan
        .missing
        .iter()
        .filter(|what| {
            let key = what.split([':', '.', ' ']).next().unwrap_or_default();
            keys.iter().any(|known| known == key) || section.lists.contains(&format!("[{key}"))
        })
        .cloned()
        .collect();
    let mut blocks = Vec::new();
    if !missing.is_empty() {
        blocks.push(Block::Trouble("Missing in this section:".to_owned()));
        blocks.push(Block::Items(missing));
    }

    if desk.may(Action::Write, Resource::Compliance) {
        let is_conflict = typed.is_some_and(|typed| typed.is_conflict);
        let field = |name: &str, label: &str, there: &str| {
            let value = typed.map_or(there, |typed| typed.fields.get(name));
            EditField::new(name, label, Control::Area(value.to_owned(), 60_000))
                .beside(is_conflict.then_some(there))
        };
        let path = format!("/compliance/ssp/{}/write", section.number);
        let mut form = desk.form("section", path, "Save section");
        form.hidden = vec![("version", version(section))];
        form.fields = section
            .texts
            .iter()
            .map(|(key, text)| field(&format!("{TEXT}{key}"), &label(key), text))
            .collect();
        if !section.lists.trim().is_empty() {
            let lists = field("lists", "Lists", &section.lists);
            form.fields.push(lists.hint(
                "As in system.toml: a name, an equals sign and a value in quotes on each line, and `[[name]]` \
                 before each entry of a list.",
            ));
        }
        blocks.push(Block::Form(form));
    } else {
        for (key, text) in &section.texts {
            blocks.push(Block::Heading(label(key)));
            blocks.push(if text.trim().is_empty() {
                Block::Text("Not written yet.".to_owned())
            } else {
                Block::Plain(text.clone())
            });
        }
        if !section.lists.trim().is_empty() {
            blocks.push(Block::Heading("Lists".to_owned()));
            blocks.push(Block::Plain(section.lists.clone()));
        }
    }
    let title = format!("{} {}", section.number, section.title);
    let back = Some(Back {
        path: "/compliance/ssp",
        words: "System security plan",
    });
    html(&desk.page(&title, "Compliance", back, blocks))
}

/// `GET /compliance/ssp/{section}`.
pub(super) async fn show(mut visit: Visit, Path(number): Path<String>) -> Result<Response, NoPage> {
    let state = visit.console.state.clone();
    let found = async {
        let plan = ssp::show(&mut visit.session, &state).await?;
        let section = find(&plan, &number)?.clone();
        Ok((plan, section))
    };
    let found = found.await;
    let ((plan, section), desk) = visit.finish(found).await?;
    Ok(page(&desk, &plan, &section, None))
}

/// `POST /compliance/ssp/{section}/write`.
pub(super) async fn write(
    mut visit: Visit,
    Path(number): Path<String>,
    typed: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&typed)?;
    let _turn = turn().await;
    let state = visit.console.state.clone();
    let found = async {
        let plan = ssp::show(&mut visit.session, &state).await?;
        let section = find(&plan, &number)?.clone();
        Ok::<_, AppError>((plan, section))
    };
    let (plan, section) = match found.await {
        Ok(found) => found,
        Err(error) => return Err(visit.failed(error).await),
    };
    if typed.get("version") != version(&section) {
        let mut desk = visit.leave().await;
        desk.refuse(
            "Someone else has saved this section since you opened the page. Your text is still here, beside \
             theirs: nothing of yours was saved yet.",
        );
        let typed = Typed {
            fields: &typed,
            is_conflict: true,
        };
        let page = page(&desk, &plan, &section, Some(&typed));
        return Ok((StatusCode::CONFLICT, page).into_response());
    }

    let mut written = section.clone();
    for (key, text) in &mut written.texts {
        typed.get(&format!("{TEXT}{key}")).clone_into(text);
    }
    typed.get("lists").clone_into(&mut written.lists);
    let done = ssp::write(&mut visit.session, &state, &written).await;
    let (done, mut desk) = visit.tried(done).await?;
    match done {
        Ok(()) => {
            let place = format!("/compliance/ssp/{number}");
            Ok(see_other(&Done::Saved.at(&place)))
        }
        Err(why) => {
            desk.refuse(why);
            let typed = Typed {
                fields: &typed,
                is_conflict: false,
            };
            let page = page(&desk, &plan, &section, Some(&typed));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}
