use super::*;
use crate::package::PackageUrl;
use crate::{Range, Statement};

fn advisory_about(affected: Vec<Affected>) -> Advisory {
    Advisory {
        id: "X-1".to_owned(),
        feed: "osv".to_owned(),
        title: "x".to_owned(),
        summary: String::new(),
        severity: Some(Severity::High),
        aliases: vec!["CVE-2024-1".to_owned()],
        related: Vec::new(),
        known_exploited: false,
        due: None,
        published: None,
        action: None,
        affected,
        unnamed: 0,
    }
}

fn affected(package: Package, versions: &[&str], ranges: &[(&str, &str)]) -> Affected {
    let bound = |v: &str| (!v.is_empty()).then(|| v.to_owned());
    Affected {
        versions: versions.iter().map(|v| (*v).to_owned()).collect(),
        ranges: ranges
            .iter()
            .map(|(from, to)| Range {
                introduced: bound(from),
                fixed: bound(to),
                last_affected: None,
            })
            .collect(),
        ..Affected::new(package)
    }
}

fn advisory_for(
    ecosystem: &str,
    name: &str,
    versions: &[&str],
    ranges: &[(&str, &str)],
) -> Advisory {
    advisory_about(vec![affected(
        Package::new(ecosystem, name),
        versions,
        ranges,
    )])
}

fn component(purl: &str) -> Component {
    PackageUrl::parse(purl).unwrap().component
}

fn first_confidence(advisory: &Advisory, component: &Component) -> Option<Confidence> {
    Index::new([component])
        .find_matches(advisory)
        .first()
        .map(|m| m.confidence)
}

#[test]
fn versions_decide_where_they_are_known() {
    use Confidence::{Affected, Possible};
    let rsa = advisory_for("cargo", "rsa", &[], &[("0", "0.9.7")]);
    let cases = [
        ("cargo", "0.9.6", Some(Affected)),
        ("cargo", "0.9.7", None),
        ("npm", "0.9.6", None),
        ("cargo", "", Some(Possible)),
        ("cargo", "main", Some(Possible)),
    ];
    for (ecosystem, version, expected) in cases {
        let used = Component::new(ecosystem, "rsa", version);
        assert_eq!(
            first_confidence(&rsa, &used),
            expected,
            "{ecosystem} {version}"
        );
    }

    // Listed versions are compared as well as ranges.
    let django = advisory_for("pypi", "Django", &["4.3rc1"], &[("0", "4.2.2")]);
    let cases = [
        ("4.2.1", Some(Affected)),
        ("4.3.RC1", Some(Affected)),
        ("4.2.9", None),
    ];
    for (version, expected) in cases {
        let used = Component::new("pypi", "django", version);
        assert_eq!(first_confidence(&django, &used), expected, "{version}");
    }

    let listed = advisory_for("npm", "event-stream", &["3.3.6"], &[]);
    let used = Component::new("npm", "event-stream", "4.0.0");
    assert_eq!(first_confidence(&listed, &used), None);

    // An order that is not known is no excuse for silence.
    let unknown = advisory_for("opam", "x", &[], &[("0", "2")]);
    let used = Component::new("opam", "x", "1");
    assert_eq!(first_confidence(&unknown, &used), Some(Possible));
}

#[test]
fn each_release_of_a_distribution_is_judged_by_its_own_range() {
    let deb = |release: &str, fixed: &str| {
        affected(Package::of_osv(release, "openssl"), &[], &[("0", fixed)])
    };
    let advisory = advisory_about(vec![
        deb("Debian:11", "1.1.1n-0+deb11u5"),
        deb("Debian:12", "3.0.9-1"),
    ]);
    let cases = [
        (
            "pkg:deb/debian/openssl@1.1.1n-0%2Bdeb11u5?distro=debian-11",
            None,
        ),
        ("pkg:deb/debian/openssl@1.1.1n-0%2Bdeb11u5", None),
        (
            "pkg:deb/debian/openssl@1.1.1n-0%2Bdeb11u4?distro=bullseye",
            Some(Confidence::Affected),
        ),
        (
            "pkg:deb/debian/openssl@3.0.8-1?distro=debian-12.1",
            Some(Confidence::Affected),
        ),
        ("pkg:deb/debian/openssl@3.0.9-1?distro=debian-12.1", None),
        ("pkg:deb/debian/openssl@1.0.2-1?distro=debian-10", None),
        (
            "pkg:deb/ubuntu/openssl@1.1.1f-1ubuntu2?distro=ubuntu-20.04",
            None,
        ),
        // Of an unknown release: affected in one, not in the other.
        (
            "pkg:deb/debian/openssl@1.1.1w-1",
            Some(Confidence::Possible),
        ),
        (
            "pkg:deb/debian/openssl@1.1.1k-1",
            Some(Confidence::Affected),
        ),
        ("pkg:deb/debian/openssl@3.0.11-1", None),
    ];
    for (purl, expected) in cases {
        assert_eq!(
            first_confidence(&advisory, &component(purl)),
            expected,
            "{purl}"
        );
    }
}

#[test]
fn what_is_unaffected_or_under_investigation_is_judged_so() {
    let entry = Affected {
        unaffected: vec![Range::exactly("1.5")],
        ..affected(Package::new("", "Widget"), &[], &[("0", "2.0")])
    };
    let advisory = advisory_about(vec![entry]);
    let confidence =
        |version: &str| first_confidence(&advisory, &Component::new("", "widget", version));
    assert_eq!(confidence("1.4"), Some(Confidence::Affected));
    assert_eq!(confidence("1.5"), None);

    let entry = Affected {
        statement: Statement::UnderInvestigation,
        ..affected(Package::new("npm", "widget"), &["1.0.0"], &[])
    };
    let advisory = advisory_about(vec![entry]);
    let used = Component::new("npm", "widget", "1.0.0");
    assert_eq!(
        first_confidence(&advisory, &used),
        Some(Confidence::Possible)
    );
}

#[test]
fn exploited_matches_are_critical() {
    let severity = |advisory: &Advisory, exploited: bool, component: &Component| {
        let index = Index::new([component]);
        let found = index.find_matches(advisory);
        match_severity(advisory, exploited, &found[0])
    };

    // Only the vendor's name agrees.
    let sudo = advisory_for("", "Sudo", &[], &[]);
    let used = Component::new("deb", "sudo", "1.9.13p3-1");
    assert_eq!(severity(&sudo, true, &used), Some(Severity::Medium));

    let named = advisory_for("deb", "sudo", &[], &[("0", "1.9.14-1")]);
    assert_eq!(severity(&named, false, &used), Some(Severity::High));
    assert_eq!(severity(&named, true, &used), Some(Severity::Critical));
    let unversioned = Component::new("deb", "sudo", "");
    assert_eq!(
        severity(&named, false, &unversioned),
        Some(Severity::Medium)
    );
    assert_eq!(
        severity(&named, true, &unversioned),
        Some(Severity::Critical)
    );

    let mut unknown = named;
    unknown.severity = None;
    assert_eq!(severity(&unknown, false, &used), None);
    assert_eq!(severity(&unknown, true, &used), Some(Severity::Critical));
    assert_eq!(unknown.vulnerability(), "CVE-2024-1");
}

#[test]
fn components_that_no_advisory_can_concern_are_counted() {
    let mut coverage = Coverage::default();
    coverage.add(&advisory_for("npm", "x", &[], &[]));
    coverage.add(&advisory_about(vec![affected(
        Package::of_osv("Debian:12", "openssl"),
        &[],
        &[],
    )]));

    let used = [
        component("pkg:npm/lodash@4.17.21"),
        component("pkg:deb/debian/sudo@1?distro=debian-12"),
        component("pkg:deb/debian/sudo@1?distro=debian-11"),
        component("pkg:deb/ubuntu/sudo@1?distro=jammy"),
        component("pkg:conan/zlib@1"),
        component("pkg:conan/pcre@1"),
    ];
    let counts = coverage.count_uncovered(&used);
    let counts: Vec<(&str, u64)> = counts.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    assert_eq!(
        counts,
        [("conan", 2), ("debian:11", 1), ("ubuntu:22.04", 1)]
    );
}
