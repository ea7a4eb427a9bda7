//! The machine that the program runs on, read from its files. What cannot be read is none: a check
//! says so, and never guesses.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use model::Timestamp;
use model::facts::HostFacts;

use super::settings;
use crate::compliance::evidence_store;

/// Settings of the SSH server that matter to a check.
const SSHD: [&str; 6] = [
    "permitrootlogin",
    "passwordauthentication",
    "clientaliveinterval",
    "clientalivecountmax",
    "banner",
    "maxauthtries",
];
/// A file of settings larger than this is none.
const FILE_MAX: u64 = 32 << 20;

/// A machine's files.
#[derive(Debug)]
pub(super) struct Host {
    root: PathBuf,
}

impl Host {
    /// This machine.
    pub(super) fn here() -> Self {
        Self {
            root: PathBuf::from("/"),
        }
    }

    /// Files below another root.
    #[cfg(test)]
    fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        let path = self.root.join(path);
        if fs::metadata(&path).ok()?.len() > FILE_MAX {
            return None;
        }
        fs::read(path)
            .ok()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The texts of a folder's files with an ending, by name.
    fn texts(&self, folder: &str, ending: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(folder)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .collect();
        names.retain(|name| name.ends_with(ending));
        names.sort();

        names
            .iter()
            .filter_map(|name| self.text(&format!("{folder}/{name}")))
            .collect()
    }

    /// Looks. `data` is where the data is kept.
    pub(super) fn read(&self, data: &Path) -> HostFacts {
        let packages = self.packages();
        let pam: Vec<String> = self.texts("etc/pam.d", "");
        HostFacts {
            os: self.os(),
            fips: self
                .text("proc/sys/crypto/fips_enabled")
                .map(|t| t.trim() == "1"),
            data_encrypted: self.encrypted(data),
            clock_synchronised: None,
            time_servers: self.time_servers(),
            open_ports: self.open_ports(),
            packages: packages.as_ref().map(|p| p.len() as u64),
            packages_sha256: packages.map(|p| evidence_store::sha256(p.join("\n").as_bytes())),
            drift: None,
            sshd: self.sshd(),
            lock_after: self.lock_after(&pam),
            pwquality: self
                .text("etc/security/pwquality.conf")
                .map(|t| key_values(&t)),
            remembered: number_after(&pam, "pam_pwhistory.so", "remember=")
                .or_else(|| number_after(&pam, "pam_unix.so", "remember=")),
            shell_timeout: self.shell_timeout(),
            automatic_updates: self.automatic_updates(),
            updates_checked: self
                .changed("var/lib/apt/periodic/update-success-stamp")
                .or_else(|| self.changed("var/lib/apt/lists/partial")),
            malware_scanner: self.scanner(),
            signatures_updated: ["daily.cld", "daily.cvd"]
                .iter()
                .find_map(|f| self.changed(&format!("var/lib/clamav/{f}"))),
            kernel: settings::kernel(&self.root),
            services: settings::services(&self.root),
            files: settings::files(&self.root),
            writable: settings::writable(&self.root),
        }
    }

    fn changed(&self, path: &str) -> Option<Timestamp> {
        let at = fs::metadata(self.root.join(path)).ok()?.mtime();
        Some(Timestamp::from_secs(at))
    }

    fn os(&self) -> Option<String> {
        let text = self.text("etc/os-release")?;
        let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="))?;
        Some(name.trim_matches('"').to_owned())
    }

    /// Names and versions of installed packages, ascending.
    fn packages(&self) -> Option<Vec<String>> {
        let status = self.text("var/lib/dpkg/status")?;
        let mut packages: Vec<String> = status
            .split("\n\n")
            .filter_map(|entry| {
                let field = |name: &str| {
                    entry
                        .lines()
                        .find_map(|l| l.strip_prefix(name))
                        .map(str::trim)
                };
                field("Status:").filter(|s| s.ends_with(" installed"))?;
                Some(format!("{} {}", field("Package:")?, field("Version:")?))
            })
            .collect();

        packages.sort();
        Some(packages)
    }

    /// Whether dm-crypt lies somewhere below the file system that holds a path.
    fn encrypted(&self, data: &Path) -> Option<bool> {
        let device = fs::metadata(data).ok()?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let block = self.root.join(format!("sys/dev/block/{major}:{minor}"));
        let block = fs::canonicalize(block).ok()?;
        Some(is_crypt(&block, 8))
    }

    fn time_servers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let timesyncd = self.text("etc/systemd/timesyncd.conf").unwrap_or_default();
        for line in timesyncd
            .lines()
            .filter_map(|l| l.trim().strip_prefix("NTP="))
        {
            found.extend(line.split_whitespace().map(str::to_owned));
        }
        for file in [
            "etc/chrony/chrony.conf",
            "etc/chrony.conf",
            "etc/ntp.conf",
            "etc/ntpsec/ntp.conf",
        ] {
            let text = self.text(file).unwrap_or_default();
            let words = text
                .lines()
                .map(|l| l.split_whitespace().collect::<Vec<_>>());
            let servers =
                words.filter(|w| w.len() > 1 && matches!(w[0], "server" | "pool" | "peer"));
            found.extend(servers.map(|w| w[1].to_owned()));
        }
        found.sort();
        found.dedup();
        found
    }

    /// TCP ports on which something listens for others than this machine.
    fn open_ports(&self) -> Vec<u16> {
        let mut ports = Vec::new();
        for file in ["proc/net/tcp", "proc/net/tcp6"] {
            let text = self.text(file).unwrap_or_default();
            for line in text.lines().skip(1) {
                let words: Vec<&str> = line.split_whitespace().collect();
                // 0A is LISTEN.
                let [_, local, _, "0A", ..] = words[..] else {
                    continue;
                };
                let Some((address, port)) = local.split_once(':') else {
                    continue;
                };
                if !is_loopback(address)
                    && let Ok(port) = u16::from_str_radix(port, 16)
                {
                    ports.push(port);
                }
            }
        }

        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// As sshd reads it: the first value of a key counts.
    fn sshd(&self) -> Option<BTreeMap<String, String>> {
        let main = self.text("etc/ssh/sshd_config")?;
        let mut texts = self.texts("etc/ssh/sshd_config.d", ".conf");
        texts.push(main);
        let mut found = BTreeMap::new();
        for text in &texts {
            // What stands below Match counts for some only.
            for line in text
                .lines()
                .take_while(|l| !l.trim_start().to_ascii_lowercase().starts_with("match "))
            {
                let mut words = line.split([' ', '\t', '=']).filter(|w| !w.is_empty());
                let (Some(key), Some(value)) = (words.next(), words.next()) else {
                    continue;
                };
                let key = key.to_ascii_lowercase();
                if SSHD.contains(&key.as_str()) {
                    found
                        .entry(key)
                        .or_insert_with(|| value.to_ascii_lowercase());
                }
            }
        }

        Some(found)
    }

    fn lock_after(&self, pam: &[String]) -> Option<u32> {
        let used = pam
            .iter()
            .any(|t| nonempty_lines(t).any(|l| l.contains("pam_faillock.so")));
        let set = || {
            self.text("etc/security/faillock.conf")
                .and_then(|t| key_values(&t).get("deny")?.parse().ok())
        };

        // Three is what pam_faillock does when nothing is set.
        used.then(|| {
            number_after(pam, "pam_faillock.so", "deny=")
                .or_else(set)
                .unwrap_or(3)
        })
    }

    fn shell_timeout(&self) -> Option<u32> {
        let mut texts = self.texts("etc/profile.d", ".sh");
        texts.extend(self.text("etc/profile"));
        texts.extend(self.text("etc/bash.bashrc"));
        let values = texts
            .iter()
            .flat_map(|t| nonempty_lines(t).collect::<Vec<_>>())
            .filter_map(|l| {
                let value = l.split("TMOUT=").nth(1)?;
                value
                    .chars()
                    .take_while(char::is_ascii_digit)
                    .collect::<String>()
                    .parse()
                    .ok()
            });

        values.filter(|n| *n > 0).min()
    }

    fn automatic_updates(&self) -> Option<bool> {
        self.text("var/lib/dpkg/status")?;
        let texts = self.texts("etc/apt/apt.conf.d", "");
        let on = |line: &str| {
            line.contains("APT::Periodic::Unattended-Upgrade") && line.contains("\"1\"")
        };

        Some(texts.iter().any(|t| {
            t.lines()
                .map(str::trim)
                .filter(|l| !l.starts_with("//"))
                .any(on)
        }))
    }

    fn scanner(&self) -> Option<String> {
        const KNOWN: [(&str, &str); 5] = [
            ("usr/sbin/clamd", "ClamAV"),
            ("usr/bin/clamscan", "ClamAV (on demand)"),
            ("opt/microsoft/mdatp/sbin/wdavdaemon", "Microsoft Defender"),
            ("opt/CrowdStrike/falconctl", "CrowdStrike Falcon"),
            ("opt/sentinelone/bin/sentinelctl", "SentinelOne"),
        ];

        KNOWN
            .iter()
            .find(|(path, _)| self.root.join(path).exists())
            .map(|(_, name)| (*name).to_owned())
    }
}

/// Lines that are not comments.
fn nonempty_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|l| !l.starts_with('#'))
}

/// `key = value` lines.
fn key_values(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        line.split_once('=')
            .map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()))
    };
    nonempty_lines(text).filter_map(pair).collect()
}

/// The number behind an option of a PAM module.
fn number_after(texts: &[String], module: &str, option: &str) -> Option<u32> {
    let options = |t: &String| {
        nonempty_lines(t)
            .filter(|l| l.contains(module))
            .find_map(|l| {
                l.split_whitespace()
                    .find_map(|w| w.strip_prefix(option)?.parse().ok())
            })
    };
    texts.iter().find_map(options)
}

/// Addresses of `/proc/net/tcp` are hexadecimal, each group of four octets turned round.
fn is_loopback(address: &str) -> bool {
    match address.len() {
        8 => address.ends_with("7F"),
        32 => {
            address == "00000000000000000000000001000000"
                || (address.starts_with("0000000000000000FFFF0000") && address.ends_with("7F"))
        }
        _ => false,
    }
}

/// Whether a block device, or one that it is made of, is dm-crypt. A partition lies in the folder
/// of its disk.
fn is_crypt(block: &Path, depth: u8) -> bool {
    let uuid = fs::read_to_string(block.join("dm/uuid")).unwrap_or_default();
    if uuid.starts_with("CRYPT-") {
        return true;
    }

    let Ok(slaves) = fs::read_dir(block.join("slaves")) else {
        return false;
    };
    depth > 0
        && slaves
            .filter_map(Result::ok)
            .any(|s| fs::canonicalize(s.path()).is_ok_and(|path| is_crypt(&path, depth - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_read_from_its_files() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };

        write(
            "etc/os-release",
            "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n",
        );
        write("proc/sys/crypto/fips_enabled", "0\n");
        write(
            "proc/net/tcp",
            "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0\n   1: \
                00000000:0016 00000000:0000 0A 0\n   2: 00000000:0050 0101A8C0:1 01 0\n",
        );

        write(
            "proc/net/tcp6",
            "h\n 0: 00000000000000000000000001000000:0277 0:0 0A\n 1: \
                00000000000000000000000000000000:01BB 0:0 0A\n",
        );

        write(
            "var/lib/dpkg/status",
            "Package: b\nStatus: install ok installed\nVersion: 2\n\nPackage: gone\nStatus: \
                deinstall ok config-files\nVersion: 1\n\nPackage: a\nStatus: install ok \
                installed\nVersion: 1\n",
        );
        write(
            "etc/ssh/sshd_config",
            "#PermitRootLogin no\nPermitRootLogin yes\nClientAliveInterval 300\nMatch User \
                x\nBanner none\n",
        );

        write("etc/ssh/sshd_config.d/10.conf", "permitrootlogin no\n");
        write(
            "etc/pam.d/common-auth",
            "auth required pam_faillock.so preauth\n# pam_unix.so remember=9\n",
        );
        write(
            "etc/pam.d/common-password",
            "password required pam_pwhistory.so remember=24 use_authtok\n",
        );

        write("etc/security/faillock.conf", "# deny = 9\ndeny = 5\n");
        write("etc/security/pwquality.conf", "minlen = 14\n");
        write("etc/profile.d/tmout.sh", "readonly TMOUT=900\n");
        write(
            "etc/apt/apt.conf.d/20auto",
            "APT::Periodic::Unattended-Upgrade \"1\";\n",
        );
        write("etc/chrony/chrony.conf", "pool time.nist.gov iburst\n");

        let seen = Host::at(root.path()).read(root.path());
        assert_eq!(
            (seen.os.as_deref(), seen.fips),
            (Some("Debian GNU/Linux 12"), Some(false))
        );
        assert_eq!(seen.open_ports, [22, 443]);
        assert_eq!(
            (seen.packages, seen.packages_sha256),
            (Some(2), Some(evidence_store::sha256(b"a 1\nb 2")))
        );

        let sshd = seen.sshd.unwrap();
        assert_eq!(
            (sshd["permitrootlogin"].as_str(), sshd.get("banner")),
            ("no", None),
            "the first counts; Match does not"
        );
        assert_eq!(
            (seen.lock_after, seen.remembered, seen.shell_timeout),
            (Some(5), Some(24), Some(900))
        );

        assert_eq!(seen.pwquality.unwrap()["minlen"], "14");
        assert_eq!(
            (seen.automatic_updates, &seen.time_servers[..]),
            (Some(true), &["time.nist.gov".to_owned()][..])
        );
        assert_eq!(
            seen.data_encrypted, None,
            "there is no such device below this root"
        );
    }

    #[test]
    fn nothing_there_is_nothing_known() {
        let root = tempfile::tempdir().unwrap();
        let seen = Host::at(root.path()).read(Path::new("/nowhere"));
        assert_eq!(seen, HostFacts::default());
    }

    #[test]
    fn encryption_is_found_below_other_devices() {
        let root = tempfile::tempdir().unwrap();
        let (lv, crypt) = (root.path().join("dm-1"), root.path().join("dm-0"));
        fs::create_dir_all(lv.join("slaves")).unwrap();
        fs::create_dir_all(crypt.join("dm")).unwrap();
        assert!(!is_crypt(&lv, 8));
        std::os::unix::fs::symlink(&crypt, lv.join("slaves/dm-0")).unwrap();
        fs::write(crypt.join("dm/uuid"), "CRYPT-LUKS2-00\n").unwrap();
        assert!(is_crypt(&lv, 8));
    }
}
