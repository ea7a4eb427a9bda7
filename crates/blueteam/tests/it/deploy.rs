//! The delivered systemd unit and package, as far as they can be checked without systemd and dpkg.
//! `scripts/test-deb` installs the package where it will live.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::cli::Program;

/// A path from the root of the repository.
fn at(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(at(path))
        .map_err(|error| format!("{path}: {error}"))
        .unwrap()
}

/// The values of a key in a section, in their order.
fn values<'a>(unit: &'a str, section: &str, key: &str) -> Vec<&'a str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in unit
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
    {
        if line.starts_with('[') {
            inside = line == format!("[{section}]");
        } else if inside && let Some((name, value)) = line.split_once('=') {
            found.extend((name == key).then_some(value));
        }
    }
    found
}

#[test]
fn the_unit_is_never_given_up_and_can_be_reloaded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/blueteam.service");
    let unit = std::fs::read_to_string(path).unwrap();
    let service = |key| values(&unit, "Service", key);
    assert_eq!(
        values(&unit, "Unit", "StartLimitIntervalSec"),
        ["0"],
        "a limit keeps an audit daemon down"
    );

    assert!(values(&unit, "Unit", "StartLimitBurst").is_empty());
    assert_eq!(
        service("Restart"),
        ["always"],
        "also after a signal that counts as a clean end"
    );
    assert_eq!(
        service("OOMPolicy"),
        ["continue"],
        "PostgreSQL is started again by the daemon"
    );

    assert_eq!(
        service("KillMode"),
        ["mixed"],
        "the daemon stops its PostgreSQL itself, after its last work"
    );
    assert!(
        service("ExecReload")
            .last()
            .is_some_and(|command| command.ends_with("kill -HUP $MAINPID"))
    );

    // What the private PostgreSQL and the listeners are tested with.
    assert_eq!(
        (service("ProcSubset"), service("ProtectProc")),
        (vec!["pid"], vec!["invisible"])
    );
}

/// `A or B` of series with equal labels shows A alone.
#[test]
fn every_series_of_the_dashboard_has_a_target_of_its_own() {
    let text = include_str!("../../../../deploy/grafana-dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets: Vec<&str> = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .filter_map(|target| target["expr"].as_str())
        .collect();

    assert!(targets.len() > 10, "{targets:?}");
    for expr in targets {
        assert!(!expr.contains(" or "), "{expr}");
    }
}

#[test]
fn what_the_package_names_is_there() {
    for name in read("deploy/debian/blueteam.docs").lines() {
        let is_there = at(name).exists() || at(&format!("deploy/{name}")).exists();
        assert!(is_there, "deploy/debian/blueteam.docs names {name}");
    }

    // Everything else is staged by the script, by these names.
    let script = read("scripts/build-deb");
    for line in read("deploy/debian/blueteam.install").lines() {
        let staged = line.split(' ').next().unwrap().trim_end_matches(".gz");
        assert!(
            script.contains(&format!("$stage/{staged}")),
            "scripts/build-deb does not stage {staged}, which deploy/debian/blueteam.install names"
        );
    }
    for word in script.split_whitespace() {
        let path = word.trim_matches('"');
        let is_ours = path.starts_with("deploy/") || path.starts_with("scripts/");
        assert!(!is_ours || at(path).exists(), "scripts/build-deb: {path}");
    }
}

/// A path that one of them has otherwise would show when a stranger installs it.
#[test]
fn unit_package_and_image_agree_on_paths_and_the_user() {
    let unit = read("deploy/blueteam.service");
    let install = read("deploy/debian/blueteam.install");
    assert_eq!(
        values(&unit, "Service", "ExecStart"),
        ["/usr/bin/blueteam serve"]
    );
    assert!(install.contains("blueteam usr/bin\n"));
    assert!(install.contains("etc/blueteam.toml etc/blueteam\n"));

    let environment =
        "BLUETEAM_STATE_DIR=/var/lib/blueteam BLUETEAM_CONFIG=/etc/blueteam/blueteam.toml";
    assert_eq!(values(&unit, "Service", "Environment"), [environment]);
    for word in environment.split(' ') {
        for file in ["deploy/debian/blueteam.postinst", "scripts/build-image"] {
            assert!(read(file).contains(word), "{file}: {word}");
        }
    }
    let postrm = read("deploy/debian/blueteam.postrm");
    assert!(postrm.contains("STATE=/var/lib/blueteam\n"));

    assert_eq!(values(&unit, "Service", "User"), ["blueteam"]);
    assert!(read("deploy/blueteam.sysusers.conf").contains("\nu blueteam "));
    for file in ["deploy/debian/blueteam.postinst", "deploy/first-alert"] {
        assert!(read(file).contains("runuser -u blueteam"), "{file}");
    }
}

#[test]
fn every_command_has_a_page_and_shells_can_read_the_completions() {
    let program = Program::new(None);
    let pages = program.path("pages");
    program
        .run(&["man-pages", &pages.display().to_string()])
        .good();

    let help = program.run(&["--help"]).good();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Continued descriptions are indented further.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 15, "{commands:?}");
    for command in commands {
        let page = pages.join(format!("blueteam-{command}.1"));
        assert!(page.exists(), "blueteam {command} has no manual page");
    }

    let script = program.run(&["completions", "bash"]).good();
    let mut bash = Command::new("bash")
        .arg("-n")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = bash.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    assert!(bash.wait().unwrap().success());
}
