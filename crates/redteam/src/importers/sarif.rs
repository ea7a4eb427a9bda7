//! SARIF 2.1.0 (OASIS), and the drafts of 2.2: what static analysis writes.

use std::collections::{BTreeSet, HashMap};

use model::Severity;
use serde_json::Value;

use super::{Importer, Reader, new_report};
use crate::controls::Kind;
use crate::drafts::{Draft, Drafts, cves_in, cwe};
use crate::json::{list_of, text_of, texts_of};
use crate::report::Scope;
use crate::text::{clean, without_markup};
use crate::{ReadError, Report, times};

pub(super) const IMPORTER: Importer = Importer {
    name: "sarif",
    title: "SARIF 2.1.0",
    may_be_empty: false,
    reader: Reader::Json { recognizes, read },
};

const NAME: &str = "sarif";
/// The most parts of the id of a rule.
const PARTS_MAX: usize = 4;
/// The most tags and relations of a rule that are looked at, as each of its results looks at them.
const RELATIONS_MAX: usize = 50;

fn recognizes(document: &Value) -> bool {
    document.get("runs").is_some()
        && (document.get("version").is_some() || document.get("$schema").is_some())
}

fn read(document: &Value, drafts: &mut Drafts) -> Result<Report, ReadError> {
    let version = text_of(document, "version");
    if !(version.starts_with("2.1.") || version.starts_with("2.2")) {
        return Err(ReadError::shape(
            NAME,
            format!(
                "it is of version `{}`, and 2.1.0 is what is read",
                clean(version, 40)
            ),
        ));
    }

    let runs = list_of(document, "runs", NAME)?;
    let mut report = new_report(&IMPORTER);
    let mut tools = BTreeSet::new();
    let mut areas = BTreeSet::new();
    let mut is_complete = !runs.is_empty();
    for run in runs {
        drafts.counts.add("runs");
        let driver = &run["tool"]["driver"];
        tools.insert(text_of(driver, "name"));
        if report.version.is_none() {
            let versions = ["semanticVersion", "version"].map(|key| text_of(driver, key));
            let found = versions.into_iter().find(|version| !version.is_empty());
            report.version = found.map(str::to_owned);
        }
        read_invocations(run, &mut report, &mut is_complete)?;
        if report.target.is_empty() {
            report.target = repository_of(run);
        }
        is_complete &= run.get("results").is_some_and(Value::is_array);
        for artifact in list_of(run, "artifacts", NAME)? {
            let path = path_of(run, artifact.get("location"));
            areas.extend(Some(path).filter(|path| !path.is_empty()));
        }
        let rules = Rules::of(run);
        for result in list_of(run, "results", NAME)? {
            drafts.item()?;
            read_result(run, &rules, result, drafts, &mut areas)?;
        }
    }

    report.tool = tools.into_iter().collect::<Vec<_>>().join(", ");
    if report.tool.is_empty() {
        NAME.clone_into(&mut report.tool);
    }
    report.scope = Scope {
        is_complete,
        ..Scope::of_areas(areas)
    };
    Ok(report)
}

/// Takes over when the run was, and whether it came to its end.
fn read_invocations(
    run: &Value,
    report: &mut Report,
    is_complete: &mut bool,
) -> Result<(), ReadError> {
    for invocation in list_of(run, "invocations", NAME)? {
        if invocation.get("executionSuccessful") == Some(&Value::Bool(false)) {
            *is_complete = false;
        }
        let started = times::read(text_of(invocation, "startTimeUtc"));
        let ended = times::read(text_of(invocation, "endTimeUtc"));
        report.started = [report.started, started].into_iter().flatten().min();
        report.ended = [report.ended, ended].into_iter().flatten().max();
    }
    Ok(())
}

/// The repository that was looked at, and the category, as several analyses of it are told apart.
fn repository_of(run: &Value) -> String {
    let provenance = &run["versionControlProvenance"][0];
    let repository = text_of(provenance, "repositoryUri");
    let id = text_of(&run["automationDetails"], "id");
    let category = id.rsplit_once('/').map_or("", |(category, _)| category);
    let words = [repository, category].into_iter().filter(|w| !w.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn read_result(
    run: &Value,
    rules: &Rules<'_>,
    result: &Value,
    drafts: &mut Drafts,
    areas: &mut BTreeSet<String>,
) -> Result<(), ReadError> {
    drafts.counts.add("results");
    let location = &result["locations"][0];
    let physical = &location["physicalLocation"];
    let path = path_of(run, physical.get("artifactLocation"));
    areas.extend(Some(path.clone()).filter(|path| !path.is_empty()));

    // What was compared with an earlier run, and is gone.
    if text_of(result, "baselineState") == "absent" {
        drafts.counts.add("absent");
        return Ok(());
    }
    // It was suppressed in the tool, or is still under review there: no finding, and not gone
    // either.
    let mut suppressions = list_of(result, "suppressions", NAME)?.iter();
    let set_aside = match text_of(result, "kind") {
        "pass" => {
            drafts.counts.add("passed");
            return Ok(());
        }
        "" | "fail" => suppressions
            .any(|s| matches!(text_of(s, "status"), "" | "accepted"))
            .then_some("suppressed"),
        _ => Some("undecided"),
    };

    let rule = rules.of_result(result);
    let rule_id = Some(text_of(result, "ruleId"))
        .into_iter()
        .chain(Some(text_of(&result["rule"], "id")))
        .chain(rule.map(|rule| text_of(rule, "id")))
        .find(|id| !id.is_empty())
        .unwrap_or("unnamed");
    let region = &physical["region"];
    let line = region.get("startLine").and_then(Value::as_u64);
    let line = line.filter(|line| (1..=u64::from(u32::MAX)).contains(line));
    let logical = text_of(&location["logicalLocations"][0], "fullyQualifiedName");
    let message = message_of(result, rule);
    let place = if path.is_empty() {
        logical.to_owned()
    } else {
        path.clone()
    };
    let names = [
        Some(rule_id),
        rule.map(|r| text_of(&r["shortDescription"], "text")),
    ];

    let draft = Draft {
        title: title_of(rule, &message),
        severity: severity_of(result, rule),
        location: line.map_or_else(|| place.clone(), |line| format!("{place}:{line}")),
        area: path.clone(),
        cwes: cwes_of(result, rule),
        cves: names.into_iter().flatten().flat_map(cves_in).collect(),
        detail: without_markup(&message).into_owned(),
        identity: identity_of(result, region, line, &path, logical, &message),
        ..Draft::of(rule_id, Kind::Other)
    };
    match set_aside {
        Some(why) => {
            drafts.counts.add(why);
            drafts.set_aside(&draft);
            Ok(())
        }
        None => drafts.push(draft),
    }
}

/// What makes it the same finding in the next run: what the tool says, otherwise the line's text,
/// otherwise its number.
fn identity_of(
    result: &Value,
    region: &Value,
    line: Option<u64>,
    path: &str,
    logical: &str,
    message: &str,
) -> Vec<String> {
    for key in ["fingerprints", "partialFingerprints"] {
        if let Some(Value::Object(prints)) = result.get(key) {
            let mut parts: Vec<String> = prints
                .iter()
                .flat_map(|(name, print)| match print {
                    Value::String(text) => [name.clone(), text.clone()],
                    other => [name.clone(), other.to_string()],
                })
                .collect();
            if !parts.is_empty() {
                parts.push(path.to_owned());
                return parts;
            }
        }
    }

    let snippet = text_of(&region["snippet"], "text");
    let snippet = snippet.split_whitespace().collect::<Vec<_>>().join(" ");
    let place = if snippet.is_empty() {
        line.map(|line| line.to_string()).unwrap_or_default()
    } else {
        snippet
    };
    [path, logical, message, &place].map(str::to_owned).to_vec()
}

/// The rules of a run, of the driver and the extensions, also by their ids: looked for one by one,
/// a hundred thousand rules of a hundred thousand results would take hours.
struct Rules<'a> {
    driver: Component<'a>,
    extensions: Vec<Component<'a>>,
}

#[derive(Default)]
struct Component<'a> {
    rules: &'a [Value],
    by_id: HashMap<&'a str, &'a Value>,
}

impl<'a> Component<'a> {
    fn of(component: &'a Value) -> Self {
        let rules = component.get("rules").and_then(Value::as_array);
        let rules = rules.map_or(&[][..], Vec::as_slice);
        let mut by_id = HashMap::new();
        for rule in rules {
            by_id.entry(text_of(rule, "id")).or_insert(rule);
        }
        Self { rules, by_id }
    }
}

impl<'a> Rules<'a> {
    fn of(run: &'a Value) -> Self {
        let extensions = run["tool"].get("extensions").and_then(Value::as_array);
        Self {
            driver: Component::of(&run["tool"]["driver"]),
            extensions: extensions
                .into_iter()
                .flatten()
                .map(Component::of)
                .collect(),
        }
    }

    /// The rule of a result, by its place or by its id.
    fn of_result(&self, result: &Value) -> Option<&'a Value> {
        let reference = &result["rule"];
        let component = match reference["toolComponent"]["index"].as_u64() {
            Some(place) => self.extensions.get(place as usize)?,
            None => &self.driver,
        };
        let place = [result.get("ruleIndex"), reference.get("index")]
            .into_iter()
            .flatten()
            .find_map(Value::as_u64);
        if let Some(rule) = place.and_then(|place| component.rules.get(place as usize)) {
            return Some(rule);
        }

        // `CA1000/1` is a part of the rule `CA1000`.
        let id = [text_of(result, "ruleId"), text_of(reference, "id")]
            .into_iter()
            .find(|id| !id.is_empty())?;
        let wholes = std::iter::successors(Some(id), |id| Some(id.rsplit_once('/')?.0));
        wholes
            .take(PARTS_MAX)
            .find_map(|id| component.by_id.get(id).copied())
    }
}

/// How bad it is. Tools of security say so in numbers; the level is coarser.
fn severity_of(result: &Value, rule: Option<&Value>) -> Severity {
    let number = |holder: &Value| {
        let value = &holder["properties"]["security-severity"];
        let read = value
            .as_str()
            .and_then(|text| text.trim().parse::<f64>().ok());
        read.or_else(|| value.as_f64())
            .filter(|number| (0.0..=10.0).contains(number))
    };
    if let Some(number) = number(result).or_else(|| rule.and_then(number)) {
        return match number {
            9.0.. => Severity::Critical,
            7.0.. => Severity::High,
            4.0.. => Severity::Medium,
            0.1.. => Severity::Low,
            _ => Severity::Info,
        };
    }

    let of_rule = rule.map(|rule| text_of(&rule["defaultConfiguration"], "level"));
    let level = [Some(text_of(result, "level")), of_rule]
        .into_iter()
        .flatten()
        .find(|level| !level.is_empty());
    match level.unwrap_or("warning") {
        "error" => Severity::High,
        "note" => Severity::Low,
        "none" => Severity::Info,
        _ => Severity::Medium,
    }
}

fn title_of(rule: Option<&Value>, message: &str) -> String {
    let described = rule.map(|rule| text_of(&rule["shortDescription"], "text"));
    match described.filter(|text| !text.trim().is_empty()) {
        Some(text) => text.to_owned(),
        None => message.to_owned(),
    }
}

/// The message, with its arguments.
fn message_of(result: &Value, rule: Option<&Value>) -> String {
    let message = &result["message"];
    let id = text_of(message, "id");
    let of_rule = rule.map(|rule| text_of(&rule["messageStrings"][id], "text"));
    let texts = [
        text_of(message, "text"),
        text_of(message, "markdown"),
        of_rule.unwrap_or(""),
    ];
    let Some(text) = texts.into_iter().find(|text| !text.is_empty()) else {
        return id.to_owned();
    };
    let arguments = texts_of(message, "arguments");
    if arguments.is_empty() {
        return text.to_owned();
    }
    // One pass: an argument that holds `{1}` is text.
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let number = after.split_once('}');
        let argument = number.and_then(|(number, after)| {
            Some((arguments.get(number.parse::<usize>().ok()?)?, after))
        });
        if let Some((argument, after)) = argument {
            out.push_str(argument);
            rest = after;
        } else {
            out.push('{');
            rest = after;
        }
        if out.len() > crate::text::DETAIL_MAX * 8 {
            break;
        }
    }
    out.push_str(rest);
    out
}

/// Where tools put CWEs: tags of GitHub's kind, properties, and relations to a taxonomy.
fn cwes_of(result: &Value, rule: Option<&Value>) -> Vec<u32> {
    let holders = [Some(result), rule];
    let tags = holders.into_iter().flatten().flat_map(|holder| {
        let properties = &holder["properties"];
        ["tags", "cwe", "CWE"].into_iter().flat_map(|key| {
            let texts = match &properties[key] {
                Value::Array(texts) => texts.as_slice(),
                text => std::slice::from_ref(text),
            };
            texts.iter().take(RELATIONS_MAX).filter_map(Value::as_str)
        })
    });
    let relations = rule
        .and_then(|rule| rule.get("relationships"))
        .and_then(Value::as_array);
    let taxa = result.get("taxa").and_then(Value::as_array);
    let related = relations
        .into_iter()
        .flatten()
        .take(RELATIONS_MAX)
        .map(|relation| &relation["target"])
        .chain(taxa.into_iter().flatten().take(RELATIONS_MAX))
        .filter(|taxon| {
            let name = text_of(&taxon["toolComponent"], "name");
            name.eq_ignore_ascii_case("cwe") || text_of(taxon, "id").starts_with("CWE-")
        })
        .map(|taxon| text_of(taxon, "id"));
    let is_cwe = |text: &&str| text.len() < 200 && text.to_ascii_lowercase().contains("cwe-");
    let mut found: Vec<u32> = tags.filter(is_cwe).filter_map(cwe).collect();
    found.extend(related.filter_map(cwe));
    found
}

/// The path of a place. Where it is only a number, the list of files says it; bases are not
/// followed, as they may lead in a circle, and nothing is ever opened.
fn path_of(run: &Value, place: Option<&Value>) -> String {
    let Some(place) = place else {
        return String::new();
    };
    let uri = text_of(place, "uri");
    if !uri.is_empty() {
        return uri.to_owned();
    }
    let index = place.get("index").and_then(Value::as_u64);
    let artifact = index.and_then(|index| run["artifacts"].get(index as usize));
    artifact.map_or_else(String::new, |artifact| {
        text_of(&artifact["location"], "uri").to_owned()
    })
}
