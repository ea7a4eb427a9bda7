//! Names as each ecosystem compares them.

use super::Ecosystem;

/// How well two names agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameMatch {
    /// Both name the same package.
    Same,
    /// They differ only by case where the ecosystem knows packages that differ by nothing else, and
    /// package URLs do not keep the case.
    CaseDiffers,
}

/// Compares two names with the same [`index_name`].
pub(super) fn compare_names(ecosystem: &Ecosystem, a: &str, b: &str) -> Option<NameMatch> {
    if a == b || normalize(ecosystem, a) == normalize(ecosystem, b) {
        return Some(NameMatch::Same);
    }

    // npm has old packages with upper-case letters beside others of the same name in lower case
    // (`JSONStream`, `jsonstream`); their package URLs are both in lower case.
    let folds = ecosystem.0 == "npm" && a.eq_ignore_ascii_case(b);
    if folds {
        return Some(NameMatch::CaseDiffers);
    }

    ecosystem.is_vendor().then_some(NameMatch::Same)
}

/// Returns the key under which a name is indexed.
pub(super) fn index_name(ecosystem: &Ecosystem, name: &str) -> String {
    if ecosystem.is_vendor() {
        return vendor_name(name);
    }

    let name = normalize(ecosystem, name);
    if ecosystem.0 == "npm" {
        name.to_ascii_lowercase()
    } else {
        name
    }
}

/// Returns the only form of a name in its ecosystem.
fn normalize(ecosystem: &Ecosystem, name: &str) -> String {
    match ecosystem.0.as_str() {
        "pypi" => normalize_pypi(name),
        // The index treats `-` and `_` alike, and takes no second name that differs by case.
        "cargo" => name.to_ascii_lowercase().replace('_', "-"),
        // A module path differs by case, but its package URL is in lower case, and the hosts that
        // modules come from do not tell the difference.
        "golang" => name
            .trim_end_matches('/')
            .trim_end_matches("/@v")
            .to_ascii_lowercase(),
        "swift" => normalize_repository(name),
        "composer" | "nuget" | "hex" | "pub" | "conan" | "github" | "githubactions"
        | "bitbucket" | "gem" | "deb" | "apk" | "bitnami" | "vscode-extension" | "alpm" => {
            name.to_ascii_lowercase()
        }
        _ => name.to_owned(),
    }
}

/// Normalizes by PEP 503: lower case, and each run of `-`, `_` and `.` is one `-`.
fn normalize_pypi(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }

    normal
}

/// Normalizes the address of a repository, which is the name of a Swift package.
fn normalize_repository(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let path = name
        .split_once("://")
        .map_or(name.as_str(), |(_, path)| path);
    path.trim_end_matches('/')
        .trim_end_matches(".git")
        .to_owned()
}

/// Normalizes the name of a vendor's product to its letters and digits.
pub(super) fn vendor_name(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(ecosystem: &str, a: &str, b: &str) -> Option<NameMatch> {
        let ecosystem = Ecosystem(ecosystem.to_owned());
        (index_name(&ecosystem, a) == index_name(&ecosystem, b))
            .then(|| compare_names(&ecosystem, a, b))
            .flatten()
    }

    #[test]
    fn each_ecosystem_compares_names_by_its_own_rules() {
        use NameMatch::{CaseDiffers, Same};
        let cases = [
            ("pypi", "Django", "django", Some(Same)),
            ("pypi", "ruamel.yaml", "ruamel__YAML", Some(Same)),
            ("pypi", "zope-interface", "zopeinterface", None),
            ("npm", "JSONStream", "jsonstream", Some(CaseDiffers)),
            ("npm", "@angular/core", "@angular/core", Some(Same)),
            ("npm", "lodash.merge", "lodash-merge", None),
            ("nuget", "Newtonsoft.Json", "newtonsoft.json", Some(Same)),
            ("composer", "Symfony/Yaml", "symfony/yaml", Some(Same)),
            (
                "golang",
                "github.com/Masterminds/goutils",
                "github.com/masterminds/goutils",
                Some(Same),
            ),
            ("golang", "example.com/a", "example.com/a/v2", None),
            ("cargo", "smallvec_x", "smallvec-x", Some(Same)),
            ("maven", "org.Example:core", "org.example:core", None),
            ("rpm", "PyYAML", "pyyaml", None),
            (
                "swift",
                "https://github.com/Apple/swift-nio.git",
                "github.com/apple/swift-nio",
                Some(Same),
            ),
            ("", "Acme Widget", "acme-widget", Some(Same)),
        ];

        for (ecosystem, a, b, expected) in cases {
            assert_eq!(compare(ecosystem, a, b), expected, "{ecosystem} {a} {b}");
            assert_eq!(compare(ecosystem, b, a), expected, "{ecosystem} {b} {a}");
        }
    }
}
