//! A state directory whose database is migrated and was never used: making one takes most of the time
//! in which a daemon starts. Made once for each build of the program; each test gets a copy. Starts
//! from nothing have tests of their own.

use std::fs::{File, OpenOptions, metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

/// What the directories of this account begin with.
fn prefix() -> String {
    let account = rustix::process::geteuid().as_raw();
    format!("blueteam-test-state-{account}-")
}

/// One for each build and day: a database has partitions for the months around its first day.
fn place_for(program: &Path) -> PathBuf {
    let built = metadata(program).unwrap();
    let day = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
    let mut hasher = DefaultHasher::new();
    (program, built.len(), built.mtime(), built.mtime_nsec(), day).hash(&mut hasher);
    let name = format!("{}{:016x}", prefix(), hasher.finish());
    std::env::temp_dir().join(name)
}

/// Fills an empty state directory. It waits while another test makes the first one.
pub(super) fn copy_into(dir: &Path, program: &Path) {
    let place = place_for(program);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(std::env::temp_dir().join(format!("{}lock", prefix())))
        .unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    if !place.exists() {
        remove_old();
        make(&place, program);
    }
    drop::<File>(lock);

    let copied = Command::new("cp")
        .args(["--archive", "--no-target-directory"])
        .args([&place, dir])
        .status()
        .unwrap();
    assert!(copied.success(), "cannot copy {}", place.display());
}

/// Under another name first, so that one that was not finished is none.
fn make(place: &Path, program: &Path) {
    let unfinished = place.with_extension("unfinished");
    let _ = std::fs::remove_dir_all(&unfinished);
    std::fs::create_dir(&unfinished).unwrap();
    // The database's account goes through it.
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o711)).unwrap();
    let out = Command::new(program)
        .env_remove("DATABASE_URL")
        .arg("--state-dir")
        .arg(&unfinished)
        .arg("migrate")
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    std::fs::rename(&unfinished, place).unwrap();
}

/// Those of earlier builds, which nobody copies any more.
fn remove_old() {
    let entries = std::fs::read_dir(std::env::temp_dir()).unwrap();
    for entry in entries.filter_map(Result::ok) {
        let is_ours = entry.file_name().to_string_lossy().starts_with(&prefix());
        let Ok(about) = entry.metadata() else {
            continue;
        };
        let age = about.modified().ok().and_then(|at| at.elapsed().ok());
        if is_ours && about.is_dir() && age.is_some_and(|age| age > Duration::from_hours(1)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
