//! Which versions work together.

use super::{Finding, Look, Part, Site};
use crate::actor::Resource;
use crate::running::RunningDaemon;

pub(super) const PART: Part = Part {
    name: "versions",
    look: Look::Asks(|site| Box::pin(look(site))),
};

/// The oldest PostgreSQL that the schema is made for.
const POSTGRES_MIN: i64 = 15;

async fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let own = env!("CARGO_PKG_VERSION");
    let mut found = Vec::new();
    let running = site.daemon_runs.then(|| RunningDaemon::of(&site.state));
    match running.flatten() {
        Some(daemon) if daemon.version != own => found.push(Finding::wrong(
            format!(
                "the daemon that runs is {}, and this program is {own}",
                model::text::sanitize(&daemon.version)
            ),
            "restart the daemon (`systemctl restart blueteam`), or run the program that it is",
        )),
        _ => {}
    }

    let system = operating_system();
    let mut says = format!("blueteam {own} on {system}");
    if let Ok(mut session) = site.session().await {
        let settings = store::overview::server_settings(session.read(Resource::System)?).await?;
        let version = settings.get("server_version").cloned().unwrap_or_default();
        let number = settings.get("server_version_num").map(|n| n.parse::<i64>());
        if let Some(Ok(number)) = number
            && number / 10_000 < POSTGRES_MIN
        {
            found.push(Finding::wrong(
                format!("PostgreSQL {version} is too old"),
                format!("upgrade the server to {POSTGRES_MIN} or newer"),
            ));
        }
        says = format!("{says}, PostgreSQL {version}");
        session.close().await;
    }

    found.push(Finding::ok(says));
    Ok(found)
}

/// What the operating system calls itself.
fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned());
    name.unwrap_or_else(|| {
        let uname = rustix::system::uname();
        format!(
            "{} {}",
            uname.sysname().to_string_lossy(),
            uname.release().to_string_lossy()
        )
    })
}
