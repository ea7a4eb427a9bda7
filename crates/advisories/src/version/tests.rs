use proptest::prelude::*;

use super::*;

fn compare(ecosystem: &str, a: &str, b: &str) -> Option<Ordering> {
    compare_versions(&Ecosystem(ecosystem.to_owned()), a, b)
}

#[track_caller]
fn assert_ascending(ecosystem: &str, versions: &[&str]) {
    for (i, older) in versions.iter().enumerate() {
        for newer in &versions[i + 1..] {
            let order = compare(ecosystem, older, newer);
            assert_eq!(order, Some(Ordering::Less), "{ecosystem} {older} {newer}");
            let order = compare(ecosystem, newer, older);
            assert_eq!(
                order,
                Some(Ordering::Greater),
                "{ecosystem} {newer} {older}"
            );
        }
        assert_eq!(compare(ecosystem, older, older), Some(Ordering::Equal));
    }
}

#[track_caller]
fn assert_equal(ecosystem: &str, versions: &[&str]) {
    for a in versions {
        for b in versions {
            assert_eq!(
                compare(ecosystem, a, b),
                Some(Ordering::Equal),
                "{ecosystem} {a} {b}"
            );
        }
    }
}

#[test]
fn semantic_versions_are_ordered_by_their_standard() {
    let standard = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.1",
        "1.2",
        "1.10.0",
        "2",
        "18446744073709551616.0.0",
    ];
    for ecosystem in ["cargo", "npm", "hex", "swift", "nuget", "pub", "golang", ""] {
        assert_ascending(ecosystem, &standard);
    }

    assert_equal("npm", &["1.2.3", "v1.2.3", "1.2.3+build"]);
    assert_equal("nuget", &["1.0", "1.0.0.0", "1.0.0+x"]);
    assert_equal("nuget", &["1.0.0-BETA", "1.0.0-beta"]);
    assert_ascending("pub", &["1.0.0", "1.0.0+1", "1.0.0+2"]);
    assert_eq!(compare("npm", "1.x", "1.0.0"), None);
    assert_eq!(compare("unheard-of", "1.0", "2.0"), None);
}

#[test]
fn go_versions_are_ordered() {
    assert_ascending(
        "golang",
        &[
            "v0.0.0-20180116102854-5a71ef0e047d",
            "v0.0.0-20190116102854-0a71ef0e047d",
            "v1.2.3",
            "v1.2.4-0.20210101000000-abcdefabcdef",
            "v1.2.4",
            "v2.0.0+incompatible",
            "v10.0.0",
        ],
    );
    assert_ascending(
        "golang",
        &["go1.20.9", "go1.21rc1", "go1.21rc2", "1.21.0", "go1.21.1"],
    );
}

#[test]
fn python_versions_are_ordered_by_pep_440() {
    assert_ascending(
        "pypi",
        &[
            "1.0.dev1",
            "1.0a1",
            "1.0b2.post1.dev3",
            "1.0b2.post1",
            "1.0rc1",
            "1.0",
            "1.0+local",
            "1.0.post1",
            "1.0.1",
            "1.10",
            "1!0.1",
        ],
    );
    assert_equal("pypi", &["1.0", "1.0.0", "v1", "1.0.0.0"]);
    assert_equal("pypi", &["1.0rc1", "1.0-c1", "1.0.RC.1"]);
    assert_eq!(compare("pypi", "0.9-doduo", "1.0"), None);
}

#[test]
fn composer_patches_follow_their_release() {
    assert_ascending(
        "composer",
        &[
            "2.4.6-dev",
            "2.4.6-alpha1",
            "2.4.6-beta",
            "2.4.6-beta1",
            "2.4.6-beta1.7",
            "2.4.6-beta2",
            "2.4.6RC1",
            "v2.4.6",
            "2.4.6-p3",
            "2.4.6-p4",
            "2.4.6-p10",
            "2.4.7",
            "2.x-dev",
            "3",
        ],
    );
    assert_equal(
        "composer",
        &["v6.4.0", "6.4", "6.4.0.0", "6.4.0+build", "6.4.0-stable"],
    );
    assert_equal("composer", &["1.0-pl2", "1.0p2", "1.0.0-patch2"]);
    assert_eq!(compare("composer", "dev-main", "6.4.0"), None);
}

#[test]
fn gem_versions_are_ordered() {
    assert_ascending(
        "gem",
        &[
            "1.0.0.alpha",
            "1.0.0.beta.2",
            "1.0.0.rc1",
            "1.0.0",
            "1.0.0.1",
            "1.0.10",
            "1.1.a",
            "1.1",
        ],
    );
    assert_equal("gem", &["1", "1.0", "1.0.0"]);
    assert_equal("gem", &["1.15.0", "1.15.0-x86_64-linux", "1.15.0-java"]);
    assert_ascending("gem", &["1.0-beta", "1.0"]);
}

#[test]
fn maven_versions_are_ordered() {
    assert_ascending(
        "maven",
        &[
            "1-alpha1",
            "1-beta",
            "1-m2",
            "1-rc1",
            "1-SNAPSHOT",
            "1",
            "1-sp",
            "1-jre",
            "1-1",
            "1.0.1",
            "1.1",
            "1.10",
        ],
    );
    assert_equal(
        "maven",
        &["1", "1.0", "1.0.0", "1-ga", "1.Final", "1.0.0.RELEASE"],
    );
    assert_equal("maven", &["1.0-a1", "1.0alpha1", "1.0-alpha-1"]);
}

#[test]
fn debian_versions_are_ordered_as_dpkg_does() {
    assert_ascending(
        "deb",
        &[
            "1.0~rc1-1",
            "1.0-1~bpo12+1",
            "1.0-1",
            "1.0-1+deb12u1",
            "1.0-1+deb12u2",
            "1.0-1+deb12u10",
            "1.0a-1",
            "1.0+b-1",
            "1.0.1-1",
            "1:0.5-1",
        ],
    );
    assert_equal("deb", &["1.00-01", "1.0-1", "0:1.0-1"]);
    assert_ascending("deb", &["7.6-0", "7.6p2-4"]);
}

#[test]
fn rpm_versions_are_ordered() {
    assert_ascending(
        "rpm",
        &[
            "1.0~rc1-1",
            "1.0-1.el8",
            "1.0-1.el8_4",
            "1.0-1.el9",
            "1.0-2.el8",
            "1.0^git1-1",
            "1.0.a-1",
            "1.0.1-1",
            "1.0.10-1",
            "1:0.1-1",
        ],
    );
    assert_equal("rpm", &["1.0-1", "0:1.0-1", "1_0-1"]);
}

#[test]
fn alpine_versions_are_ordered() {
    assert_ascending(
        "apk",
        &[
            "1.0_alpha1",
            "1.0_beta",
            "1.0_rc1-r9",
            "1.0",
            "1.0-r1",
            "1.0-r10",
            "1.0_p1",
            "1.0a",
            "1.0.1",
            "1.2",
            "1.10",
            "20040401",
        ],
    );
    assert_eq!(compare("apk", "1.0-1", "1.0"), None);
}

#[test]
fn other_versions_are_ordered() {
    assert_ascending("cran", &["0.9", "0.10", "0.10-1", "1.0"]);
    assert_ascending("hackage", &["1.0", "1.0.0", "1.0.1"]);
    assert_ascending("conan", &["1.1.0", "1.1.1", "1.1.1q", "1.1.1t", "3.0"]);
    assert_equal("bitnami", &["2.3.1-1", "2.3.1-2"]);
}

const ECOSYSTEMS: [&str; 16] = [
    "cargo", "nuget", "pub", "pypi", "composer", "gem", "maven", "deb", "rpm", "apk", "cran",
    "hackage", "conan", "bitnami", "golang", "",
];

/// Versions that many ecosystems accept, so that comparisons get past the first part.
fn version() -> impl Strategy<Value = String> {
    let number = "(0|00|1|01|2|10)";
    let suffix = "((-|_|\\.|\\+|~|\\^)?(a|b|alpha|beta|rc|pre|p|dev|sp|final|x|r)?(0|1|2|10)?)";
    proptest::string::string_regex(&format!("v?{number}(\\.{number}){{0,2}}{suffix}{{0,2}}"))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn assert_total_order(a: &str, b: &str, c: &str) -> Result<(), TestCaseError> {
    for ecosystem in ECOSYSTEMS {
        prop_assert_eq!(
            compare(ecosystem, a, b),
            compare(ecosystem, b, a).map(Ordering::reverse)
        );

        // Maven's own order goes in circles where a version begins with a word or with 0:
        // v0 > 0a0 > ... it is followed here all the same.
        let is_orderly = |version: &str| version.starts_with(|c: char| ('1'..='9').contains(&c));
        if ecosystem == "maven" && ![a, b, c].into_iter().all(is_orderly) {
            continue;
        }

        let orders = (
            compare(ecosystem, a, b),
            compare(ecosystem, b, c),
            compare(ecosystem, a, c),
        );
        if let (Some(ab), Some(bc), Some(ac)) = orders
            && ab != Ordering::Greater
            && bc != Ordering::Greater
        {
            let expected = ab.then(bc);
            prop_assert_eq!(ac, expected, "{} {} {} {}", ecosystem, a, b, c);
        }
    }

    Ok(())
}

proptest! {
    #[test]
    fn every_order_is_total(a in version(), b in version(), c in version()) {
        assert_total_order(&a, &b, &c)?;
    }

    #[test]
    fn every_order_is_total_for_any_text(
        a in "[0-9a-z.~^+:_-]{0,9}",
        b in "[0-9a-z.~^+:_-]{0,9}",
        c in "[0-9a-z.~^+:_-]{0,9}",
    ) {
        assert_total_order(&a, &b, &c)?;
    }

    #[test]
    fn any_text_is_compared_without_a_panic(a in ".{0,40}", b in ".{0,40}") {
        for ecosystem in ECOSYSTEMS {
            let _ = compare(ecosystem, &a, &b);
        }
    }
}
