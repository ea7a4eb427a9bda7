//! Whether events arrive, and can be read.

use model::text::sanitize;

use super::{Finding, Look, Part, Site};
use crate::sources;

pub(super) const PART: Part = Part {
    name: "sources",
    look: Look::Asks(|site| Box::pin(look(site))),
};

async fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let mut session = site.session().await?;
    let all = sources::list(&mut session).await?;
    session.close().await;

    let speaking = all.iter().filter(|s| s.row.has_spoken()).count();
    if speaking == 0 {
        return Ok(vec![Finding::warning(
            "nothing has sent an event yet",
            "README.md, \"A first event, a first alert\"; docs/guide.md, \"Logs\"",
        )]);
    }

    let mut found = Vec::new();
    let expected = &site.loaded()?.config.detection.expected_sources;
    let unheard = expected.iter().filter(|name| {
        !all.iter()
            .any(|s| s.row.kind.as_str() == *name && s.row.has_spoken())
    });
    found.extend(unheard.map(|name| {
        Finding::warning(
            format!("no application's events have ever come from {name}, which is expected"),
            "connect it (docs/guide.md), or take it out of detection.expected_sources",
        )
    }));

    for source in &all {
        let id = sanitize(&source.row.source_id);
        found.extend(source.partly_unread.iter().map(|part| {
            let peer = if part.peer.is_empty() {
                String::new()
            } else {
                format!(" from {}", part.peer)
            };
            Finding::warning(
                format!(
                    "{id}{peer}: {} of {} lines are not understood",
                    part.unread.unparsed, part.unread.lines
                ),
                format!("`blueteam sources dead-letters {id}` shows them; check its format"),
            )
        }));
        if let Some(since) = source.row.silent_since {
            found.push(Finding::warning(
                format!("{id} is silent since {since}"),
                "look at the machine that sends it",
            ));
        }
    }

    found.push(Finding::ok(format!("{speaking} have sent events")));
    Ok(found)
}
