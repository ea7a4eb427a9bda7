//! Linux distributions and their releases. A package of Debian 12 is neither one of Debian 11 nor
//! one of Ubuntu, even under the same name and version.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A distribution and, where it is known and there are any, its release; written `debian:12`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Distribution {
    /// The name: `debian`, `ubuntu`, `alpine`, `redhat`, …
    pub name: String,
    /// The part of the release by which advisories differ: `12`, `22.04`, `3.18`.
    pub release: Option<String>,
}

impl Distribution {
    /// Creates a distribution from a name and a release as people write them: `rhel`, `9.4`.
    pub fn new(name: &str, release: &str) -> Self {
        let name = canonical_name(name);
        let release = canonical_release(&name, release);
        Self { name, release }
    }

    /// Creates a distribution from the parts of an OSV ecosystem: `Ubuntu`, `Pro:16.04:LTS`.
    pub(super) fn of_osv(family: &str, release: &str) -> Self {
        match family {
            // `enterprise_linux:9::appstream`, `openshift:4.12::el9`
            "Red Hat" => Self::of_red_hat_product(release),
            // `Linux Enterprise Server 15 SP3`
            "SUSE" | "openSUSE" => Self::new(family, &service_pack(release)),
            _ => {
                let number = release
                    .split(':')
                    .find(|part| part.contains(|c: char| c.is_ascii_digit()))
                    .unwrap_or(release);
                Self::new(family, number)
            }
        }
    }

    /// Creates a distribution from the CPE of a product, if it is an operating system of a known
    /// distribution or belongs to one: `cpe:/a:redhat:enterprise_linux:8::appstream`.
    pub(crate) fn of_cpe(cpe: &str) -> Option<Self> {
        let path = cpe
            .strip_prefix("cpe:2.3:")
            .or_else(|| cpe.strip_prefix("cpe:/"))?;
        let mut parts = path.split(':').skip(1);
        let vendor = parts.next()?;
        let rest = parts.collect::<Vec<_>>().join(":");
        let version = rest.split(':').nth(1).unwrap_or_default();

        match vendor {
            "redhat" => Some(Self::of_red_hat_product(&rest)),
            "debian" | "canonical" | "alpinelinux" | "almalinux" | "rocky" | "oracle"
            | "fedoraproject" | "amazon" => Some(Self::new(vendor, version)),
            "suse" | "opensuse" => {
                let pack = rest.split(':').nth(2).unwrap_or_default();
                Some(Self::new(
                    vendor,
                    &format!("{version}.{}", pack.trim_start_matches("sp")),
                ))
            }
            _ => None,
        }
    }

    fn of_red_hat_product(product: &str) -> Self {
        let mut parts = product.split(':');
        let name = parts.next().unwrap_or_default();
        let version = parts.next().unwrap_or_default();

        // Products of their own name the release they are built for: `openshift:4.12::el9`.
        let built_for = product
            .rsplit(':')
            .find_map(|part| part.strip_prefix("el"))
            .filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()));
        let is_system = name.starts_with("enterprise_linux") || name.starts_with("rhel");
        Self::new(
            "redhat",
            built_for.unwrap_or(if is_system { version } else { "" }),
        )
    }

    /// Creates the distribution of a package from the `distro` of its package URL, which may be
    /// `debian-12.4`, `bookworm` or only `3.18.4`, and the URL's namespace.
    pub(super) fn of_qualifier(namespace: &str, distro: &str) -> Option<Self> {
        // Ubuntu's paid updates: `trusty/esm`
        let distro = distro.split('/').next().unwrap_or_default();
        if distro.is_empty() {
            return (!namespace.is_empty()).then(|| Self::new(namespace, ""));
        }

        if let Some((name, number)) = codename(distro) {
            return Some(Self::new(name, number));
        }

        let digits = |c: char| c.is_ascii_digit();
        let number = distro.strip_prefix('v').unwrap_or(distro);
        if number.starts_with(digits) {
            return (!namespace.is_empty()).then(|| Self::new(namespace, number));
        }

        let (name, release) = distro.split_at(distro.find(digits).unwrap_or(distro.len()));
        let name = name.trim_end_matches(['-', ':', '_', ' ', 'v']);
        let (name, release) = match name.rsplit_once('-') {
            Some((family, word)) if release.is_empty() => (family, word),
            _ => (name, release),
        };
        let (release, _) = release.split_once('+').unwrap_or((release, ""));
        Some(Self::new(name, release))
    }

    /// Adds the release that a package's version names, if none is known: `deb12u1`, `.el9_2`.
    pub(crate) fn or_release_of(mut self, version: &str) -> Self {
        if self.release.is_none() {
            self.release = release_in_version(&self.name, version);
        }
        self
    }

    /// Returns the distribution that the version of a Debian package names, if it names one:
    /// `1.1.1n-0+deb11u5`, `3.0.2-0ubuntu1.10`.
    pub(crate) fn of_debian_version(version: &str) -> Option<Self> {
        if version.contains("ubuntu") {
            return Some(Self::new("ubuntu", "").or_release_of(version));
        }
        Some(Self::new("debian", "").or_release_of(version)).filter(|d| d.release.is_some())
    }

    /// Returns whether an advisory for this distribution speaks of packages of `used`. An unknown
    /// release may be any.
    pub fn covers(&self, used: &Self) -> bool {
        let same_release = match (&self.release, &used.release) {
            (Some(advised), Some(used)) => advised == used,
            _ => true,
        };
        let same_name = self.name == used.name
            // CentOS is built from Red Hat's packages and has no advisories of its own.
            || (self.name == "redhat" && used.name == "centos");

        same_name && same_release
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.release {
            Some(release) => write!(f, "{}:{release}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl From<String> for Distribution {
    fn from(text: String) -> Self {
        let (name, release) = text.split_once(':').unwrap_or((&text, ""));
        Self::new(name, release)
    }
}

impl From<Distribution> for String {
    fn from(distribution: Distribution) -> Self {
        distribution.to_string()
    }
}

fn canonical_name(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase().replace([' ', '_'], "-");
    match name.as_str() {
        "rhel" | "red-hat" | "redhat-enterprise-linux" | "red-hat-enterprise-linux" => "redhat",
        "alma" | "alma-linux" => "almalinux",
        "rocky-linux" | "rockylinux" => "rocky",
        "ol" | "oraclelinux" | "oracle-linux" => "oracle",
        "amzn" | "amazon-linux" | "amazonlinux" => "amazon",
        "photon-os" | "vmware-photon" => "photon",
        "alpinelinux" | "alpine-linux" => "alpine",
        "canonical" => "ubuntu",
        "fedoraproject" => "fedora",
        "mariner" | "azurelinux" | "cbl-mariner" => "azure-linux",
        "sles" | "sled" | "sle" | "suse-linux-enterprise-server" => "suse",
        "opensuse-leap" | "opensuse-tumbleweed" | "leap" | "opensuse.leap" => "opensuse",
        other => other,
    }
    .to_owned()
}

/// Returns the part of a release by which the advisories of a distribution differ.
fn canonical_release(name: &str, release: &str) -> Option<String> {
    let release = release.trim().to_ascii_lowercase();
    if let Some((_, number)) = codename(&release) {
        return Some(number.to_owned());
    }

    let release = release.strip_prefix('v').unwrap_or(&release);
    let numbers: Vec<&str> = release
        .split(['.', '_', '-', ':'])
        .take_while(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
        .collect();
    let parts = match name {
        // These have no releases; a date is that of the image.
        "wolfi" | "chainguard" | "minimos" | "echo" => return None,
        "ubuntu" | "alpine" | "suse" | "opensuse" | "alpaquita" | "openeuler" => 2,
        _ => 1,
    };

    if numbers.is_empty() {
        return (!release.is_empty()).then(|| release.to_owned());
    }

    Some(numbers[..parts.min(numbers.len())].join("."))
}

/// Returns the distribution and the release of a code name.
fn codename(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name.to_ascii_lowercase().as_str() {
        "wheezy" => ("debian", "7"),
        "jessie" => ("debian", "8"),
        "stretch" => ("debian", "9"),
        "buster" => ("debian", "10"),
        "bullseye" => ("debian", "11"),
        "bookworm" => ("debian", "12"),
        "trixie" => ("debian", "13"),
        "forky" => ("debian", "14"),
        "precise" => ("ubuntu", "12.04"),
        "trusty" => ("ubuntu", "14.04"),
        "xenial" => ("ubuntu", "16.04"),
        "bionic" => ("ubuntu", "18.04"),
        "focal" => ("ubuntu", "20.04"),
        "jammy" => ("ubuntu", "22.04"),
        "kinetic" => ("ubuntu", "22.10"),
        "lunar" => ("ubuntu", "23.04"),
        "mantic" => ("ubuntu", "23.10"),
        "noble" => ("ubuntu", "24.04"),
        "oracular" => ("ubuntu", "24.10"),
        "plucky" => ("ubuntu", "25.04"),
        "questing" => ("ubuntu", "25.10"),
        _ => return None,
    })
}

/// Returns `15.3` of `Linux Enterprise Server 15 SP3`.
fn service_pack(product: &str) -> String {
    let lower = product.to_ascii_lowercase();
    let mut words = lower
        .split([' ', ':', '-'])
        .skip_while(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
    let Some(number) = words.next() else {
        return lower.rsplit(':').next().unwrap_or_default().to_owned();
    };
    match words.next().and_then(|word| word.strip_prefix("sp")) {
        Some(pack) => format!("{number}.{pack}"),
        None => number.to_owned(),
    }
}

/// Returns the release that a version of a distribution's package names.
fn release_in_version(name: &str, version: &str) -> Option<String> {
    let after = |mark: &str| {
        version.match_indices(mark).find_map(|(at, _)| {
            let starts_word = !version[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
            let digits: String = version[at + mark.len()..]
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            (starts_word && !digits.is_empty()).then_some(digits)
        })
    };

    match name {
        "debian" => after("deb"),
        "redhat" | "centos" | "almalinux" | "rocky" | "oracle" => after("el"),
        "fedora" => after("fc"),
        "photon" => after("ph"),
        "amazon" => after("amzn"),
        // `ubuntu0.22.04.1`
        "ubuntu" => {
            let rest = version.split("ubuntu").nth(1)?;
            let mut parts = rest.split(['.', '~', '+']);
            let is_year = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            let year = parts.find(|part| is_year(part))?;
            let month = parts.next().filter(|part| matches!(*part, "04" | "10"))?;
            Some(format!("{year}.{month}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(namespace: &str, distro: &str) -> String {
        Distribution::of_qualifier(namespace, distro)
            .map_or_else(|| "-".to_owned(), |d| d.to_string())
    }

    #[test]
    fn releases_are_read_however_they_are_written() {
        let cases = [
            ("debian", "debian-12.4", "debian:12"),
            ("debian", "bookworm", "debian:12"),
            ("debian", "debian-bullseye", "debian:11"),
            ("debian", "", "debian"),
            ("", "", "-"),
            ("ubuntu", "ubuntu-22.04", "ubuntu:22.04"),
            ("ubuntu", "jammy", "ubuntu:22.04"),
            ("ubuntu", "trusty/esm", "ubuntu:14.04"),
            ("alpine", "3.18.4", "alpine:3.18"),
            ("alpine", "alpine-v3.18", "alpine:3.18"),
            ("alpine", "alpine-edge", "alpine:edge"),
            ("redhat", "rhel-9.4", "redhat:9"),
            ("redhat", "redhat-8", "redhat:8"),
            ("redhat", "rhel-9.4+eus", "redhat:9"),
            ("centos", "centos-7.6.1810", "centos:7"),
            ("almalinux", "almalinux-8.8", "almalinux:8"),
            ("rocky", "rocky-9.2", "rocky:9"),
            ("wolfi", "wolfi-20230201", "wolfi"),
            ("chainguard", "", "chainguard"),
            ("photon", "photon-3.0", "photon:3"),
            ("amazon", "amzn-2", "amazon:2"),
            ("opensuse", "opensuse-leap-15.4", "opensuse:15.4"),
            ("opensuse", "opensuse-tumbleweed", "opensuse:tumbleweed"),
        ];
        for (namespace, distro, expected) in cases {
            assert_eq!(of(namespace, distro), expected, "{namespace} {distro}");
        }
    }

    #[test]
    fn osv_names_and_cpes_are_read() {
        let osv = |family: &str, release: &str| Distribution::of_osv(family, release).to_string();
        assert_eq!(osv("Debian", "12"), "debian:12");
        assert_eq!(osv("Ubuntu", "22.04:LTS"), "ubuntu:22.04");
        assert_eq!(osv("Ubuntu", "Pro:16.04:LTS"), "ubuntu:16.04");
        assert_eq!(osv("Alpine", "v3.18"), "alpine:3.18");
        assert_eq!(osv("Rocky Linux", "9"), "rocky:9");
        assert_eq!(osv("Photon OS", "3.0"), "photon:3");
        assert_eq!(osv("Wolfi", ""), "wolfi");
        assert_eq!(osv("Red Hat", "enterprise_linux:9::appstream"), "redhat:9");
        assert_eq!(osv("Red Hat", "openshift:4.12::el9"), "redhat:9");
        assert_eq!(osv("Red Hat", "openshift:4.12"), "redhat");
        assert_eq!(osv("SUSE", "Linux Enterprise Server 15 SP3"), "suse:15.3");
        assert_eq!(osv("openSUSE", "Leap 15.4"), "opensuse:15.4");

        let cpe = |cpe: &str| Distribution::of_cpe(cpe).map(|d| d.to_string());
        assert_eq!(
            cpe("cpe:/a:redhat:enterprise_linux:8::appstream").as_deref(),
            Some("redhat:8")
        );
        assert_eq!(cpe("cpe:/o:suse:sles:15:sp3").as_deref(), Some("suse:15.3"));
        assert_eq!(cpe("cpe:2.3:a:acme:widget:1"), None);
    }

    #[test]
    fn a_release_is_covered_by_its_own_advisories_only() {
        let distribution = |text: &str| Distribution::from(text.to_owned());
        let covers = |advised: &str, used: &str| distribution(advised).covers(&distribution(used));
        assert!(covers("debian:12", "debian:12"));
        assert!(covers("debian:12", "debian"));
        assert!(covers("debian", "debian:12"));
        assert!(!covers("debian:12", "debian:11"));
        assert!(!covers("debian:12", "ubuntu:12"));
        assert!(covers("redhat:9", "centos:9"));
        assert!(!covers("almalinux:9", "rocky:9"));
        assert!(!covers("wolfi", "chainguard"));
    }

    #[test]
    fn versions_name_their_release() {
        let release = |name: &str, version: &str| {
            Distribution::new(name, "")
                .or_release_of(version)
                .to_string()
        };
        assert_eq!(release("debian", "1.1.1n-0+deb11u5"), "debian:11");
        assert_eq!(release("debian", "1.2debug3-1"), "debian");
        assert_eq!(release("redhat", "3.0.7-18.el9_2"), "redhat:9");
        assert_eq!(
            release("redhat", "2.7.8-139.module+el8.8.0+18745"),
            "redhat:8"
        );
        assert_eq!(release("ubuntu", "3.0.2-0ubuntu1.22.04.1"), "ubuntu:22.04");
        assert_eq!(release("ubuntu", "1.20.0-1ubuntu0.1"), "ubuntu");
        assert_eq!(release("photon", "7.61.1-4.ph3"), "photon:3");

        let named = |version: &str| Distribution::of_debian_version(version).map(String::from);
        assert_eq!(named("1.1.1n-0+deb11u5").as_deref(), Some("debian:11"));
        assert_eq!(named("3.0.2-0ubuntu1.10").as_deref(), Some("ubuntu"));
        assert_eq!(named("6.1.76-1"), None);
    }
}
