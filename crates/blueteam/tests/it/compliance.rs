//! `blueteam compliance` as people and scripts meet it.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use scenario::Random;
use serde_json::Value;
use testkit::TestDb;

use crate::cli::{Program, account, for_alice};

/// Times, the account and the login differ from run to run.
fn steady(text: &str) -> String {
    let day = |word: &str| word.len() >= 20 && word.starts_with("20") && word.contains('T');
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        words
            .iter()
            .map(|w| if day(w) { "2026-01-01T00:00:00Z" } else { w })
            .collect::<Vec<_>>()
            .join(" ")
    };

    text.replace(&account(), "tester")
        .lines()
        .map(|l| line(l.trim_end()))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A migrated database and the program.
pub(crate) struct Office {
    pub(crate) program: Program,
    pub(crate) db: TestDb,
}

impl Office {
    pub(crate) async fn new() -> Self {
        let db = TestDb::new().await;
        let program = Program::new(Some(&db));
        let migrated = program.run(&["migrate"]).good();
        assert!(
            migrated.contains("NIST SP 800-171 Rev. 2: 110 requirements, 430 rows written"),
            "{migrated}"
        );

        assert!(
            program
                .run(&["migrate"])
                .good()
                .contains("110 requirements, 0 rows written")
        );

        Self { program, db }
    }

    pub(crate) fn run(&self, args: &[&str]) -> crate::cli::Ran {
        self.program.run(&[&["compliance"], args].concat())
    }

    /// Takes a text in as approved evidence, and returns what is known of it.
    pub(crate) fn piece(&self, supports: &str, shows: &str) -> Value {
        let add = [
            "evidence",
            "add",
            "--text",
            "as it is",
            "--supports",
            supports,
            "--kind",
            "policy_doc",
            "--shows",
            shows,
            "--final",
            "--json",
        ];

        self.run(&add).json()
    }
}

#[tokio::test]
async fn findings_are_decided_rolled_up_scored_and_kept() {
    let office = Office::new().await;
    assert_eq!(office.run(&["score"]).code, 3);
    let set = |id: &str, finding: &str, reason: &str| {
        office
            .run(&[
                "set",
                id,
                "--finding",
                finding,
                "--reason",
                reason,
                "--on-behalf-of",
                "alice",
            ])
            .good()
    };

    set("3.3.1", "met", "journal and application events");
    set("3.3.1a", "not_met", "the door has no log");
    set("3.3.2", "met", "every event names a user");
    set("AU.L2-3.3.3", "not_met", "nobody reviews them");
    set("3.1.16", "na", "no wireless access; policy AC-4");

    office
        .run(&[
            "set",
            "3.3.1",
            "--owner",
            "bob",
            "--due",
            "2027-01-31T00:00:00Z",
            "--notes",
            "rsyslog over TLS",
        ])
        .good();

    office
        .run(&[
            "set",
            "3.10.1",
            "--responsibility",
            "inherited",
            "--provider",
            "Acme",
            "--provider-duties",
            "locks the doors",
        ])
        .good();

    assert_snapshot!("compliance_status", steady(&office.run(&["status"]).good()));
    assert_snapshot!(
        "compliance_show",
        steady(&office.run(&["show", "3.3.1"]).good())
    );

    assert_snapshot!(
        "compliance_score",
        steady(
            &office
                .run(&["score"])
                .out
                .lines()
                .take(9)
                .collect::<Vec<_>>()
                .join("\n")
        )
    );

    let one = office.run(&["status", "--owner", "BOB", "--json"]).json();
    assert_eq!(one[0]["control_id"], "3.3.1");
    assert_eq!(
        (one.as_array().unwrap().len(), &one[0]["status"]),
        (1, &Value::from("partially_implemented"))
    );

    let family = office.run(&["gaps", "--family", "AU", "--json"]).json();
    assert_eq!(family.as_array().unwrap().len(), 8, "all but 3.3.2");
    assert_eq!(family[0]["weight"], 5, "the heaviest first");

    let history = office.run(&["history", "3.3.1", "--json"]).json();
    assert_eq!(
        history.as_array().unwrap().len(),
        7,
        "six objectives, then one of them again"
    );

    assert_eq!(
        (
            &history[6]["previous"],
            &history[6]["finding"],
            &history[6]["by"]
        ),
        (&"met".into(), &"not_met".into(), &for_alice().into())
    );

    assert!(
        office
            .run(&["history"])
            .good()
            .contains("the door has no log")
    );
}

#[tokio::test]
async fn wrong_decisions_are_refused_with_what_to_do() {
    let office = Office::new().await;
    for (args, says) in [
        (
            &["set", "3.3.99", "--owner", "x"][..],
            "there is no `3.3.99`",
        ),
        (&["set", "3.3.1"], "say what is to be set"),
        (
            &["set", "3.3.1", "--finding", "met", "--reason", "  "],
            "--reason: from 3",
        ),
        (&["set", "3.3.1", "--reason", "so"], "--finding"),
        (
            &["set", "3.3.1", "--partial", "true"],
            "only 3.5.3 and 3.13.11",
        ),
        (
            &["set", "3.3.1", "--responsibility", "shared"],
            "--provider",
        ),
        (&["show", "3.15.1\u{1b}[2J"], "there is no `3.15.1"),
    ] {
        let ran = office.run(args);
        assert_eq!(
            (ran.code, ran.err.contains(says), ran.err.contains('\u{1b}')),
            (
                if says.contains("there is no") { 1 } else { 2 },
                true,
                false
            ),
            "{args:?}: {}",
            ran.err
        );
    }

    assert_eq!(
        office
            .run(&["set", "3.3.1", "--finding", "partly", "--reason", "why not"])
            .code,
        2
    );
}

#[tokio::test]
async fn a_sheet_goes_out_and_comes_back_whole_or_not_at_all() {
    let office = Office::new().await;
    office
        .run(&[
            "set",
            "3.3.1",
            "--finding",
            "met",
            "--reason",
            "=1+1, \"quoted\"\nand two lines",
            "--method",
            "test",
        ])
        .good();

    office
        .run(&["set", "3.3.1", "--notes", "'+ tick", "--owner=-bob"])
        .good();
    let sheet = office.run(&["export"]).good();
    assert_eq!(
        csv::Reader::from_reader(sheet.as_bytes()).records().count(),
        320
    );

    let path = office.program.write("findings.csv", &sheet);
    assert!(
        office
            .run(&["import", &path])
            .good()
            .contains("changed 0 findings and 0 requirements"),
        "it is what is there"
    );

    let other = Office::new().await;
    assert!(
        other
            .run(&["import", &path, "--dry-run"])
            .good()
            .contains("would change 6 findings and 1 requirement")
    );

    assert!(
        other
            .run(&["import", &path, "--on-behalf-of", "carol"])
            .good()
            .contains("changed 6 findings and 1 requirement\n")
    );

    let shown = other.run(&["show", "3.3.1", "--json"]).json();
    assert_eq!(
        shown["standing"]["objectives"][0]["decision"]["reason"],
        "=1+1, \"quoted\"\nand two lines"
    );
    assert_eq!(
        (&shown["standing"]["notes"], &shown["standing"]["owner"]),
        (&"'+ tick".into(), &"-bob".into())
    );

    let bad = "objective_id,finding,reason\n3.3.2[a],met,fine \
        enough\n3.3.2[q],met,fine\n3.3.2[b],maybe,fine\n3.3.3[a],met,\n";
    let bad = other.run(&["import", &other.program.write("bad.csv", bad)]);
    for says in [
        "was not imported",
        "line 3: there is no `3.3.2[q]`",
        "line 4: finding: ",
        "line 5: reason: ",
    ] {
        assert!(bad.err.contains(says), "{says}: {}", bad.err);
    }

    assert_eq!(
        other.run(&["show", "3.3.2", "--json"]).json()["status"],
        "not_assessed",
        "all or nothing"
    );

    let headless = other.run(&["import", &other.program.write("no.csv", "id,finding\n")]);
    assert!(
        headless.err.contains("no column `objective_id`"),
        "{}",
        headless.err
    );
}

/// The score of a separate program, written from the rule and not from our code.
fn score_elsewhere(sheet: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/score.py");
    let mut child = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), sheet.as_bytes()).unwrap();

    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_separate_program_counts_the_same_score() {
    let office = Office::new().await;
    // It counts findings alone, and there is no score without an approved plan.
    office.piece("3.12.4", "the plan");
    let mut random = Random::new(171);
    let mut scores = std::collections::BTreeSet::new();
    let empty = office.run(&["export"]).good();
    for round in 0..20 {
        let mut sheet = "objective_id,finding,reason\n".to_owned();
        for record in csv::Reader::from_reader(empty.as_bytes()).records() {
            let (control, id) = {
                let r = record.unwrap();
                (r[0].to_owned(), r[1].to_owned())
            };

            // From nearly all met to nearly nothing.
            let finding = match random.range(0, 100 + round * 4) {
                0 => "not_assessed",
                1..=3 => "not_applicable",
                n if n < 100 => "met",
                _ => "not_met",
            };

            let finding = if control == "3.12.4" && round % 5 != 0 {
                "met"
            } else {
                finding
            };

            writeln!(sheet, "{id},{finding},round {round}").unwrap();
        }
        office
            .run(&["import", &office.program.write("random.csv", &sheet)])
            .good();
        if let Some(partial) = [(8, "true"), (16, "false")]
            .iter()
            .find(|(n, _)| *n == round)
            .map(|(_, word)| *word)
        {
            office.run(&["set", "3.5.3", "--partial", partial]).good();
            office.run(&["set", "3.13.11", "--partial", partial]).good();
        }
        let ours = serde_json::from_str::<Value>(&office.run(&["score", "--json"]).out).unwrap();
        let ours = ours["points"]
            .as_i64()
            .map_or("no score".to_owned(), |p| p.to_string());
        assert_eq!(
            ours,
            score_elsewhere(&office.run(&["export"]).good()),
            "round {round}"
        );
        scores.insert(ours);
    }

    assert!(scores.len() > 10, "the sets hardly differ: {scores:?}");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn evidence_is_taken_in_approved_verified_and_missed_when_tampered_with() {
    let office = Office::new().await;
    let evidence = |args: &[&str]| office.run(&[&["evidence"], args].concat());
    let policy = office
        .program
        .write("in/policy.txt", "Access is granted by the owner.\n");
    let add = [
        "add",
        &policy,
        "--supports",
        "3.1.1",
        "--supports",
        "3.1.2a",
        "--kind",
        "policy_doc",
        "--shows",
        "who grants access",
    ];

    let draft = evidence(&[&add[..], &["--for", "365d", "--json"]].concat()).json();
    assert_eq!(draft["objectives"].as_array().unwrap().len(), 7);
    assert_eq!(draft["sha256"], SUM);
    office
        .run(&[
            "set",
            "3.1.1",
            "--finding",
            "met",
            "--reason",
            "see the policy",
        ])
        .good();

    let id = draft["evidence_id"].as_str().unwrap();
    assert_eq!(evidence(&["list", "--json"]).json()[0]["validity"], "draft");
    evidence(&["approve", id, "--on-behalf-of", "alice"]).good();
    assert!(
        evidence(&["approve", id])
            .err
            .contains("on behalf of alice")
    );

    let note = [
        "add",
        "--text",
        "asked alice",
        "--supports",
        "3.1.1[b]",
        "--kind",
        "test_result",
        "--shows",
        "interview",
        "--final",
    ];

    evidence(
        &[
            &note[..],
            &["--effective", "2020-01-01T00:00:00Z", "--for", "30d"],
        ]
        .concat(),
    )
    .good();

    assert_snapshot!("evidence_list", ids_hidden(&evidence(&["list"]).good()));
    assert_eq!(
        evidence(&["list", "--validity", "lapsed", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );

    assert_eq!(
        office.run(&["status", "--family", "3.1", "--json"]).json()[0]["finding"],
        "met",
        "valid evidence is left for each"
    );

    assert_eq!(evidence(&["verify"]).code, 0);
    let list = office.program.path("hashes.csv");
    let own = evidence(&["hash-list", "--output", list.to_str().unwrap()]).good();
    let sum = Command::new("sha256sum").arg(&list).output().unwrap();
    assert_eq!(
        own.split(' ').next(),
        String::from_utf8(sum.stdout).unwrap().split(' ').next()
    );

    assert!(
        std::fs::read_to_string(&list)
            .unwrap()
            .starts_with("Artifact Name,Hash Value,Hash Algorithm\r\n\"")
    );

    let sums = evidence(&["hash-list", "--sha256sum"]).good();
    let only: String = sums
        .split_inclusive('\n')
        .filter(|l| l.contains("-policy-") && l.ends_with(".txt\n"))
        .collect();
    // Under its name in the package: requirement, subject, day.
    let (_, name) = only.trim_end().split_once("  ").unwrap();
    assert!(name.starts_with("3.1.1-policy-20"), "{only}");
    std::fs::copy(
        office.program.path("in/policy.txt"),
        office.program.path("in").join(name),
    )
    .unwrap();
    office.program.write("in/SHA256SUMS", &only);

    let checked = Command::new("sha256sum")
        .args(["-c", "SHA256SUMS"])
        .current_dir(office.program.path("in"))
        .output()
        .unwrap();
    assert!(checked.status.success());

    let kept = office.program.path(draft["file_path"].as_str().unwrap());
    assert_eq!(
        std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
        0o440
    );
    std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::write(&kept, "Access is granted to everybody.\n").unwrap();

    let tampered = evidence(&["verify"]);
    assert_eq!(tampered.code, 3);
    assert!(
        tampered.out.contains("policy.txt") && tampered.out.contains("was changed"),
        "{}",
        tampered.out
    );
    std::fs::remove_file(&kept).unwrap();

    assert!(evidence(&["verify"]).out.contains("is gone"));
}

#[tokio::test]
async fn checks_look_propose_and_decide_the_same_again() {
    let office = Office::new().await;
    let ran = office.run(&["evidence", "--json"]);
    assert_eq!(ran.code, 3, "nobody has assessed anything: {}", ran.err);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let found = found.as_array().unwrap();
    assert!(found.len() >= 28, "{}", found.len());

    let says = |control: &str, letter: &str| {
        let check = found.iter().find(|f| f["control_id"] == control).unwrap();
        check["says"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["objective"] == letter)
            .unwrap()
            .clone()
    };

    let guarded = says("3.3.8", "b");
    assert_eq!(guarded["verdict"], "cant_tell", "{guarded}");
    assert!(
        guarded["saw"]
            .as_str()
            .unwrap()
            .starts_with("seen on 1 of an unknown number of hosts: "),
        "{guarded}"
    );
    assert_eq!(says("3.3.1", "c")["verdict"], "not_met", "no event yet");

    // What it saw is kept, proposes, and decides nothing.
    let shown = office.run(&["show", "3.3.1", "--json"]).json();
    let c = &shown["standing"]["objectives"][2];
    assert_eq!(
        (&c["proposal"]["finding"], &c["decision"]),
        (&"not_met".into(), &Value::Null)
    );

    let id = found.iter().find(|f| f["control_id"] == "3.3.8").unwrap()["evidence_id"]
        .as_str()
        .unwrap();
    let replayed = office.run(&["evidence", "replay", id]);
    assert_eq!(
        (replayed.code, replayed.out.contains("the same as was kept")),
        (0, true),
        "{}",
        replayed.out
    );

    assert_eq!(office.run(&["evidence", "verify"]).code, 0);

    // A role that may change the record is seen and named.
    let mut conn = office.db.connect().await;
    for sql in [
        "CREATE ROLE meddler_of_the_test",
        "GRANT DELETE ON public.audit_events TO meddler_of_the_test",
    ] {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }

    let again = office.run(&["evidence", "--control", "3.3.8"]);
    for sql in [
        "DROP OWNED BY meddler_of_the_test",
        "DROP ROLE meddler_of_the_test",
    ] {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }

    assert_eq!(again.code, 3);
    assert!(
        again
            .out
            .contains("meddler_of_the_test: DELETE on audit_events"),
        "{}",
        again.out
    );

    assert!(
        office
            .run(&["evidence", "--control", "3.10.1"])
            .err
            .contains("no check looks at 3.10.1")
    );
    assert!(office.run(&["evidence", "--control", "3.14.3", "add"]).code == 2);

    // Drift is measured against what somebody approved.
    let at = |run: &crate::cli::Ran| serde_json::from_str::<Value>(&run.out).unwrap();
    let first = at(&office.run(&["evidence", "--control", "3.4.1", "--json"]));
    assert_eq!(first[0]["says"][2]["verdict"], "cant_tell");
    office
        .run(&[
            "evidence",
            "baseline",
            first[0]["evidence_id"].as_str().unwrap(),
            "--on-behalf-of",
            "alice",
        ])
        .good();

    let second = at(&office.run(&["evidence", "--control", "3.4.1", "--json"]));
    let says = &second[0]["says"][2];
    assert!(
        says["verdict"] == "not_met"
            || says["saw"]
                .as_str()
                .unwrap()
                .ends_with("this machine is as its approved baseline"),
        "{says}"
    );
}

/// Of the policy, as `sha256sum` has it.
const SUM: &str = "0830c428df961a9e9d9109955dca9fc4a9b63165685dd1e95cb29578693a2393";

/// Ids and days differ from run to run.
fn ids_hidden(text: &str) -> String {
    let hide = |word: &str| {
        let id = word.len() == 36 && word.matches('-').count() == 4;
        let day = word.len() == 10 && word.starts_with("20") && !word.starts_with("2020");
        if id {
            "0".repeat(36)
        } else if day {
            "2027-01-01".to_owned()
        } else {
            word.to_owned()
        }
    };

    text.lines()
        .map(|l| {
            l.trim_end()
                .split(' ')
                .map(hide)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect::<Vec<_>>()
        .join("\n")
}
