//! The age of the newest backup: of the newest file where backups appear.

use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use model::{ControlId, Severity, Timestamp};

use super::{Around, Measured, Monitor};

pub(super) const MONITOR: Monitor = Monitor {
    name: "backups",
    what: "Age of the newest backup",
    unit: " h",
    threshold: 26.0,
    severity: Severity::High,
    controls: &[ControlId::known("3.8.9")],
    measure: |around| Box::pin(std::future::ready(Ok(measure_backups(around)))),
};

fn measure_backups(around: &Around<'_>) -> Measured {
    match newest_backups(around.backups) {
        Backups::NotConfigured => Measured::NotWatched(
            "monitors.backup_files does not say where backups appear".to_owned(),
        ),
        Backups::Missing(why) => Measured::Worst(why),
        Backups::Of { at, name } => {
            let hours = around.now.since(at).as_micros().max(0) as f64 / 3.6e9;
            Measured::Value(hours, format!("{name}, of {at}"))
        }
    }
}

/// What there is of backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backups {
    /// Nobody said where they appear.
    NotConfigured,
    /// At one of the places there is none, or it cannot be looked at; in a sentence without its end.
    Missing(String),
    /// The oldest of the newest files: each pattern is a backup of its own.
    Of {
        /// When it was written.
        at: Timestamp,
        /// The file.
        name: String,
    },
}

/// Looks for backups at `patterns`, paths whose last part may hold `*`.
pub fn newest_backups(patterns: &[String]) -> Backups {
    let mut oldest: Option<(Timestamp, String)> = None;
    for pattern in patterns {
        match newest_backup(pattern) {
            Ok(Some((at, name))) if oldest.as_ref().is_none_or(|(old, _)| at < *old) => {
                oldest = Some((at, name));
            }
            Ok(Some(_)) => {}
            Ok(None) => return Backups::Missing(format!("there is no backup at {pattern}")),
            Err(cause) => {
                return Backups::Missing(format!(
                    "backups at {pattern} cannot be looked at: {cause:#}"
                ));
            }
        }
    }

    oldest.map_or(Backups::NotConfigured, |(at, name)| Backups::Of {
        at,
        name,
    })
}

/// The newest file that fits a path whose last part may hold `*`. An empty file is no backup.
fn newest_backup(pattern: &str) -> anyhow::Result<Option<(Timestamp, String)>> {
    let path = Path::new(pattern);
    let (folder, name) = (
        path.parent().context("is no path of files")?,
        path.file_name().context("names no file")?,
    );
    let name = name.to_string_lossy();
    let mut newest: Option<(Timestamp, String)> = None;

    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !matches_pattern(&name, &entry.file_name().to_string_lossy()) {
            continue;
        }

        // It may be gone by now, or be a link: what counts is the file behind it.
        let Ok(meta) = std::fs::metadata(entry.path()) else {
            continue;
        };
        if !meta.is_file() || meta.len() == 0 {
            continue;
        }

        let since = meta
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let at = Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
        if newest.as_ref().is_none_or(|(old, _)| at > *old) {
            newest = Some((at, entry.path().display().to_string()));
        }
    }

    Ok(newest)
}

/// Whether a name fits a pattern in which `*` stands for any run of characters.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();

    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }

    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, expected) in [
            ("a.dump", "a.dump", true),
            ("a.dump", "b.dump", false),
            ("*.dump", "a.dump", true),
            ("db-*.dump", "db-2026.dump", true),
            ("db-*.dump", "db-2026.dump.part", false),
            ("*2026*.gz", "db-2026-01.gz", true),
            ("ab*ba", "aba", false),
            ("*", "", true),
        ] {
            assert_eq!(
                super::matches_pattern(pattern, name),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
