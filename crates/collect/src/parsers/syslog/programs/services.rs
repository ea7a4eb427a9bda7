//! What logging services say of their own start and end, and what systemd says of them and of the
//! machine.

use memchr::memmem;
use model::{Category, Outcome};

use super::Activity;

/// The services, and the words by which systemd knows them: the unit, or its description on
/// versions before 249.
const UNITS: [(&[u8], &[&[u8]]); 4] = [
    (b"rsyslog", &[b"rsyslog.service", b"System Logging Service"]),
    (
        b"syslog-ng",
        &[b"syslog-ng.service", b"System Logger Daemon"],
    ),
    (
        b"auditd",
        &[b"auditd.service", b"Security Auditing Service"],
    ),
    (
        b"systemd-journald",
        &[b"systemd-journald.service", b"Journal Service"],
    ),
];

/// Parses a message of a logging service, of systemd or of what shuts a machine down.
pub(super) fn parse<'a>(program: &[u8], message: &'a [u8]) -> Option<Activity<'a>> {
    let message = message.trim_ascii();
    let (action, service): (_, &[u8]) = match program {
        b"rsyslogd" | b"syslogd" => (syslogd_action(message)?, b"rsyslog"),
        b"syslog-ng" if message.starts_with(b"syslog-ng shutting down;") => {
            ("log_service_stop", b"syslog-ng")
        }
        b"syslog-ng" if message.starts_with(b"syslog-ng starting up;") => {
            ("log_service_start", b"syslog-ng")
        }
        b"auditd" if message.starts_with(b"The audit daemon is exiting") => {
            ("log_service_stop", b"auditd")
        }
        b"auditd" if message.starts_with(b"Init complete, auditd ") => {
            ("log_service_start", b"auditd")
        }
        b"systemd-journald" if message == b"Journal stopped" => {
            ("log_service_stop", b"systemd-journald")
        }
        b"systemd-journald" if message == b"Journal started" => {
            ("log_service_start", b"systemd-journald")
        }
        // The kernel's own record of `auditctl -e 0`.
        b"kernel" if is_audit_switched_off(message) => ("log_service_stop", b"auditd"),
        b"systemd" => systemd_action(message)?,
        b"systemd-logind" if is_shutdown_announced(message) => ("host_shutdown", b""),
        b"shutdown" if message.starts_with(b"shutting down for system") => ("host_shutdown", b""),
        _ => return None,
    };

    let activity = Activity::new(Category::System, action, Outcome::Success).with_detail(message);
    Some(activity.on_account(service))
}

/// rsyslogd puts `[origin software="rsyslogd" … x-info="…"] ` before what it says of itself.
fn syslogd_action(message: &[u8]) -> Option<&'static str> {
    let own = match message.strip_prefix(b"[origin software=\"rsyslogd\" ") {
        Some(rest) => &rest[memmem::find(rest, b"] ")? + 2..],
        None => message,
    };
    if own.starts_with(b"exiting on signal ") {
        return Some("log_service_stop");
    }
    let starts = own == b"start" || own == b"restart" || own.ends_with(b": restart.");
    starts.then_some("log_service_start")
}

/// Parses `Stopped rsyslog.service - System Logging Service.`, and the same with `Started`.
fn systemd_action(message: &[u8]) -> Option<(&'static str, &'static [u8])> {
    const ENDS: [&[u8]; 4] = [
        b"Reached target Shutdown",
        b"Reached target System Shutdown",
        b"Reached target Power-Off",
        b"Shutting down",
    ];
    // Versions from 249 name the unit before the description.
    if ENDS.iter().any(|end| message.starts_with(end))
        || message.starts_with(b"Reached target shutdown.target")
    {
        return Some(("host_shutdown", b""));
    }

    let (action, unit) = if let Some(unit) = message.strip_prefix(b"Stopped ") {
        ("log_service_stop", unit)
    } else {
        ("log_service_start", message.strip_prefix(b"Started ")?)
    };
    let (service, _) = UNITS
        .iter()
        .find(|(_, names)| names.iter().any(|name| unit.starts_with(name)))?;
    Some((action, service))
}

fn is_shutdown_announced(message: &[u8]) -> bool {
    const ENDS: [&[u8]; 4] = [
        b"System is powering down",
        b"System is rebooting",
        b"System is halting",
        b"The system will ",
    ];
    ENDS.iter().any(|end| message.starts_with(end))
}

/// `audit: type=1305 audit(…): op=set audit_enabled=0 old=1 …`, and older forms.
fn is_audit_switched_off(message: &[u8]) -> bool {
    let has = |text: &[u8]| memmem::find(message, text).is_some();
    let is_of_audit = message.starts_with(b"audit: ") || message.starts_with(b"type=1305 ");
    is_of_audit && has(b"type=1305 ") && has(b"audit_enabled=0 old=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(program: &str, message: &str) -> String {
        parse(program.as_bytes(), message.as_bytes()).map_or_else(
            || "nothing".to_owned(),
            |activity| {
                let service = String::from_utf8_lossy(activity.account.unwrap_or_default());
                format!("{} {service}", activity.action)
            },
        )
    }

    #[test]
    fn services_that_log_say_when_they_stop() {
        let origin = "[origin software=\"rsyslogd\" swVersion=\"8.2302.0\" x-pid=\"495\" \
                      x-info=\"https://www.rsyslog.com\"]";
        for (program, message, expected) in [
            (
                "rsyslogd",
                format!("{origin} exiting on signal 15."),
                "log_service_stop rsyslog",
            ),
            (
                "rsyslogd",
                format!("{origin} start"),
                "log_service_start rsyslog",
            ),
            (
                "rsyslogd",
                format!("{origin} rsyslogd was HUPed"),
                "nothing",
            ),
            (
                "syslogd",
                "exiting on signal 15".to_owned(),
                "log_service_stop rsyslog",
            ),
            (
                "syslog-ng",
                "syslog-ng shutting down; version='3.38.1'".to_owned(),
                "log_service_stop syslog-ng",
            ),
            (
                "auditd",
                "The audit daemon is exiting.".to_owned(),
                "log_service_stop auditd",
            ),
            (
                "systemd-journald",
                "Journal stopped".to_owned(),
                "log_service_stop systemd-journald",
            ),
            (
                "systemd",
                "Stopped rsyslog.service - System Logging Service.".to_owned(),
                "log_service_stop rsyslog",
            ),
            (
                "systemd",
                "Started System Logging Service.".to_owned(),
                "log_service_start rsyslog",
            ),
            (
                "systemd",
                "Stopped nginx.service - A web server.".to_owned(),
                "nothing",
            ),
            (
                "systemd",
                "Reached target Shutdown.".to_owned(),
                "host_shutdown ",
            ),
            (
                "systemd-logind",
                "The system will reboot now!".to_owned(),
                "host_shutdown ",
            ),
            (
                "systemd-logind",
                "System is powering down.".to_owned(),
                "host_shutdown ",
            ),
            (
                "kernel",
                "audit: type=1305 audit(1700000000.123:45): op=set audit_enabled=0 old=1 auid=0"
                    .to_owned(),
                "log_service_stop auditd",
            ),
            (
                "kernel",
                "audit: type=1400 audit(1.2:3): audit_enabled=0 old=1".to_owned(),
                "nothing",
            ),
            ("logger", "exiting on signal 15".to_owned(), "nothing"),
        ] {
            assert_eq!(
                describe(program, &message),
                expected,
                "{program}: {message}"
            );
        }
    }
}
