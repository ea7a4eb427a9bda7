//! What a package is: its ecosystem, its distribution and its name, each as its ecosystem compares
//! them. Everything that reads or matches packages asks here.

mod distribution;
mod names;
mod purl;
mod source;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use distribution::Distribution;
pub use names::NameMatch;
pub use purl::PackageUrl;
pub(crate) use source::{SourcePackage, with_source};

/// A namespace of packages: the type of a package URL (`cargo`, `deb`, `npm`, …), or empty for a
/// product that only has its vendor's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ecosystem(pub String);

impl Ecosystem {
    /// Returns the ecosystem of a package URL's type.
    pub fn of_purl(name: &str) -> Self {
        Self(name.to_ascii_lowercase())
    }

    /// Returns the ecosystem of an OSV name without its release: `PyPI`, `Debian`.
    fn of_osv(name: &str) -> Self {
        Self(
            match name {
                "crates.io" => "cargo",
                "Packagist" => "composer",
                "Go" => "golang",
                "RubyGems" => "gem",
                "ConanCenter" => "conan",
                "SwiftURL" => "swift",
                "GitHub Actions" => "githubactions",
                "VSCode" => "vscode-extension",
                "Debian" | "Ubuntu" | "Echo" => "deb",
                "Alpine" | "Wolfi" | "Chainguard" | "Alpaquita" | "MinimOS" => "apk",
                "BellSoft Hardened Containers" => "apk",
                "AlmaLinux" | "Rocky Linux" | "Red Hat" | "SUSE" | "openSUSE" | "Photon OS"
                | "Mageia" | "openEuler" | "Azure Linux" | "Fedora" | "Amazon Linux"
                | "Oracle Linux" => "rpm",
                other => return Self(other.to_ascii_lowercase()),
            }
            .to_owned(),
        )
    }

    /// Returns whether names are the vendor's, not those of an ecosystem.
    pub fn is_vendor(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether each distribution publishes packages of its own under the same names.
    pub fn has_distributions(&self) -> bool {
        matches!(self.0.as_str(), "deb" | "rpm" | "apk")
    }
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_vendor() { "-" } else { &self.0 })
    }
}

/// The name of a package in its ecosystem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Package {
    /// The namespace of the name.
    pub ecosystem: Ecosystem,
    /// The distribution whose package it is; `None` where there are none or it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// The name as its source writes it, with its namespace if it has one (`symfony/http-kernel`).
    pub name: String,
}

impl Package {
    /// Creates a package of an ecosystem without distributions.
    pub fn new(ecosystem: &str, name: &str) -> Self {
        Self {
            ecosystem: Ecosystem(ecosystem.to_owned()),
            distribution: None,
            name: name.to_owned(),
        }
    }

    /// Creates a package from the names in an OSV entry (`Debian:12`, `openssl`).
    pub fn of_osv(ecosystem: &str, name: &str) -> Self {
        let (family, release) = ecosystem.split_once(':').unwrap_or((ecosystem, ""));
        let ecosystem = Ecosystem::of_osv(family);
        let distribution = ecosystem
            .has_distributions()
            .then(|| Distribution::of_osv(family, release));

        Self {
            ecosystem,
            distribution,
            name: name.to_owned(),
        }
    }

    /// Returns whether an advisory for this package speaks of `used`, whose name is the same after
    /// [`Package::index_name`].
    pub fn concerns(&self, used: &Self) -> Option<NameMatch> {
        let same_distribution = match (&self.distribution, &used.distribution) {
            (Some(advised), Some(used)) => advised.covers(used),
            _ => true,
        };

        let same_ecosystem = self.ecosystem.is_vendor() || self.ecosystem == used.ecosystem;
        (same_ecosystem && same_distribution)
            .then(|| names::compare_names(&self.ecosystem, &self.name, &used.name))
            .flatten()
    }

    /// Returns the name under which packages are looked up: equal for all spellings of a name.
    pub fn index_name(&self) -> String {
        names::index_name(&self.ecosystem, &self.name)
    }

    /// Returns the name of the ecosystem or distribution for people: `npm`, `debian:12`.
    pub fn origin(&self) -> String {
        match &self.distribution {
            Some(distribution) => distribution.to_string(),
            None => self.ecosystem.to_string(),
        }
    }
}

/// A package and the version in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Component {
    /// The package.
    pub package: Package,
    /// The version as its ecosystem writes it; empty when unknown.
    pub version: String,
}

impl Component {
    /// Creates a component of an ecosystem without distributions.
    pub fn new(ecosystem: &str, name: &str, version: &str) -> Self {
        Self {
            package: Package::new(ecosystem, name),
            version: version.to_owned(),
        }
    }

    /// Returns origin, name and version, for assertions.
    #[cfg(test)]
    pub(crate) fn describe(&self) -> String {
        format!(
            "{} {} {}",
            self.package.origin(),
            self.package.name,
            self.version
        )
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            self.package.name,
            if self.version.is_empty() {
                "(any version)"
            } else {
                &self.version
            }
        )
    }
}
