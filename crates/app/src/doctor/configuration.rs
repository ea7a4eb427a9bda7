//! Whether the daemon would start with this configuration, and someone be notified.

use super::{Finding, Look, Part, Site};
use crate::certificates;

pub(super) const PART: Part = Part {
    name: "configuration",
    look: Look::Files(look),
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes looks that may fail"
)]
fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let file = site.file.as_ref().map(|file| file.display().to_string());
    let loaded = match &site.loaded {
        Ok(loaded) => loaded,
        Err(errors) => {
            let advice = "correct it; `blueteam config check` says whether all is right";
            let wrong = |error: &config::ConfigError| Finding::wrong(error.to_string(), advice);
            return Ok(errors.0.iter().map(wrong).collect());
        }
    };

    let mut found = Vec::new();
    let stdout = Box::new(std::io::sink());
    let channels = loaded.open_channels(stdout, false, "localhost").map(|_| ());
    let rules = config::rules::sigma_or_all_errors(&loaded.config).map(|_| ());
    let certificates = certificates::read_all(&loaded.config).map(|_| ());
    let refusals = [
        channels.err().map(|error| format!("{error:#}")),
        rules.err().map(|error| format!("{error:#}")),
        certificates.err().map(|error| error.to_string()),
    ];
    let refused = |why: String| Finding::wrong(why, "correct it: the daemon would not start");
    found.extend(refusals.into_iter().flatten().map(refused));

    let warnings = loaded.renamed.iter().chain(&loaded.doubts).cloned();
    let doubtful = warnings
        .chain(loaded.config.warnings())
        .map(|warning| Finding::warning(warning, "see docs/configuration.md"));
    found.extend(doubtful);

    found.push(Finding::ok(file.map_or_else(
        || "no file: every key has its default".to_owned(),
        |file| format!("{file} can be read"),
    )));
    Ok(found)
}
