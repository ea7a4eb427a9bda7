//! Finding the installed server.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ClusterError;

/// The oldest supported version.
const OLDEST: u32 = 15;

/// Where distributions put `initdb` and `postgres`; `*` stands for a version.
const PLACES: [&str; 5] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/bin",
];

/// A directory with `initdb` and `postgres`, and their major version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The directory.
    pub dir: PathBuf,
    /// Major version.
    pub major: u32,
}

impl Binaries {
    /// The newest that is installed.
    pub fn newest() -> Result<Self, ClusterError> {
        find_installed()
            .into_iter()
            .filter(|b| b.major >= OLDEST)
            .max_by_key(|b| b.major)
            .ok_or_else(|| ClusterError::NoBinaries(PLACES.join(", ")))
    }

    /// Those of the given PG_VERSION.
    pub fn of_version(version: &str) -> Option<Self> {
        let major: u32 = version.trim().parse().ok()?;
        find_installed().into_iter().find(|b| b.major == major)
    }

    pub(super) fn tool(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn find_installed() -> Vec<Binaries> {
    let mut dirs: Vec<PathBuf> = PLACES
        .iter()
        .flat_map(|place| expand_pattern(place))
        .collect();
    dirs.extend(
        std::env::var_os("PATH")
            .iter()
            .flat_map(std::env::split_paths),
    );
    dirs.sort();
    dirs.dedup();

    dirs.into_iter()
        .filter_map(|dir| {
            Some(Binaries {
                major: version_of(&dir)?,
                dir,
            })
        })
        .collect()
}

/// Expands the one `*` of a place.
fn expand_pattern(place: &str) -> Vec<PathBuf> {
    let Some((before, after)) = place.split_once('*') else {
        return vec![PathBuf::from(place)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };

    entries
        .flatten()
        .filter(|e| {
            e.file_name()
                .to_str()
                .is_some_and(|n| n.starts_with(prefix))
        })
        .map(|e| e.path().join(after.trim_start_matches('/')))
        .collect()
}

/// `postgres (PostgreSQL) 15.18 (Debian …)` is 15.
fn version_of(dir: &Path) -> Option<u32> {
    if !dir.join("initdb").is_file() {
        return None;
    }

    let out = Command::new(dir.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let number = text
        .split_whitespace()
        .find(|w| w.starts_with(|c: char| c.is_ascii_digit()))?;

    number
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}
