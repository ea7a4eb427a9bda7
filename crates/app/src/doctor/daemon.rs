//! Whether the daemon runs, and its work gets on.

use model::text::{counted, sanitize};

use model::{Clock as _, Span, SystemClock};
use store::reader::LIVE_CURSOR;

use super::{Finding, Look, Part, Site};
use crate::actor::Resource;
use crate::running::RunningDaemon;
use crate::status::{self, Attention, Spool};

/// A reader that has not said for longer that it reads does not.
const PULSE_MAX: Span = Span::mins(2);

pub(super) const PART: Part = Part {
    name: "daemon",
    look: Look::Asks(|site| Box::pin(look(site))),
};

async fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    if !site.daemon_runs {
        return Ok(vec![Finding::wrong(
            format!(
                "no daemon runs on {}: nothing is detected",
                site.state.path().display()
            ),
            "systemctl start blueteam; if it does not stay up: journalctl -u blueteam -e",
        )]);
    }

    if let Some(waits) = RunningDaemon::of(&site.state).and_then(|daemon| daemon.waits_for) {
        return Ok(vec![Finding::wrong(
            format!("runs and does not work: {}", sanitize(&waits)),
            "make the backup, or `blueteam migrate --without-backup`",
        )]);
    }

    let mut session = site.session().await?;
    let pulse = store::reader::pulse(session.read(Resource::System)?, LIVE_CURSOR).await?;
    let status = status::gather(&mut session, site.loaded()?, &site.state).await?;
    session.close().await;
    let all = status::attention(&status);
    let mut found: Vec<Finding> = all.iter().filter_map(stuck).collect();
    let beats = pulse
        .beat_at
        .is_some_and(|at| SystemClock.now().since(at) < PULSE_MAX);
    found.push(if pulse.held && beats {
        Finding::ok("runs, and reads what arrives")
    } else {
        Finding::wrong(
            "a process holds the daemon's lock, and nobody reads what arrives",
            "systemctl restart blueteam; its log: journalctl -u blueteam -e",
        )
    });
    Ok(found)
}

/// What of a status means that the daemon's work does not get on.
fn stuck(what: &Attention<'_>) -> Option<Finding> {
    let advice = "docs/operations.md, \"Runbook\"";
    Some(match what {
        Attention::Unread(since) => Finding::wrong(
            format!("events wait unread since {since}: no attack among them is noticed"),
            advice,
        ),
        Attention::UnwrittenAlerts(pending) => Finding::wrong(
            format!(
                "{} not written since {}: {}",
                counted(pending.alerts, "alert"),
                pending.since,
                sanitize(&pending.reason)
            ),
            advice,
        ),
        Attention::UnreadableRows(rows) => Finding::warning(
            format!(
                "{} of {} cannot be read by the rules",
                counted(rows.rows, "row"),
                rows.table
            ),
            advice,
        ),
        Attention::Spool(Spool::Refused(file) | Spool::RefusedFull(file)) => Finding::warning(
            format!(
                "the database refused events; they are in {}",
                file.display()
            ),
            "look into the file, then move it away",
        ),
        Attention::Spool(Spool::Damaged(file)) => Finding::warning(
            format!(
                "a damaged piece of the spool was set aside: {}",
                file.display()
            ),
            advice,
        ),
        Attention::Spool(_) | Attention::ListenerSpool(_) => Finding::warning(
            "events wait on disk for the database",
            "`blueteam status` says how many, and since when",
        ),
        Attention::NotRead(part) => Finding::unknown(
            format!("{} cannot be read: {}", part.what, sanitize(&part.why)),
            advice,
        ),
        _ => return None,
    })
}
