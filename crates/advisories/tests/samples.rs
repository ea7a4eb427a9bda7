//! Matching as other tools' test suites expect it: pairs of a package and an advisory with the
//! verdict of the ecosystem's own tools. The samples are not part of this repository; without them
//! the tests say so and pass.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use advisories::{Confidence, Index, feeds, inventory};
use serde_json::{Value, json};

fn samples() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    if path.join("advisories").is_dir() {
        return Some(path);
    }

    eprintln!(
        "SKIPPED: there are no sample advisories in {}",
        path.display()
    );
    None
}

fn rows(path: PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

/// How often a verdict agreed with the expected one, per ecosystem.
#[derive(Default)]
struct Tally(BTreeMap<String, [u32; 3]>);

impl Tally {
    fn count(&mut self, ecosystem: &str, expected: &str, verdict: &str) {
        let place = match verdict {
            _ if verdict == expected => 0,
            "possible" => 1,
            _ => 2,
        };
        self.0.entry(ecosystem.to_owned()).or_default()[place] += 1;
    }

    /// Fails unless at least this share agreed.
    fn assert_agreed(&self, percent: u32) {
        let agreed: u32 = self.0.values().map(|counts| counts[0]).sum();
        let all: u32 = self.0.values().flatten().sum();
        assert!(
            agreed * 100 >= all * percent,
            "only {agreed} of {all} agreed"
        );
    }

    fn print(&self, title: &str) {
        println!("{title:<24} agreed undecided wrong");
        for (ecosystem, [agreed, undecided, wrong]) in &self.0 {
            println!("{ecosystem:<24} {agreed:>6} {undecided:>9} {wrong:>5}");
        }
    }
}

/// Returns an inventory as a scanner would write it: a package URL with the distribution and the
/// source package as qualifiers.
fn inventory_of(row: &Value) -> String {
    let purl = match text(row, "purl") {
        "" => build_purl(row),
        given => given.to_owned(),
    };
    let source = match (text(row, "source_package"), text(row, "source_version")) {
        ("", _) => String::new(),
        (name, "") => format!("upstream={name}"),
        (name, version) => format!("upstream={name}%40{}", encode(version)),
    };

    let purl = match (source.is_empty(), purl.contains('?')) {
        (true, _) => purl,
        (false, true) => format!("{purl}&{source}"),
        (false, false) => format!("{purl}?{source}"),
    };
    json!({
        "bomFormat": "CycloneDX",
        "components": [{ "name": row["package"], "version": row["version"], "purl": purl }],
    })
    .to_string()
}

fn build_purl(row: &Value) -> String {
    let (ecosystem, release) = text(row, "ecosystem")
        .split_once(':')
        .unwrap_or((text(row, "ecosystem"), ""));
    let name = text(row, "package");
    let version = encode(text(row, "version"));
    let number = release
        .split(':')
        .find(|part| part.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or(release.trim_start_matches('v'));

    match ecosystem {
        "PyPI" => format!("pkg:pypi/{name}@{version}"),
        "Maven" => format!("pkg:maven/{}@{version}", name.replacen(':', "/", 1)),
        "Go" => format!("pkg:golang/{name}@{version}"),
        "npm" => format!("pkg:npm/{}@{version}", name.replace('@', "%40")),
        "Packagist" => format!("pkg:composer/{name}@{version}"),
        "RubyGems" => format!("pkg:gem/{name}@{version}"),
        "crates.io" => format!("pkg:cargo/{name}@{version}"),
        "Hex" => format!("pkg:hex/{name}@{version}"),
        "ConanCenter" => format!("pkg:conan/{name}@{version}"),
        "SwiftURL" => format!("pkg:swift/{name}@{version}"),
        "Debian" => format!("pkg:deb/debian/{name}@{version}?distro=debian-{number}"),
        "Ubuntu" => format!("pkg:deb/ubuntu/{name}@{version}?distro=ubuntu-{number}"),
        "Alpine" => format!("pkg:apk/alpine/{name}@{version}?distro=alpine-{number}.1"),
        "Wolfi" => format!("pkg:apk/wolfi/{name}@{version}?distro=wolfi-20230201"),
        "Chainguard" => format!("pkg:apk/chainguard/{name}@{version}?distro=chainguard-20230214"),
        "AlmaLinux" => format!("pkg:rpm/almalinux/{name}@{version}?distro=almalinux-{number}"),
        "Rocky Linux" => format!("pkg:rpm/rocky/{name}@{version}?distro=rocky-{number}"),
        "Photon OS" => format!("pkg:rpm/photon/{name}@{version}?distro=photon-{number}"),
        other => panic!("{other} has no package URL here"),
    }
}

fn encode(version: &str) -> String {
    version
        .replace('%', "%25")
        .replace(':', "%3A")
        .replace('+', "%2B")
        .replace('~', "%7E")
}

fn verdict(inventory: &str, feed: &str, vulnerability: &str) -> &'static str {
    let components = inventory::read(inventory, None).unwrap();
    let index = Index::new(&components);
    let advisories = feeds::read(feed, None).unwrap().advisories;
    let best = advisories
        .iter()
        .filter(|advisory| advisory.id.ends_with(vulnerability))
        .flat_map(|advisory| index.find_matches(advisory))
        .map(|found| found.confidence)
        .max();

    match best {
        Some(Confidence::Affected) => "affected",
        Some(Confidence::Possible) => "possible",
        None => "not_affected",
    }
}

#[test]
fn pairs_of_packages_and_osv_entries_agree() {
    let Some(samples) = samples() else { return };

    let mut tally = Tally::default();
    for row in rows(samples.join("advisories/matching/pairs.jsonl")) {
        let file = samples
            .join("advisories/matching")
            .join(text(&row, "advisory_file"));
        let feed = std::fs::read_to_string(file).unwrap();
        let found = verdict(&inventory_of(&row), &with_id(&feed), "");
        let ecosystem = text(&row, "ecosystem").split(':').next().unwrap();
        if found != text(&row, "expected") {
            println!("{found}: {row}");
        }
        tally.count(ecosystem, text(&row, "expected"), found);
    }

    tally.print("osv pairs");
    tally.assert_agreed(99);
}

/// Some sample entries leave out `modified`, by which an entry is recognized.
fn with_id(feed: &str) -> String {
    let mut entry: Value = serde_json::from_str(feed).unwrap();
    if entry["modified"].is_null() {
        entry["modified"] = "2024-01-01T00:00:00Z".into();
    }
    entry.to_string()
}

#[test]
fn pairs_of_products_and_csaf_documents_agree() {
    let Some(samples) = samples() else { return };

    let mut tally = Tally::default();
    for row in rows(samples.join("advisories/csaf/pairs.jsonl")) {
        let feed = std::fs::read_to_string(samples.join(text(&row, "advisory_file"))).unwrap();
        let inventory = json!({
            "bomFormat": "CycloneDX",
            "components": [{
                "name": row["product_name"],
                "version": row["version"],
                "purl": row["purl"],
            }],
        });
        let found = verdict(&inventory.to_string(), &feed, text(&row, "vulnerability"));
        let found = match (found, text(&row, "expected")) {
            // What is under investigation is shown to a person, or not at all.
            ("possible", "unknown") => "unknown",
            (found, _) => found,
        };

        if found != text(&row, "expected") {
            println!("{found}: {row}");
        }
        let status = text(&row, "status_in_document");
        tally.count(status, text(&row, "expected"), found);
    }

    tally.print("csaf pairs");
    tally.assert_agreed(98);
}

#[test]
fn versions_are_ordered_as_the_ecosystems_own_tools_do() {
    let Some(samples) = samples() else { return };

    let mut tally = Tally::default();
    for row in rows(samples.join("advisories/versions/cases.jsonl")) {
        let ecosystem = match text(&row, "ecosystem") {
            "Packagist" => "composer",
            "RubyGems" => "gem",
            "Go" => "golang",
            "Red Hat" => "rpm",
            "Debian" => "deb",
            "Alpine" => "apk",
            "crates.io" => "cargo",
            "SemVer" => "npm",
            other => &other.to_lowercase(),
        };
        let order = advisories::version::compare_versions(
            &advisories::Ecosystem(ecosystem.to_owned()),
            text(&row, "version_a"),
            text(&row, "version_b"),
        );

        let holds = order.map(|order| match text(&row, "op") {
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            ">=" => order.is_ge(),
            "=" => order.is_eq(),
            _ => order.is_ne(),
        });
        let found = match holds {
            Some(true) => "holds",
            Some(false) => "wrong",
            None => "possible",
        };
        if found != "holds" {
            println!("{found} {order:?}: {row}");
        }
        tally.count(text(&row, "ecosystem"), "holds", found);
    }

    tally.print("versions");
    // The orders of Arch and Gentoo are not implemented.
    tally.assert_agreed(97);
}
