//! What there are many of is one file each and one list: nothing else in the program names a single
//! one, so that another one touches nothing else.

use std::collections::BTreeSet;

use super::{code, crates, names, read, sources};

/// A folder of files, the list that each of them is in, and how it stands there.
struct List {
    folder: &'static str,
    list: &'static str,
    entry: &'static str,
}

const LISTS: &[List] = &[
    List {
        folder: "crates/detect/src/rules",
        list: "crates/detect/src/rules.rs",
        entry: "&NAME::RULE,",
    },
    List {
        folder: "crates/collect/src/parsers",
        list: "crates/collect/src/parsers.rs",
        entry: "&NAME::FORMAT",
    },
    List {
        folder: "crates/compliance/src/checks",
        list: "crates/compliance/src/checks.rs",
        entry: "&NAME::CHECK,",
    },
    List {
        folder: "crates/monitors/src",
        list: "crates/monitors/src/lib.rs",
        entry: "&NAME::MONITOR,",
    },
    List {
        folder: "crates/daemon/src/tasks",
        list: "crates/daemon/src/tasks.rs",
        entry: "&NAME::TASK,",
    },
    List {
        folder: "crates/daemon/src/sources",
        list: "crates/daemon/src/sources.rs",
        entry: "&NAME::SOURCE,",
    },
    List {
        folder: CHANNELS,
        list: "crates/notify/src/channels.rs",
        entry: "\n    NAME,\n",
    },
    List {
        folder: COMMANDS,
        list: "crates/blueteam/src/cli.rs",
        entry: "    &NAME::",
    },
];

const CHANNELS: &str = "crates/notify/src/channels";
const COMMANDS: &str = "crates/blueteam/src/cli";

/// Files in these folders that are not of the kind.
const HELPERS: &[&str] = &[
    "tests",
    "step",
    "coverage",
    "reference",
    "watching",
    "lib",
    "expiry",
    "analysis",
    "out",
    "renamed",
    "session",
];

/// Source files that name a channel, and why they must.
const NAMES_A_CHANNEL: &[(&str, &[&str], &str)] = &[
    (
        "crates/compliance/src/checks/watching.rs",
        &["ocsf", "cef"],
        "records of older versions do not say which channels reach people",
    ),
    (
        "crates/config/src/renamed.rs",
        &["console", "syslog", "ocsf", "cef"],
        "old names of keys",
    ),
    (
        "crates/blueteam/src/demo.rs",
        &["console"],
        "the demonstration prints what it finds itself",
    ),
];

/// Names of channels that other things have as well: formats, sources and columns.
const AMBIGUOUS: &[&str] = &["console", "email", "syslog"];

/// The names of the files of a kind.
fn members(folder: &str) -> Vec<String> {
    names(folder)
        .into_iter()
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| !HELPERS.contains(&name.as_str()) && !name.starts_with('.'))
        .collect()
}

/// The code of a file without its tests and its comments, by line.
fn program(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    code(&text[..end])
}

#[test]
fn every_file_of_a_list_is_in_it() {
    for List {
        folder,
        list,
        entry,
    } in LISTS
    {
        let text = read(list);
        for name in members(folder) {
            let entry = entry.replace("NAME", &name);
            assert!(
                text.contains(&entry),
                "{folder}/{name}.rs is not in the list of {list}: `{entry}` is missing"
            );
        }
    }
}

/// Whether a line names a channel: as a section, a module, a constant, or by its bare name.
fn names_channel(line: &str, channel: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let path = ["channels::", "channels."].iter().any(|before| {
        let whole = format!("{before}{channel}");
        line.match_indices(&whole)
            .any(|(at, _)| !line[at + whole.len()..].starts_with(is_word))
    });

    let literal = format!("\"{channel}\"");
    let is_named = line.contains(&format!("named({literal})"));
    path || is_named || (!AMBIGUOUS.contains(&channel) && line.contains(&literal))
}

#[test]
fn only_its_own_file_and_the_list_name_a_channel() {
    let channels = members(CHANNELS);
    assert!(channels.len() >= 9, "{channels:?}");
    let mut excused = BTreeSet::new();

    for krate in crates().iter().filter(|krate| *krate != "testkit") {
        for file in sources(&format!("crates/{krate}/src")) {
            // A channel may build on another one.
            if file.contains("/tests") || file.starts_with(CHANNELS) {
                continue;
            }

            for (n, line) in program(&read(&file)) {
                for channel in channels.iter().filter(|c| names_channel(line, c)) {
                    let is_excused = NAMES_A_CHANNEL
                        .iter()
                        .any(|(at, names, _)| *at == file && names.contains(&channel.as_str()));
                    assert!(
                        is_excused,
                        "{file}:{n}: names the channel {channel}: ask its definition instead: {}",
                        line.trim()
                    );
                    excused.insert((file.clone(), channel.clone()));
                }
            }
        }
    }

    let known: BTreeSet<(String, String)> = NAMES_A_CHANNEL
        .iter()
        .flat_map(|(at, names, _)| {
            names
                .iter()
                .map(|name| ((*at).to_owned(), (*name).to_owned()))
        })
        .collect();
    assert_eq!(
        known, excused,
        "take what is not named any more from the list"
    );
}

#[test]
fn a_command_stands_in_the_list_and_nowhere_else() {
    let text = read("crates/blueteam/src/cli.rs");
    let commands = members(COMMANDS);
    assert!(commands.len() >= 16, "{commands:?}");

    for command in commands {
        let path = format!("{command}::");
        let declared = format!("mod {command};");
        for (n, line) in program(&text) {
            let line = line.trim();
            let is_entry = line.starts_with('&') && line.ends_with(',');
            assert!(
                line == declared || is_entry || !line.contains(&path),
                "crates/blueteam/src/cli.rs:{n}: belongs to the file of `{command}`: {line}"
            );
            assert!(
                !line.contains(&format!("\"{command}\"")),
                "crates/blueteam/src/cli.rs:{n}: only the file of `{command}` knows its name"
            );
        }

        // What a command shares with others is a module without a command.
        for file in sources(COMMANDS) {
            let is_its_own = file == format!("{COMMANDS}/{command}.rs")
                || file.starts_with(&format!("{COMMANDS}/{command}/"));
            for (n, line) in program(&read(&file)).filter(|_| !is_its_own) {
                assert!(
                    !line.contains(&format!("name: \"{command}\"")),
                    "{file}:{n}: only the file of `{command}` defines it"
                );
            }
        }
    }
}
