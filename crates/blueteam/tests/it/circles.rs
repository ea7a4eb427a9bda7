//! Files of a crate that import each other cannot be read one without the other. This counts such
//! pairs and fails on a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The pairs that there are. One that is untied is taken from the list; none is added.
const KNOWN: &[(&str, &str, &str)] = &[
    ("blueteam-audit", "config", "logger"),
    ("blueteam-audit", "config", "sink"),
    ("blueteam-audit", "logger", "worker"),
    (
        "collect",
        "parsers::syslog::pam",
        "parsers::syslog::programs",
    ),
    (
        "daemon",
        "sources::listener::drain",
        "sources::listener::keeper",
    ),
    ("detect", "engine", "params"),
    ("detect", "engine", "rule"),
    ("detect", "event_header", "profile"),
    ("detect", "open", "rule"),
    ("detect", "profile", "rule"),
    ("ingest", "drain", "held"),
    ("ingest", "held", "writer"),
    ("model", "alert", "silence"),
    ("model", "audit::flat", "details"),
    ("store", "alerts::apply", "alerts::batch"),
    ("store", "alerts::batch", "alerts::messages"),
    ("store", "alerts::batch", "alerts::pending"),
];

fn crates_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every source file below a folder, without tests.
fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name == "tests" || name.ends_with("_tests") {
            continue;
        }

        if path.is_dir() {
            found.extend(source_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }

    found
}

/// The path of a file's module, such as `cli::alerts`; empty for the root.
fn module_of(src: &Path, file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(src).unwrap().with_extension("");
    let mut parts: Vec<String> = relative
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts
        .last()
        .is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str()))
    {
        parts.pop();
    }

    parts
}

/// The code of a file: neither comments nor its tests.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The paths after `crate::` or `super::` in a text, each with the module that it starts from.
fn mentioned(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (keyword, up) in [("crate::", None), ("super::", Some(1))] {
        for (at, _) in code.match_indices(keyword) {
            let boundary = code[..at].chars().next_back();
            if boundary.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }

            let mut rest = &code[at + keyword.len()..];
            let mut base = match up {
                None => Vec::new(),
                Some(levels) => module[..module.len().saturating_sub(levels)].to_vec(),
            };
            while let Some(more) = rest.strip_prefix("super::") {
                base.pop();
                rest = more;
            }

            paths.extend(
                ends(rest)
                    .into_iter()
                    .map(|end| [base.clone(), end].concat()),
            );
        }
    }

    paths
}

/// `a::b::{c, d::e}` as `a::b::c` and `a::b::d`.
fn ends(text: &str) -> Vec<Vec<String>> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        if let Some(list) = rest.strip_prefix('{') {
            let inner = list.split('}').next().unwrap_or("");
            return inner
                .split(',')
                .map(|item| item.trim().split("::").next().unwrap_or("").to_owned())
                .filter(|item| !item.is_empty())
                .map(|item| [path.clone(), vec![item]].concat())
                .collect();
        }

        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        path.push(rest[..end].to_owned());
        match rest[end..].strip_prefix("::") {
            Some(more) => rest = more,
            None => return vec![path],
        }
    }
}

/// The pairs of files of a crate that mention each other. That a file mentions the one above it is
/// the rule, and does not count.
fn circles(src: &Path) -> BTreeSet<(String, String)> {
    let files: BTreeMap<Vec<String>, PathBuf> = source_files(src)
        .into_iter()
        .map(|file| (module_of(src, &file), file))
        .collect();

    let mut uses: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for (module, file) in &files {
        for path in mentioned(&code_of(file), module) {
            let target = (1..=path.len())
                .rev()
                .find_map(|n| files.get_key_value(&path[..n]));
            if let Some((target, _)) = target
                && !module.starts_with(target)
            {
                uses.entry(module).or_default().insert(target);
            }
        }
    }

    let mut pairs = BTreeSet::new();
    for (from, targets) in &uses {
        for to in targets {
            if from < to && uses.get(to).is_some_and(|back| back.contains(from)) {
                pairs.insert((from.join("::"), to.join("::")));
            }
        }
    }

    pairs
}

#[test]
fn files_do_not_import_each_other() {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(crates_folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.join("src").is_dir() {
            let pairs = circles(&path.join("src"));
            found.extend(pairs.into_iter().map(|(a, b)| (name.clone(), a, b)));
        }
    }

    let known: BTreeSet<_> = KNOWN
        .iter()
        .map(|(name, a, b)| ((*name).to_owned(), (*a).to_owned(), (*b).to_owned()))
        .collect();
    let new: Vec<_> = found.difference(&known).collect();
    assert!(new.is_empty(), "import each other: {new:#?}");
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(
        gone.is_empty(),
        "untied; take them from the list: {gone:#?}"
    );
}
