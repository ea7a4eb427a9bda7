//! The state directory: everything that must survive a restart.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::OFlags;

/// The largest small file, in bytes.
const SMALL_MAX: u64 = 4096;

/// The state directory of an installed service.
const SERVICE_STATE: &str = "/var/lib/blueteam";

/// The configuration of an installed service.
const SERVICE_CONFIG: &str = "/etc/blueteam/blueteam.toml";

/// Where everything is kept.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

/// Whether this process acts for the installed service if nothing else is said: it is root, whose
/// home no other user may enter and whose PostgreSQL runs as another user, or the user that owns
/// the service's state.
fn is_service() -> bool {
    let own = rustix::process::geteuid();
    own.is_root()
        || std::fs::metadata(SERVICE_STATE)
            .is_ok_and(|dir| dir.is_dir() && dir.uid() == own.as_raw())
}

/// Returns the configuration that goes with the default of [`StateDir::resolve`]: that of the
/// installed service for those who act for it, so that their commands and the daemon agree.
pub fn service_config() -> Option<PathBuf> {
    let file = PathBuf::from(SERVICE_CONFIG);
    (is_service() && file.exists()).then_some(file)
}

impl StateDir {
    /// The given directory, or the default: `/var/lib/blueteam` for root and for the user that owns
    /// it; else the XDG state directory.
    pub fn resolve(given: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(dir) = given {
            return std::path::absolute(dir)
                .map(Self)
                .with_context(|| format!("cannot use {}", dir.display()));
        }

        if is_service() {
            return Ok(Self(PathBuf::from(SERVICE_STATE)));
        }

        let xdg = std::env::var_os("XDG_STATE_HOME")
            .filter(|dir| Path::new(dir).is_absolute())
            .map(PathBuf::from);
        let dir = if let Some(dir) = xdg {
            dir
        } else {
            let home = std::env::var_os("HOME").context("HOME is not set; say --state-dir")?;
            PathBuf::from(home).join(".local/state")
        };

        Ok(Self(dir.join("blueteam")))
    }

    /// Makes it if it is missing. Others may pass through it (PostgreSQL's user must) but not list
    /// it.
    pub fn create(&self) -> anyhow::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        if !self.0.exists() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o711)
                .create(&self.0)
                .with_context(|| format!("cannot make the state directory {}", self.0.display()))?;
        }

        self.check_private()
    }

    /// Refuses a directory that other users can write to or own: its files decide who is let in and
    /// where data is written.
    pub fn check_private(&self) -> anyhow::Result<()> {
        let own = rustix::process::geteuid().as_raw();
        let path = self.0.display();
        let of = |path: &Path| {
            std::fs::symlink_metadata(path)
                .with_context(|| format!("cannot look at {}", path.display()))
        };

        let dir = std::fs::metadata(&self.0)
            .with_context(|| format!("cannot look at the state directory {path}"))?;
        if dir.uid() != own {
            bail!(
                "the state directory {path} belongs to the user {user}: run the command as that user \
                    (sudo -u '#{user}' blueteam …), or, if no daemon uses it, make it yours: chown \
                    -R {own} {path}",
                user = dir.uid()
            );
        }

        if dir.mode() & 0o022 != 0 {
            bail!(
                "others may write to the state directory {path} (mode {:o}): chmod go-w {path}",
                dir.mode() & 0o7777
            );
        }

        for entry in std::fs::read_dir(&self.0)
            .with_context(|| format!("cannot list the state directory {path}"))?
        {
            let entry = entry?.path();
            // PostgreSQL's user owns its part, which is checked where the server is started.
            let is_server = entry.file_name().is_some_and(|name| name == "postgres");
            let meta = of(&entry)?;
            if meta.uid() != own && !is_server {
                let entry = entry.display();
                bail!(
                    "{entry} belongs to the user {}; nobody else should have put anything there: \
                        remove it, or make it yours: chown -R {own} {entry}",
                    meta.uid()
                );
            }
        }

        Ok(())
    }

    /// Writes a file and removes it again: whether anything can be kept there now.
    pub fn try_write(&self) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        file.write_all(b"x")?;
        file.close()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path below it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Reads a small file; none where it is missing, no file, or larger than a page. Never waits,
    /// as reading a pipe that lies in its place would.
    pub fn read_small(&self, name: &str) -> Option<Vec<u8>> {
        self.read_at_most(name, SMALL_MAX)
    }

    /// The same for a file of up to `max` bytes.
    pub fn read_at_most(&self, name: &str, max: u64) -> Option<Vec<u8>> {
        let file = std::fs::File::options()
            .read(true)
            .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed())
            .open(self.join(name))
            .ok()?;
        let about = file.metadata().ok()?;
        if !about.is_file() || about.len() > max {
            return None;
        }

        let mut content = Vec::new();
        file.take(max).read_to_end(&mut content).ok()?;
        Some(content)
    }

    /// Replaces a small file as a whole: a reader sees the old content or the new.
    pub fn replace(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let path = self.join(name);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
            file.write_all(content)?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_small_file_is_read_and_nothing_else_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir(dir.path().to_owned());
        std::fs::write(state.join("small"), "x").unwrap();
        assert_eq!(state.read_small("small").unwrap(), b"x");

        std::fs::write(state.join("large"), vec![0; 5000]).unwrap();
        std::os::unix::fs::symlink("/dev/zero", state.join("link")).unwrap();
        let pipe = std::process::Command::new("mkfifo")
            .arg(state.join("pipe"))
            .status();
        assert!(pipe.unwrap().success());
        for name in ["large", "link", "pipe", "missing", "."] {
            assert_eq!(state.read_small(name), None, "{name}");
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir(dir.path().to_owned());
        for mode in [0o700, 0o711, 0o755] {
            set_mode(dir.path(), mode);
            state.create().unwrap();
        }

        for mode in [0o777, 0o1777, 0o770, 0o722] {
            set_mode(dir.path(), mode);
            let error = state.create().unwrap_err().to_string();
            let remedy = format!("chmod go-w {}", dir.path().display());
            assert!(error.contains(&remedy), "{mode:o}: {error}");
        }
    }

    #[test]
    fn what_another_user_owns_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can give files away");
            return;
        }

        let dir = tempfile::tempdir().unwrap();
        let state = StateDir(dir.path().to_owned());
        let chown = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None).unwrap();
        for name in ["postgres", "acknowledge.key"] {
            std::fs::write(state.join(name), "planted").unwrap();
            chown(&state.join(name), 65_534);
            let refused = state.create();
            assert_eq!(refused.is_err(), name != "postgres", "{name}");
        }

        std::fs::remove_file(state.join("acknowledge.key")).unwrap();
        chown(dir.path(), 65_534);
        let error = state.create().unwrap_err().to_string();
        assert!(error.contains("chown -R 0 "), "{error}");
    }
}
