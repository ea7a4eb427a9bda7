//! Monitors and advisories.

use std::sync::Arc;

use app::{advisories, monitors};
use axum::response::Response;
use pages::Cell;

use super::{NoPage, Table, Visit, html};

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
