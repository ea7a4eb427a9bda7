//! What a server that died uncleanly leaves behind: lock files that name a process, and processes
//! that still hold its shared memory.
//!
//! PostgreSQL itself decides whether a data directory is in use. It looks for the process that the
//! lock file names, then asks the kernel who is attached to the shared memory of that server, by
//! `shmctl` and by the key that it derives from the directory. That needs no `/proc`, of which a
//! hardened unit shows only processes of the same user. So no lock file is removed on our own
//! judgment; what is mended here is what makes PostgreSQL refuse although nobody is there: the
//! number of a process that belongs to another program by now, and a file that a power cut emptied.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::ClusterError;
use crate::layout::{Layout, PORT};

/// A lock file without a process id that is younger than this may belong to a server that is
/// starting right now.
const BEING_WRITTEN: Duration = Duration::from_secs(2);

/// Mends the lock files in which PostgreSQL would wrongly see a living server.
pub(super) fn release_lock_files(layout: &Layout) -> Result<(), ClusterError> {
    let socket = layout.run.join(format!(".s.PGSQL.{PORT}.lock"));
    for path in [layout.data.join("postmaster.pid"), socket] {
        release_file(layout, &path)?;
    }
    Ok(())
}

fn release_file(layout: &Layout, path: &Path) -> Result<(), ClusterError> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ClusterError::io(path, error)),
    };
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let Some(pid) = parse_pid(first) else {
        return remove_unless_fresh(path);
    };
    let ourselves = std::process::id();
    if pid.as_raw_nonzero().get().unsigned_abs() == ourselves
        || test_kill_process(pid) == Err(Errno::SRCH)
        || may_serve(pid, &layout.data)
    {
        return Ok(());
    }
    // PostgreSQL never takes its parent for a server. It then goes on to the shared memory that the
    // rest of the file names, which removing the file would have made it skip.
    let draft = path.with_extension("new");
    fs::write(&draft, format!("{ourselves}\n{rest}")).map_err(|e| ClusterError::io(&draft, e))?;
    layout.give(&draft)?;
    fs::rename(&draft, path).map_err(|e| ClusterError::io(path, e))
}

/// The process that the first line of a lock file names; a standalone backend has a minus sign.
fn parse_pid(line: &str) -> Option<Pid> {
    let number: i32 = line.trim().parse().ok()?;
    Pid::from_raw(number.checked_abs()?)
}

/// Removes a lock file without a process id, as a power cut leaves it. The key of the shared memory
/// still keeps a second server out.
fn remove_unless_fresh(path: &Path) -> Result<(), ClusterError> {
    let changed = fs::metadata(path).and_then(|about| about.modified());
    // A time in the future is one of a clock that was set since.
    if changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < BEING_WRITTEN)) {
        return Ok(());
    }

    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(ClusterError::io(path, error)),
        _ => Ok(()),
    }
}

/// Whether a living process may be the server of that data directory, however it was started. A
/// process that `/proc` does not show belongs to another user, and so is not blueteam's server.
fn may_serve(pid: Pid, data: &Path) -> bool {
    let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let comm = fs::read_to_string(proc.join("comm")).unwrap_or_default();
    if !matches!(comm.trim(), "postgres" | "postmaster") || is_zombie(pid.as_raw_nonzero().get()) {
        return false;
    }

    let arguments = fs::read(proc.join("cmdline")).unwrap_or_default();
    // A server's children show what they do in place of their arguments.
    if arguments.starts_with(b"postgres: ") {
        return false;
    }

    let same = |dir: &Path| dir.canonicalize().ok() == data.canonicalize().ok();
    // A server works in its data directory. Root in a container may not be allowed to ask.
    if let Ok(directory) = fs::read_link(proc.join("cwd")) {
        return same(&directory);
    }

    let mut words = arguments
        .split(|byte| *byte == 0)
        .skip_while(|word| *word != b"-D")
        .skip(1);
    let named = words
        .next()
        .map(|word| Path::new(std::ffi::OsStr::from_bytes(word)));
    named.is_none_or(|dir| dir.is_relative() || same(dir))
}

/// Whether a process has ended and waits for its parent to notice, or is gone.
pub(super) fn is_zombie(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    stat.rsplit_once(')')
        .is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// The shared memory that a server which did not start says is still in use.
pub(super) fn held_memory(log: &str) -> Option<u64> {
    let (_, rest) = log.rsplit_once("pre-existing shared memory block (key ")?;
    let (_, rest) = rest.split_once(", ID ")?;
    rest.split_once(')')?.0.parse().ok()
}

/// Sends a signal to the processes of PostgreSQL that are attached to a shared memory segment.
/// Returns how many there were.
pub(super) fn signal_holders(memory: u64, signal: Signal) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else {
        return 0;
    };
    let pids = entries.filter_map(|entry| parse_pid(entry.ok()?.file_name().to_str()?));
    let attached: Vec<Pid> = pids.filter(|pid| is_attached(*pid, memory)).collect();
    for pid in &attached {
        // One that has ended meanwhile is what is wanted.
        let _ = kill_process(*pid, signal);
    }

    attached.len()
}

/// Whether a process of PostgreSQL has that segment in its memory: `maps` names the segment's id
/// as the inode of a file `/SYSV…`.
fn is_attached(pid: Pid, memory: u64) -> bool {
    let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let comm = fs::read_to_string(proc.join("comm")).unwrap_or_default();
    if !matches!(comm.trim(), "postgres" | "postmaster") {
        return false;
    }

    let maps = fs::read_to_string(proc.join("maps")).unwrap_or_default();
    maps.lines().any(|line| {
        let mut columns = line.split_ascii_whitespace().skip(4);
        columns.next().and_then(|inode| inode.parse().ok()) == Some(memory)
            && columns.next().is_some_and(|name| name.starts_with("/SYSV"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_in_the_way_is_read_from_the_log() {
        let log = "x [7] FATAL:  pre-existing shared memory block (key 16973, ID 5) is still in \
            use\n\
                   y [8] FATAL:  pre-existing shared memory block (key 16974, ID 32) is still in \
                   use\n";
        assert_eq!(held_memory(log), Some(32));
        assert_eq!(
            held_memory("FATAL:  lock file \"postmaster.pid\" already exists"),
            None
        );
    }

    #[test]
    fn a_lock_file_names_a_process_or_none() {
        for (line, expected) in [
            ("12", Some(12)),
            ("-12", Some(12)),
            ("", None),
            ("0", None),
            ("\0\0", None),
        ] {
            assert_eq!(
                parse_pid(line).map(|pid| pid.as_raw_nonzero().get()),
                expected,
                "{line:?}"
            );
        }
    }
}
