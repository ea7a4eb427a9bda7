//! Whether times can be believed.

use model::{Clock as _, Span, SystemClock};

use super::{Finding, Look, Part, Site, aside};
use crate::actor::Resource;
use crate::{clock_sync, status};

pub(super) const PART: Part = Part {
    name: "clock",
    look: Look::Asks(|site| Box::pin(look(site))),
};

/// Two clocks that are further apart put events in the wrong order.
const APART_MAX: Span = Span::secs(2);

async fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let mut found = Vec::new();
    if let Some(doubt) = status::clock_doubt(&site.state) {
        found.push(Finding::wrong(
            format!(
                "{} (since {})",
                model::text::sanitize(&doubt.why),
                doubt.since
            ),
            "docs/operations.md, \"Clock problems\"",
        ));
    }

    match aside(clock_sync::synchronized).await? {
        Some(true) => found.push(Finding::ok("follows an authoritative clock (3.3.7)")),
        Some(false) => found.push(Finding::warning(
            "the system clock is not synchronized (3.3.7)",
            "set up systemd-timesyncd or chrony: timedatectl set-ntp true",
        )),
        None => found.push(Finding::unknown(
            "the system does not say whether its clock is synchronized",
            "in a container, look at the host: timedatectl",
        )),
    }

    if let Ok(mut session) = site.session().await {
        let server = store::overview::server_clock(session.read(Resource::System)?).await?;
        session.close().await;
        let apart = SystemClock.now().since(server);
        if apart.as_micros().abs() > APART_MAX.as_micros() {
            found.push(Finding::wrong(
                format!("the clock of the database server is {apart} behind this one"),
                "synchronize both machines with the same time servers",
            ));
        }
    }

    Ok(found)
}
