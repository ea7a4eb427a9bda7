//! Commands that have a new name. The old one still works, with a warning; `--help` shows the new
//! one alone.

use std::ffi::OsString;

/// The words of an old command and those of the new one. A longer old command stands before a
/// shorter one that it begins with.
const RENAMED: &[(&[&str], &[&str])] = &[
    (&["up"], &["serve"]),
    (&["alerts", "silences", "end"], &["silences", "expire"]),
    (&["alerts", "silences"], &["silences"]),
    (&["silences", "end"], &["silences", "expire"]),
    (&["alerts", "deliveries"], &["notifications"]),
    (&["events", "queries"], &["events", "audit"]),
    (&["compliance", "set"], &["compliance", "assess"]),
    (
        &["compliance", "evidence", "replay"],
        &["compliance", "checks", "replay"],
    ),
    (
        &["compliance", "evidence", "baseline"],
        &["compliance", "baseline", "approve"],
    ),
    (
        &["advisories", "components"],
        &["advisories", "inventory", "import"],
    ),
    (&["advisories", "retire"], &["advisories", "remove"]),
];

/// Every old command with its new name.
pub(super) fn all() -> impl Iterator<Item = (String, String)> {
    RENAMED
        .iter()
        .map(|(old, new)| (old.join(" "), new.join(" ")))
}

/// Options before the command that take a value.
const WITH_VALUE: [&str; 2] = ["--state-dir", "--config"];

/// The arguments with the present names, and the warning about an old one, if there is one.
pub(super) fn present(args: Vec<OsString>) -> (Vec<OsString>, Option<String>) {
    let start = command_at(&args);
    for (old, new) in RENAMED {
        let given = args.get(start..start + old.len());
        if !given.is_some_and(|given| given.iter().zip(*old).all(|(a, b)| a == b)) {
            continue;
        }

        let warning = format!(
            "warning: `blueteam {}` is now `blueteam {}`; the old name still works",
            old.join(" "),
            new.join(" ")
        );

        let mut renamed = args[..start].to_vec();
        renamed.extend(new.iter().map(OsString::from));
        renamed.extend_from_slice(&args[start + old.len()..]);
        return (renamed, Some(warning));
    }

    (args, None)
}

/// Where the command begins, after the program and the options that every command has.
fn command_at(args: &[OsString]) -> usize {
    let mut at = 1;
    while let Some(arg) = args.get(at).and_then(|arg| arg.to_str()) {
        if WITH_VALUE.contains(&arg) {
            at += 2;
        } else if arg.starts_with("--") {
            at += 1;
        } else {
            break;
        }
    }

    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(line: &str) -> (String, bool) {
        let args = line.split(' ').map(OsString::from).collect();
        let (args, warning) = present(args);
        let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        (args.join(" "), warning.is_some())
    }

    #[test]
    fn old_commands_become_new_ones() {
        let cases = [
            ("blueteam up", "blueteam serve"),
            (
                "blueteam --state-dir /tmp/up up",
                "blueteam --state-dir /tmp/up serve",
            ),
            (
                "blueteam --config=x alerts silences end 0199",
                "blueteam --config=x silences expire 0199",
            ),
            (
                "blueteam compliance set 3.5.3a --finding met",
                "blueteam compliance assess 3.5.3a --finding met",
            ),
            (
                "blueteam alerts deliveries list --json",
                "blueteam notifications list --json",
            ),
        ];

        for (old, new) in cases {
            assert_eq!(renamed(old), (new.to_owned(), true));
            assert_eq!(renamed(new), (new.to_owned(), false));
        }
    }

    #[test]
    fn words_that_are_no_command_stay() {
        for line in [
            "blueteam",
            "blueteam keys create up",
            "blueteam events search --user up",
            "blueteam compliance evidence",
        ] {
            assert_eq!(renamed(line), (line.to_owned(), false));
        }
    }

    #[test]
    fn every_new_command_is_there() {
        use clap::CommandFactory as _;
        let root = crate::cli::Cli::command();
        for (old, new) in RENAMED {
            let find = |words: &[&str]| {
                words
                    .iter()
                    .try_fold(&root, |at, word| at.find_subcommand(word))
                    .is_some()
            };
            assert!(find(new), "{new:?}");
            assert!(!find(old), "{old:?} is still there");
        }
    }
}
