//! Sources, rules, notifications, monitors and advisories.

use std::sync::Arc;

use app::{advisories, monitors, notifications, rules, sources};
use axum::response::Response;
use pages::{Cell, Level, SourceRow, SourcesPage};

use super::{Desk, NoPage, Table, Visit, html};

/// Notifications that are shown: what people look for are the latest.
const NOTIFICATIONS: u32 = 200;

/// `GET /sources`.
pub(super) async fn sources(mut visit: Visit) -> Result<Response, NoPage> {
    let found = sources::list(&mut visit.session).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found.iter().map(|listed| source(&desk, listed)).collect();
    let page = SourcesPage {
        rows,
        frame: desk.frame("Sources", "Sources"),
    };
    Ok(html(&page))
}

fn source(desk: &Desk, listed: &sources::Listed) -> SourceRow {
    let row = &listed.row;
    let mut trouble = Vec::new();
    if row.rejected > 0 {
        trouble.push(format!("entries that could not be read: {}", row.rejected));
    }
    if !listed.partly_unread.is_empty() {
        trouble.push("some senders' lines are not understood".to_owned());
    }
    SourceRow {
        id: row.source_id.clone(),
        kind: row.kind.to_string(),
        hosts: listed.hosts.join(", "),
        last: row.last_received_at.map(|at| desk.when(at)),
        account: [
            row.received,
            row.accepted,
            row.ignored,
            row.repeated,
            row.rejected,
        ],
        trouble: trouble.join("; "),
    }
}

/// `GET /rules`.
pub(super) async fn rules(mut visit: Visit) -> Result<Response, NoPage> {
    let config = Arc::clone(&visit.console.config);
    let found = rules::list(&mut visit.session, &config).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|rule| {
            let state = if rule.enabled {
                Cell::from("active")
            } else {
                Cell::Trouble("off".to_owned())
            };
            let controls: Vec<&str> = rule.nist_controls.iter().map(|c| &*c.0).collect();
            vec![
                Cell::from(rule.name.clone()),
                Cell::Level(Level::from(rule.severity)),
                state,
                Cell::from(rule.description.clone()),
                Cell::Number(rule.alerts),
                Cell::Time(rule.last_fired.map(|at| desk.when(at))),
                Cell::from(controls.join(", ")),
            ]
        })
        .collect();
    let columns = vec![
        "Rule",
        "Severity",
        "State",
        "What it finds",
        "Alerts",
        "Last fired",
        "Requirements",
    ];
    let mut page = desk.table("Rules", "Rules", "What is looked for in events. Use `blueteam rules` to turn a rule on or off, test it, or run it on past \
         events.", Table { columns, rows, empty: "There are no rules." });
    page.beside = vec![("/silences", "Silences"), ("/monitors", "Monitors")];
    Ok(html(&page))
}

/// `GET /notifications`.
pub(super) async fn notifications(mut visit: Visit) -> Result<Response, NoPage> {
    let filter = notifications::Filter::default();
    let found = notifications::list(&mut visit.session, &filter, NOTIFICATIONS).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|entry| {
            let title = match &entry.alert_id {
                Some(id) => Cell::Link(format!("/alerts/{id}"), entry.title.clone()),
                None => Cell::from(entry.title.clone()),
            };
            let state = if entry.state == "dead" {
                Cell::Trouble("failed".to_owned())
            } else {
                Cell::from(entry.state.clone())
            };
            vec![
                title,
                Cell::from(entry.channel.to_string()),
                Cell::from(entry.kind.clone()),
                state,
                Cell::Number(u64::from(entry.attempts)),
                Cell::Time(Some(desk.when(entry.created_at))),
                Cell::Time(entry.delivered_at.map(|at| desk.when(at))),
                Cell::from(entry.last_error.clone().unwrap_or_default()),
            ]
        })
        .collect();
    let columns = vec![
        "About",
        "Channel",
        "Kind",
        "State",
        "Attempts",
        "Written",
        "Delivered",
        "Error",
    ];
    let page = desk.table(
        "Notifications",
        "Alerts",
        "Who was notified, through which channel, and whether it arrived: the latest 200.",
        Table {
            columns,
            rows,
            empty: "No notifications yet.",
        },
    );
    Ok(html(&page))
}

/// `GET /monitors`.
pub(super) async fn monitors(mut visit: Visit) -> Result<Response, NoPage> {
    let config = Arc::clone(&visit.console.config);
    let found = monitors::list(&mut visit.session, &config).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|row| {
            let detail = if row.over_since.is_some() {
                Cell::Trouble(row.detail.clone())
            } else {
                Cell::from(row.detail.clone())
            };
            let value = row
                .value
                .map_or_else(String::new, |value| format!("{value:.2} {}", row.unit));
            vec![
                Cell::from(row.name),
                Cell::from(row.what),
                Cell::from(value.trim().to_owned()),
                Cell::from(format!("{} {}", row.threshold, row.unit).trim().to_owned()),
                detail,
                Cell::Time(row.over_since.map(|at| desk.when(at))),
                Cell::Time(row.measured_at.map(|at| desk.when(at))),
            ]
        })
        .collect();
    let columns = vec![
        "Monitor",
        "What it measures",
        "Value",
        "Threshold",
        "What was seen",
        "Over since",
        "Measured",
    ];
    let page = desk.table(
        "Monitors",
        "Rules",
        "Values measured on a schedule; a monitor above its threshold raises an alert.",
        Table {
            columns,
            rows,
            empty: "There are no monitors.",
        },
    );
    Ok(html(&page))
}

/// `GET /advisories`.
pub(super) async fn advisories(mut visit: Visit) -> Result<Response, NoPage> {
    let filter = advisories::Filter::default();
    let found = advisories::list(&mut visit.session, &filter).await;
    let (found, desk) = visit.finish(found).await?;
    let rows = found
        .iter()
        .map(|found| {
            let severity = if found.exploited {
                Cell::Trouble(format!("{}, exploited", found.severity))
            } else {
                Cell::from(found.severity.clone())
            };
            vec![
                Cell::from(found.vulnerability.clone()),
                severity,
                Cell::from(format!("{} {}", found.name, found.version)),
                Cell::from(found.inventory.clone()),
                Cell::from(found.fixed_in.clone().unwrap_or_default()),
                Cell::from(found.state.clone()),
                Cell::from(found.owner.clone().unwrap_or_default()),
                Cell::Time(Some(desk.when(found.created_at))),
            ]
        })
        .collect();
    let columns = vec![
        "Advisory", "Severity", "Package", "Where", "Fixed in", "State", "Owner", "Found",
    ];
    let page = desk.table("Advisories", "Compliance", "Vulnerable packages that are installed (3.14.3). `blueteam advisories respond` answers one.", Table { columns, rows, empty: "No installed package is known to be vulnerable, or no inventory has been imported." });
    Ok(html(&page))
}
