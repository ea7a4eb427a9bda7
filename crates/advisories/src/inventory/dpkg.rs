//! `/var/lib/dpkg/status`, the installed packages of a Debian machine. Debian's advisories name
//! source packages and their versions, so each package is also listed under the name of its source.
//! If both names are equal, only the source's version is listed, because two would be reported
//! twice.

use super::Format;
use crate::{Component, ReadError};

pub(super) const FORMAT: Format = Format {
    name: "dpkg",
    description: "/var/lib/dpkg/status",
    recognizes: |text| text.starts_with("Package: ") && text.contains("\nStatus: "),
    read: parse_status,
};

fn parse_status(text: &str) -> Result<Vec<Component>, ReadError> {
    let mut found = Vec::new();
    for entry in text.split("\n\n") {
        let field = |name: &str| {
            entry
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::trim)
        };

        let (Some(name), Some(version)) = (field("Package"), field("Version")) else {
            continue;
        };
        if !field("Status").is_some_and(|status| status.ends_with(" installed")) {
            continue;
        }

        // The version of the source is given where it differs: `gcc-defaults (1.203)`.
        let source =
            field("Source").map(|source| source.split_once(" (").unwrap_or((source, version)));
        if source.is_none_or(|(source, _)| source != name) {
            found.push(Component::new("deb", name, version));
        }

        if let Some((name, version)) = source {
            found.push(Component::new("deb", name, version.trim_end_matches(')')));
        }
    }

    if found.is_empty() {
        return Err(ReadError::Shape {
            format: "dpkg status",
            reason: "it lists no installed packages".to_owned(),
        });
    }

    Ok(found)
}
