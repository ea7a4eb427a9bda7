//! Whether this machine's clock follows an authoritative one (3.3.7).

use std::process::{Command, Stdio};

/// Returns whether the system says that its clock is synchronized; `None` when it cannot say (no
/// systemd, as in most containers).
pub fn synchronized() -> Option<bool> {
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;

    match asked.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}
