//! Whether the people of each organization are notified, and what is left of its plan.

use super::{Finding, Look, Part, Site};
use crate::tenants::{self, pressures};

pub(super) const PART: Part = Part {
    name: "tenants",
    look: Look::Asks(|site| Box::pin(look(site))),
};

async fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let config = &site.loaded()?.config;
    let mut session = site.organizations().await?;
    let all = tenants::list(&mut session).await?;
    session.close().await;

    let mut found = Vec::new();
    for one in &all {
        if !config.alerts.tells_of(&one.name) {
            found.push(Finding::warning(
                format!("nobody is notified of alerts of the tenant {}", one.name),
                format!(
                    "name `channels` in [alerts.organizations.{}] of the configuration",
                    one.name
                ),
            ));
        }
        for pressure in pressures(&one.subscription.clone().unwrap_or_default(), &one.usage) {
            found.push(Finding::warning(
                format!(
                    "the plan of the tenant {}: {}; {}",
                    one.name,
                    pressure.amount(),
                    pressure.meaning()
                ),
                format!("`blueteam tenants limits {}` raises it", one.name),
            ));
        }
    }

    for name in config.alerts.organizations.keys() {
        if !all.iter().any(|one| one.name == *name) {
            found.push(Finding::warning(
                format!("[alerts.organizations.{name}] names no tenant"),
                format!("`blueteam tenants create {name}` makes it, or take it out"),
            ));
        }
    }

    let says = match all.as_slice() {
        [_] => "there is one".to_owned(),
        several => format!("there are {}", several.len()),
    };
    found.push(Finding::ok(says));
    Ok(found)
}
