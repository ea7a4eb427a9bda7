//! Every command line of the design (section 3.2.6) and of the implementation plan's Quick Start
//! keeps its name and meaning: it stands in `--help`, works, and warns of nothing.

use testkit::TestDb;

use crate::cli::Program;

/// What each prints a part of. `monitor`, which runs until it is stopped, has a test of its own.
const COMMANDS: &[(&str, &str)] = &[
    ("status", "database"),
    ("compliance status", "REQUIREMENT"),
    ("compliance gaps", "3.1.1"),
    ("compliance evidence", "3.3.1"),
    ("compliance ssp", "System Security Plan"),
    ("compliance poam", "plan"),
    ("incidents list", "no open incidents"),
    ("alerts list", "no alerts"),
    ("alerts rules", "brute_force"),
    ("alerts test", "console"),
    ("report posture", "unknown"),
    ("report executive", "What is needed"),
    ("report assessor", "CMMC"),
    ("report assessor --output REPORT", ""),
    ("redteam import RUN", "1 new"),
    ("redteam compare 2026-01-01 2026-02-01", "new: 0"),
];

/// Those whose part of the product is not built yet. Whoever builds one moves it up.
const NOT_YET: &[&str] = &["report redblue"];

/// Whether the help of the command's parent names it.
fn is_in_help(program: &Program, command: &str) -> bool {
    let words: Vec<&str> = command
        .split(' ')
        .take_while(|word| word.starts_with(char::is_lowercase))
        .collect();
    let Some((last, parents)) = words.split_last() else {
        return false;
    };

    let help = program.run(&[parents, &["--help"]].concat());
    help.code == 0
        && help
            .out
            .lines()
            .any(|line| line.trim_start().split(' ').next() == Some(last))
}

#[tokio::test]
async fn documented_commands_keep_their_names_and_meaning() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let report = program.path("report.md").display().to_string();
    let module = r#"{"name":"mfa_absence","verdict":"vulnerable"}"#;
    let run = format!(r#"{{"run_id":"1","target":"eqmon","modules":[{module}]}}"#);
    let run = program.write("run.json", &run);

    for (command, part) in COMMANDS {
        assert!(is_in_help(&program, command), "{command} is not in --help");
        let args: Vec<&str> = command
            .split(' ')
            .map(|word| match word {
                "REPORT" => &report,
                "RUN" => &run,
                _ => word,
            })
            .collect();
        let ran = program.run(&args);
        // These say by their exit code that something needs attention: no daemon runs here.
        let expected = if ["status", "compliance evidence"].contains(command) {
            3
        } else {
            0
        };
        assert_eq!(ran.code, expected, "{command}: {}\n{}", ran.out, ran.err);
        assert!(!ran.err.contains("warning"), "{command}: {}", ran.err);
        assert!(ran.out.contains(part), "{command}: {part}\n{}", ran.out);
    }

    for command in ["incidents create", "incidents update", "incidents report"] {
        assert!(is_in_help(&program, command), "{command} is not in --help");
    }
    let title = "Brute force detected";
    let make = [
        "incidents",
        "create",
        "--title",
        title,
        "--severity",
        "high",
    ];
    let made = program.run(&make).good();
    let (id, _) = made.split_once(':').unwrap();
    let update = ["incidents", "update", id, "analyzing", "--reason", "a look"];
    assert!(program.run(&update).good().contains("analyzing"));
    let written = program.run(&["incidents", "report", id]).good();
    assert!(written.contains(title), "{written}");

    assert!(std::fs::read_to_string(&report).unwrap().contains("CMMC"));
    assert!(is_in_help(&program, "monitor"));
}

#[test]
fn commands_that_are_not_built_yet_are_listed() {
    let program = Program::new(None);
    for command in NOT_YET {
        assert!(
            !is_in_help(&program, command),
            "{command} is there now: move it to COMMANDS"
        );
    }
}

#[tokio::test]
async fn second_names_are_the_same_command() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();

    for (one, other) in [
        (&["alerts", "rules"][..], &["rules"][..]),
        (&["alerts", "test"], &["channels", "test"]),
        (
            &["compliance", "evidence", "--json"],
            &["compliance", "checks", "run", "--json"],
        ),
    ] {
        let (one, other) = (program.run(one), program.run(other));
        assert_eq!((one.code, &one.err), (other.code, &other.err));
        // The second run of the checks sees what the first one left behind, in other words.
        let results = |out: &str| match out.matches("\"check_id\"").count() {
            0 => out.lines().count(),
            checks => checks,
        };
        assert_eq!(results(&one.out), results(&other.out));
    }
}

#[tokio::test]
async fn old_names_work_and_warn_once_with_the_new_name() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();

    for (old, new) in [
        (
            &["alerts", "silences", "list", "--json"][..],
            "blueteam silences",
        ),
        (
            &["alerts", "deliveries", "list", "--json"],
            "blueteam notifications",
        ),
        (&["events", "queries", "--json"], "blueteam events audit"),
    ] {
        let ran = program.run(old);
        assert_eq!(ran.code, 0, "{old:?}: {}", ran.err);
        assert_eq!(ran.err.matches("warning:").count(), 1, "{}", ran.err);
        assert!(ran.err.contains(new), "{}", ran.err);
        assert!(ran.out.trim_start().starts_with('['), "{}", ran.out);
    }
}
