//! Where the cluster's files are, who owns them, and its passwords.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use crate::ClusterError;

/// The port that names the socket file; nothing listens on it.
pub(super) const PORT: u16 = 5432;

/// `sun_path` holds 108 bytes with its final NUL.
const LONGEST_SOCKET: usize = 107;

/// The cluster's logins. The roles that they hold are the caller's to grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// Superuser: migrations only.
    Owner,
    /// The daemon.
    Daemon,
    /// A person at the command line or the console.
    Operator,
}

impl Login {
    /// Every login.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Daemon, Self::Operator];

    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "blueteam_owner",
            Self::Daemon => "blueteam_daemon",
            Self::Operator => "blueteam_operator",
        }
    }

    /// The roles that it needs.
    pub const fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Owner => &[],
            Self::Daemon => &["blueteam_engine", "blueteam_ingest", "blueteam_accounts"],
            Self::Operator => &["blueteam_admin"],
        }
    }
}

/// A user of the system that the server runs as.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Paths, all of them existing.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) base: PathBuf,
    pub(super) data: PathBuf,
    pub(super) run: PathBuf,
    pub(super) log: PathBuf,
    secrets: PathBuf,
    /// Set when blueteam runs as root.
    pub(super) user: Option<User>,
}

impl Layout {
    /// Makes the directories, and the passwords on the first call.
    pub(super) fn prepare(state_dir: &Path) -> Result<Self, ClusterError> {
        let user = if rustix::process::geteuid().is_root() {
            Some(postgres_user()?)
        } else {
            None
        };

        // The server's user must pass through the state directory, but may not list it.
        make_dir(state_dir, if user.is_some() { 0o711 } else { 0o700 })?;
        let state_dir = state_dir
            .canonicalize()
            .map_err(|e| ClusterError::io(state_dir, e))?;
        if let Some(user) = &user {
            check_traversable(&state_dir, user)?;
        }

        let base = state_dir.join("postgres");
        let secrets = state_dir.join("secrets");
        make_dir(&base, 0o700)?;
        make_dir(&secrets, 0o700)?;
        check_private(&secrets)?;
        let run = run_dir(&base)?;
        make_dir(&run, 0o700)?;

        let layout = Self {
            data: base.join("data"),
            log: base.join("server.log"),
            base,
            run,
            secrets,
            user,
        };

        for dir in [&layout.base, &layout.run] {
            layout.give(dir)?;
        }

        for login in Login::ALL {
            layout.make_password(login)?;
        }

        Ok(layout)
    }

    /// Hands a file to the server's user.
    pub(super) fn give(&self, path: &Path) -> Result<(), ClusterError> {
        let owner = std::fs::symlink_metadata(path)
            .map_err(|e| ClusterError::io(path, e))?
            .uid();
        let wanted = self
            .user
            .as_ref()
            .map_or_else(|| rustix::process::geteuid().as_raw(), |u| u.uid);
        if owner == wanted {
            return Ok(());
        }

        match &self.user {
            // A directory that another user created there must not be taken over.
            Some(user) if owner == 0 => {
                std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid))
                    .map_err(|e| ClusterError::io(path, e))
            }
            _ => Err(ClusterError::io(
                path,
                std::io::Error::other("belongs to another user"),
            )),
        }
    }

    /// What PG_VERSION says; none when there is no cluster yet.
    pub(super) fn data_version(&self) -> Option<String> {
        std::fs::read_to_string(self.data.join("PG_VERSION"))
            .ok()
            .map(|v| v.trim().to_owned())
    }

    fn password_file(&self, login: Login) -> PathBuf {
        self.secrets.join(format!("{}.password", login.name()))
    }

    pub(super) fn password(&self, login: Login) -> Result<String, ClusterError> {
        let path = self.password_file(login);
        check_private(&path)?;
        let text = std::fs::read_to_string(&path).map_err(|e| ClusterError::io(&path, e))?;
        Ok(text.trim_end().to_owned())
    }

    /// 256 random bits, kept 0600; an existing file stays.
    fn make_password(&self, login: Login) -> Result<(), ClusterError> {
        let path = self.password_file(login);
        if path.exists() {
            return Ok(());
        }

        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)
            .map_err(|e| ClusterError::io(&path, std::io::Error::other(e)))?;
        let text: String = bytes
            .iter()
            .flat_map(|b| [b >> 4, b & 15])
            .filter_map(|n| char::from_digit(n.into(), 16))
            .collect();

        // Written aside and renamed, so that a crash leaves no half a password.
        let draft = path.with_extension("new");
        write_secret(&draft, &text)?;
        std::fs::rename(&draft, &path).map_err(|e| ClusterError::io(&path, e))
    }
}

/// Refuses a secret, or the directory of secrets, that is not this user's alone: whoever could
/// write it knows, or chooses, the passwords of the logins.
fn check_private(path: &Path) -> Result<(), ClusterError> {
    let meta = std::fs::symlink_metadata(path).map_err(|e| ClusterError::io(path, e))?;
    let own = rustix::process::geteuid().as_raw();
    let shown = path.display();
    let refuse = |why: String| Err(ClusterError::io(path, std::io::Error::other(why)));

    if meta.is_symlink() {
        return refuse("is a link, and what it leads to may be anybody's: remove it".to_owned());
    }
    if meta.uid() != own {
        let user = meta.uid();
        return refuse(format!("belongs to the user {user}: chown {own} {shown}"));
    }
    if meta.mode() & 0o077 != 0 {
        let mode = meta.mode() & 0o7777;
        return refuse(format!(
            "can be used by others (mode {mode:o}): chmod go-rwx {shown}"
        ));
    }
    Ok(())
}

/// Writes a file that only its owner reads, on disk before we go on.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), ClusterError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| ClusterError::io(path, e))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|e| ClusterError::io(path, e))
}

fn make_dir(path: &Path, mode: u32) -> Result<(), ClusterError> {
    if path.is_dir() {
        return Ok(());
    }

    if let Some(parent) = path.parent() {
        // What leads to our directory is the system's usual kind of directory.
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(|e| ClusterError::io(parent, e))?;
    }

    match DirBuilder::new().mode(mode).create(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(ClusterError::io(path, e)),
        _ => Ok(()),
    }
}

/// The socket's directory: below the base, unless the path would be too long for a socket; then a
/// short one of our own, named after the base.
fn run_dir(base: &Path) -> Result<PathBuf, ClusterError> {
    let near = base.join("run");
    let fits = |dir: &Path| {
        dir.as_os_str().len() + format!("/.s.PGSQL.{PORT}.lock").len() <= LONGEST_SOCKET
    };
    if fits(&near) {
        return Ok(near);
    }

    // FNV-1a: only has to tell two state directories of one machine apart.
    let hash = base
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
        });

    let root = rustix::process::geteuid().is_root();
    let parents: &[&str] = if root { &["/run", "/tmp"] } else { &["/tmp"] };
    let own = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|_| !root);

    own.into_iter()
        .chain(parents.iter().map(PathBuf::from))
        .filter(|parent| parent.is_dir())
        .map(|parent| parent.join(format!("blueteam-{hash:016x}")))
        .find(|dir| fits(dir))
        .ok_or_else(|| {
            ClusterError::io(
                &near,
                std::io::Error::other("is too long a path for a socket"),
            )
        })
}

/// The user `postgres` of this machine.
fn postgres_user() -> Result<User, ClusterError> {
    let passwd = Path::new("/etc/passwd");
    let text = std::fs::read_to_string(passwd).map_err(|e| ClusterError::io(passwd, e))?;
    text.lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|n| *n == "postgres")?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            Some(User {
                name: name.to_owned(),
                uid,
                gid,
            })
        })
        .ok_or(ClusterError::NoUser)
}

/// Whether the user can pass through the directory and all above it.
fn check_traversable(dir: &Path, user: &User) -> Result<(), ClusterError> {
    for dir in dir.ancestors() {
        let meta = std::fs::metadata(dir).map_err(|e| ClusterError::io(dir, e))?;
        let bit = if meta.uid() == user.uid {
            0o100
        } else if meta.gid() == user.gid {
            0o010
        } else {
            0o001
        };

        if meta.permissions().mode() & bit == 0 {
            return Err(ClusterError::Untraversable {
                user: user.name.clone(),
                dir: dir.to_owned(),
            });
        }
    }

    Ok(())
}
