//! Packages by ecosystem and name, as in a package URL.

use std::fmt;

use model::text::percent_decode;
use serde::{Deserialize, Serialize};

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

    /// Returns the ecosystem of an OSV name. Ignores its release (`Debian:12`), because versions
    /// tell which release they belong to.
    pub fn of_osv(name: &str) -> Self {
        let name = name.split(':').next().unwrap_or_default();
        Self(
            match name {
                "crates.io" => "cargo",
                "Debian" | "Ubuntu" => "deb",
                "Packagist" => "composer",
                "Go" => "golang",
                "RubyGems" => "gem",
                "Alpine" => "apk",
                other => return Self(other.to_ascii_lowercase()),
            }
            .to_owned(),
        )
    }

    /// Returns whether names are the vendor's, not those of an ecosystem.
    pub fn is_vendor(&self) -> bool {
        self.0.is_empty()
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
    /// The name, with its namespace if it has one (`symfony/http-kernel`).
    pub name: String,
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
    /// Creates a component from its parts.
    pub fn new(ecosystem: &str, name: &str, version: &str) -> Self {
        let package = Package {
            ecosystem: Ecosystem(ecosystem.to_owned()),
            name: name.to_owned(),
        };
        Self {
            package,
            version: version.to_owned(),
        }
    }

    /// Parses a package URL (`pkg:npm/%40angular/core@17.0.1`); `None` if it is not one. The
    /// namespace of a distribution's package is its vendor and not part of the name.
    pub fn of_purl(purl: &str) -> Option<Self> {
        let rest = purl.strip_prefix("pkg:")?;
        let rest = rest.split(['?', '#']).next()?.trim_start_matches('/');
        let (ecosystem, rest) = rest.split_once('/')?;
        let (path, version) = match rest.rsplit_once('@') {
            Some((path, version)) if !path.is_empty() => (path, percent_decode(version)),
            _ => (rest, String::new()),
        };

        let ecosystem = Ecosystem::of_purl(ecosystem);
        let path = percent_decode(path.trim_matches('/'));
        let distribution = matches!(ecosystem.0.as_str(), "deb" | "rpm" | "apk");
        let name = if distribution {
            path.rsplit('/').next()?.to_owned()
        } else {
            path
        };

        // OSV joins Maven's group and artifact with a colon.
        let name = if ecosystem.0 == "maven" {
            name.replacen('/', ":", 1)
        } else {
            name
        };

        // `%00` encodes NUL, which PostgreSQL cannot store.
        let fits = !name.is_empty() && !name.contains('\0') && !version.contains('\0');
        fits.then_some(Self {
            package: Package { ecosystem, name },
            version,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_parsed() {
        let cases = [
            ("pkg:cargo/serde@1.0.200", "cargo", "serde", "1.0.200"),
            (
                "pkg:npm/%40angular/core@17.0.1",
                "npm",
                "@angular/core",
                "17.0.1",
            ),
            (
                "pkg:composer/symfony/http-kernel@v6.4.0",
                "composer",
                "symfony/http-kernel",
                "v6.4.0",
            ),
            (
                "pkg:deb/debian/xz-utils@5.4.1-0.2?arch=amd64&distro=debian-12",
                "deb",
                "xz-utils",
                "5.4.1-0.2",
            ),
            (
                "pkg:deb/debian/openssl@1%3A3.0.11-1~deb12u2",
                "deb",
                "openssl",
                "1:3.0.11-1~deb12u2",
            ),
            (
                "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1",
                "maven",
                "org.apache.logging.log4j:log4j-core",
                "2.14.1",
            ),
            ("pkg:pypi/django", "pypi", "django", ""),
        ];

        for (purl, ecosystem, name, version) in cases {
            assert_eq!(
                Component::of_purl(purl),
                Some(Component::new(ecosystem, name, version)),
                "{purl}"
            );
        }

        assert_eq!(Component::of_purl("cpe:2.3:a:x"), None);
        assert_eq!(Component::of_purl("pkg:cargo/"), None);
        assert_eq!(
            (
                Component::of_purl("pkg:cargo/a%00b@1"),
                Component::of_purl("pkg:cargo/ab@1%00")
            ),
            (None, None)
        );
    }
}
