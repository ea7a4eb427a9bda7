//! What waits today.

use std::sync::Arc;

use app::actor::Role;
use app::machine::{About, Warning};
use app::today::{self, Waiting};
use app::{first_steps, machine};
use axum::response::Response;
use pages::{Banner, Duty, Frame, Level, TodayPage, When};

use super::{Desk, NoPage, Visit, html, see_other};

/// `GET /`.
pub(super) async fn show(mut visit: Visit) -> Result<Response, NoPage> {
    if visit.person.role == Role::Assessor.as_str() {
        visit.finish(Ok(())).await?;
        return Ok(see_other("/assessor"));
    }
    let console = Arc::clone(&visit.console);
    let (config, state) = (&console.config, &console.state);
    let found = async {
        let session = &mut visit.session;
        let today = today::show(session).await?;
        let connected = today::is_connected(session).await?;
        let missing = first_steps::missing(session, config, state).await?;
        let warnings = machine::warnings(session, config, state).await?;
        Ok((today, connected, missing, warnings))
    };
    let found = found.await;
    let ((today, connected, missing, warnings), desk) = visit.finish(found).await?;

    let empty = if connected {
        "Nothing needs your attention. Events are coming in; whatever is found will appear here."
    } else {
        "Nothing is connected yet, so there is nothing to detect. On the machine, `blueteam keys create \
         shop --scope events:write --service shop` makes a key for an application; `[[collect.files]]` in the configuration follows a log."
    };
    let page = TodayPage {
        numbers: numbers(&today.waiting),
        duties: today.waiting.iter().map(|one| duty(&desk, one)).collect(),
        has_more: today.has_more,
        empty: empty.to_owned(),
        steps_missing: missing.unwrap_or_default(),
        frame: Frame {
            banners: banners(&warnings, None),
            ..desk.frame("Today", "Today")
        },
    };
    Ok(html(&page))
}

/// Warnings as a page shows them: all, or those about one thing.
pub(super) fn banners(warnings: &[Warning], only: Option<About>) -> Vec<Banner> {
    warnings
        .iter()
        .filter(|warning| only.is_none_or(|only| only == warning.about))
        .map(|warning| Banner {
            text: warning.says.clone(),
            is_urgent: warning.is_urgent,
            way: match warning.about {
                // There already.
                about if only == Some(about) => None,
                About::Certificates => Some(("/admin/certificates", "Certificates")),
                About::Spool => Some(("/sources", "Sources")),
                About::Clock => None,
            },
        })
        .collect()
}

/// How many there are of each kind of which there are any.
fn numbers(waiting: &[Waiting]) -> Vec<(&'static str, String, &'static str)> {
    KINDS
        .iter()
        .filter_map(|kind| {
            let first = waiting.iter().find(|one| one.kind == kind.kind)?;
            let more = if first.of_kind >= u64::from(today::COUNTED_MAX) {
                "+"
            } else {
                ""
            };
            Some((kind.many, format!("{}{more}", first.of_kind), kind.list))
        })
        .collect()
}

/// A kind of what waits.
struct Kind {
    kind: &'static str,
    /// What several are called.
    many: &'static str,
    /// Where they are listed.
    list: &'static str,
    /// What is to be done.
    action: &'static str,
}

const KINDS: [Kind; 10] = [
    Kind {
        kind: "incident",
        many: "incidents",
        list: "/incidents",
        action: "Open",
    },
    Kind {
        kind: "alert",
        many: "alerts",
        list: "/alerts",
        action: "Review",
    },
    Kind {
        kind: "source",
        many: "silent sources",
        list: "/sources",
        action: "Review",
    },
    Kind {
        kind: "delivery",
        many: "failing channels",
        list: "/notifications",
        action: "Review",
    },
    Kind {
        kind: "advisory",
        many: "advisories",
        list: "/advisories",
        action: "Respond",
    },
    Kind {
        kind: "plan",
        many: "plans due",
        list: "/compliance/poam",
        action: "Review",
    },
    Kind {
        kind: "draft",
        many: "drafts of evidence",
        list: "/compliance/evidence",
        action: "Approve",
    },
    Kind {
        kind: "evidence",
        many: "expiring pieces of evidence",
        list: "/compliance/evidence",
        action: "Renew",
    },
    Kind {
        kind: "silence",
        many: "silences ending",
        list: "/silences",
        action: "Review",
    },
    Kind {
        kind: "account",
        many: "locked accounts",
        list: "/admin",
        action: "Review",
    },
];

fn duty(desk: &Desk, one: &Waiting) -> Duty {
    let kind = KINDS.iter().find(|kind| kind.kind == one.kind);
    let path = match one.kind.as_str() {
        "alert" => format!("/alerts/{}", one.id),
        "incident" => format!("/incidents/{}", one.id),
        "plan" => format!("/compliance/poam/{}", one.id),
        _ => kind.map_or("/", |kind| kind.list).to_owned(),
    };
    let due: Option<(When, bool)> = one.due.map(|due| (desk.when(due), due < desk.now));
    Duty {
        level: Level::from(one.severity),
        kind: one.kind.clone(),
        what: what(one),
        why: why(one),
        since: desk.when(one.since),
        due,
        path,
        action: kind.map_or("Open", |kind| kind.action).to_owned(),
        acknowledges: (one.kind == "alert"
            && desk.may(
                app::actor::Action::Acknowledge,
                app::actor::Resource::Alerts,
            ))
        .then(|| one.id.clone()),
    }
}

fn what(one: &Waiting) -> String {
    match one.kind.as_str() {
        "source" => format!("{} is silent", one.what),
        "delivery" => format!("{} does not deliver", one.what),
        "plan" | "draft" | "evidence" => format!("{} {}", one.id, one.what),
        "advisory" => format!("{} in {}", one.id, one.what),
        "account" => format!("{} is locked", one.what),
        _ => one.what.clone(),
    }
}

/// Why it matters, in a few words.
fn why(one: &Waiting) -> String {
    let detail = &one.detail;
    match one.kind.as_str() {
        "alert" => format!("about {detail}; not acknowledged"),
        "incident" if one.due.is_some() => {
            format!("{detail}; DFARS 252.204-7012 asks for a report within 72 hours")
        }
        "incident" => format!("{detail}; not closed"),
        "source" if detail.is_empty() => "has sent nothing for longer than usual".to_owned(),
        "source" => detail.clone(),
        "delivery" => format!("{detail} notifications failed in the last 7 days"),
        "plan" if detail.is_empty() => "has no owner".to_owned(),
        "plan" => format!("owner: {detail}"),
        "draft" => format!("added by {detail}; a draft does not count as evidence"),
        "evidence" => "its objectives are no longer met once it expires".to_owned(),
        "silence" => format!("set by {detail}; its alerts notify again when it ends"),
        "account" => format!("{detail}; too many wrong attempts"),
        "advisory" => format!("installed on {detail}"),
        _ => detail.clone(),
    }
}
