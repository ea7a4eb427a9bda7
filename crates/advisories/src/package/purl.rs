//! Package URLs (ECMA-427).

use model::text::percent_decode;

use super::source::{SourcePackage, with_source};
use super::{Component, Distribution, Ecosystem, Package};

/// What a package URL says: `pkg:deb/debian/libssl3@3.0.11-1?distro=debian-12&upstream=openssl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageUrl {
    /// The package and its version.
    pub component: Component,
    source: Option<SourcePackage>,
}

impl PackageUrl {
    /// Parses a package URL; `None` if it is not one.
    pub fn parse(purl: &str) -> Option<Self> {
        let rest = purl.trim();
        let rest = rest
            .get(..4)
            .filter(|scheme| scheme.eq_ignore_ascii_case("pkg:"))
            .and(rest.get(4..))?;
        let rest = rest.split('#').next()?;
        let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        let (kind, path) = rest.trim_start_matches('/').split_once('/')?;

        let (path, version) = match path.rsplit_once('@') {
            // npm's scopes are often not encoded: `@angular/core`
            Some((before, version)) if !before.is_empty() && !before.ends_with('/') => {
                (before, percent_decode(version))
            }
            _ => (path, String::new()),
        };

        let ecosystem = Ecosystem::of_purl(kind);
        let path = percent_decode(path.trim_matches('/'));
        let qualifier = |key: &str| {
            qualifiers
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| name.eq_ignore_ascii_case(key))
                .map_or_else(String::new, |(_, value)| percent_decode(value))
        };
        let (namespace, name) = split_path(&ecosystem, &path);
        let version = full_version(&ecosystem, version, &qualifier("epoch"));
        let distribution = ecosystem
            .has_distributions()
            .then(|| Distribution::of_qualifier(namespace, &qualifier("distro")))
            .flatten()
            .map(|distribution| distribution.or_release_of(&version))
            .or_else(|| {
                (ecosystem.0 == "deb").then(|| Distribution::of_debian_version(&version))?
            });

        // `%00` encodes NUL, which PostgreSQL cannot store.
        let fits = !name.is_empty() && !name.contains('\0') && !version.contains('\0');
        let upstream = qualifier("upstream");
        fits.then(|| Self {
            component: Component {
                package: Package {
                    ecosystem,
                    distribution,
                    name,
                },
                version,
            },
            source: (!upstream.is_empty() && !upstream.contains('\0'))
                .then(|| SourcePackage::of_qualifier(&upstream)),
        })
    }

    /// Adds the version that stands beside the package URL, if the URL has none.
    pub(crate) fn or_version(mut self, version: &str) -> Self {
        if self.component.version.is_empty() {
            version.clone_into(&mut self.component.version);
            let package = &mut self.component.package;
            package.distribution = package
                .distribution
                .take()
                .map(|distribution| distribution.or_release_of(version));
        }
        self
    }

    /// Adds the distribution of the whole inventory, if the URL does not name its own.
    pub(crate) fn or_distribution(mut self, whole: Option<&Distribution>) -> Self {
        let package = &mut self.component.package;
        let (Some(whole), true) = (whole, package.ecosystem.has_distributions()) else {
            return self;
        };

        match &package.distribution {
            None => package.distribution = Some(whole.clone()),
            Some(own) if own.release.is_none() && own.name == whole.name => {
                package.distribution = Some(whole.clone());
            }
            Some(_) => {}
        }
        self
    }

    /// Adds the source package that stands beside the package URL, if the URL has none.
    pub(crate) fn or_source(mut self, source: Option<SourcePackage>) -> Self {
        self.source = self.source.or(source);
        self
    }

    /// Returns the package and its source package.
    pub(crate) fn components(self) -> Vec<Component> {
        with_source(self.component, self.source.as_ref())
    }
}

/// Splits a path into the namespace that is not part of the name, and the name.
fn split_path<'a>(ecosystem: &Ecosystem, path: &'a str) -> (&'a str, String) {
    if ecosystem.has_distributions() {
        let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
        return (namespace, name.to_owned());
    }

    let name = match ecosystem.0.as_str() {
        // OSV joins Maven's group and artifact with a colon.
        "maven" => path.replacen('/', ":", 1),
        // The user and channel of a Conan package are not part of its name.
        "conan" => path.rsplit('/').next().unwrap_or_default().to_owned(),
        _ => path.to_owned(),
    };
    ("", name)
}

/// Returns the version with its epoch, which an RPM's package URL has in a qualifier.
fn full_version(ecosystem: &Ecosystem, version: String, epoch: &str) -> String {
    let is_number = !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_digit());
    if matches!(ecosystem.0.as_str(), "rpm" | "deb")
        && is_number
        && !version.is_empty()
        && !version.contains(':')
    {
        return format!("{epoch}:{version}");
    }

    version
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(purl: &str) -> Vec<String> {
        PackageUrl::parse(purl).map_or_else(Vec::new, |url| {
            url.components().iter().map(Component::describe).collect()
        })
    }

    #[test]
    fn package_urls_are_parsed() {
        let cases: &[(&str, &[&str])] = &[
            ("pkg:cargo/serde@1.0.200", &["cargo serde 1.0.200"]),
            (
                "pkg:npm/%40angular/core@17.0.1",
                &["npm @angular/core 17.0.1"],
            ),
            ("pkg:npm/@angular/core", &["npm @angular/core "]),
            ("PKG:NPM/lodash@4.17.21", &["npm lodash 4.17.21"]),
            (
                "pkg:composer/symfony/http-kernel@v6.4.0",
                &["composer symfony/http-kernel v6.4.0"],
            ),
            (
                "pkg:deb/debian/xz-utils@5.4.1-0.2?arch=amd64&distro=debian-12",
                &["debian:12 xz-utils 5.4.1-0.2"],
            ),
            (
                "pkg:deb/debian/libssl3@1%3A3.0.11-1~deb12u2?upstream=openssl",
                &[
                    "debian:12 libssl3 1:3.0.11-1~deb12u2",
                    "debian:12 openssl 1:3.0.11-1~deb12u2",
                ],
            ),
            (
                "pkg:deb/debian/sudo@1.9.13p3-1?upstream=sudo%401.9&distro=bookworm",
                &["debian:12 sudo 1.9"],
            ),
            (
                "pkg:rpm/redhat/openssl-libs@3.0.7-16.el9_2?epoch=1&upstream=openssl-3.0.7-16.el9_2.src.rpm",
                &[
                    "redhat:9 openssl-libs 1:3.0.7-16.el9_2",
                    "redhat:9 openssl 1:3.0.7-16.el9_2",
                ],
            ),
            (
                "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1",
                &["maven org.apache.logging.log4j:log4j-core 2.14.1"],
            ),
            ("pkg:pypi/django", &["pypi django "]),
            ("cpe:2.3:a:x", &[]),
            ("pkg:cargo/", &[]),
            ("pkg:cargo/a%00b@1", &[]),
            ("pkg:cargo/ab@1%00", &[]),
            ("päckage", &[]),
        ];

        for (purl, expected) in cases {
            assert_eq!(describe(purl), *expected, "{purl}");
        }
    }
}
