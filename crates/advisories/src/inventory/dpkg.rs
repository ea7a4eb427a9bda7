//! `/var/lib/dpkg/status`, the installed packages of a Debian machine. Debian's advisories name
//! source packages and their versions, so each package is also listed under the name of its source.
//! If both names are equal, only the source's version is listed, because two would be reported
//! twice.

use super::Format;
use crate::package::{Distribution, Ecosystem, Package, SourcePackage, with_source};
use crate::{Component, ReadError};

pub(super) const FORMAT: Format = Format {
    name: "dpkg",
    description: "/var/lib/dpkg/status",
    recognizes: |text| {
        let has = |field: &str| text.lines().any(|line| line.starts_with(field));
        !text.trim_start().starts_with('{') && has("Package: ") && has("Status: ")
    },
    read: parse_status,
};

/// The states in which files of a package may be in use, also in the middle of an upgrade or after
/// one that failed.
const IN_USE: [&str; 6] = [
    "installed",
    "half-installed",
    "unpacked",
    "half-configured",
    "triggers-awaited",
    "triggers-pending",
];

/// One paragraph of the file.
#[derive(Clone, Copy)]
struct Entry<'a>(&'a str);

impl<'a> Entry<'a> {
    fn field(self, name: &str) -> Option<&'a str> {
        self.0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    fn is_in_use(self) -> bool {
        self.field("Status")
            .and_then(|status| status.split_whitespace().last())
            .is_some_and(|state| IN_USE.contains(&state))
    }
}

fn parse_status(text: &str) -> Result<Vec<Component>, ReadError> {
    let text = text.replace("\r\n", "\n");
    let entries: Vec<Entry<'_>> = text
        .split("\n\n")
        .map(Entry)
        .filter(|entry| entry.is_in_use())
        .collect();
    let distribution = find_distribution(&entries);

    let found: Vec<Component> = entries
        .iter()
        .filter_map(|entry| parse_entry(*entry, distribution.as_ref()))
        .flatten()
        .collect();
    if found.is_empty() {
        return Err(ReadError::Shape {
            format: "dpkg status",
            reason: "it lists no installed packages".to_owned(),
        });
    }

    Ok(found)
}

fn parse_entry(entry: Entry<'_>, distribution: Option<&Distribution>) -> Option<Vec<Component>> {
    let version = entry.field("Version")?;
    let installed = Component {
        package: Package {
            ecosystem: Ecosystem("deb".to_owned()),
            distribution: distribution
                .cloned()
                .map(|distribution| distribution.or_release_of(version))
                .or_else(|| Distribution::of_debian_version(version)),
            name: entry.field("Package")?.to_owned(),
        },
        version: version.to_owned(),
    };

    let source = entry.field("Source").map(SourcePackage::of_dpkg);
    Some(with_source(installed, source.as_ref()))
}

/// Returns the distribution, which the file does not name: `base-files` has its release in the
/// version, and packages of Ubuntu have its maintainers.
fn find_distribution(entries: &[Entry<'_>]) -> Option<Distribution> {
    let base = entries
        .iter()
        .find(|entry| entry.field("Package") == Some("base-files"))
        .and_then(|entry| entry.field("Version"));
    let is_ubuntu = base.is_some_and(|version| version.contains("ubuntu"))
        || entries.iter().any(|entry| {
            entry
                .field("Maintainer")
                .is_some_and(|maintainer| maintainer.contains("ubuntu.com"))
        });
    if is_ubuntu {
        return Some(Distribution::new("ubuntu", ubuntu_release(base)));
    }

    let is_debian = entries.iter().any(|entry| {
        entry
            .field("Maintainer")
            .is_some_and(|maintainer| maintainer.contains("debian.org"))
    });
    // Others that build on Debian count their releases in their own way.
    let release = base
        .and_then(|version| version.split(['.', '+']).next())
        .filter(|release| release.bytes().all(|b| b.is_ascii_digit()));
    match release {
        Some(release) => Some(Distribution::new("debian", release)),
        None => is_debian.then(|| Distribution::new("debian", "")),
    }
}

/// Returns the release of Ubuntu whose `base-files` have a version: each release raises the number
/// before `ubuntu`.
fn ubuntu_release(base: Option<&str>) -> &'static str {
    let number = base.and_then(|version| version.split("ubuntu").next());
    match number {
        Some("7.2") => "14.04",
        Some("9.4") => "16.04",
        Some("10.1") => "18.04",
        Some("11") => "20.04",
        Some("12") => "22.04",
        Some("13") => "24.04",
        _ => "",
    }
}
