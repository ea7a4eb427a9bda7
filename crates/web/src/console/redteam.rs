//! Red team: what was found, the runs that say so, one run or finding, and two runs or days compared.

use app::redteam::{
    self, Comparison, Filter, Finding, ModuleVerdict, Posture, Run, RunDetails, Shown, Side,
};
use axum::extract::Path;
use axum::http::Uri;
use axum::response::Response;
use pages::{Cell, Level, RecordPage, Section};

use super::form::Fields;
use super::{Desk, NoPage, Visit, html};

/// Findings of a table; more are for the command and the API.
const SHOWN: usize = 500;
/// Runs that are shown.
const RUNS: usize = 100;
/// Days that are compared, unless it is said.
const DAYS: i64 = 30;

/// `GET /redteam`.
pub(super) async fn list(mut visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let closed = Fields::of_query(uri.query()).get("closed") == "yes";
    let filter = Filter {
        closed,
        ..Filter::default()
    };
    let found = async {
        let findings = redteam::findings(&mut visit.session, filter).await?;
        let runs = redteam::runs(&mut visit.session).await?;
        Ok((findings, runs, redteam::posture(&mut visit.session).await?))
    };
    let found = found.await;
    let ((findings, runs, posture), desk) = visit.finish(found).await?;
    let page = RecordPage {
        back: None,
        about: "What red teams and scanners found (3.11.2, 3.12.1). `blueteam redteam import` \
            takes a report in; a run proposes what is gone, and `blueteam redteam close` closes it."
            .to_owned(),
        beside: vec![
            if closed {
                ("/redteam", "Without closed findings")
            } else {
                ("/redteam?closed=yes", "Include closed findings")
            },
            ("/redteam/compare", "Compare with 30 days ago"),
        ],
        facts: vec![("Figure", Cell::from(figure(posture)))],
        sections: vec![
            findings_section("Findings", String::new(), &findings, "No findings."),
            runs_section(&desk, &runs),
        ],
        forms: Vec::new(),
        frame: desk.frame("Red team", "Compliance"),
    };
    Ok(html(&page))
}

fn figure(posture: Posture) -> String {
    let counts = format!(
        "{} of modules open, {} with a verdict in 90 days",
        pages::count_of(posture.findings, "finding"),
        pages::count_of(posture.modules, "module")
    );
    match posture.score {
        Some(score) => format!("{score:.0} of 100: {counts}"),
        None => format!("unknown: {counts}"),
    }
}

fn path_of(id: uuid::Uuid) -> String {
    format!("/redteam/{id}")
}

fn state_of(finding: &Finding) -> Cell {
    let state = finding.state.to_string().replace('_', " ");
    if finding.came_back > 0 && finding.state == redteam::State::Open {
        return Cell::Trouble("came back".to_owned());
    }
    Cell::from(state)
}

fn findings_section(
    title: &'static str,
    about: String,
    findings: &[Finding],
    empty: &'static str,
) -> Section {
    let row = |finding: &Finding| {
        vec![
            Cell::Link(path_of(finding.finding_id), finding.title.clone()),
            Cell::Level(Level::from(finding.severity)),
            state_of(finding),
            Cell::from(finding.controls.join(" ")),
            Cell::from(finding.location.clone()),
            Cell::from(finding.tool.clone()),
        ]
    };
    let more = findings.len().saturating_sub(SHOWN);
    let about = match more {
        0 => about,
        more => format!("{about} {more} more are not shown.")
            .trim()
            .to_owned(),
    };
    Section {
        title,
        about,
        columns: vec![
            "Finding",
            "Severity",
            "State",
            "Requirements",
            "Where",
            "Tool",
        ],
        rows: findings.iter().take(SHOWN).map(row).collect(),
        empty,
    }
}

fn runs_section(desk: &Desk, runs: &[Run]) -> Section {
    let row = |(place, run): (usize, &Run)| {
        // The newest is first, so that what was before it comes after.
        let earlier = runs.get(place + 1..).unwrap_or_default();
        let before = earlier
            .iter()
            .find(|other| other.tool == run.tool && other.target == run.target);
        vec![
            Cell::Link(path_of(run.run_id), run.file_name.clone()),
            Cell::from(run.tool.clone()),
            Cell::from(run.subject.clone()),
            Cell::Time(Some(desk.when(run.ran_at))),
            Cell::Number(run.findings as u64),
            if run.is_complete {
                Cell::from("to its end")
            } else {
                Cell::Trouble("was broken off".to_owned())
            },
            match before {
                Some(before) => Cell::Link(
                    format!(
                        "/redteam/compare?before={}&after={}",
                        before.run_id, run.run_id
                    ),
                    "with the run before".to_owned(),
                ),
                None => Cell::from(""),
            },
        ]
    };
    Section {
        title: "Runs",
        about: String::new(),
        columns: vec![
            "Report", "Tool", "Of", "Ran", "Findings", "How far", "Compare",
        ],
        rows: runs.iter().enumerate().take(RUNS).map(row).collect(),
        empty: "No report has been imported.",
    }
}

/// `GET /redteam/{id}`: a run or a finding.
pub(super) async fn show(mut visit: Visit, Path(id): Path<String>) -> Result<Response, NoPage> {
    let found = redteam::show(&mut visit.session, &id).await;
    let (found, desk) = visit.finish(found).await?;
    let (title, facts, sections) = match &found {
        Shown::Run(details) => run_page(&desk, details),
        Shown::Finding(finding) => (
            finding.title.clone(),
            finding_facts(&desk, finding),
            Vec::new(),
        ),
    };
    let page = RecordPage {
        back: Some(("/redteam".to_owned(), "Red team")),
        about: String::new(),
        beside: Vec::new(),
        facts: shown(facts),
        sections,
        forms: Vec::new(),
        frame: desk.frame(&title, "Compliance"),
    };
    Ok(html(&page))
}

type Facts = Vec<(&'static str, Cell)>;

/// Without what is not known.
fn shown(mut facts: Facts) -> Facts {
    facts.retain(|(_, value)| match value {
        Cell::Text(text) | Cell::Lines(text) => !text.trim().is_empty(),
        Cell::Time(at) => at.is_some(),
        _ => true,
    });
    facts
}

fn run_page(desk: &Desk, details: &RunDetails) -> (String, Facts, Vec<Section>) {
    let run = &details.run;
    let version = run.version.as_deref().unwrap_or_default();
    let facts = vec![
        (
            "Tool",
            Cell::from(format!("{} {version}", run.tool).trim().to_owned()),
        ),
        ("Of", Cell::from(run.subject.clone())),
        ("Ran", Cell::Time(Some(desk.when(run.ran_at)))),
        ("Imported", Cell::Time(Some(desk.when(run.imported_at)))),
        ("Imported by", Cell::from(run.imported_by.clone())),
        ("Report", Cell::from(run.file_name.clone())),
        (
            "How far",
            if run.is_complete {
                Cell::from("to its end")
            } else {
                Cell::Trouble("was broken off, or says that it failed".to_owned())
            },
        ),
    ];
    let mut sections = Vec::new();
    if !details.modules.is_empty() {
        sections.push(modules_section(&details.modules));
    }
    sections.push(findings_section(
        "What it lists",
        "As it stands now.".to_owned(),
        &details.listed,
        "It lists nothing.",
    ));
    (run.file_name.clone(), facts, sections)
}

fn modules_section(modules: &[ModuleVerdict]) -> Section {
    let row = |module: &ModuleVerdict| {
        let verdict = module.verdict.replace('_', " ");
        vec![
            Cell::from(module.name.clone()),
            Cell::from(module.variant.clone()),
            Cell::Level(Level::from(module.severity)),
            if module.verdict == "vulnerable" {
                Cell::Trouble(verdict)
            } else {
                Cell::from(verdict)
            },
            Cell::from(module.controls.join(" ")),
            Cell::from(module.evidence.clone()),
        ]
    };
    let conclusive = modules
        .iter()
        .filter(|module| matches!(module.verdict.as_str(), "vulnerable" | "not_vulnerable"));
    let proves_little = conclusive.count() * 2 < modules.len();
    Section {
        title: "Modules",
        about: if proves_little {
            "More than half are inconclusive: the run proves little.".to_owned()
        } else {
            String::new()
        },
        columns: vec![
            "Module",
            "Variant",
            "Severity",
            "Verdict",
            "Requirements",
            "Evidence",
        ],
        rows: modules.iter().take(SHOWN).map(row).collect(),
        empty: "",
    }
}

fn finding_facts(desk: &Desk, finding: &Finding) -> Facts {
    let run = |id: uuid::Uuid| Cell::Link(path_of(id), id.to_string());
    let text = |text: &Option<String>| Cell::from(text.clone().unwrap_or_default());
    let cwes = finding.cwes.iter().map(|number| format!("CWE-{number}"));
    let references: Vec<String> = cwes.chain(finding.cves.iter().cloned()).collect();
    let mut facts = vec![
        ("Severity", Cell::Level(Level::from(finding.severity))),
        ("State", state_of(finding)),
        ("Where", Cell::from(finding.location.clone())),
        ("Detail", Cell::from(finding.detail.clone())),
        ("Tool", Cell::from(finding.tool.clone())),
        ("Rule", Cell::from(finding.rule.clone())),
        ("References", Cell::from(references.join(" "))),
        ("Requirements", Cell::from(finding.controls.join(" "))),
        (
            "Listed",
            Cell::Number(u64::from(finding.instances.unsigned_abs())),
        ),
        ("First run", run(finding.first_run)),
        ("Last run", run(finding.last_run)),
    ];
    if let Some(gone) = finding.gone_run {
        facts.push(("Looked for in vain by", run(gone)));
    }
    if finding.came_back > 0 {
        let count = u64::from(finding.came_back.unsigned_abs());
        facts.push(("Came back", Cell::Number(count)));
    }
    for plan in &finding.plans {
        let path = format!("/compliance/poam/{plan}");
        facts.push(("Plan of action", Cell::Link(path, plan.to_string())));
    }
    facts.push(("Decided by", text(&finding.decided_by)));
    facts.push((
        "Decided",
        Cell::Time(finding.decided_at.map(|at| desk.when(at))),
    ));
    facts.push(("Reason", text(&finding.reason)));
    facts
}

/// A text with the times in it as people read them.
fn to_the_minute(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        model::Timestamp::parse(word).map_or_else(
            |_| word.to_owned(),
            |at| at.to_jiff().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        )
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `GET /redteam/compare`: two runs or two days, by `before` and `after`.
pub(super) async fn compare(mut visit: Visit, uri: Uri) -> Result<Response, NoPage> {
    let asked = Fields::of_query(uri.query());
    let now = visit.desk.now;
    let side = |name: &str, otherwise: model::Timestamp| match asked.get(name) {
        "" => Side::Time(otherwise),
        text => text.parse().unwrap_or_else(|never| match never {}),
    };
    let before = side("before", now.minus(model::Span::days(DAYS)));
    let after = side("after", now);
    let found = redteam::compare(&mut visit.session, &before, &after).await;
    let (found, desk) = visit.finish(found).await?;
    let Comparison {
        posture_before,
        posture_after,
        new,
        gone,
        back,
        still,
        out_of_scope,
        ..
    } = &found;
    let section = |title, findings: &[Finding]| {
        let about = pages::count_of(findings.len() as u64, "finding") + ".";
        findings_section(title, about, findings, "None.")
    };
    let page = RecordPage {
        back: Some(("/redteam".to_owned(), "Red team")),
        about: format!(
            "{} compared with {}.",
            to_the_minute(&found.after),
            to_the_minute(&found.before)
        ),
        beside: Vec::new(),
        facts: vec![
            ("Figure before", Cell::from(figure(*posture_before))),
            ("Figure after", Cell::from(figure(*posture_after))),
        ],
        sections: vec![
            section("New", new),
            section("Back", back),
            section("Gone", gone),
            section("Not looked for", out_of_scope),
            section("As before", still),
        ],
        forms: Vec::new(),
        frame: desk.frame("Red team: what has changed", "Compliance"),
    };
    Ok(html(&page))
}
