//! What of a machine's settings a baseline holds: the kernel, services, files that configure
//! security, and who may write to them.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::compliance::evidence_store;

/// Settings of the kernel that hardening guides set.
const KERNEL: [&str; 19] = [
    "fs.protected_fifos",
    "fs.protected_hardlinks",
    "fs.protected_regular",
    "fs.protected_symlinks",
    "fs.suid_dumpable",
    "kernel.dmesg_restrict",
    "kernel.kptr_restrict",
    "kernel.modules_disabled",
    "kernel.randomize_va_space",
    "kernel.sysrq",
    "kernel.unprivileged_bpf_disabled",
    "kernel.yama.ptrace_scope",
    "net.ipv4.conf.all.accept_redirects",
    "net.ipv4.conf.all.accept_source_route",
    "net.ipv4.conf.all.log_martians",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.all.send_redirects",
    "net.ipv4.ip_forward",
    "net.ipv4.tcp_syncookies",
];
/// Files that configure who gets in, what is logged, and what runs.
const FILES: [&str; 15] = [
    "etc/audit/auditd.conf",
    "etc/audit/audit.rules",
    "etc/crontab",
    "etc/hosts.allow",
    "etc/hosts.deny",
    "etc/ld.so.preload",
    "etc/login.defs",
    "etc/nftables.conf",
    "etc/nsswitch.conf",
    "etc/profile",
    "etc/rsyslog.conf",
    "etc/security/access.conf",
    "etc/ssh/sshd_config",
    "etc/sudoers",
    "etc/sysctl.conf",
];
/// Folders whose files do so.
const FOLDERS: [&str; 6] = [
    "etc/audit/rules.d",
    "etc/cron.d",
    "etc/pam.d",
    "etc/ssh/sshd_config.d",
    "etc/sudoers.d",
    "etc/sysctl.d",
];
/// Where it is decided what runs, and as whom.
const GUARDED: [&str; 16] = [
    "boot",
    "etc",
    "etc/cron.d",
    "etc/group",
    "etc/pam.d",
    "etc/passwd",
    "etc/shadow",
    "etc/ssh",
    "etc/ssh/sshd_config",
    "etc/sudoers",
    "etc/sudoers.d",
    "etc/systemd/system",
    "usr/bin",
    "usr/lib",
    "usr/local/bin",
    "usr/sbin",
];
/// A file larger than this configures nothing.
const FILE_MAX: u64 = 1 << 20;
/// What stands for the hash of a file that we may not read: it is compared with nothing.
pub(super) const UNREADABLE: &str = "unreadable";

/// Settings of the kernel; none when it shows none.
pub(super) fn kernel(root: &Path) -> Option<BTreeMap<String, String>> {
    let read = |name: &&str| {
        let path = root.join("proc/sys").join(name.replace('.', "/"));
        Some((
            (*name).to_owned(),
            fs::read_to_string(path).ok()?.trim().to_owned(),
        ))
    };

    let found: BTreeMap<String, String> = KERNEL.iter().filter_map(read).collect();
    (!found.is_empty()).then_some(found)
}

/// Services that systemd is told to start, ascending; none without systemd.
pub(super) fn services(root: &Path) -> Option<Vec<String>> {
    let folder = root.join("etc/systemd/system");
    let mut found = Vec::new();
    for wants in fs::read_dir(folder).ok()?.filter_map(Result::ok) {
        if !wants.file_name().to_string_lossy().ends_with(".wants") {
            continue;
        }
        let Ok(units) = fs::read_dir(wants.path()) else {
            continue;
        };
        found.extend(units.filter_map(|unit| unit.ok()?.file_name().into_string().ok()));
    }

    found.sort();
    found.dedup();
    Some(found)
}

/// The hashes of the files that configure security; none when there is not one.
pub(super) fn files(root: &Path) -> Option<BTreeMap<String, String>> {
    let mut paths: Vec<String> = FILES.iter().map(ToString::to_string).collect();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(root.join(folder)) else {
            continue;
        };
        paths.extend(entries.filter_map(|e| {
            Some(format!(
                "{folder}/{}",
                e.ok()?.file_name().into_string().ok()?
            ))
        }));
    }

    let found: BTreeMap<String, String> = paths
        .into_iter()
        .filter_map(|path| file_hash(&root.join(&path)).map(|hash| (format!("/{path}"), hash)))
        .collect();
    (!found.is_empty()).then_some(found)
}

fn file_hash(path: &Path) -> Option<String> {
    let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    if about.len() > FILE_MAX {
        return None;
    }

    match fs::read(path) {
        Ok(bytes) => Some(evidence_store::sha256(&bytes)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Some(UNREADABLE.to_owned()),
        Err(_) => None,
    }
}

/// Of what decides what runs, that to which everybody may write; none when nothing of it is there.
pub(super) fn writable(root: &Path) -> Option<Vec<String>> {
    let seen: Vec<(&str, u32)> = GUARDED
        .iter()
        .filter_map(|path| {
            Some((
                *path,
                fs::metadata(root.join(path)).ok()?.permissions().mode(),
            ))
        })
        .collect();
    let open = seen
        .iter()
        .filter(|(_, mode)| mode & 0o002 != 0)
        .map(|(path, _)| format!("/{path}"))
        .collect();

    (!seen.is_empty()).then_some(open)
}

/// The names whose values differ, of two maps that are both there. What one of them could not read
/// is no difference.
pub(super) fn differing(
    before: Option<&BTreeMap<String, String>>,
    now: Option<&BTreeMap<String, String>>,
) -> Vec<String> {
    let (Some(before), Some(now)) = (before, now) else {
        return Vec::new();
    };
    let unreadable = |name: &&String| {
        [before, now]
            .iter()
            .any(|m| m.get(*name).is_some_and(|v| v == UNREADABLE))
    };

    let mut names: Vec<&String> = before
        .keys()
        .chain(now.keys())
        .filter(|n| before.get(*n) != now.get(*n))
        .collect();
    names.sort();
    names.dedup();

    names
        .into_iter()
        .filter(|n| !unreadable(n))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_compared() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };

        assert_eq!(
            (
                kernel(root.path()),
                services(root.path()),
                files(root.path()),
                writable(root.path())
            ),
            (None, None, None, None)
        );

        write("proc/sys/kernel/yama/ptrace_scope", "1\n");
        write("etc/systemd/system/multi-user.target.wants/ssh.service", "");
        write(
            "etc/systemd/system/multi-user.target.wants/cron.service",
            "",
        );
        write("etc/sudoers.d/admins", "alice ALL=(ALL) ALL\n");
        write("etc/login.defs", "UMASK 027\n");

        assert_eq!(
            kernel(root.path()).unwrap()["kernel.yama.ptrace_scope"],
            "1"
        );
        assert_eq!(
            services(root.path()).unwrap(),
            ["cron.service", "ssh.service"]
        );

        assert_eq!(writable(root.path()), Some(Vec::new()));
        let before = files(root.path());
        write("etc/sudoers.d/admins", "mallory ALL=(ALL) NOPASSWD: ALL\n");
        write("etc/cron.d/new", "* * * * * root id\n");
        let mut after = files(root.path());
        assert_eq!(
            differing(before.as_ref(), after.as_ref()),
            ["/etc/cron.d/new", "/etc/sudoers.d/admins"]
        );

        after
            .as_mut()
            .unwrap()
            .insert("/etc/sudoers.d/admins".to_owned(), UNREADABLE.to_owned());
        assert_eq!(
            differing(before.as_ref(), after.as_ref()),
            ["/etc/cron.d/new"],
            "what is not read is not compared"
        );

        assert_eq!(
            differing(None, after.as_ref()),
            Vec::<String>::new(),
            "an older baseline has no files"
        );

        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(root.path().join("etc/sudoers.d"), open).unwrap();
        assert_eq!(
            writable(root.path()),
            Some(vec!["/etc/sudoers.d".to_owned()])
        );
    }
}
