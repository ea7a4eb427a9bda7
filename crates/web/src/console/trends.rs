//! Numbers over days, as charts with tables.

use std::collections::BTreeMap;

use app::actor::{Action, Resource};
use app::sources::{self, Listed};
use app::trends::{self, AlertsOfDay, EventsOfDay, ResponseOfDay, RuleRecord, Trends};
use axum::response::Response;
use model::Severity;
use pages::{Bar, Chart, Series, TrendsPage};

use super::{NoPage, Visit, html};

/// Rules and sources that are shown, those with most first.
const SHOWN: usize = 20;

/// `GET /trends`.
pub(super) async fn show(mut visit: Visit) -> Result<Response, NoPage> {
    let (now, zone) = (visit.desk.now, visit.desk.zone.name().to_owned());
    let sees_sources = visit.desk.may(Action::Read, Resource::Sources);
    let found = async {
        let session = &mut visit.session;
        let trends = trends::show(session, now, &zone).await?;
        let sources = if sees_sources {
            sources::list(session).await?
        } else {
            Vec::new()
        };
        Ok((trends, sources))
    };
    let found = found.await;
    let ((trends, sources), desk) = visit.finish(found).await?;
    let Trends {
        alerts,
        responses,
        rules,
        events,
    } = trends;
    let page = TrendsPage {
        charts: vec![
            alert_chart(&alerts),
            response_chart(&responses),
            rule_chart(&rules),
            event_chart(&events),
            source_chart(&sources),
        ],
        frame: desk.frame("Trends", "Alerts"),
    };
    Ok(html(&page))
}

fn counted(number: u64) -> (f64, String) {
    (number as f64, number.to_string())
}

fn alert_chart(alerts: &[AlertsOfDay]) -> Chart {
    const SEVERITIES: [Severity; 5] = [
        Severity::Info,
        Severity::Low,
        Severity::Medium,
        Severity::High,
        Severity::Critical,
    ];
    let mut days: BTreeMap<&str, [u64; 5]> = BTreeMap::new();
    for one in alerts {
        let counts = days.entry(&one.day).or_default();
        let place = SEVERITIES
            .iter()
            .position(|severity| *severity == one.severity);
        if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
            *count += one.alerts;
        }
    }
    let total: u64 = alerts.iter().map(|one| one.alerts).sum();
    Chart {
        id: "alerts",
        title: "Alerts by severity and day",
        says: format!("{} in 30 days.", pages::count_of(total, "alert")),
        of: "Day",
        series: SEVERITIES
            .map(|severity| Series {
                name: severity.as_str(),
                class: severity.as_str(),
            })
            .to_vec(),
        bars: days
            .into_iter()
            .map(|(day, counts)| Bar {
                label: day.to_owned(),
                values: counts.map(counted).to_vec(),
            })
            .collect(),
        empty: "No alerts in 30 days.",
    }
}

/// A length of time in the unit that says enough.
fn lasted(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

fn response_chart(responses: &[ResponseOfDay]) -> Chart {
    let bars = responses
        .iter()
        .map(|one| Bar {
            label: one.day.clone(),
            values: vec![
                (one.median_s, lasted(one.median_s)),
                // On top of the median, so that the bar ends at it.
                ((one.most_s - one.median_s).max(0.0), lasted(one.most_s)),
            ],
        })
        .collect();
    let total: u64 = responses.iter().map(|one| one.alerts).sum();
    Chart {
        id: "responses",
        title: "Time until an alert is acknowledged",
        says: format!(
            "{} acknowledged in 30 days, by the day of that.",
            pages::count_of(total, "alert")
        ),
        of: "Day",
        series: vec![
            Series {
                name: "half of them within",
                class: "first",
            },
            Series {
                name: "nine of ten within",
                class: "second",
            },
        ],
        bars,
        empty: "No alert was acknowledged in 30 days.",
    }
}

const fn unjudged(rule: &RuleRecord) -> u64 {
    rule.alerts
        .saturating_sub(rule.true_positives)
        .saturating_sub(rule.noise)
}

fn rule_chart(rules: &[RuleRecord]) -> Chart {
    let bars = rules
        .iter()
        .take(SHOWN)
        .map(|rule| Bar {
            label: rule.rule_id.clone(),
            values: vec![
                counted(rule.true_positives),
                counted(unjudged(rule)),
                counted(rule.noise),
            ],
        })
        .collect();
    Chart {
        id: "rules",
        title: "Noise by rule",
        says: "Alerts of 30 days by the verdicts of people, which alerts get on their own pages."
            .to_owned(),
        of: "Rule",
        series: vec![
            Series {
                name: "attacks",
                class: "second",
            },
            Series {
                name: "no verdict",
                class: "first",
            },
            Series {
                name: "expected or false",
                class: "high",
            },
        ],
        bars,
        empty: "No rule fired in 30 days.",
    }
}

fn event_chart(events: &[EventsOfDay]) -> Chart {
    let total: u64 = events.iter().map(|one| one.applications + one.logs).sum();
    Chart {
        id: "events",
        title: "Events by day",
        says: format!("{} in 14 days.", pages::count_of(total, "event")),
        of: "Day",
        series: vec![
            Series {
                name: "applications",
                class: "first",
            },
            Series {
                name: "logs",
                class: "second",
            },
        ],
        bars: events
            .iter()
            .map(|one| Bar {
                label: one.day.clone(),
                values: vec![counted(one.applications), counted(one.logs)],
            })
            .collect(),
        empty: "No events in 14 days.",
    }
}

fn source_chart(sources: &[Listed]) -> Chart {
    let mut rows: Vec<_> = sources.iter().map(|listed| &listed.row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.received));
    let share = |part: u64, all: u64| {
        let percent = 100.0 * part as f64 / all.max(1) as f64;
        (percent, format!("{percent:.1} %"))
    };
    let bars = rows
        .iter()
        .filter(|row| row.received + row.dropped > 0)
        .take(SHOWN)
        .map(|row| {
            let all = row.received + row.dropped;
            let lost = row.rejected + row.dropped;
            Bar {
                label: row.source_id.clone(),
                values: vec![share(all.saturating_sub(lost), all), share(lost, all)],
            }
        })
        .collect();
    Chart {
        id: "sources",
        title: "Completeness of sources",
        says:
            "Of all that a source has sent, how much was read, and how much was not or was dropped."
                .to_owned(),
        of: "Source",
        series: vec![
            Series {
                name: "read",
                class: "second",
            },
            Series {
                name: "not read, or dropped",
                class: "critical",
            },
        ],
        bars,
        empty: "Nothing is connected yet.",
    }
}
