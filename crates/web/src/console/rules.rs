//! Rules: how each stands, what it needs and has found, and what can be tried with it.

use std::sync::Arc;

use app::actor::{Action, Resource};
use app::backtests::{self as jobs, Wanted};
use app::rules::jobs::Job;
use app::rules::{self, Row};
use app::{AppError, rule_tests};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::Span;
use pages::{Cell, Field, Form, Level, Notice, RecordPage, Section};
use uuid::Uuid;

use super::form::{Done, Fields, kept, wrong};
use super::{Desk, NoPage, Table, Visit, html, see_other};
use crate::percent::percent;

fn path_of(id: &str) -> String {
    format!("/rules/{}", percent(id))
}

/// Whether a rule can fire, and what keeps it from that.
fn state_of(rule: &Row) -> Cell {
    if !rule.enabled {
        return Cell::Trouble("off".to_owned());
    }
    if let Some(why) = &rule.cannot_fire {
        return Cell::Trouble(format!("cannot fire: {why}"));
    }
    if !rule.blind_to.is_empty() {
        return Cell::Trouble(format!("blind to {}", rule.blind_to.join(", ")));
    }
    if !rule.partly_blind_to.is_empty() {
        let senders = rule.partly_blind_to.join(", ");
        return Cell::Trouble(format!("partly blind to {senders}"));
    }
    Cell::from("active")
}

/// What came of its cases when they were last run.
fn proof_of(rule: &Row) -> Cell {
    match &rule.last_proven {
        None => Cell::from("not tested"),
        Some(proof) if proof.failed > 0 => {
            Cell::Trouble(format!("{} of {} cases failed", proof.failed, proof.cases))
        }
        Some(proof) => Cell::from(pages::count_of(u64::from(proof.cases), "case")),
    }
}

/// `GET /rules`.
pub(super) async fn list(mut visit: Visit) -> Result<Response, NoPage> {
    let config = Arc::clone(&visit.console.config);
    let found = rules::list(&mut visit.session, &config).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|rule| {
            let controls: Vec<&str> = rule.nist_controls.iter().map(|c| &*c.0).collect();
            vec![
                Cell::Link(path_of(rule.rule_id.as_str()), rule.name.clone()),
                Cell::Level(Level::from(rule.severity)),
                state_of(rule),
                proof_of(rule),
                Cell::Number(rule.alerts),
                Cell::Time(rule.last_fired.map(|at| desk.when(at))),
                Cell::from(controls.join(", ")),
            ]
        })
        .collect();
    let table = Table {
        columns: vec![
            "Rule",
            "Severity",
            "State",
            "Proof",
            "Alerts",
            "Last fired",
            "Requirements",
        ],
        rows,
        empty: "There are no rules.",
    };
    let about =
        "What is looked for in events. A rule's page says what it needs, and tries it on the past.";
    let mut page = desk.work("Rules", "Rules", about, table);
    page.beside = vec![
        ("/silences", "Silences"),
        ("/monitors", "Monitors"),
        ("/backtests", "Backtests"),
    ];
    Ok(html(&page))
}

async fn read(visit: &mut Visit, id: &str) -> Result<Row, AppError> {
    let config = Arc::clone(&visit.console.config);
    let all = rules::list(&mut visit.session, &config).await?;
    let found = all.into_iter().find(|rule| rule.rule_id.as_str() == id);
    found.ok_or_else(|| AppError::not_found("there is no such rule"))
}

fn page(desk: &Desk, rule: &Row, cases: Vec<Vec<Cell>>, notice: Option<Notice>) -> RecordPage {
    let controls: Vec<&str> = rule.nist_controls.iter().map(|c| &*c.0).collect();
    let needs: Vec<String> = rule.needs.iter().map(ToString::to_string).collect();
    let parameters = match &rule.parameters {
        serde_json::Value::Object(parameters) => parameters
            .iter()
            .map(|(name, value)| vec![Cell::from(name.clone()), Cell::from(value.to_string())])
            .collect(),
        _ => Vec::new(),
    };
    let proven = rule.last_proven.as_ref();
    let mut facts = vec![
        ("Rule", Cell::from(rule.rule_id.to_string())),
        ("Kind", Cell::from(rule.kind)),
        ("Severity", Cell::Level(Level::from(rule.severity))),
        ("State", state_of(rule)),
        ("Proof", proof_of(rule)),
        (
            "Proven",
            Cell::Time(proven.map(|proof| desk.when(proof.at))),
        ),
        ("Looks at", Cell::from(needs.join(", "))),
        ("Alerts", Cell::Number(rule.alerts)),
        (
            "Last fired",
            Cell::Time(rule.last_fired.map(|at| desk.when(at))),
        ),
        ("Requirements", Cell::from(controls.join(", "))),
        ("ATT&CK", Cell::from(rule.attack.join(", "))),
    ];
    facts.retain(|(_, value)| match value {
        Cell::Text(text) => !text.is_empty(),
        Cell::Time(at) => at.is_some(),
        _ => true,
    });

    let mut sections = Vec::new();
    if !cases.is_empty() {
        sections.push(Section {
            title: "Cases",
            about: "What came of each case just now.".to_owned(),
            columns: vec!["Case", "Result", "Expected", "Detections"],
            rows: cases,
            ..Section::default()
        });
    }
    sections.push(Section {
        title: "Parameters",
        about: format!("Set in blueteam.toml, under [rules.{}].", rule.rule_id),
        columns: vec!["Parameter", "Value"],
        rows: parameters,
        empty: "It has none.",
    });

    let mut frame = desk.frame(&rule.name, "Rules");
    if notice.is_some() {
        frame.notice = notice;
    }
    RecordPage {
        back: Some(("/rules".to_owned(), "Rules")),
        about: rule.description.clone(),
        beside: Vec::new(),
        facts,
        sections,
        forms: forms(desk, rule),
        frame,
    }
}

fn forms(desk: &Desk, rule: &Row) -> Vec<Form> {
    let path = path_of(rule.rule_id.as_str());
    let form = |id: &'static str, title, about: &str, button| Form {
        id,
        action: format!("{path}/{id}"),
        title,
        about: about.to_owned(),
        button,
        ..Form::default()
    };
    let mut forms = Vec::new();
    if desk.may(Action::Read, Resource::Events) {
        let about = "Runs it over the events that are stored, and changes nothing. It goes on when you leave.";
        let spans = [
            ("24h", "the last 24 hours"),
            ("7d", "the last 7 days"),
            ("30d", "the last 30 days"),
        ];
        forms.push(Form {
            fields: vec![Field::choice("span", "Over", "24h", spans)],
            ..form("backtest", "Try it on the past", about, "Begin a backtest")
        });
    }
    if !desk.may(Action::Write, Resource::Rules) {
        return forms;
    }
    let about = "Runs its cases, and records what came of them as its proof.";
    forms.push(form("test", "Test", about, "Run its cases"));
    if rule.enabled {
        let about = "It no longer fires. What it would have found is not found later.";
        forms.push(form("disable", "Turn off", about, "Turn the rule off"));
    } else {
        let about = "It fires again from the next event on.";
        forms.push(form("enable", "Turn on", about, "Turn the rule on"));
    }
    forms
}

/// `GET /rules/{id}`.
pub(super) async fn show(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let found = read(&mut visit, &id).await;
    let (rule, desk) = visit.finish(found).await?;
    Ok(html(&page(&desk, &rule, Vec::new(), None)))
}

/// `POST /rules/{id}/enable`.
pub(super) async fn enable(
    mut visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let config = Arc::clone(&visit.console.config);
    let done = async {
        let rule = read(&mut visit, &id).await?;
        let still_off = rules::enable(&mut visit.session, &config, &id).await?;
        Ok(still_off.then_some(rule))
    };
    let done = done.await;
    let (still_off, desk) = visit.finish_form(&fields, done).await?;
    match still_off {
        None => Ok(see_other(&Done::Changed.at(&path_of(&id)))),
        Some(rule) => {
            let why = "The configuration file still turns it off: take `enabled = false` out of its section.";
            Ok(html(&page(&desk, &rule, Vec::new(), Some(wrong(why)))))
        }
    }
}

/// `POST /rules/{id}/disable`.
pub(super) async fn disable(
    mut visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let config = Arc::clone(&visit.console.config);
    let done = rules::disable(&mut visit.session, &config, &id).await;
    let ((), _) = visit.finish_form(&fields, done).await?;
    Ok(see_other(&Done::Changed.at(&path_of(&id))))
}

/// `POST /rules/{id}/test`.
pub(super) async fn test(
    mut visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let config = Arc::clone(&visit.console.config);
    let tested = async {
        visit.session.require(Action::Write, Resource::Rules)?;
        let report = rule_tests::test_aside(&config, &id).await;
        let cases = match kept(report)? {
            Ok(report) => {
                rule_tests::record(&mut visit.session, &report.tested).await?;
                Ok(report.tested)
            }
            Err(why) => Err(why),
        };
        Ok((read(&mut visit, &id).await?, cases))
    };
    let tested = tested.await;
    let ((rule, cases), desk) = visit.finish_form(&fields, tested).await?;
    let (cases, notice) = match cases {
        Ok(tested) => (
            tested.iter().flat_map(|one| &one.cases).map(case).collect(),
            None,
        ),
        Err(why) => (Vec::new(), Some(wrong(why))),
    };
    Ok(html(&page(&desk, &rule, cases, notice)))
}

fn case(verdict: &rule_tests::Verdict) -> Vec<Cell> {
    vec![
        Cell::from(verdict.case.clone()),
        if verdict.ok {
            Cell::from("passed")
        } else {
            Cell::Trouble("failed".to_owned())
        },
        Cell::from(if verdict.fires {
            "to fire"
        } else {
            "not to fire"
        }),
        Cell::Number(verdict.detections),
    ]
}

/// `POST /rules/{id}/backtest`.
pub(super) async fn backtest(
    visit: Visit,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let console = Arc::clone(&visit.console);
    let begun = async {
        let span = fields.get("span").parse::<Span>();
        let span = span.map_err(|_| AppError::invalid("Choose how far back."))?;
        let wanted = Wanted {
            rule: Some(id),
            span,
        };
        let (session, person, client) = (&visit.session, &visit.person, &visit.client);
        jobs::begin(&console, session, person, client, wanted)
    };
    let begun = kept(begun.await);
    let (begun, desk) = visit.finish_form(&fields, begun).await?;
    match begun {
        Ok(id) => Ok(see_other(&format!("/backtests/{id}"))),
        Err(why) => {
            let page = MessageOf(why).page(&desk);
            Ok((StatusCode::CONFLICT, html(&page)).into_response())
        }
    }
}

/// Why a backtest did not begin.
struct MessageOf(String);

impl MessageOf {
    fn page(self, desk: &Desk) -> RecordPage {
        let mut frame = desk.frame("Backtest", "Rules");
        frame.notice = Some(wrong(self.0));
        RecordPage {
            back: Some(("/backtests".to_owned(), "Backtests")),
            about: String::new(),
            beside: Vec::new(),
            facts: Vec::new(),
            sections: Vec::new(),
            forms: Vec::new(),
            frame,
        }
    }
}

/// How far a backtest is, in words.
fn progress_of(job: &Job) -> Cell {
    let progress = job.progress();
    match &progress.end {
        None => Cell::from(format!(
            "running: {} of about {} events",
            progress.read,
            progress.estimated.max(progress.read)
        )),
        Some(Ok(_)) => Cell::from("ended"),
        Some(Err(why)) => Cell::Trouble(format!("failed: {why}")),
    }
}

/// `GET /backtests`: one's own.
pub(super) async fn backtests(visit: Visit) -> Result<Response, NoPage> {
    let jobs = visit.console.backtests.of(visit.person.user_id);
    let ((), desk) = visit.finish(Ok(())).await?;
    let rows = jobs
        .iter()
        .map(|job| {
            let rule = job.rule.clone().unwrap_or_else(|| "all rules".to_owned());
            vec![
                Cell::Link(format!("/backtests/{}", job.id), rule),
                Cell::Time(Some(desk.when(job.since))),
                Cell::Time(Some(desk.when(job.until))),
                progress_of(job),
                Cell::Number(job.progress().found),
            ]
        })
        .collect();
    let table = Table {
        columns: vec!["Rule", "From", "Until", "Progress", "Found"],
        rows,
        empty: "You have begun no backtest since blueteam was started. A rule's page begins one.",
    };
    let about =
        "What rules would have found in the events that are stored. Yours, until blueteam ends.";
    let mut page = desk.work("Backtests", "Rules", about, table);
    page.beside = vec![("/rules", "Rules")];
    Ok(html(&page))
}

/// `GET /backtests/{id}`.
pub(super) async fn backtest_page(
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Response, NoPage> {
    // What is not an ID is nobody's.
    let id = id.parse::<Uuid>().unwrap_or_default();
    let found = visit.console.backtests.find(visit.person.user_id, id);
    let (job, desk) = visit.finish(found).await?;
    let progress = job.progress();
    let mut facts = vec![
        (
            "Rule",
            Cell::from(job.rule.clone().unwrap_or_else(|| "all rules".to_owned())),
        ),
        ("From", Cell::Time(Some(desk.when(job.since)))),
        ("Until", Cell::Time(Some(desk.when(job.until)))),
        ("Progress", progress_of(&job)),
        ("Events read", Cell::Number(progress.read)),
        ("Found", Cell::Number(progress.found)),
    ];
    match &progress.end {
        None => facts.push((
            "Look again",
            Cell::Link(
                format!("/backtests/{id}"),
                "Show how far it is now".to_owned(),
            ),
        )),
        Some(Ok(Some(skipped))) => facts.push(("Not read", Cell::Trouble(skipped.clone()))),
        Some(_) => {}
    }
    let rows = progress
        .detections
        .iter()
        .map(|found| {
            vec![
                Cell::from(found.title.clone()),
                Cell::Level(Level::from(found.severity)),
                Cell::from(found.about.clone()),
                Cell::Number(found.events),
                Cell::Time(Some(desk.when(found.first_seen))),
            ]
        })
        .collect();
    let page = RecordPage {
        back: Some(("/backtests".to_owned(), "Backtests")),
        about: "Nothing is changed, and nobody is notified.".to_owned(),
        beside: Vec::new(),
        facts,
        sections: vec![Section {
            title: "What it would have found",
            about: "The first 200.".to_owned(),
            columns: vec!["What", "Severity", "About", "Events", "First seen"],
            rows,
            empty: "Nothing so far.",
        }],
        forms: Vec::new(),
        frame: desk.frame("Backtest", "Rules"),
    };
    Ok(html(&page))
}
