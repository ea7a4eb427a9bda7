//! The state directory: everything that must survive a restart.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where everything is kept.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The given directory, or the default: `/var/lib/blueteam` for root, whose home no other user
    /// may enter and whose PostgreSQL runs as another user; else the XDG state directory.
    pub fn resolve(given: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(dir) = given {
            return std::path::absolute(dir)
                .map(Self)
                .with_context(|| format!("cannot use {}", dir.display()));
        }

        if rustix::process::geteuid().is_root() {
            return Ok(Self(PathBuf::from("/var/lib/blueteam")));
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

        Ok(())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path below it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
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
