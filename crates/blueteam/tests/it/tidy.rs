//! Keeps the invariants that ARCHITECTURE.md promises and that neither Cargo nor the compiler
//! keeps.

mod asvs;
mod language;
mod lists;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which crates of ours each crate may depend on. A new crate gets its line here before anything
/// depends on it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("detect", &["model"]),
    ("collect", &["model"]),
    ("notify", &["model"]),
    ("compliance", &["model", "respond"]),
    ("advisories", &["model"]),
    ("respond", &["model"]),
    ("redteam", &["model"]),
    ("identity", &["model"]),
    ("pages", &["model"]),
    ("pdf", &["compliance"]),
    ("cluster", &[]),
    ("store", &["model"]),
    ("monitors", &["model", "store"]),
    ("ingest", &["collect", "model", "store"]),
    (
        "config",
        &[
            "advisories",
            "collect",
            "detect",
            "identity",
            "model",
            "monitors",
            "notify",
            "respond",
        ],
    ),
    ("replay", &["collect", "detect", "model"]),
    ("scenario", &["model"]),
    (
        "app",
        &[
            "advisories",
            "cluster",
            "collect",
            "compliance",
            "config",
            "detect",
            "identity",
            "ingest",
            "model",
            "monitors",
            "notify",
            "pdf",
            "respond",
            "redteam",
            "store",
        ],
    ),
    ("web", &["app", "collect", "ingest", "model", "pages"]),
    (
        "daemon",
        &[
            "app",
            "cluster",
            "collect",
            "compliance",
            "config",
            "detect",
            "ingest",
            "model",
            "monitors",
            "notify",
            "store",
            "web",
        ],
    ),
    (
        "blueteam",
        &[
            "advisories",
            "app",
            "collect",
            "compliance",
            "config",
            "daemon",
            "identity",
            "model",
            "notify",
            "pdf",
            "redteam",
            "replay",
            "scenario",
        ],
    ),
    ("testkit", &["cluster", "model", "store"]),
    // What an application links; it is published, and none of ours are.
    ("blueteam-audit", &[]),
];

/// Which crates of ours the tests of a crate may use besides those: the client's speak with the
/// real ingest.
const TESTS_MAY_USE: &[(&str, &[&str])] = &[
    (
        "blueteam-audit",
        &["app", "cluster", "ingest", "model", "store", "web"],
    ),
    (
        "blueteam",
        &["cluster", "detect", "respond", "store", "web"],
    ),
    ("store", &["cluster", "identity", "respond"]),
    ("web", &["cluster", "store"]),
    ("replay", &["scenario"]),
];

/// Libraries that belong to some crates alone.
const ONLY_IN: &[(&str, &[&str])] = &[
    (
        "sqlx",
        &["store", "cluster", "ingest", "testkit", "blueteam-audit"],
    ),
    ("argon2", &["identity"]),
    ("totp-rs", &["identity"]),
    ("webauthn_rp", &["identity"]),
    ("openidconnect", &["identity"]),
    ("ldap3", &["app"]),
    ("ring", &["app"]),
    ("age", &["respond"]),
    ("minisign", &["respond"]),
    ("askama", &["pages"]),
    ("axum", &["web"]),
    ("hyper", &["web"]),
    ("lettre", &["notify"]),
    ("reqwest", &["notify", "app", "blueteam", "blueteam-audit"]),
    ("typst", &["pdf"]),
    ("typst-pdf", &["pdf"]),
    ("rsigma-eval", &["detect"]),
    ("rsigma-parser", &["detect"]),
];

/// Files of more than [`LINES_MAX`] lines of code, and why they stay whole. Blank lines and
/// comments do not count, so that nobody squeezes a file to meet the limit.
const LONG_FILES: &[(&str, &str)] = &[
    (
        "crates/blueteam/tests/it/cli.rs",
        "each command's tests move to a file of their own",
    ),
    (
        "crates/blueteam/tests/it/dossier.rs",
        "each report's tests move to a file of their own",
    ),
];
const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path))
        .map_err(|error| format!("{path}: {error}"))
        .unwrap()
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn crates() -> Vec<String> {
    names("crates")
        .into_iter()
        .filter(|name| root().join("crates").join(name).join("Cargo.toml").exists())
        .collect()
}

/// Every Rust file below a folder, by its path from the root.
fn sources(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in names(folder) {
        let path = format!("{folder}/{name}");
        if root().join(&path).is_dir() {
            found.extend(sources(&path));
        } else if Path::new(&name).extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }

    found
}

/// The names in a table of a crate's manifest.
fn dependencies(krate: &str, table: &str) -> BTreeSet<String> {
    let manifest: toml::Table = read(&format!("crates/{krate}/Cargo.toml")).parse().unwrap();
    let table = manifest.get(table).and_then(toml::Value::as_table);
    table
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

/// The lines that are not comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn crates_depend_on_each_other_one_way() {
    let all: BTreeSet<String> = crates().into_iter().collect();
    assert_eq!(
        all,
        MAY_USE.iter().map(|(name, _)| (*name).to_owned()).collect()
    );

    for (krate, allowed) in MAY_USE {
        let used = dependencies(krate, "dependencies");
        let wrong: Vec<_> = used
            .iter()
            .filter(|d| all.contains(*d) && !allowed.contains(&d.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{krate} must not depend on {wrong:?}");

        let tests = TESTS_MAY_USE
            .iter()
            .find(|(name, _)| name == krate)
            .map_or(&[][..], |(_, may)| may);
        let wrong: Vec<_> = dependencies(krate, "dev-dependencies")
            .into_iter()
            .filter(|d| {
                all.contains(d)
                    && d != "testkit"
                    && !allowed.contains(&d.as_str())
                    && !tests.contains(&d.as_str())
            })
            .collect();

        assert!(
            wrong.is_empty(),
            "the tests of {krate} must not depend on {wrong:?}"
        );
        let client = used.contains("blueteam-audit");
        assert!(
            !client,
            "{krate} must not depend on the client: it serves applications"
        );
    }
}

#[test]
fn libraries_stay_where_they_belong() {
    for (library, homes) in ONLY_IN {
        for krate in crates() {
            let used = dependencies(&krate, "dependencies").contains(*library);
            assert!(
                !used || homes.contains(&krate.as_str()),
                "{krate} must not depend on {library}: {homes:?} does"
            );
        }
    }
}

/// RUSTSEC-2023-0071 tells an RSA private key by the time of its use, and deny.toml passes it over
/// because there is none: the crate comes with the one that verifies passkeys.
#[test]
fn the_program_holds_no_rsa_private_key() {
    for krate in crates() {
        for kind in ["dependencies", "dev-dependencies"] {
            assert!(
                !dependencies(&krate, kind).contains("rsa"),
                "{krate} must not depend on rsa: see deny.toml"
            );
        }
        for path in sources(&format!("crates/{krate}/src")) {
            let text = read(&path);
            assert!(
                !text.contains("RsaPrivateKey") && !text.contains("rsa::"),
                "{path} uses an RSA key: see RUSTSEC-2023-0071 in deny.toml"
            );
        }
    }
}

/// A second place that decides on a score or a status would sooner or later decide otherwise.
#[test]
fn only_one_place_decides_what_may_be_claimed() {
    const WORDS: [&str; 7] = [
        "Score::of(",
        "Level2::Final",
        "Level2::Conditional",
        "\"Final Level 2",
        "\"Conditional Level 2",
        "- score.lost()",
        "CONDITIONAL_FROM &&",
    ];

    // The decision, and the words that it is written with.
    let homes = [
        "crates/compliance/src/claim.rs",
        "crates/compliance/src/cmmc.rs",
    ];
    for krate in crates() {
        for file in sources(&format!("crates/{krate}/src"))
            .iter()
            .filter(|file| !homes.contains(&file.as_str()))
        {
            for (n, line) in code(&read(file)) {
                let word = WORDS.iter().find(|word| line.contains(**word));
                assert!(
                    word.is_none(),
                    "{file}:{n}: a claim decided outside of compliance::claim: {}",
                    line.trim()
                );
            }
        }
    }

    let score = read("crates/compliance/src/score.rs");
    assert!(
        score.contains("pub(crate) fn of(") && !score.contains("pub points: Option"),
        "a count is not a claim"
    );
}

#[test]
fn only_store_knows_sql() {
    const WORDS: [&str; 6] = [
        "SELECT ",
        "INSERT INTO ",
        "DELETE FROM ",
        "TRUNCATE ",
        "CREATE TABLE ",
        "sqlx::query",
    ];
    // The client is published without `store`, and knows one statement.
    let know = ["store", "testkit", "blueteam-audit"];
    for krate in crates()
        .iter()
        .filter(|krate| !know.contains(&krate.as_str()))
    {
        for file in sources(&format!("crates/{krate}/src")) {
            // What a log of PostgreSQL says, and what attackers send, is full of it.
            let quotes_logs = [
                "injection/sql.rs",
                "injection/tests.rs",
                "model/src/sql.rs",
                "parsers/postgres.rs",
                "parsers/postgres/tests.rs",
                "rules/tests/logs.rs",
                "detect/src/account_changes.rs",
                "rules/logging_stopped.rs",
            ];
            if quotes_logs.iter().any(|name| file.ends_with(name)) {
                continue;
            }

            for (n, line) in code(&read(&file)) {
                let update = line
                    .find("UPDATE ")
                    .is_some_and(|at| line[at..].contains(" SET "));
                let word = WORDS.iter().find(|word| line.contains(**word));
                assert!(
                    word.is_none() && !update,
                    "{file}:{n}: SQL outside of `store`: {}",
                    line.trim()
                );
            }
        }
    }
}

/// What a command decides by itself, a page would decide otherwise.
#[test]
fn commands_and_pages_know_no_store() {
    for folder in ["crates/blueteam/src/cli", "crates/web/src"] {
        for file in sources(folder) {
            for (n, line) in code(&read(&file)) {
                assert!(
                    !names_store(line),
                    "{file}:{n}: call a use case of `app` instead: {}",
                    line.trim()
                );
            }
        }
    }
}

/// Whether a line names the crate `store`, and not something that ends like it.
fn names_store(line: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.contains("use store")
        || line
            .match_indices("store::")
            .any(|(at, _)| !line[..at].ends_with(is_word))
}

#[test]
fn the_engine_does_no_io_and_reads_no_clock() {
    const WORDS: [&str; 8] = [
        "std::fs",
        "std::io",
        "std::time",
        "std::env",
        "std::thread",
        "std::process",
        "SystemClock.",
        "tokio",
    ];

    for folder in [
        "crates/detect/src",
        "crates/compliance/src",
        "crates/model/src",
    ] {
        for file in sources(folder) {
            // Tests, and the real clock's own home.
            if file.contains("/tests") || file == "crates/model/src/time.rs" {
                continue;
            }

            for (n, line) in code(&read(&file)) {
                let word = WORDS.iter().find(|word| line.contains(**word));
                assert!(
                    word.is_none(),
                    "{file}:{n}: the engine's world is its arguments: {}",
                    line.trim()
                );
            }
        }
    }
}

#[test]
fn the_map_names_every_crate_and_nothing_else() {
    let map = read("ARCHITECTURE.md");
    assert!(
        map.lines().count() <= 230,
        "ARCHITECTURE.md is a map: at most 230 lines"
    );
    let named: BTreeSet<String> = map
        .lines()
        .filter_map(|line| line.strip_prefix("### `crates/"))
        .map(|rest| rest.trim_end_matches('`').to_owned())
        .collect();
    assert_eq!(named, crates().into_iter().collect());
    // What it points to exists.
    for quoted in map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|quoted| quoted.starts_with("crates/") && !quoted.contains('<'))
    {
        assert!(
            root().join(quoted).exists(),
            "ARCHITECTURE.md names `{quoted}`, which does not exist"
        );
    }
}

#[test]
fn decisions_are_numbered_without_a_gap_and_those_that_are_cited_exist() {
    let files: Vec<String> = names("docs/decisions")
        .into_iter()
        .filter(|name| name != "README.md")
        .collect();
    for (n, name) in files.iter().enumerate() {
        let number = format!("{:04}", n + 1);
        assert!(
            name.starts_with(&format!("{number}-")),
            "{name} should have the number {number}"
        );
        assert!(
            read(&format!("docs/decisions/{name}")).starts_with(&format!("# {number}: ")),
            "{name}: its title"
        );
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    for file in sources("crates") {
        let text = read(&file);
        let lines = code(&text)
            .filter(|(_, line)| !line.trim().is_empty())
            .count();
        let reason = LONG_FILES.iter().find(|(name, _)| *name == file);
        assert!(
            lines <= LINES_MAX || reason.is_some(),
            "{file} has {lines} lines of code: split it, or say here why not"
        );
        assert!(
            lines > LINES_MAX || reason.is_none(),
            "{file} is short now: take it from the list"
        );
    }
}

/// The string literals of Rust code as they are written, with the lines on which they begin.
fn string_literals(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find(['/', '\'', '"']) {
        let start = at + next;
        let rest = &text[start..];
        at = start
            + if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with('/') {
                1
            } else if rest.starts_with('\'') {
                character_length(rest)
            } else {
                let hashes = text[..start].len() - text[..start].trim_end_matches('#').len();
                let is_raw = text[..start - hashes].ends_with('r');
                let length = string_length(rest, is_raw.then_some(hashes));
                let line = text[..start].lines().count();
                found.push((line, &rest[1..length]));
                length + 1
            };
    }

    found
}

/// The length of a character literal, or of the quotation mark of a lifetime.
fn character_length(text: &str) -> usize {
    if let Some(escaped) = text.strip_prefix("'\\") {
        return 3 + escaped[1..].find('\'').unwrap();
    }

    let character = text[1..].chars().next().map_or(0, char::len_utf8);
    if text[1 + character..].starts_with('\'') {
        character + 2
    } else {
        1
    }
}

/// Where the string ends that begins at the start of the text: raw with so many hashes, or not.
fn string_length(text: &str, raw: Option<usize>) -> usize {
    if let Some(hashes) = raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return 1 + text[1..].find(&end).unwrap();
    }

    let mut is_escaped = false;
    let end = text[1..].find(|c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    });
    1 + end.unwrap()
}

#[test]
fn long_statements_stand_in_sql_files() {
    const VERBS: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];
    const STATEMENT_LINES_MAX: usize = 15;

    let mut statements = 0;
    for file in sources("crates/store/src") {
        let text = read(&file);
        for (line, literal) in string_literals(&text) {
            let first = literal.split_whitespace().next();
            if !first.is_some_and(|word| VERBS.contains(&word)) {
                continue;
            }

            statements += 1;
            let lines = literal.trim().lines().count();
            assert!(
                lines <= STATEMENT_LINES_MAX,
                "{file}:{line}: a statement of {lines} lines: move it to a .sql file beside the \
                 module and use query_file!"
            );
            assert!(
                !literal.contains("\\\n"),
                "{file}:{line}: write a statement over several lines, without continuations"
            );
        }
    }

    assert!(statements > 100, "found no more than {statements}");
}
