//! The forms of an incident.

use app::incidents::{Case, ObservableKind};
use model::{IncidentStatus, Severity};
use pages::{Control, EditField, EditForm, Folded};

use super::{Shown, Typed};
use crate::console::Desk;
use crate::console::form::Fields;

/// The longest reason.
const REASON: u32 = 4000;

fn severities() -> Vec<(String, String)> {
    [
        Severity::Critical,
        Severity::High,
        Severity::Medium,
        Severity::Low,
    ]
    .iter()
    .map(|severity| (severity.to_string(), severity.to_string()))
    .collect()
}

fn area(fields: &Fields, name: &str, label: &str, max: u32) -> EditField {
    let control = Control::Area(fields.get(name).to_owned(), max);
    EditField::new(name, label, control)
}

fn line(fields: &Fields, name: &str, label: &str, max: u32) -> EditField {
    let control = Control::Line(fields.get(name).to_owned(), max);
    EditField::new(name, label, control)
}

fn reason(fields: &Fields, label: &str) -> EditField {
    area(fields, "reason", label, REASON)
        .required()
        .hint("From 3 to 4,000 characters. It stays in the incident's history.")
}

/// A form that changes this incident.
fn form(desk: &Desk, case: &Case, what: &'static str, words: &'static str) -> EditForm {
    let row = &case.incident.row;
    let path = format!("/incidents/{}/change/{what}", row.incident_id);
    let mut form = desk.form(what, path, words);
    form.hidden.push(("version", row.version.to_string()));
    form
}

/// Opens an incident by hand.
pub(super) fn create(desk: &Desk, typed: &Fields) -> EditForm {
    let mut form = desk.form("create", "/incidents".to_owned(), "Open incident");
    let severity = Control::Choice(severities(), chosen(typed, "severity", "high"));
    form.fields = vec![
        line(typed, "title", "What happened, in a line", 300).required(),
        EditField::new("severity", "Severity", severity),
        area(typed, "description", "What is known", 20_000),
    ];
    form
}

fn chosen(typed: &Fields, name: &str, otherwise: &str) -> String {
    typed.written(name).unwrap_or_else(|| otherwise.to_owned())
}

/// Moves it to another phase.
pub(super) fn step(desk: &Desk, case: &Case, typed: &Fields) -> EditForm {
    let row = &case.incident.row;
    let mut form = form(desk, case, "step", "Update status");
    let phases = IncidentStatus::ALL
        .iter()
        .filter(|phase| **phase != row.status)
        .map(|phase| {
            let words = match (*phase < row.status, row.status) {
                (_, IncidentStatus::Closed) => format!("{phase} (reopen)"),
                (true, _) => format!("{phase} (back)"),
                (false, _) => phase.to_string(),
            };
            (phase.to_string(), words)
        });
    let next = IncidentStatus::ALL
        .iter()
        .find(|phase| **phase > row.status)
        .unwrap_or(&IncidentStatus::Analyzing);
    let status = Control::Choice(phases.collect(), chosen(typed, "status", next.as_str()));
    let or = |name: &str, kept: &str| {
        let text = typed.written(name).unwrap_or_else(|| kept.to_owned());
        Control::Area(text, REASON)
    };
    form.fields = vec![
        EditField::new("status", "To", status),
        reason(typed, "What was found or done"),
        EditField::new(
            "root_cause",
            "Root cause",
            or("root_cause", &case.part.root_cause),
        )
        .hint("Needed to close it."),
        EditField::new(
            "lessons",
            "Lessons learned",
            or("lessons", &case.part.lessons_learned),
        )
        .hint("Needed to close it."),
    ];
    form
}

/// Everything else that can be done.
pub(super) fn folded(desk: &Desk, shown: &Shown, typed: Option<&Typed<'_>>) -> Vec<Folded> {
    let case = &shown.case;
    let row = &case.incident.row;
    let none = Fields::default();
    let typed_in = |what: &str| match typed {
        Some(typed) if typed.what == what => typed.fields,
        _ => &none,
    };
    let fold = |what: &str, title: &'static str, form: EditForm| Folded {
        title,
        is_open: typed.is_some_and(|typed| typed.what == what),
        form,
    };
    if row.merged_into.is_some() {
        let mut undo = form(desk, case, "unmerge", "Take out");
        undo.fields = vec![reason(
            typed_in("unmerge"),
            "Why it is an incident of its own",
        )];
        return vec![fold("unmerge", "Take it out of the other incident", undo)];
    }

    let mut all = vec![fold(
        "note",
        "Write a note",
        note(desk, case, typed_in("note")),
    )];
    all.push(fold(
        "decide",
        "Decide whether it must be reported",
        decide(desk, shown, typed_in("decide")),
    ));
    all.push(fold(
        "reported",
        "Record a report",
        reported(desk, shown, typed_in("reported")),
    ));
    if case.hold.is_some() {
        let mut release = form(desk, case, "release", "End the hold");
        release.fields = vec![reason(
            typed_in("release"),
            "Why nothing needs to be kept for it any more",
        )];
        all.push(fold("release", "End the preservation", release));
    }
    if row.status == IncidentStatus::Closed {
        return all;
    }
    all.push(fold("lead", "Assign", lead(desk, shown, typed_in("lead"))));
    all.push(fold(
        "edit",
        "Change title, severity or discovery",
        edit(desk, case, typed_in("edit")),
    ));
    let fields = typed_in("task");
    let mut task = form(desk, case, "task", "Add task");
    task.fields = vec![line(fields, "value", "What to do", 500).required()];
    all.push(fold("task", "Add a task", task));
    all.push(fold(
        "observe",
        "Add what it can be recognized by",
        observe(desk, case, typed_in("observe")),
    ));
    let fields = typed_in("link");
    let mut link = form(desk, case, "link", "Add alerts");
    link.fields = vec![
        line(fields, "value", "IDs of alerts", 4000).required(),
        reason(fields, "Why they belong to it"),
    ];
    all.push(fold("link", "Add alerts", link));
    if !shown.alerts.is_empty() {
        all.push(fold(
            "unlink",
            "Take an alert out",
            unlink(desk, shown, typed_in("unlink")),
        ));
    }
    if !shown.others.is_empty() {
        all.push(fold(
            "merge",
            "Merge into another incident",
            merge(desk, shown, typed_in("merge")),
        ));
    }
    all
}

fn note(desk: &Desk, case: &Case, typed: &Fields) -> EditForm {
    let mut form = form(desk, case, "note", "Save note");
    form.fields = vec![
        area(typed, "value", "Note", 20_000).required(),
        line(typed, "happened_at", "When it happened", 40)
            .hint("As YYYY-MM-DDThh:mm:ssZ, to put it into the timeline. Empty: a note of now."),
    ];
    form
}

fn lead(desk: &Desk, shown: &Shown, typed: &Fields) -> EditForm {
    let case = &shown.case;
    let mut form = form(desk, case, "lead", "Assign");
    let mut people = vec![(String::new(), "Nobody".to_owned())];
    people.extend(shown.people.iter().map(|name| (name.clone(), name.clone())));
    let now = case.incident.row.assigned_to.as_deref();
    let current = chosen(typed, "account", now.unwrap_or(&desk.viewer.username));
    form.fields = vec![EditField::new(
        "account",
        "Led by",
        Control::Choice(people, current),
    )];
    form
}

fn edit(desk: &Desk, case: &Case, typed: &Fields) -> EditForm {
    let row = &case.incident.row;
    let mut form = form(desk, case, "edit", "Save changes");
    let title = Control::Line(chosen(typed, "title", &row.title), 300);
    let severity = row.severity.to_string();
    let severity = Control::Choice(severities(), chosen(typed, "severity", &severity));
    form.fields = vec![
        EditField::new("title", "Title", title).required(),
        EditField::new("severity", "Severity", severity),
        line(typed, "discovered_at", "Discovered", 40)
            .hint("As YYYY-MM-DDThh:mm:ssZ. The law counts from here. Empty: as it is."),
        area(typed, "reason", "Why", REASON)
            .hint("Needed for all but the title. It stays in the incident's history."),
    ];
    form
}

fn duties(shown: &Shown, typed: &Fields) -> EditField {
    let duties = shown
        .duties
        .iter()
        .map(|duty| (duty.id.clone(), duty.name.clone()));
    let current = chosen(typed, "duty", app::incidents::DFARS);
    EditField::new("duty", "Duty", Control::Choice(duties.collect(), current))
}

fn decide(desk: &Desk, shown: &Shown, typed: &Fields) -> EditForm {
    let mut form = form(desk, &shown.case, "decide", "Save decision");
    let answers = vec![
        ("yes".to_owned(), "It must be reported".to_owned()),
        ("no".to_owned(), "It need not be reported".to_owned()),
    ];
    form.fields = vec![
        duties(shown, typed),
        EditField::new(
            "applies",
            "Decision",
            Control::Choice(answers, chosen(typed, "applies", "yes")),
        ),
        reason(typed, "Why"),
    ];
    form
}

fn reported(desk: &Desk, shown: &Shown, typed: &Fields) -> EditForm {
    let mut form = form(desk, &shown.case, "reported", "Save report");
    form.fields = vec![
        duties(shown, typed),
        line(typed, "sent_at", "When it was sent", 40).hint("As YYYY-MM-DDThh:mm:ssZ. Empty: now."),
        line(typed, "number", "Number that came back", 200),
        area(typed, "remark", "Remark", REASON),
    ];
    form
}

fn observe(desk: &Desk, case: &Case, typed: &Fields) -> EditForm {
    let mut form = form(desk, case, "observe", "Add");
    let words = |kind: ObservableKind| match kind {
        ObservableKind::Ip => "Address",
        ObservableKind::User => "Account",
        ObservableKind::Host => "Host",
        ObservableKind::Domain => "Domain",
        ObservableKind::Url => "URL",
        ObservableKind::Sha256 => "SHA-256 of a file",
    };
    let kinds = ObservableKind::ALL
        .iter()
        .map(|kind| (kind.to_string(), words(*kind).to_owned()));
    form.fields = vec![
        EditField::new(
            "kind",
            "Kind",
            Control::Choice(kinds.collect(), chosen(typed, "kind", "ip")),
        ),
        line(typed, "value", "Value", 2000).required(),
        line(typed, "remark", "Remark", REASON),
    ];
    form
}

fn unlink(desk: &Desk, shown: &Shown, typed: &Fields) -> EditForm {
    let mut form = form(desk, &shown.case, "unlink", "Take out");
    let alerts: Vec<(String, String)> = shown
        .alerts
        .iter()
        .map(|alert| (alert.alert_id.to_string(), alert.title.clone()))
        .collect();
    let first = alerts.first().map(|(id, _)| id.clone()).unwrap_or_default();
    form.fields = vec![
        EditField::new(
            "alert",
            "Alert",
            Control::Choice(alerts, chosen(typed, "alert", &first)),
        ),
        reason(typed, "Why it does not belong to it"),
    ];
    form
}

fn merge(desk: &Desk, shown: &Shown, typed: &Fields) -> EditForm {
    let mut form = form(desk, &shown.case, "merge", "Merge");
    let others: Vec<(String, String)> = shown
        .others
        .iter()
        .map(|other| (other.row.incident_id.to_string(), other.row.title.clone()))
        .collect();
    let first = others.first().map(|(id, _)| id.clone()).unwrap_or_default();
    form.fields = vec![
        EditField::new(
            "into",
            "Into",
            Control::Choice(others, chosen(typed, "into", &first)),
        )
        .hint("The earliest discovery and the shortest clock of both count. It can be taken back."),
        reason(typed, "Why they are one"),
    ];
    form
}
