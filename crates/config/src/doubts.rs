//! What is right by itself and probably not meant: `blueteam config check` warns of it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;

use crate::error::Problem;
use crate::{Collect, Config, secrets};

/// Returns what is doubtful about files on this machine.
pub(super) fn of_files(config: &Config) -> Vec<Problem> {
    let mut doubts = Vec::new();
    log_files(&config.collect, &mut doubts);
    open_secrets(config, &mut doubts);

    for (list, entries) in [
        ("feeds", &config.advisories.feeds),
        ("inventories", &config.advisories.inventories),
    ] {
        for (i, entry) in entries.iter().enumerate() {
            let is_file = !entry.from.contains("://");
            if is_file && !Path::new(&entry.from).exists() {
                let message = format!("{} does not exist", entry.from);
                doubts.push(Problem::new(
                    format!("advisories.{list}[{i}].from"),
                    message,
                ));
            }
        }
    }

    doubts
}

/// Files of secrets that everybody on this machine may read.
fn open_secrets(config: &Config, doubts: &mut Vec<Problem>) {
    for (key, file) in secrets::files(config) {
        let mode = std::fs::metadata(file).map_or(0, |meta| meta.mode());
        if mode & 0o004 != 0 {
            let message =
                format!("everybody on this machine may read the secret: chmod 640 {file}");
            doubts.push(Problem::new(key, message));
        }
    }
}

fn log_files(collect: &Collect, doubts: &mut Vec<Problem>) {
    for (i, file) in collect.files.iter().enumerate() {
        let path = Path::new(&file.path);
        let is_folder = path.is_dir() || file.path.ends_with('/');
        let message = if is_folder || file.path.contains(['*', '?', '[']) {
            let pattern = if is_folder {
                format!("{}/*", file.path.trim_end_matches('/'))
            } else {
                file.path.clone()
            };
            if matches_a_file(&pattern) {
                continue;
            }
            format!(
                "{}: no file matches; files are followed once they are there",
                file.path
            )
        } else if path.exists() {
            continue;
        } else {
            format!("{} does not exist; it is followed once it does", file.path)
        };
        doubts.push(Problem::new(format!("collect.files[{i}].path"), message));
    }

    for (i, journal) in collect.journals.iter().enumerate() {
        if let Some(directory) = &journal.directory
            && !Path::new(directory).is_dir()
        {
            let message = format!("{directory} is not a folder on this machine");
            doubts.push(Problem::new(
                format!("collect.journals[{i}].directory"),
                message,
            ));
        }
    }
}

fn matches_a_file(pattern: &str) -> bool {
    glob::glob(pattern).is_ok_and(|paths| paths.flatten().any(|path| path.is_file()))
}

/// Returns a warning for each variable that means to set a key and sets none: between section and
/// key stand two underscores.
pub(super) fn of_variables(env: &BTreeMap<String, String>, defaults: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    leaves(defaults, "BLUETEAM", &mut keys);

    env.keys()
        .filter(|name| name.starts_with("BLUETEAM_") && !name.contains("__"))
        .filter_map(|name| {
            let meant = keys.iter().find(|key| key.replace("__", "_") == **name)?;
            Some(format!(
                "environment variable {name}: sets nothing; did you mean {meant}?"
            ))
        })
        .collect()
}

fn leaves(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let separator = if path == "BLUETEAM" { "_" } else { "__" };
                let path = format!("{path}{separator}{}", key.to_ascii_uppercase());
                leaves(value, &path, into);
            }
        }
        _ => into.push(path.to_owned()),
    }
}
