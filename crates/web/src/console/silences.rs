//! Silences: which there are, what a new one would cover, and an end before its time.

use std::sync::Arc;

use app::AppError;
use app::actor::{Action, Resource};
use app::silences::{self, Phase, Request};
use axum::extract::Path;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use model::{Alert, RuleId, Severity, SilenceKind, SilenceScope, SilenceTarget, Span, Timestamp};
use pages::{Back, Block, Button, Cell, Control, EditField, EditForm, Grid, Level, count_of};

use super::form::{Done, Fields, address};
use super::{Desk, NoPage, Table, Visit, html, see_other};

/// Alerts of a preview that are shown.
const SHOWN: usize = 20;
/// How long a silence lasts unless someone says otherwise.
const LENGTH: &str = "4h";

/// `GET /silences`.
pub(super) async fn list(mut visit: Visit) -> Result<Response, NoPage> {
    let found = silences::list(&mut visit.session, silences::Which::Unended).await;
    let (found, desk) = visit.finish(found).await?;
    let may_write = desk.may(Action::Write, Resource::Silences);
    let rows = found
        .iter()
        .map(|listed| {
            let silence = &listed.silence;
            let phase = match listed.phase {
                Phase::Upcoming => "not yet in force",
                Phase::InForce => "in force",
                Phase::Ending => "ends soon: still needed?",
                Phase::Over => "over",
            };
            let mut row = vec![
                Cell::from(silence.scope.to_string()),
                Cell::from(silence.kind.to_string()),
                Cell::from(phase),
                Cell::from(silence.author.clone()),
                Cell::from(silence.reason.clone()),
                Cell::from(silence.ticket.clone().unwrap_or_default()),
                Cell::Time(Some(desk.when(silence.starts_at))),
                Cell::Time(Some(desk.when(silence.ends_at))),
                Cell::Number(listed.muted_alerts),
            ];
            if may_write {
                row.push(Desk::act(
                    format!("/silences/{}/end", silence.mute_id),
                    "End now",
                    silence.scope.to_string(),
                ));
            }
            row
        })
        .collect();
    let mut columns = vec![
        "Covers",
        "Kind",
        "State",
        "By",
        "Why",
        "Ticket",
        "From",
        "Until",
        "Alerts covered",
    ];
    if may_write {
        columns.push("End");
    }
    let table = Table {
        columns,
        rows,
        empty: "No silences are in effect.",
    };
    let about = "Notifications that someone chose to hold back. The alerts are still recorded.";
    let mut page = desk.table("Silences", "Rules", about, table);
    if may_write {
        page.beside = vec![("/silences/add", "Add a silence")];
    }
    Ok(html(&page))
}

/// Where alerts like this one are silenced.
pub(super) fn like(alert: &Alert) -> String {
    let entity = format!("{}:{}", alert.entity.kind.as_str(), alert.entity.value);
    address(
        "/silences/add",
        &[("rule", alert.rule_id.as_str()), ("entity", &entity)],
    )
}

fn fields_of(typed: &Fields) -> Vec<EditField> {
    let line = |name, label, max| {
        let value = typed.get(name).to_owned();
        EditField::new(name, label, Control::Line(value, max))
    };
    let kinds = [
        ("silence", "silence: it is known and looked into"),
        ("maintenance", "maintenance: announced work"),
        (
            "exception",
            "exception: a rule is wrong about something usual here",
        ),
    ];
    let kinds = kinds.map(|(value, words)| (value.to_owned(), words.to_owned()));
    let length = typed.written("length").unwrap_or_else(|| LENGTH.to_owned());
    vec![
        EditField::new(
            "kind",
            "Kind",
            Control::Choice(kinds.to_vec(), typed.get("kind").to_owned()),
        ),
        line("rule", "Rule", 200)
            .hint("Its ID or title. At least one of rule, source and entity is needed."),
        line("source", "Source", 100)
            .hint("Where events come from, such as syslog, nginx or audit_db."),
        line("entity", "About", 400)
            .hint("Such as ip:203.0.113.7, ip:203.0.113.0/24, user:jsmith, session:ID."),
        line("from", "From", 40)
            .hint("A time with its zone, such as 2026-12-01 20:00:00Z; empty for now."),
        EditField::new("length", "For how long", Control::Line(length, 20))
            .required()
            .hint("Such as 30m, 4h or 14d; 366 days at most."),
        EditField::new(
            "reason",
            "Why",
            Control::Area(typed.get("reason").to_owned(), 1000),
        ),
        line("ticket", "Ticket", 200),
        EditField::new(
            "unknown",
            "Also if nothing of that name has been seen so far",
            Control::Check(typed.get("unknown") == "yes"),
        ),
    ]
}

/// The form. Without a preview its main button asks for one.
fn form_of(desk: &Desk, typed: &Fields, was_shown: bool) -> EditForm {
    let mut form = desk.form("silence", "/silences/preview".to_owned(), "Preview");
    form.fields = fields_of(typed);
    if was_shown {
        "/silences/add".clone_into(&mut form.path);
        form.buttons = vec![
            Button {
                words: "Silence",
                path: None,
            },
            Button {
                words: "Preview again",
                path: Some("/silences/preview".to_owned()),
            },
        ];
    }
    form
}

fn page(desk: &Desk, mut blocks: Vec<Block>, form: EditForm) -> Response {
    blocks.push(Block::Form(form));
    let back = Some(Back {
        path: "/silences",
        words: "Silences",
    });
    html(&desk.page("Add a silence", "Rules", back, blocks))
}

const ABOUT: &str = "A silence holds back notifications of alerts that agree with everything that is given. \
                     The alerts are recorded all the same.";

/// `GET /silences/add`: filled in by the address, as the page of an alert does.
pub(super) async fn form(visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let typed = Fields::of_query(uri.query());
    let ((), desk) = visit.finish(Ok(())).await?;
    let about = vec![Block::Text(ABOUT.to_owned())];
    Ok(page(&desk, about, form_of(&desk, &typed, false)))
}

/// What was typed, as far as it can be read.
struct Asked {
    kind: SilenceKind,
    scope: SilenceScope,
    from: Option<Timestamp>,
    length: Span,
}

fn read(typed: &Fields) -> Result<Asked, AppError> {
    let invalid = |why: &str| AppError::invalid(why);
    let entity = typed.written("entity");
    let entity = entity
        .map(|text| text.parse::<SilenceTarget>())
        .transpose()
        .map_err(|error| invalid(&error.to_string()))?;
    let from = typed.written("from");
    let from = from
        .map(|text| Timestamp::parse(&text))
        .transpose()
        .map_err(|_| invalid("From: write a time with its zone, such as 2026-12-01 20:00:00Z"))?;
    let length = typed.written("length").unwrap_or_default();
    let kind = typed.written("kind");
    Ok(Asked {
        kind: kind
            .map_or(Ok(SilenceKind::Silence), |kind| kind.parse())
            .map_err(|_| invalid("Choose a kind."))?,
        scope: SilenceScope {
            rule_id: typed.written("rule").map(|id| RuleId(id.into())),
            source: typed.written("source"),
            tenant: None,
            entity,
        },
        from,
        length: length
            .parse()
            .map_err(|_| invalid("For how long: write a time such as 30m, 4h or 14d"))?,
    })
}

/// `POST /silences/preview`: what a silence would have covered in the last 30 days, and until when
/// it would last.
pub(super) async fn preview(mut visit: Visit, typed: Fields) -> Result<Response, NoPage> {
    visit.check_form(&typed)?;
    let config = Arc::clone(&visit.console.config);
    let allows_unknown = typed.get("unknown") == "yes";
    let found = async {
        let asked = read(&typed)?;
        let found = silences::preview(&mut visit.session, &config, &asked.scope).await;
        let covered = match found {
            Err(AppError::Invalid(_) | AppError::NotFound(_))
                if allows_unknown && !asked.scope.is_empty() =>
            {
                Vec::new()
            }
            found => found?,
        };
        Ok((asked, covered))
    };
    let found = found.await;
    let (found, mut desk) = visit.tried(found).await?;
    match found {
        Ok((asked, covered)) => {
            let blocks = previewed(&desk, &asked, &covered);
            Ok(page(&desk, blocks, form_of(&desk, &typed, true)))
        }
        Err(why) => {
            desk.refuse(why);
            let page = page(&desk, Vec::new(), form_of(&desk, &typed, false));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

fn previewed(desk: &Desk, asked: &Asked, covered: &[Alert]) -> Vec<Block> {
    let from = asked.from.unwrap_or(desk.now);
    let count = |severity| covered.iter().filter(|a| a.severity == severity).count() as u64;
    let says = match covered.len() as u64 {
        0 => "In the last 30 days it would have covered no alert.".to_owned(),
        number => format!(
            "In the last 30 days it would have covered {}: {} critical and {} high.",
            count_of(number, "alert"),
            count(Severity::Critical),
            count(Severity::High)
        ),
    };
    let rows = covered
        .iter()
        .take(SHOWN)
        .map(|alert| {
            vec![
                Cell::Link(format!("/alerts/{}", alert.alert_id), alert.title.clone()),
                Cell::Level(Level::from(alert.severity)),
                Cell::from(alert.subject()),
                Cell::Time(Some(desk.when(alert.last_seen))),
            ]
        })
        .collect();
    let grid = Grid {
        label: "Alerts that it would have covered".to_owned(),
        columns: vec!["Alert", "Severity", "About", "Last seen"],
        rows,
        empty: "Nothing of the last 30 days agrees with all that is given.".to_owned(),
    };
    let times = Grid {
        label: "What would be silenced".to_owned(),
        columns: vec!["Covers", "From", "Until"],
        rows: vec![vec![
            Cell::from(asked.scope.to_string()),
            Cell::Time(Some(desk.when(from))),
            Cell::Time(Some(desk.when(from.plus(asked.length)))),
        ]],
        empty: String::new(),
    };
    let mut blocks = vec![
        Block::Heading("Preview".to_owned()),
        Block::Table(times),
        Block::Text(says),
        Block::Table(grid),
    ];
    if covered.len() > SHOWN {
        blocks.push(Block::Text(format!("These are the newest {SHOWN}.")));
    }
    blocks
}

/// `POST /silences/add`.
pub(super) async fn add(mut visit: Visit, typed: Fields) -> Result<Response, NoPage> {
    visit.check_form(&typed)?;
    let config = Arc::clone(&visit.console.config);
    let done = async {
        let asked = read(&typed)?;
        let ticket = typed.written("ticket");
        let request = Request {
            kind: asked.kind,
            scope: asked.scope,
            from: asked.from,
            length: asked.length,
            reason: typed.get("reason"),
            ticket: ticket.as_deref(),
            allow_unknown: typed.get("unknown") == "yes",
        };
        silences::add(&mut visit.session, &config, &request).await
    };
    let done = done.await;
    let (done, mut desk) = visit.tried(done).await?;
    match done {
        Ok(_) => Ok(see_other(&Done::Silenced.at("/silences"))),
        Err(why) => {
            desk.refuse(why);
            let page = page(&desk, Vec::new(), form_of(&desk, &typed, true));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

/// `POST /silences/{id}/end`.
pub(super) async fn end(
    mut visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let done = silences::expire(&mut visit.session, &id).await;
    visit.finish(done).await?;
    Ok(see_other(&Done::Ended.at("/silences")))
}
