//! Evidence: what there is, taking it in, looking at it, and deciding that it counts.

use app::AppError;
use app::actor::{Action, Resource};
use app::compliance::evidence::{self, Content, Listed, Media, NewEvidence, Source};
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use model::{EvidenceKind, Span, Validity};
use pages::{Back, Block, Cell, Control, EditField, EditForm, Fact, ListPage};

use super::compliance::BESIDE;
use super::form::{Done, Fields, version_of};
use super::upload::Upload;
use super::{Desk, NoPage, OwnPolicy, Visit, html, see_other};
use crate::turn::turn;

/// Characters of a text that a page shows.
const SHOWN: usize = 20_000;
/// What a file that someone gave may do when it is shown: nothing. It has an origin of its own, and
/// asks nobody for anything.
const SANDBOX: OwnPolicy = OwnPolicy(
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

/// How far a piece counts, in words.
fn state_of(listed: &Listed) -> Cell {
    match listed.validity {
        Validity::Tampered | Validity::Lapsed | Validity::Refused => {
            Cell::Trouble(listed.validity.to_string())
        }
        other => Cell::from(other.to_string()),
    }
}

fn link_of(listed: &Listed) -> Cell {
    let piece = &listed.evidence;
    Cell::Link(
        format!("/compliance/evidence/{}", piece.evidence_id),
        piece.description.clone(),
    )
}

fn kind_of(kind: EvidenceKind) -> String {
    kind.to_string().replace('_', " ")
}

/// A piece on the page of its requirement.
pub(super) fn row_of_requirement(desk: &Desk, listed: &Listed) -> Vec<Cell> {
    let piece = &listed.evidence;
    vec![
        link_of(listed),
        Cell::from(kind_of(piece.kind)),
        state_of(listed),
        Cell::from(piece.collected_by.clone().unwrap_or_default()),
        Cell::Time(piece.valid_until.map(|at| desk.when(at))),
    ]
}

/// `GET /compliance/evidence`.
pub(super) async fn list(mut visit: Visit) -> Result<Response, NoPage> {
    let state = visit.console.state.clone();
    let found = evidence::list(&mut visit.session, &state, &evidence::Filter::default()).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|listed| {
            let piece = &listed.evidence;
            vec![
                link_of(listed),
                Cell::Link(
                    format!("/compliance/{}", piece.control_id),
                    piece.control_id.to_string(),
                ),
                Cell::from(kind_of(piece.kind)),
                state_of(listed),
                Cell::from(piece.collected_by.clone().unwrap_or_default()),
                Cell::from(piece.approved_by.clone().unwrap_or_default()),
                Cell::Time(Some(desk.when(piece.collected_at))),
                Cell::Time(piece.valid_until.map(|at| desk.when(at))),
            ]
        })
        .collect();
    let mut beside = BESIDE.to_vec();
    if desk.may(Action::Write, Resource::Evidence) {
        beside.insert(0, ("/compliance/evidence/add", "Add evidence"));
    }
    let page = ListPage {
        about: "What shows that requirements are met. A draft counts once someone has approved it."
            .to_owned(),
        columns: vec![
            "Evidence",
            "Requirement",
            "Kind",
            "State",
            "Added by",
            "Approved by",
            "Added",
            "Valid until",
        ],
        rows,
        empty: "No evidence yet.".to_owned(),
        beside,
        frame: desk.frame("Evidence", "Compliance"),
    };
    Ok(html(&page))
}

fn add_form(desk: &Desk, typed: &Fields) -> EditForm {
    let line = |name, label, max| {
        let value = typed.get(name).to_owned();
        EditField::new(name, label, Control::Line(value, max))
    };
    let kinds = EvidenceKind::ALL
        .iter()
        .filter(|kind| **kind != EvidenceKind::AutomatedCheck)
        .map(|kind| (kind.to_string(), kind_of(*kind)))
        .collect();
    let kind = typed
        .written("kind")
        .unwrap_or_else(|| "policy_doc".to_owned());
    let path = "/compliance/evidence/add".to_owned();
    let mut form = desk.form("evidence", path, "Add as a draft");
    form.is_upload = true;
    form.fields = vec![
        line("supports", "Supports", 2000)
            .required()
            .hint("Requirements and objectives, separated by commas, such as 3.1.1, 3.1.2[a]."),
        line("shows", "What it shows", 500)
            .required()
            .hint("In a sentence."),
        EditField::new("kind", "Kind", Control::Choice(kinds, kind)),
        EditField::new("file", "File", Control::File)
            .hint("At most 25 MiB. What it is, is decided by its content and not by its name."),
        EditField::new(
            "text",
            "Or a text",
            Control::Area(typed.get("text").to_owned(), 500_000),
        ),
        line("valid_for", "For how long it counts", 20).hint("Such as 365d; empty for no end."),
        line("owner", "Owner", 200).hint("Who answers for it."),
    ];
    form
}

const BACK: Option<Back> = Some(Back {
    path: "/compliance/evidence",
    words: "Evidence",
});

/// `GET /compliance/evidence/add`.
pub(super) async fn form(visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let typed = Fields::of_query(uri.query());
    let ((), desk) = visit.finish(Ok(())).await?;
    let blocks = vec![Block::Form(add_form(&desk, &typed))];
    Ok(html(&desk.page("Add evidence", "Compliance", BACK, blocks)))
}

/// `POST /compliance/evidence/add`: a file or a text, as a draft.
pub(super) async fn add(mut visit: Visit, upload: Upload) -> Result<Response, NoPage> {
    let fields = &upload.fields;
    visit.check_form(fields)?;
    let state = visit.console.state.clone();
    let done = async {
        let text = fields.written("text");
        let source = match (&upload.file, &text) {
            (Some(file), None) => Source::Upload {
                name: &file.name,
                bytes: &file.bytes,
            },
            (None, Some(text)) => Source::Text(text),
            (None, None) => return Err(AppError::invalid("Choose a file, or write a text.")),
            (Some(_), Some(_)) => {
                return Err(AppError::invalid(
                    "Choose a file or write a text, not both.",
                ));
            }
        };
        let supports: Vec<String> = fields
            .get("supports")
            .split([',', ' ', '\n'])
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect();
        let kind = fields.get("kind").parse::<EvidenceKind>().ok();
        let kind = kind.filter(|kind| *kind != EvidenceKind::AutomatedCheck);
        let valid_for = fields.written("valid_for");
        let valid_for = valid_for.map(|text| text.parse::<Span>()).transpose();
        let owner = fields.written("owner");
        let new = NewEvidence {
            source,
            supports: &supports,
            kind: kind.ok_or_else(|| AppError::invalid("Choose a kind."))?,
            shows: fields.get("shows"),
            effective: None,
            valid_for: valid_for.map_err(|_| {
                AppError::invalid("For how long it counts: write a time such as 365d")
            })?,
            owner: owner.as_deref(),
            approved: false,
        };
        evidence::add(&mut visit.session, &state, &new, false).await
    };
    let done = done.await;
    let (done, mut desk) = visit.tried(done).await?;
    match done {
        Ok(piece) => {
            let place = format!("/compliance/evidence/{}", piece.evidence_id);
            Ok(see_other(&Done::TakenIn.at(&place)))
        }
        Err(why) => {
            desk.refuse(why);
            let mut blocks = Vec::new();
            if upload.file.is_some() {
                blocks.push(Block::Text(
                    "Choose the file again: a browser keeps none.".to_owned(),
                ));
            }
            blocks.push(Block::Form(add_form(&desk, fields)));
            let page = desk.page("Add evidence", "Compliance", BACK, blocks);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response())
        }
    }
}

/// A piece, and its content as far as it can be read.
struct Shown {
    listed: Listed,
    content: Result<Content, String>,
}

async fn read(visit: &mut Visit, id: &str) -> Result<Shown, AppError> {
    let state = visit.console.state.clone();
    let listed = evidence::show(&mut visit.session, &state, id).await?;
    let content = match evidence::content(&mut visit.session, &state, id).await {
        Ok(content) => Ok(content),
        Err(AppError::NotFound(why) | AppError::Conflict(why)) => Err(why),
        Err(AppError::Failed(why)) => {
            tracing::warn!("a piece of evidence cannot be read: {why:#}");
            Err("Its file cannot be read; the log says why.".to_owned())
        }
        Err(error) => return Err(error),
    };
    Ok(Shown { listed, content })
}

/// The version of a piece: nobody approves what they have not seen.
fn version(listed: &Listed) -> String {
    version_of(&format!("{:?}", listed.evidence))
}

fn facts(listed: &Listed) -> Vec<Fact> {
    let piece = &listed.evidence;
    let fact = |name, value: Option<String>| Fact {
        name,
        value: value.unwrap_or_default(),
        link: None,
    };
    let objectives: Vec<&str> = piece.objectives.iter().map(|o| o.0.as_str()).collect();
    let size = piece.size_bytes.map(|size| pages::count_of(size, "byte"));
    let mut facts = vec![
        Fact {
            name: "Requirement",
            value: piece.control_id.to_string(),
            link: Some(format!("/compliance/{}", piece.control_id)),
        },
        fact("Supports", Some(objectives.join(", "))),
        fact("Kind", Some(kind_of(piece.kind))),
        fact("Owner", piece.owner.clone()),
        fact("Added by", piece.collected_by.clone()),
        fact("Approved by", piece.approved_by.clone()),
        fact("File", piece.file_name.clone()),
        fact("Size", size),
        fact("SHA-256", piece.sha256.clone()),
        fact("Check", piece.recorded.as_ref().map(|r| r.check_id.clone())),
    ];
    facts.retain(|fact| !fact.value.is_empty());
    facts
}

fn times(desk: &Desk, listed: &Listed) -> Block {
    let piece = &listed.evidence;
    let when = |at: Option<model::Timestamp>| Cell::Time(at.map(|at| desk.when(at)));
    Block::Table(pages::Grid {
        label: "State".to_owned(),
        columns: vec![
            "State",
            "Added",
            "Counts from",
            "Valid until",
            "Approved",
            "Kept until",
        ],
        rows: vec![vec![
            state_of(listed),
            when(Some(piece.collected_at)),
            when(piece.effective_at),
            when(piece.valid_until),
            when(piece.approved_at),
            when(Some(piece.retain_until)),
        ]],
        empty: String::new(),
    })
}

/// What is shown of the content, and how more of it is had.
fn content_blocks(desk: &Desk, shown: &Shown) -> Vec<Block> {
    let mut blocks = vec![Block::Heading("Content".to_owned())];
    let content = match &shown.content {
        Ok(content) => content,
        Err(why) => {
            blocks.push(Block::Trouble(super::form::plain_words(why)));
            return blocks;
        }
    };
    let path = format!("/compliance/evidence/{}", shown.listed.evidence.evidence_id);
    let mut links = Vec::new();
    if content.media.can_be_shown() {
        links.push((format!("{path}/preview"), "Preview".to_owned()));
    }
    if desk.may(Action::Export, Resource::Evidence) {
        links.push((format!("{path}/download"), "Download".to_owned()));
    }
    let what = match content.media {
        Media::Text => "Text.",
        Media::Png => "A PNG picture.",
        Media::Jpeg => "A JPEG picture.",
        Media::Pdf => "A PDF document.",
        Media::Other => "Another kind of file, which is not shown here.",
    };
    blocks.push(Block::Text(format!("{what} A download is recorded.")));
    blocks.push(Block::Links(links));
    if content.media == Media::Text {
        let text = String::from_utf8_lossy(&content.bytes);
        let text = text.replace("\r\n", "\n");
        let first: String = text.chars().take(SHOWN).collect();
        if first.len() < text.len() {
            blocks.push(Block::Text("The beginning of it:".to_owned()));
        }
        blocks.push(Block::Plain(first));
    }
    blocks
}

/// The forms by which a second person decides on a draft.
fn decide_blocks(desk: &Desk, shown: &Shown, separate: bool, typed: &str) -> Vec<Block> {
    let piece = &shown.listed.evidence;
    let mut blocks = Vec::new();
    if let Some(refusal) = &piece.refused {
        blocks.push(Block::Trouble(format!(
            "Refused by {}: {}. It counts for nothing; add another piece instead.",
            refusal.by, refusal.reason
        )));
        return blocks;
    }
    if piece.approved_at.is_some() || !desk.may(Action::Approve, Resource::Evidence) {
        return blocks;
    }

    let path = format!("/compliance/evidence/{}", piece.evidence_id);
    blocks.push(Block::Heading("Decide".to_owned()));
    let is_own = piece
        .collected_by
        .as_deref()
        .is_some_and(|by| model::acting(by) == desk.viewer.username);
    if separate && is_own {
        blocks.push(Block::Text(
            "You added this piece, so another account approves it (compliance.separate_approver)."
                .to_owned(),
        ));
    } else if shown.listed.validity != Validity::Tampered {
        let mut form = desk.form("approve", format!("{path}/approve"), "Approve");
        form.hidden = vec![("version", version(&shown.listed))];
        blocks.push(Block::Text(
            "Approved, it counts under your name, and stays as it is.".to_owned(),
        ));
        blocks.push(Block::Form(form));
    }
    let mut form = desk.form("refuse", format!("{path}/refuse"), "Refuse");
    form.hidden = vec![("version", version(&shown.listed))];
    form.fields = vec![
        EditField::new(
            "reason",
            "Why it is refused",
            Control::Area(typed.to_owned(), 4000),
        )
        .required(),
    ];
    blocks.push(Block::Form(form));
    blocks
}

fn page(desk: &Desk, shown: &Shown, separate: bool, typed: &str) -> Response {
    let listed = &shown.listed;
    let mut blocks = vec![times(desk, listed)];
    if listed.validity == Validity::Tampered {
        blocks.push(Block::Trouble(
            "It is not what was taken in: its hash differs.".to_owned(),
        ));
    }
    blocks.push(Block::Facts(facts(listed)));
    blocks.extend(decide_blocks(desk, shown, separate, typed));
    blocks.extend(content_blocks(desk, shown));
    html(&desk.page(&listed.evidence.description, "Compliance", BACK, blocks))
}

/// `GET /compliance/evidence/{id}`.
pub(super) async fn show(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let separate = visit.console.config.compliance.separate_approver;
    let found = read(&mut visit, &id).await;
    let (shown, desk) = visit.finish(found).await?;
    Ok(page(&desk, &shown, separate, ""))
}

/// A file that someone gave, as a response that can do nothing.
fn file(content: Content, how: &str) -> Response {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let name = content.file_name.unwrap_or_else(|| "evidence".to_owned());
    let stem = name
        .rsplit_once('.')
        .map_or(name.as_str(), |(stem, _)| stem);
    let ending = match (content.media, name.rsplit_once('.')) {
        (Media::Other, Some((_, ending))) => ending,
        (media, _) => media.extension(),
    };
    let plain = |text: &str, max: usize| -> String {
        let kept = text.chars().map(|c| if is_plain(c) { c } else { '_' });
        kept.take(max).collect()
    };
    // What it is, is in its name, whatever its giver called it.
    let name = format!(
        "{}.{}",
        plain(stem, 100).trim_start_matches('.'),
        plain(ending, 10)
    );
    let disposition = format!("{how}; filename=\"{name}\"");
    let mut response = content.bytes.into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static(content.media.media_type());
    headers.insert(header::CONTENT_TYPE, kind);
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response.extensions_mut().insert(SANDBOX);
    response
}

/// `GET /compliance/evidence/{id}/preview`.
pub(super) async fn preview(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let state = visit.console.state.clone();
    let found = evidence::content(&mut visit.session, &state, &id).await;
    let found = found.and_then(|content| {
        if content.media.can_be_shown() {
            Ok(content)
        } else {
            Err(AppError::not_found(
                "A file of this kind is not shown here.",
            ))
        }
    });
    let (content, _) = visit.finish(found).await?;
    Ok(file(content, "inline"))
}

/// `GET /compliance/evidence/{id}/download`: recorded before it is handed out.
pub(super) async fn download(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let state = visit.console.state.clone();
    let found = evidence::download(&mut visit.session, &state, &id).await;
    let (content, _) = visit.finish(found).await?;
    Ok(file(content, "attachment"))
}

/// What is decided about a draft.
enum Decision {
    Approve,
    Refuse(String),
}

async fn decide(
    mut visit: Visit,
    id: &str,
    fields: &Fields,
    decision: Decision,
) -> Result<Response, NoPage> {
    visit.check_form(fields)?;
    let separate = visit.console.config.compliance.separate_approver;
    let _turn = turn().await;
    let shown = match read(&mut visit, id).await {
        Ok(shown) => shown,
        Err(error) => return Err(visit.failed(error).await),
    };
    let place = format!("/compliance/evidence/{}", shown.listed.evidence.evidence_id);
    let id = shown.listed.evidence.evidence_id.to_string();
    let (done, typed) = if fields.get("version") == version(&shown.listed) {
        match decision {
            Decision::Approve => {
                let done = evidence::approve(&mut visit.session, &id, separate).await;
                (done.map(|_| Done::Approved), String::new())
            }
            Decision::Refuse(why) => {
                let done = evidence::refuse(&mut visit.session, &id, &why).await;
                (done.map(|()| Done::Refused), why)
            }
        }
    } else {
        let why = "This piece has changed since you opened the page. Look at it again first.";
        (
            Err(AppError::conflict(why)),
            fields.get("reason").to_owned(),
        )
    };
    let (done, mut desk) = visit.tried_form(fields, done).await?;
    match done {
        Ok(done) => Ok(see_other(&done.at(&place))),
        Err(why) => {
            desk.refuse(why);
            let page = page(&desk, &shown, separate, &typed);
            Ok((StatusCode::CONFLICT, page).into_response())
        }
    }
}

/// `POST /compliance/evidence/{id}/approve`.
pub(super) async fn approve(
    visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    decide(visit, &id, &fields, Decision::Approve).await
}

/// `POST /compliance/evidence/{id}/refuse`.
pub(super) async fn refuse(
    visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    let why = fields.get("reason").to_owned();
    decide(visit, &id, &fields, Decision::Refuse(why)).await
}
