//! Commands and options that have a new name. The old one still works, with a warning; `--help`
//! shows the new one alone.

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
    (&["incidents", "advance"], &["incidents", "update"]),
];

/// An old option and the new one, wherever it is taken.
const RENAMED_OPTIONS: &[(&str, &str)] = &[("--as", "--on-behalf-of")];

/// Every old command and option with its new name.
pub(super) fn all() -> impl Iterator<Item = (String, String)> {
    let command = |words: &[&str]| format!("blueteam {}", words.join(" "));
    let commands = RENAMED
        .iter()
        .map(move |(old, new)| (command(old), command(new)));
    let options = RENAMED_OPTIONS
        .iter()
        .map(|(old, new)| ((*old).to_owned(), (*new).to_owned()));
    commands.chain(options)
}

/// Options before the command that take a value.
const WITH_VALUE: [&str; 6] = [
    "--state-dir",
    "--config",
    "--tenant",
    "--server",
    "--key-file",
    "--ca-file",
];

/// The arguments with the present names, and the warnings about old ones.
pub(super) fn present(args: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let (mut args, command) = present_command(args);
    let option = present_options(&mut args);
    (args, command.into_iter().chain(option).collect())
}

/// Gives options their present names, up to `--`, after which there are none.
fn present_options(args: &mut [OsString]) -> Option<String> {
    let mut warning = instance_option(args);
    for arg in args.iter_mut().take_while(|arg| *arg != "--") {
        let Some(text) = arg.to_str() else { continue };
        let renamed = RENAMED_OPTIONS.iter().find_map(|(old, new)| {
            let rest = text.strip_prefix(old)?;
            (rest.is_empty() || rest.starts_with('=')).then(|| (old, new, format!("{new}{rest}")))
        });

        if let Some((old, new, present)) = renamed {
            warning = Some(format!(
                "warning: `{old}` is now `{new}`; the old name still works. Who acts is your \
                    account"
            ));
            *arg = present.into();
        }
    }

    warning
}

/// `--tenant` with an id was what is `--instance` now: an application's own tenant. No organization is
/// called like an id.
fn instance_option(args: &mut [OsString]) -> Option<String> {
    let is_id = |text: &str| uuid::Uuid::try_parse(text).is_ok();
    let end = args.iter().position(|arg| *arg == "--");
    let at = (0..end.unwrap_or(args.len())).find(|at| {
        let text = |at: usize| args.get(at).and_then(|arg| arg.to_str());
        let apart = text(*at) == Some("--tenant") && text(*at + 1).is_some_and(is_id);
        apart
            || text(*at)
                .and_then(|arg| arg.strip_prefix("--tenant="))
                .is_some_and(is_id)
    })?;
    let given = args
        .get(at)?
        .to_str()?
        .replacen("--tenant", "--instance", 1);
    *args.get_mut(at)? = given.into();
    Some("warning: `--tenant ID` is now `--instance ID`; --tenant names an organization".to_owned())
}

fn present_command(args: Vec<OsString>) -> (Vec<OsString>, Option<String>) {
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
        let (args, warnings) = present(args);
        let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        (args.join(" "), !warnings.is_empty())
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
            (
                "blueteam alerts ack 3f2a --as alice",
                "blueteam alerts ack 3f2a --on-behalf-of alice",
            ),
            (
                "blueteam keys create --as=alice -- --as",
                "blueteam keys create --on-behalf-of=alice -- --as",
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
            "blueteam events search --asn 64500",
            "blueteam compliance evidence",
        ] {
            assert_eq!(renamed(line), (line.to_owned(), false));
        }
    }

    #[test]
    fn every_new_command_is_there() {
        let root = crate::cli::program();
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
