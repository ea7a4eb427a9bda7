//! Findings as an importer meets them, and how they become those of a report: cleaned, bounded,
//! each once, under a fingerprint that is the same in the next run.

use std::collections::HashMap;
use std::fmt::Write as _;

use model::Severity;
use model::text::shorten;
use sha2::{Digest as _, Sha256};

use crate::controls::{self, Kind};
use crate::report::{Counts, Finding};
use crate::text::{DETAIL_MAX, NAME_MAX, PLACE_MAX, TITLE_MAX, clean};
use crate::{ReadError, Report};

/// The most things that a report lists.
const ITEMS_MAX: usize = 100_000;
/// The most parts of a target that a report names.
const AREAS_MAX: usize = 200_000;
/// The most bytes of text of all findings together.
const TEXT_MAX: usize = crate::text::SIZE_MAX;
/// The most CWEs, CVEs and requirements of one finding.
const REFERENCES_MAX: usize = 20;

/// A finding as a tool writes it.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) rule: String,
    pub(crate) title: String,
    pub(crate) severity: Severity,
    pub(crate) location: String,
    pub(crate) area: String,
    pub(crate) group: String,
    pub(crate) kind: Kind,
    pub(crate) cwes: Vec<u32>,
    pub(crate) cves: Vec<String>,
    /// Requirements that the report itself names.
    pub(crate) controls: Vec<String>,
    pub(crate) detail: String,
    /// How often the report lists it.
    pub(crate) instances: u32,
    /// What makes it this finding, beside the tool and its target.
    pub(crate) identity: Vec<String>,
}

impl Draft {
    /// A finding of a rule, of which nothing else is known.
    pub(crate) fn of(rule: impl Into<String>, kind: Kind) -> Self {
        Self {
            rule: rule.into(),
            title: String::new(),
            severity: Severity::Low,
            location: String::new(),
            area: String::new(),
            group: String::new(),
            kind,
            cwes: Vec::new(),
            cves: Vec::new(),
            controls: Vec::new(),
            detail: String::new(),
            instances: 1,
            identity: Vec::new(),
        }
    }
}

/// The findings of a report that is being read.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    /// Each with what makes it this one; its fingerprint is not known yet.
    findings: Vec<(Identity, Finding)>,
    /// What is still there but was dismissed in the tool.
    set_aside: Vec<Identity>,
    /// How much text the findings hold.
    bytes: usize,
    pub(crate) counts: Counts,
}

/// A hash of what makes a finding this one, beside its tool and target.
type Identity = [u8; 32];

impl Drafts {
    /// Counts a thing that the report lists, finding or not.
    pub(crate) fn item(&mut self) -> Result<(), ReadError> {
        self.counts.items += 1;
        if self.counts.items > ITEMS_MAX {
            return Err(ReadError::TooMany(ITEMS_MAX, "findings"));
        }
        Ok(())
    }

    /// Takes in a finding. It is cut at once: ten thousand may share one text of the report.
    pub(crate) fn push(&mut self, draft: Draft) -> Result<(), ReadError> {
        let identity = draft.identity();
        let finding = finding(draft);
        self.bytes += [&finding.title, &finding.location, &finding.detail]
            .map(String::len)
            .iter()
            .sum::<usize>();
        if self.bytes > TEXT_MAX {
            return Err(ReadError::TooMuchText(TEXT_MAX));
        }
        self.findings.push((identity, finding));
        Ok(())
    }

    /// Takes in what is still there but was dismissed in the tool: it is no finding, and it does not
    /// prove that a known finding is gone.
    pub(crate) fn set_aside(&mut self, draft: &Draft) {
        self.set_aside.push(draft.identity());
    }

    /// Puts all findings into one part of the target.
    pub(crate) fn set_area(&mut self, area: &str) {
        for (_, finding) in &mut self.findings {
            finding.area = area_name(area);
        }
    }
}

impl Draft {
    /// Hashes the rule and what else makes it this finding. Each part is preceded by its length, so
    /// that `A-B`, `C` is not `A`, `B-C`.
    fn identity(&self) -> Identity {
        let mut hasher = Sha256::new();
        for part in std::iter::once(&self.rule).chain(&self.identity) {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().into()
    }
}

/// Puts what was read into a report, under the target that it names or that was given.
pub(crate) fn finish(
    mut report: Report,
    drafts: Drafts,
    target: Option<&str>,
) -> Result<Report, ReadError> {
    report.tool = clean(&report.tool, NAME_MAX);
    if report.tool.is_empty() {
        report.format.clone_into(&mut report.tool);
    }
    report.version = report
        .version
        .map(|version| clean(&version, NAME_MAX))
        .filter(|version| !version.is_empty());
    report.run_id = report
        .run_id
        .map(|id| clean(&id, NAME_MAX))
        .filter(|id| !id.is_empty());
    if let Some(target) = target {
        target.clone_into(&mut report.target);
        // Who names the target says that the run was about all of it, unless the tool knows better.
        report.scope.is_whole |= lists_findings_alone(report.format);
    }
    report.target = area_name(&report.target);
    // What has no name is not known to be the same in another run.
    report.scope.is_whole &= !report.target.is_empty();
    report.scope.areas = std::mem::take(&mut report.scope.areas)
        .iter()
        .map(|area| area_name(area))
        .filter(|area| !area.is_empty())
        .collect();
    if report.scope.areas.len() > AREAS_MAX {
        return Err(ReadError::TooMany(AREAS_MAX, "hosts, sites or files"));
    }

    let mut places: HashMap<String, usize> = HashMap::new();
    for (identity, mut finding) in drafts.findings {
        finding.fingerprint = fingerprint(&report, &identity);
        if let Some(&place) = places.get(&finding.fingerprint) {
            merge(&mut report.findings[place], &finding);
        } else {
            places.insert(finding.fingerprint.clone(), report.findings.len());
            report.findings.push(finding);
        }
    }
    report.set_aside = drafts
        .set_aside
        .iter()
        .map(|identity| fingerprint(&report, identity))
        .collect();
    report.counts = drafts.counts;
    Ok(report)
}

/// Formats that need not name a part of the target in which nothing was found.
fn lists_findings_alone(format: &str) -> bool {
    matches!(format, "sarif" | "semgrep" | "nuclei")
}

/// The name of a part, as findings and scopes have it. Long ones stay different.
fn area_name(area: &str) -> String {
    distinct(area, PLACE_MAX)
}

/// The name of a part of the checks, as findings and scopes have it.
pub(crate) fn group_name(group: &str) -> String {
    distinct(group, NAME_MAX)
}

/// A clean text that is another one wherever the text is.
fn distinct(text: &str, max_bytes: usize) -> String {
    let text = shorten(text, max_bytes * 2);
    // Spelled characters are up to eight times as long.
    shorten(&clean(&text, max_bytes * 16), max_bytes).into_owned()
}

fn finding(draft: Draft) -> Finding {
    let mut cves: Vec<String> = draft.cves.iter().filter_map(|id| cve(id)).collect();
    cves.sort();
    cves.dedup();
    cves.truncate(REFERENCES_MAX);
    let mut cwes = draft.cwes;
    cwes.sort_unstable();
    cwes.dedup();
    cwes.truncate(REFERENCES_MAX);
    let mut controls = controls::given(&draft.controls);
    if controls.is_empty() {
        controls = controls::of(&cwes, draft.kind);
    }
    let rule = clean(&draft.rule, NAME_MAX);
    let title = clean(&draft.title, TITLE_MAX);
    let title = [title, rule.clone()]
        .into_iter()
        .find(|text| !text.is_empty());

    Finding {
        fingerprint: String::new(),
        title: title.unwrap_or_else(|| "without a title".to_owned()),
        rule,
        severity: draft.severity,
        location: clean(&draft.location, PLACE_MAX),
        area: area_name(&draft.area),
        group: group_name(&draft.group),
        is_of_module: draft.kind == Kind::Module,
        cwes,
        cves,
        controls,
        detail: clean(&draft.detail, DETAIL_MAX),
        instances: draft.instances.max(1),
    }
}

/// One more of the same: the worst severity counts.
fn merge(there: &mut Finding, more: &Finding) {
    there.instances = there.instances.saturating_add(more.instances);
    there.severity = there.severity.max(more.severity);
}

/// Returns what makes a finding the same in another run.
fn fingerprint(report: &Report, identity: &Identity) -> String {
    let mut hasher = Sha256::new();
    for part in [&report.tool, &report.target] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(identity);
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Returns a CVE ID as it is written; `None` for what is none.
pub(crate) fn cve(text: &str) -> Option<String> {
    let text = text.trim();
    let is_so = |start: &str| start.eq_ignore_ascii_case("CVE-");
    if text.len() > 21 || !text.get(..4).is_some_and(is_so) {
        return None;
    }
    let text = text.to_ascii_uppercase();
    let (year, number) = text.strip_prefix("CVE-")?.split_once('-')?;
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let fits = year.len() == 4 && (4..=12).contains(&number.len());
    (fits && is_digits(year) && is_digits(number)).then_some(text)
}

/// Returns all CVE IDs in a text.
pub(crate) fn cves_in(text: &str) -> Vec<String> {
    if !(text.contains("CVE-") || text.contains("cve-")) {
        return Vec::new();
    }
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter_map(cve).take(REFERENCES_MAX).collect()
}

/// Returns the number of a CWE: `CWE-79`, `cwe-79: Cross-site Scripting`, `external/cwe/cwe-079`,
/// `79`.
pub(crate) fn cwe(text: &str) -> Option<u32> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let number = match lower.rfind("cwe-") {
        Some(at) => &text[at + 4..],
        None => text,
    };
    let end = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    number[..end].parse().ok().filter(|number| *number > 0)
}

/// Returns the severity of a word that a tool uses; low for one that nobody knows.
pub(crate) fn severity(word: &str) -> Severity {
    match word.trim().to_ascii_lowercase().as_str() {
        "critical" => Severity::Critical,
        "high" | "error" | "important" => Severity::High,
        "medium" | "moderate" | "warning" => Severity::Medium,
        "info" | "information" | "informational" | "none" | "inventory" | "experiment" => {
            Severity::Info
        }
        _ => Severity::Low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_they_are_written() {
        assert_eq!(cwe("CWE-696: Incorrect Behavior Order"), Some(696));
        assert_eq!(cwe("external/cwe/cwe-079"), Some(79));
        assert_eq!(cwe("-1"), None);
        assert_eq!(cwe("99999999999999"), None);
        assert_eq!(cve("cve-2021-41773"), Some("CVE-2021-41773".to_owned()));
        assert_eq!(cve("CVE-2021-x"), None);
        assert_eq!(
            cves_in("BDSA-2020-1001 (CVE-2020-11022)"),
            ["CVE-2020-11022"]
        );
    }
}
