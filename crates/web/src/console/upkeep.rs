//! Upkeep: size and growth, statements and indexes, sign-ins, and the reviews that a person signs.

use app::actor::{Action, Resource};
use app::upkeep::{self, Failures, Upkeep, review};
use app::{AppError, Session};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::evidence::UpkeepReview;
use pages::{Cell, Field, FieldKind, Form, Notice, RecordPage, Section};

use super::form::{Done, Fields, kept, wrong};
use super::{Desk, NoPage, Visit, admin, html, see_other};

/// A review.
#[derive(Clone, Copy)]
struct Named {
    /// As addresses name it.
    id: &'static str,
    title: &'static str,
    review: UpkeepReview,
}

const REVIEWS: [Named; 2] = [
    Named {
        id: "weekly",
        title: "Weekly review",
        review: UpkeepReview::Weekly,
    },
    Named {
        id: "monthly",
        title: "Monthly review",
        review: UpkeepReview::Monthly,
    },
];

fn review_of(id: &str) -> Result<Named, AppError> {
    let found = REVIEWS.iter().find(|named| named.id == id);
    found
        .copied()
        .ok_or_else(|| AppError::not_found("the reviews are weekly and monthly"))
}

/// Bytes in the largest unit that says enough.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes / 1_048_576),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// `GET /upkeep`.
pub(super) async fn show(mut visit: Visit) -> Result<Response, NoPage> {
    let found = upkeep::show(&mut visit.session).await;
    let (found, desk) = visit.finish(found).await?;
    let page = RecordPage {
        back: None,
        about: "What must be looked after daily, weekly and monthly.".to_owned(),
        beside: admin::beside(&desk),
        facts: facts(&desk, &found),
        sections: vec![
            reviews(&desk, &found),
            failures("Failed sign-ins", &found.sign_ins.failed),
            failures("Lockouts", &found.sign_ins.locked),
            tables(&found),
            statements(&found),
            indexes(&found),
        ],
        forms: Vec::new(),
        frame: desk.frame("Upkeep", "Admin"),
    };
    Ok(html(&page))
}

fn facts(desk: &Desk, found: &Upkeep) -> Vec<(&'static str, Cell)> {
    let (storage, server) = (&found.storage, &found.server);
    let growth = &storage.growth;
    let or = |value: Option<String>, why: &Option<String>| {
        Cell::from(value.or_else(|| why.clone()).unwrap_or_default())
    };
    let a_day = growth
        .bytes_a_day
        .map(|bytes| format!("{} a day", size(bytes.max(0.0) as u64)));
    let passwords = &found.passwords;
    let backup = match (found.backup.age_hours, found.backup.watched) {
        (Some(hours), _) => Cell::from(format!("{hours:.0} hours old")),
        (None, true) => Cell::Trouble(found.backup.detail.clone()),
        (None, false) => Cell::from(found.backup.detail.clone()),
    };
    vec![
        ("Database", Cell::from(size(storage.database_bytes))),
        ("Growth", or(a_day, &growth.no_growth_because)),
        (
            "Disk at 85 %",
            or(growth.full_on.clone(), &growth.no_day_because),
        ),
        ("Last backup", backup),
        (
            "Accounts that meet the policy",
            Cell::from(format!("{} of {}", passwords.compliant, passwords.accounts)),
        ),
        (
            "Connections",
            Cell::from(format!(
                "{} of {}",
                server.connections, server.connections_max
            )),
        ),
        (
            "Mean time of a statement",
            or(
                server.mean_statement_ms.map(|ms| format!("{ms:.1} ms")),
                &server.no_mean_because,
            ),
        ),
        (
            "Statistics taken (ANALYZE)",
            Cell::Time(found.analyzed.as_ref().map(|run| desk.when(run.at))),
        ),
    ]
}

fn reviews(desk: &Desk, found: &Upkeep) -> Section {
    let rows = found
        .reviews
        .iter()
        .map(|signing| {
            let named = REVIEWS.iter().find(|named| named.review == signing.review);
            let (id, title) = named.map_or(("", "Review"), |named| (named.id, named.title));
            let due = match signing.due {
                Some(due) if due > desk.now => Cell::Time(Some(desk.when(due))),
                Some(_) => Cell::Trouble("overdue".to_owned()),
                None => Cell::Trouble("never signed".to_owned()),
            };
            vec![
                Cell::Link(format!("/upkeep/review/{id}"), title.to_owned()),
                Cell::Time(signing.signed_at.map(|at| desk.when(at))),
                due,
            ]
        })
        .collect();
    Section {
        title: "Reviews",
        about: "A person judges what was seen and signs it; it is kept as evidence (3.3.5, 3.1.7)."
            .to_owned(),
        columns: vec!["Review", "Signed", "Next by"],
        rows,
        empty: "",
    }
}

fn failures(title: &'static str, failures: &Failures) -> Section {
    let rows = failures
        .by_account
        .iter()
        .map(|row| ("account", row))
        .chain(failures.by_address.iter().map(|row| ("address", row)))
        .map(|(kind, row)| {
            vec![
                Cell::from(row.name.clone().unwrap_or_else(|| "unknown".to_owned())),
                Cell::from(kind),
                Cell::Number(row.week),
            ]
        })
        .collect();
    Section {
        title,
        about: format!(
            "{} in 7 days, {} today, of {}.",
            failures.week,
            failures.today,
            pages::count_of(failures.accounts, "account")
        ),
        columns: vec!["Name", "Kind", "In 7 days"],
        rows,
        empty: "None.",
    }
}

fn tables(found: &Upkeep) -> Section {
    let rows = found
        .storage
        .largest
        .iter()
        .map(|table| {
            vec![
                Cell::from(table.name.clone()),
                Cell::from(size(table.bytes)),
            ]
        })
        .collect();
    Section {
        title: "Largest tables",
        about: String::new(),
        columns: vec!["Table", "Size"],
        rows,
        empty: "None.",
    }
}

fn statements(found: &Upkeep) -> Section {
    let statements = &found.statements;
    let rows = statements
        .slowest
        .iter()
        .map(|one| {
            vec![
                Cell::from(one.statement.clone()),
                Cell::Number(one.calls),
                Cell::from(format!("{:.1} ms", one.mean_ms)),
            ]
        })
        .collect();
    let because = statements.because.clone().unwrap_or_default();
    Section {
        title: "Slow statements",
        about: format!("Seen by {}. {because}", statements.seen_by),
        columns: vec!["Statement", "Calls", "Mean time"],
        rows,
        empty: "None was seen.",
    }
}

fn indexes(found: &Upkeep) -> Section {
    let rows = found
        .indexes
        .unused
        .iter()
        .map(|index| {
            vec![
                Cell::from(index.name.clone()),
                Cell::from(index.table.clone()),
                Cell::from(size(index.bytes)),
            ]
        })
        .collect();
    Section {
        title: "Indexes that no statement used",
        about: String::new(),
        columns: vec!["Index", "Table", "Size"],
        rows,
        empty: "None.",
    }
}

fn review_page(
    desk: &Desk,
    named: Named,
    text: String,
    typed: &Fields,
    notice: Option<Notice>,
) -> RecordPage {
    let mut frame = desk.frame(named.title, "Admin");
    if notice.is_some() {
        frame.notice = notice;
    }
    let may_sign = desk.may(Action::Write, Resource::Compliance);
    let sign = Form {
        id: "sign",
        action: format!("/upkeep/review/{}", named.id),
        title: "Sign it",
        about: "It is kept as evidence under your name, as it is now.".to_owned(),
        fields: vec![Field::new(
            "conclusion",
            "What follows from it",
            typed.get("conclusion"),
            FieldKind::Lines(4000),
        )],
        button: "Sign the review",
        ..Form::default()
    };
    RecordPage {
        back: Some(("/upkeep".to_owned(), "Upkeep")),
        about: String::new(),
        beside: Vec::new(),
        facts: Vec::new(),
        sections: vec![Section {
            title: "As it stands",
            columns: vec!["Review"],
            rows: vec![vec![Cell::Lines(text)]],
            ..Section::default()
        }],
        forms: Vec::from_iter(may_sign.then_some(sign)),
        frame,
    }
}

/// `GET /upkeep/review/{id}`.
pub(super) async fn review(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let found = async {
        let named = review_of(&id)?;
        let text = review::prepare(&mut visit.session, named.review).await?;
        Ok((named, text))
    };
    let found = found.await;
    let ((named, text), desk) = visit.finish(found).await?;
    let page = review_page(&desk, named, text, &Fields::default(), None);
    Ok(html(&page))
}

async fn sign_as_it_stands(
    session: &mut Session,
    which: UpkeepReview,
    conclusion: &str,
) -> Result<Result<(), (String, String)>, AppError> {
    match kept(review::sign(session, which, conclusion).await)? {
        Ok(_) => Ok(Ok(())),
        Err(why) => Ok(Err((why, review::prepare(session, which).await?))),
    }
}

/// `POST /upkeep/review/{id}`.
pub(super) async fn sign(
    mut visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let done = async {
        let named = review_of(&id)?;
        let conclusion = fields.get("conclusion");
        let done = sign_as_it_stands(&mut visit.session, named.review, conclusion).await?;
        Ok((named, done))
    };
    let done = done.await;
    let ((named, done), desk) = visit.finish_form(&fields, done).await?;
    match done {
        Ok(()) => Ok(see_other(&Done::Changed.at("/upkeep"))),
        Err((why, text)) => {
            let page = review_page(&desk, named, text, &fields, Some(wrong(why)));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response())
        }
    }
}
