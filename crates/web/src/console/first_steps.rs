//! What a new installation needs.

use std::sync::Arc;

use app::first_steps::{self, Need, Step};
use axum::response::Response;
use pages::{FirstStep, FirstStepsPage};

use super::{NoPage, Visit, html};

/// `GET /first-steps`.
pub(super) async fn show(mut visit: Visit) -> Result<Response, NoPage> {
    let console = Arc::clone(&visit.console);
    let found = first_steps::show(&mut visit.session, &console.config, &console.state).await;
    let (steps, desk) = visit.finish(found).await?;
    let page = FirstStepsPage {
        steps: steps.iter().map(words).collect(),
        frame: desk.frame("First steps", "Today"),
    };
    Ok(html(&page))
}

/// What a step is, and how it is done.
fn words(step: &Step) -> FirstStep {
    let (is_done, seen) = (step.is_done, step.seen.clone());
    match step.need {
        Need::Administrator => FirstStep {
            title: "An administrator",
            why: "Someone must be able to sign in, let others in, and help whoever is locked out.",
            is_done,
            seen,
            command: "blueteam users create NAME --email NAME@example.com --role system_admin",
            how: "Make an account for each person here, or on the machine:",
            way: Some(("/admin", "Accounts")),
        },
        Need::Source => FirstStep {
            title: "A first source",
            why: "blueteam detects what it sees: an application that sends events, or a log that it follows.",
            is_done,
            seen,
            command: "blueteam keys create shop --scope events:write --service shop\n\n[[collect.files]]\npath = \"/var/log/auth.log\"\nformat = \"syslog\"",
            how: "Make a key for an application here or by the first line, or follow a log by the others in blueteam.toml:",
            way: Some(("/admin/keys", "API keys")),
        },
        Need::Receiver => FirstStep {
            title: "Who is notified",
            why: "An alert that reaches nobody is found when it is too late.",
            is_done,
            seen,
            command: "blueteam config sample",
            how: "Name a channel in blueteam.toml, reload, and send a test. The sample shows every one:",
            way: Some(("/notifications", "Notifications")),
        },
        Need::BusinessHours => FirstStep {
            title: "Business hours",
            why: "A sign-in at night means something else than one at noon, and times are shown in your zone.",
            is_done,
            seen,
            command: "[business_hours]\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"]\nstart = \"08:00\"\nend = \"17:00\"\ntime_zone = \"America/New_York\"\nholidays = [\"2026-12-25\"]",
            how: "Write them into blueteam.toml, and reload (systemctl reload blueteam):",
            way: None,
        },
        Need::Description => FirstStep {
            title: "What is protected",
            why: "The system security plan (3.12.4) is written from a description of your system.",
            is_done,
            seen,
            command: "blueteam compliance ssp --sample > system.toml\nblueteam compliance ssp --import system.toml",
            how: "Fill in the sample, then import it:",
            way: Some(("/compliance", "Compliance")),
        },
    }
}
