//! The delivered systemd unit and package, as far as they can be checked without systemd and dpkg.
//! `scripts/test-deb` installs the package where it will live.

use std::io::Write as _;
use std::path::{Path, PathBuf};
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

/// Copies a file or a folder of the repository.
fn copy(name: &str, to: &Path) {
    let copied = Command::new("cp").arg("-R").arg(at(name)).arg(to).status();
    assert!(copied.unwrap().success(), "{name}");
}

/// Every page below a folder.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "md") {
            found.push(path);
        }
    }
}

#[test]
fn no_link_of_a_shipped_page_is_dead() {
    let shipped = tempfile::tempdir().unwrap();
    for name in ["README.md", "SECURITY.md", "CHANGELOG.md", "docs"] {
        copy(name, shipped.path());
    }
    let script = at("scripts/package-links");
    let ran = Command::new(script).arg(shipped.path()).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");

    let (mut all, mut elsewhere) = (Vec::new(), 0);
    pages(shipped.path(), &mut all);
    assert!(all.len() > 50, "{all:?}");
    for page in all {
        let text = std::fs::read_to_string(&page).unwrap();
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        for (target, _) in targets {
            let file = target.split('#').next().unwrap_or_default();
            if file.contains(':') {
                elsewhere += usize::from(file.contains("/main/clients/php/README.md"));
            } else if !file.is_empty() {
                let leads_to = page.parent().unwrap().join(file);
                assert!(leads_to.exists(), "{}: {target}", page.display());
            }
        }
    }
    assert!(elsewhere > 0, "what is not shipped is in the repository");
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
