//! Making, starting, adopting and stopping the server process.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::time::sleep;

use crate::binaries::Binaries;
use crate::layout::{Layout, Login, PORT, write_secret};
use crate::remains::{held_memory, is_zombie, release_lock_files, signal_holders};
use crate::{ClusterConfig, ClusterError};

/// How often the server is polled.
const LOOK: Duration = Duration::from_millis(10);
/// How long a start waits after PostgreSQL has refused because of what a killed server left.
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// How long the processes of a killed server have to go by themselves.
const REMAINS_GO: Duration = Duration::from_secs(2);

/// A command that runs as the server's user.
fn tool_command(binaries: &Binaries, layout: &Layout, tool: &str) -> Command {
    let mut command = Command::new(binaries.tool(tool));
    // The server must not inherit our environment: it may hold secrets, and PG* variables would
    // change what it does.
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir(&layout.base);

    if let Some(user) = &layout.user {
        command.uid(user.uid).gid(user.gid);
    }

    command
}

/// Makes the cluster in a directory aside and renames it, so that an interrupted `initdb` is never
/// taken for a cluster.
pub(super) async fn init(
    binaries: &Binaries,
    layout: &Layout,
    durable: bool,
) -> Result<(), ClusterError> {
    let draft = layout.base.join("data.new");
    if draft.exists() {
        std::fs::remove_dir_all(&draft).map_err(|e| ClusterError::io(&draft, e))?;
    }

    let secret = layout.base.join("initial.password");
    write_secret(&secret, &layout.password(Login::Owner)?)?;
    layout.give(&secret)?;
    let mut initdb = tool_command(binaries, layout, "initdb");
    initdb
        .arg("--pgdata")
        .arg(&draft)
        .args([
            "--username",
            Login::Owner.name(),
            "--auth=scram-sha-256",
            "--data-checksums",
        ])
        .args(["--encoding=UTF8", "--locale=C"])
        .arg("--pwfile")
        .arg(&secret);

    if !durable {
        initdb.arg("--no-sync");
    }

    let out = tokio::process::Command::from(initdb).output().await;
    std::fs::remove_file(&secret).map_err(|e| ClusterError::io(&secret, e))?;
    let out = out.map_err(|e| ClusterError::io(&binaries.tool("initdb"), e))?;
    if !out.status.success() {
        return Err(ClusterError::Init(
            String::from_utf8_lossy(&out.stderr).trim().to_owned(),
        ));
    }

    std::fs::rename(&draft, &layout.data).map_err(|e| ClusterError::io(&layout.data, e))
}

/// The server's settings; on the command line, so that a changed default of blueteam needs no edit
/// of files.
fn server_settings(layout: &Layout, config: &ClusterConfig) -> Vec<String> {
    let mut settings = vec![
        "listen_addresses=".to_owned(),
        format!("unix_socket_directories={}", layout.run.display()),
        "unix_socket_permissions=0700".to_owned(),
        format!("port={PORT}"),
        format!("max_connections={}", config.max_connections),
        "password_encryption=scram-sha-256".to_owned(),
        "shared_buffers=128MB".to_owned(),
        "max_wal_size=2GB".to_owned(),
        "wal_compression=on".to_owned(),
        "checkpoint_completion_target=0.9".to_owned(),
        // Random reads cost little on what servers have today.
        "random_page_cost=1.1".to_owned(),
        "log_min_messages=warning".to_owned(),
        // A refused event must not leave its content in the log.
        "log_min_error_statement=panic".to_owned(),
        "log_error_verbosity=terse".to_owned(),
        "log_line_prefix=%m [%p] %q%u@%d ".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
    ];

    if !config.durable {
        settings.extend(
            [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
            ]
            .map(str::to_owned),
        );
    }

    settings
}

/// What `postmaster.pid` says: the process id, and whether it takes connections.
fn pid_file(data: &Path) -> Option<(u32, bool)> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    Some((
        pid,
        lines.nth(6).is_some_and(|status| status.trim() == "ready"),
    ))
}

/// Whether the process lives and is the postmaster of this data directory, by its command line:
/// that may be read even where a container keeps root from looking closer.
fn is_ours(pid: u32, data: &Path) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let data = data.as_os_str().as_bytes();
    let mut words = line.split(|b| *b == 0);
    words.next().is_some_and(|w| w.ends_with(b"postgres"))
        && words.any(|w| w == data)
        && !is_zombie(pid as i32)
}

/// A server process, started by this run or an earlier one.
#[derive(Debug)]
pub(super) struct Postmaster {
    pid: u32,
    child: Option<Child>,
}

impl Postmaster {
    /// The server that runs on our data, whoever started it.
    pub(super) fn running(layout: &Layout) -> Option<Self> {
        running_pid(layout).map(|pid| Self { pid, child: None })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn is_adopted(&self) -> bool {
        self.child.is_none()
    }

    pub(super) fn is_alive(&mut self, layout: &Layout) -> bool {
        // Reaps our child when it has ended.
        if let Some(child) = &mut self.child
            && !matches!(child.try_wait(), Ok(None))
        {
            return false;
        }
        // A server that an earlier `Cluster` value of this process started is still its child, and
        // a zombie keeps its id taken.
        if self.child.is_none()
            && is_zombie(self.pid as i32)
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        is_ours(self.pid, &layout.data)
    }

    /// Adopts the running server, or starts one. Tries again while the remains of a killed server
    /// hold its memory, and ends them when they do not go by themselves.
    pub(super) async fn start_or_adopt(
        binaries: &Binaries,
        layout: &Layout,
        config: &ClusterConfig,
    ) -> Result<Self, ClusterError> {
        let deadline = Instant::now() + config.start_timeout;
        // A command and the daemon may both find the server dead: one of them mends and starts.
        let _starting = match lock_start(layout, deadline).await {
            // An error made the disk read-only: nothing is started there, and what runs goes on.
            Err(error) if error.is_read_only() && running_pid(layout).is_some() => None,
            locked => Some(locked?),
        };
        let (mut remains, mut refusal) = (Remains::default(), None);
        loop {
            let mark = std::fs::metadata(&layout.log).map_or(0, |m| m.len());
            let mut server = if let Some(server) = Self::running(layout) {
                server
            } else {
                release_lock_files(layout)?;
                Self::spawn(binaries, layout, config)?
            };

            let Err(why) = server.wait_ready(layout, deadline).await else {
                return Ok(server);
            };

            let said = log_since(&layout.log, mark);
            let last = said
                .lines()
                .rfind(|l| l.contains("FATAL") || l.contains("PANIC"));
            refusal = last.map(str::to_owned).or(refusal);

            let in_the_way = said.contains("pre-existing shared memory")
                || said.contains("lock file")
                || running_pid(layout).is_some();
            if Instant::now() >= deadline || !in_the_way {
                let why = refusal.unwrap_or(why);
                return Err(ClusterError::Start {
                    why,
                    log: layout.log.clone(),
                });
            }

            if let Some(memory) = held_memory(&said) {
                remains.hurry(memory);
            }

            sleep(TRY_AGAIN).await;
        }
    }

    fn spawn(
        binaries: &Binaries,
        layout: &Layout,
        config: &ClusterConfig,
    ) -> Result<Self, ClusterError> {
        let log = open_log(layout)?;
        let copy = log
            .try_clone()
            .map_err(|e| ClusterError::io(&layout.log, e))?;
        let mut postgres = tool_command(binaries, layout, "postgres");
        postgres
            .arg("-D")
            .arg(&layout.data)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy);

        for setting in server_settings(layout, config) {
            postgres.arg("-c").arg(setting);
        }

        // In a process group of its own: a Ctrl-C reaches blueteam alone, which then stops the
        // server in order.
        let child = postgres
            .process_group(0)
            .spawn()
            .map_err(|e| ClusterError::io(&binaries.tool("postgres"), e))?;
        Ok(Self {
            pid: child.id(),
            child: Some(child),
        })
    }

    async fn wait_ready(&mut self, layout: &Layout, deadline: Instant) -> Result<(), String> {
        loop {
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(format!("it ended with {status}"));
            }
            match pid_file(&layout.data) {
                Some((pid, true)) if pid == self.pid && is_ours(pid, &layout.data) => return Ok(()),
                Some((pid, _)) if self.child.is_none() && !is_ours(pid, &layout.data) => {
                    return Err("the server that was starting is gone".to_owned());
                }
                None if self.child.is_none() => {
                    return Err("the server that was running is gone".to_owned());
                }
                _ => {}
            }
            if Instant::now() >= deadline {
                return Err("it does not take connections yet".to_owned());
            }
            sleep(LOOK).await;
        }
    }

    pub(super) async fn stop(
        &mut self,
        layout: &Layout,
        patience: Duration,
    ) -> Result<(), ClusterError> {
        let deadline = Instant::now() + patience;
        if self.is_alive(layout)
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            // SIGINT is PostgreSQL's fast shutdown. An error means that it has just gone.
            let _ = kill_process(pid, Signal::INT);
        }
        while self.is_alive(layout) {
            if Instant::now() >= deadline {
                return Err(ClusterError::Stop {
                    pid: self.pid,
                    waited: patience,
                    log: layout.log.clone(),
                });
            }
            sleep(LOOK).await;
        }
        // It may have let go of our data a moment before it can be reaped; a zombie would keep its
        // id as long as this process lives.
        while let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
            && Instant::now() < deadline
        {
            sleep(LOOK).await;
        }
        Ok(())
    }
}

/// The server that runs on our data already.
fn running_pid(layout: &Layout) -> Option<u32> {
    pid_file(&layout.data)
        .map(|(pid, _)| pid)
        .filter(|pid| is_ours(*pid, &layout.data))
}

/// Backends of a postmaster that was killed. They notice within moments and go, unless they are
/// deep in a query, or stopped.
#[derive(Default)]
struct Remains {
    since: Option<Instant>,
}

impl Remains {
    /// Ends what still holds the memory, first as a postmaster ends its backends after a crash,
    /// then by force. What they had not committed is lost in any case.
    fn hurry(&mut self, memory: u64) {
        let waited = self.since.get_or_insert_with(Instant::now).elapsed();
        if waited > 2 * REMAINS_GO {
            signal_holders(memory, Signal::KILL);
        } else if waited > REMAINS_GO {
            signal_holders(memory, Signal::QUIT);
        }
    }
}

/// Held while a process starts the server; released when the file is closed.
async fn lock_start(layout: &Layout, deadline: Instant) -> Result<File, ClusterError> {
    let path = layout.base.join("start.lock");
    let mut options = OpenOptions::new();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);

    let file = file.map_err(|e| ClusterError::io(&path, e))?;
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if Instant::now() >= deadline {
            return Err(ClusterError::io(&path, error.into()));
        }
        sleep(LOOK).await;
    }

    Ok(file)
}

/// The server's log, appended to; moved aside once when it has grown past 16 MB.
fn open_log(layout: &Layout) -> Result<File, ClusterError> {
    let path = &layout.log;
    if std::fs::metadata(path).is_ok_and(|m| m.len() > 16 << 20) {
        std::fs::rename(path, path.with_extension("log.old"))
            .map_err(|e| ClusterError::io(path, e))?;
    }

    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| ClusterError::io(path, e))?;

    layout.give(path)?;
    Ok(file)
}

/// What the log has gained since it was `mark` bytes long; at most 64 KiB of it.
fn log_since(path: &Path, mark: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(mark))?;
        let mut text = Vec::new();
        file.take(64 << 10).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().unwrap_or_default()
}
