//! Whether mail, and whatever else carries alerts, gets out.

use crate::actor::Resource;
use notify::channels::those;

use super::{Finding, Look, Part, Site};

pub(super) const PART: Part = Part {
    name: "mail",
    look: Look::Asks(|site| Box::pin(look(site))),
};

async fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let loaded = site.loaded()?;
    let stdout = Box::new(std::io::sink());
    let channels = loaded.open_channels(stdout, false, &crate::actor::hostname())?;
    let configured = channels.configured();
    let mut found = Vec::new();
    for channel in &configured {
        match channels.greet(*channel).await {
            None => {}
            Some(Ok(())) => found.push(Finding::ok(format!("{channel}: the server lets us in"))),
            Some(Err(error)) => found.push(Finding::wrong(
                format!("{channel}: {error}"),
                format!("correct [channels.{channel}], then `blueteam alerts test {channel}`"),
            )),
        }
    }

    if let Ok(mut session) = site.session().await {
        let backlog = store::outbox::backlog(session.read(Resource::System)?).await?;
        session.close().await;
        if backlog.dead > 0 {
            found.push(Finding::warning(
                format!("messages that could not be delivered: {}", backlog.dead),
                "`blueteam notifications list --state dead` says why",
            ));
        }
    }

    if found.is_empty() {
        let names: Vec<String> = configured.iter().map(ToString::to_string).collect();
        found.push(if names.is_empty() {
            Finding::warning(
                "no channel is configured",
                "configure one under [channels]: mail, syslog, a webhook or another",
            )
        } else {
            let says = format!("no mail; alerts take {}", names.join(", "));
            let people = those(|definition| definition.audience.reaches_people());
            if configured.iter().any(|channel| people.contains(channel)) {
                Finding::ok(says)
            } else {
                Finding::warning(
                    format!("{says}, which reaches nobody by itself"),
                    "configure a channel that people read under [channels]",
                )
            }
        });
    }
    Ok(found)
}
