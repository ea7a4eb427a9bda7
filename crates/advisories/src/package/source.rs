//! Source packages: distributions publish advisories for the source from which packages are built.

use super::{Component, Package};

/// The source package of an installed package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourcePackage {
    /// The name of the source.
    pub(crate) name: String,
    /// Its version; empty where it is that of the package.
    pub(crate) version: String,
}

impl SourcePackage {
    /// Parses `gcc-defaults (1.203)`, as dpkg writes it.
    pub(crate) fn of_dpkg(text: &str) -> Self {
        let (name, version) = text.split_once('(').unwrap_or((text, ""));
        Self {
            name: name.trim().to_owned(),
            version: version.trim_end().trim_end_matches(')').to_owned(),
        }
    }

    /// Parses the `upstream` of a package URL: `openssl`, `gcc-defaults@1.203`, or for RPM
    /// `openssl-3.0.7-16.el9_2.src.rpm`.
    pub(super) fn of_qualifier(text: &str) -> Self {
        let stem = [".src.rpm", ".nosrc.rpm"]
            .iter()
            .find_map(|suffix| text.strip_suffix(suffix));
        let of_file = stem.and_then(|stem| {
            let (rest, release) = stem.rsplit_once('-')?;
            let (name, version) = rest.rsplit_once('-')?;
            Some((name, format!("{version}-{release}")))
        });

        let (name, version) = match of_file {
            Some((name, version)) => (name, version),
            None => match text.rsplit_once('@') {
                Some((name, version)) if !name.is_empty() => (name, version.to_owned()),
                _ => (text, String::new()),
            },
        };
        Self {
            name: name.to_owned(),
            version,
        }
    }

    /// Returns the source of an installed package as a component.
    pub(crate) fn component(&self, installed: &Component) -> Component {
        let (name, version) = match unsigned_kernel(&self.name) {
            // The signed kernel has versions of its own (6.1.76+1), the package those of `linux`.
            Some(kernel) if installed.package.ecosystem.0 == "deb" => (kernel, ""),
            _ => (self.name.clone(), self.version.as_str()),
        };

        Component {
            package: Package {
                ecosystem: installed.package.ecosystem.clone(),
                distribution: installed.package.distribution.clone(),
                name,
            },
            version: match version {
                "" => installed.version.clone(),
                version => with_epoch_of(version, installed),
            },
        }
    }
}

/// Returns an installed package and its source, as a list for an inventory. Where both have the
/// same name only the source is listed, or each advisory would be reported twice.
pub(crate) fn with_source(installed: Component, source: Option<&SourcePackage>) -> Vec<Component> {
    let Some(source) = source.filter(|source| !source.name.is_empty()) else {
        return vec![installed];
    };

    let source = source.component(&installed);
    if source.package == installed.package {
        vec![source]
    } else {
        vec![installed, source]
    }
}

/// The name of an RPM's source file has no epoch; it is that of the package.
fn with_epoch_of(version: &str, installed: &Component) -> String {
    match installed.version.split_once(':') {
        Some((epoch, _)) if installed.package.ecosystem.0 == "rpm" && !version.contains(':') => {
            format!("{epoch}:{version}")
        }
        _ => version.to_owned(),
    }
}

/// Returns the kernel whose signed images a source package holds. Advisories name only the kernel.
fn unsigned_kernel(source: &str) -> Option<String> {
    let rest = source.strip_prefix("linux-signed")?;
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    Some(match rest {
        // Debian has one for each architecture, Ubuntu one for each flavor.
        "" | "amd64" | "arm64" | "i386" | "armhf" | "ppc64el" | "riscv64" => "linux".to_owned(),
        flavor => format!("linux-{flavor}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deb(name: &str, version: &str) -> Component {
        Component::new("deb", name, version)
    }

    #[test]
    fn signed_kernels_are_built_from_the_kernel() {
        let signed = SourcePackage::of_dpkg("linux-signed-amd64 (6.1.76+1)");
        let image = deb("linux-image-6.1.0-18-amd64", "6.1.76-1");
        assert_eq!(signed.component(&image), deb("linux", "6.1.76-1"));

        let flavored = SourcePackage::of_dpkg("linux-signed-hwe-6.5");
        let image = deb("linux-image-6.5.0-14-generic", "6.5.0-14.14~22.04.1");
        assert_eq!(
            flavored.component(&image),
            deb("linux-hwe-6.5", "6.5.0-14.14~22.04.1")
        );
    }

    #[test]
    fn sources_have_versions_of_their_own() {
        let source = SourcePackage::of_dpkg("gcc-defaults (1.203)");
        assert_eq!(
            source.component(&deb("gcc", "4:12.2.0-3")),
            deb("gcc-defaults", "1.203")
        );
        assert_eq!(SourcePackage::of_qualifier("gcc-defaults@1.203"), source);

        let rpm = SourcePackage::of_qualifier("openssl-3.0.7-16.el9_2.src.rpm");
        assert_eq!(
            rpm.component(&Component::new("rpm", "openssl-libs", "1:3.0.7-16.el9_2")),
            Component::new("rpm", "openssl", "1:3.0.7-16.el9_2")
        );
    }
}
