//! How long the certificates that blueteam presents are good for.

use model::{Clock as _, SystemClock};

use super::{Finding, Look, Part, Site};
use crate::certificates::expiries;

pub(super) const PART: Part = Part {
    name: "certificates",
    look: Look::Files(look),
};

fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let now = SystemClock.now();
    let found: Vec<Finding> = expiries(&site.loaded()?.config)
        .into_iter()
        .map(|certificate| {
            let file = certificate.file.display().to_string();
            let advice = "put the new certificate in its place; the daemon notices by itself";
            if let Some(problem) = &certificate.problem {
                return Finding::wrong(format!("{file}: {problem}"), advice);
            }

            let usable = certificate.not_before.is_some_and(|from| from <= now)
                && certificate.not_after.is_some_and(|until| until > now);
            match certificate.warning(now) {
                Some(warning) if usable => Finding::warning(warning, advice),
                Some(warning) => Finding::wrong(warning, advice),
                None => Finding::ok(format!(
                    "{file} is good until {}",
                    certificate
                        .not_after
                        .map_or_else(String::new, |until| until.to_string())
                )),
            }
        })
        .collect();

    if found.is_empty() {
        return Ok(vec![Finding::ok("none is configured")]);
    }
    Ok(found)
}
