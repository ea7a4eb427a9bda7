//! What may be claimed, wherever the program shows it: no path leads to a score or a status that
//! the rules do not give.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::compliance::Office;

/// A sheet in which every objective is met, but those that begin like this.
fn all_met_but(office: &Office, not_met: &[&str]) -> String {
    let empty = office.run(&["export"]).good();
    let mut sheet = "objective_id,finding,reason\n".to_owned();
    for record in csv::Reader::from_reader(empty.as_bytes()).records() {
        let id = record.unwrap()[1].to_owned();
        let finding = if not_met.iter().any(|begin| id.starts_with(begin)) {
            "not_met"
        } else {
            "met"
        };
        writeln!(sheet, "{id},{finding},because").unwrap();
    }

    office.program.write("all.csv", &sheet)
}

/// An office with an approved plan, in which all is met but these.
pub(crate) async fn met_but(not_met: &[&str]) -> Office {
    let office = Office::new().await;
    office.piece("3.12.4", "the plan");
    office
        .run(&[
            "import",
            &all_met_but(&office, not_met),
            "--on-behalf-of",
            "alice",
        ])
        .good();
    office
}

/// What each place that shows a claim says.
struct Shown {
    score: String,
    code: i32,
    points: Value,
    sprs: String,
    report: String,
    oscal: String,
}

fn shown(office: &Office) -> Shown {
    let json: Value = serde_json::from_str(&office.run(&["score", "--json"]).out).unwrap();
    let score = office.run(&["score"]);
    let folder = office
        .program
        .path(&format!("oscal-{}", uuid::Uuid::now_v7()));
    office
        .run(&["export", "--oscal", folder.to_str().unwrap()])
        .good();

    let results = folder.join("assessment-results/blueteam/assessment-results.json");
    Shown {
        score: score.out,
        code: score.code,
        points: json["points"].clone(),
        sprs: office.run(&["score", "--sprs"]).out,
        report: office.program.run(&["report", "assessor"]).good(),
        oscal: std::fs::read_to_string(results).unwrap(),
    }
}

/// No score and no status, for this reason, in every place.
fn assert_nothing_claimed(office: &Office, why: &str) {
    let s = shown(office);
    assert_eq!((s.code, &s.points), (3, &Value::Null), "{}", s.score);
    assert!(
        s.score.contains("no score") && s.score.contains(why),
        "{}",
        s.score
    );

    assert!(
        !s.score.contains(" of 110")
            && !s.score.contains("Final")
            && !s.score.contains("Conditional L"),
        "{}",
        s.score
    );
    assert!(
        s.sprs.starts_with("nothing to submit to SPRS: ") && s.sprs.lines().count() == 1,
        "{}",
        s.sprs
    );

    assert!(
        s.report.contains("no score: ") && s.report.contains("no CMMC status"),
        "{}",
        s.report
    );
    assert!(
        !s.report.contains(" out of 110") && !s.report.contains("Points lost"),
        "{}",
        s.report
    );

    assert!(
        s.oscal.contains("\"no score\"") && s.oscal.contains("no CMMC status"),
        "{}",
        s.oscal
    );

    let sprs: Value =
        serde_json::from_str(&office.run(&["score", "--sprs", "--json"]).out).unwrap();
    assert_eq!(
        (&sprs["score"], &sprs["cmmc_status"], &sprs["cage_codes"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert!(office.run(&["gaps"]).err.contains("no score"));
    assert!(office.run(&["ssp"]).good().contains("NOT APPROVED") || !why.contains("no approved"));
}

#[tokio::test]
async fn an_import_meets_the_plan_only_as_set_does() {
    let office = Office::new().await;
    let sheet = all_met_but(&office, &[]);
    for args in [&["import", &sheet][..], &["import", &sheet, "--dry-run"]] {
        let refused = office.run(args);
        assert_eq!(refused.code, 1, "{}", refused.out);
        for letter in 'a'..='h' {
            assert!(
                refused.err.contains(&format!(
                    "3.12.4[{letter}] cannot be met without an approved plan"
                )),
                "{}",
                refused.err
            );
        }

        assert!(
            refused
                .err
                .contains("blueteam compliance evidence add ssp.pdf"),
            "{}",
            refused.err
        );
    }

    assert!(
        office
            .run(&["history"])
            .good()
            .contains("nobody has decided anything yet"),
        "all or nothing"
    );

    let others: String = std::fs::read_to_string(&sheet)
        .unwrap()
        .lines()
        .filter(|l| !l.starts_with("3.12.4["))
        .fold(String::new(), |text, line| text + line + "\n");
    office
        .run(&["import", &office.program.write("others.csv", &others)])
        .good();

    assert_nothing_claimed(&office, "no approved system security plan");
    let history = office.run(&["score", "--history", "--json"]).json();
    assert_eq!(
        history.as_array().unwrap().last().unwrap()["points"],
        Value::Null
    );

    // A draft, and what is not a document, are not a plan.
    let add = |kind: &str, more: &[&str]| {
        let args = [
            "evidence",
            "add",
            "--text",
            "x",
            "--supports",
            "3.12.4",
            "--kind",
            kind,
            "--shows",
            "the plan",
        ];

        office.run(&[&args[..], more].concat()).good()
    };

    add("policy_doc", &[]);
    add("log_sample", &["--final"]);
    add(
        "policy_doc",
        &[
            "--final",
            "--effective",
            "2020-01-01T00:00:00Z",
            "--for",
            "30d",
        ],
    );

    assert_eq!(office.run(&["import", &sheet]).code, 1);
    office.piece("3.12.4", "the plan");
    office.run(&["import", &sheet]).good();
    let s = shown(&office);
    assert_eq!((s.code, &s.points), (0, &110.into()), "{}", s.score);
    assert!(
        s.score.contains("110 of 110") && s.score.contains("Final Level 2"),
        "{}",
        s.score
    );

    assert!(s.score.contains("MET without evidence"), "{}", s.score);
    assert!(
        s.sprs.contains("Final Level 2") && s.report.contains("110 out of 110"),
        "{}",
        s.sprs
    );
}

#[tokio::test]
async fn a_claim_ends_with_its_plan() {
    let office = met_but(&[]).await;
    assert_eq!(office.run(&["score"]).code, 0);

    // A description that lacks something is not a plan, however complete the findings are.
    let system = office.program.write("system.toml", "name = \"Plant\"\n");
    assert_nothing_claimed(&office, "does not say all that 3.12.4 asks for");
    std::fs::write(&system, "nmae = 1\n").unwrap();
    let unreadable = office.run(&["score"]);
    assert_eq!(unreadable.code, 3);

    assert!(
        unreadable
            .out
            .contains("no score: the system description cannot be read"),
        "{}",
        unreadable.out
    );
    assert!(unreadable.err.contains("nmae"), "{}", unreadable.err);

    std::fs::remove_file(&system).unwrap();
    assert_eq!(office.run(&["score"]).code, 0);

    // Past its date, whatever was decided while it was valid.
    let mut conn = office.db.connect().await;
    for sql in [
        "ALTER TABLE blueteam.compliance_evidence DISABLE TRIGGER ALL",
        "UPDATE blueteam.compliance_evidence SET valid_until = now() - interval '1 second', \
            effective_at = now() - interval '1 day'",
    ] {
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut conn)
            .await
            .unwrap();
    }

    assert_nothing_claimed(&office, "no approved system security plan");
}

#[tokio::test]
async fn an_operational_plan_gives_no_status_and_180_days_are_180_days() {
    let office = met_but(&["3.1.9["]).await;
    let add = |kind: &str| {
        let args = [
            "poam",
            "add",
            "3.1.9",
            "--kind",
            kind,
            "--weakness",
            "no notice",
            "--remediation",
            "write one",
            "--json",
        ];

        office.run(&args).json()["poam_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };

    add("operational");
    let s = shown(&office);
    assert_eq!((s.code, &s.points), (3, &109.into()), "{}", s.score);

    for text in [&s.score, &s.report, &s.oscal] {
        assert!(
            text.contains("no CMMC status")
                && text.contains("operational plan of action, which gives no status"),
            "{text}"
        );
    }

    assert!(
        s.sprs.contains("CMMC status             no CMMC status")
            && s.sprs.contains("POA&M used              no"),
        "{}",
        s.sprs
    );

    let item = add("poam");
    let s = shown(&office);
    assert_eq!(s.code, 0, "{}", s.score);
    for text in [&s.score, &s.sprs, &s.report, &s.oscal] {
        assert!(text.contains("Conditional Level 2"), "{text}");
    }

    let since = |days: i64| {
        model::Clock::now(&model::SystemClock)
            .minus(model::Span::days(days))
            .to_string()
    };

    let begin =
        |days: i64| office.run(&["poam", "update", &item, "--conditional-since", &since(days)]);
    begin(179).good();
    let running = office.run(&["score"]);
    assert_eq!(
        (
            running.code,
            running.out.contains("Conditional Level 2, until 20")
        ),
        (0, true),
        "{}",
        running.out
    );

    begin(181).good();
    let s = shown(&office);
    assert_eq!((s.code, &s.points), (3, &109.into()), "{}", s.score);

    for text in [&s.score, &s.report, &s.oscal] {
        assert!(
            text.contains("the conditional status expired on 20")
                && !text.contains("Conditional Level 2"),
            "{text}"
        );
    }

    assert!(
        s.sprs.contains("no CMMC status") && !s.sprs.contains("Conditional Level 2"),
        "{}",
        s.sprs
    );

    // Neither a fresh item nor moving the old one brings it back.
    add("poam");
    office
        .run(&["poam", "update", &item, "--kind", "operational"])
        .good();
    assert_eq!(office.run(&["score"]).code, 3);
    assert_eq!(begin(-30).code, 2, "a status does not begin in the future");
}

#[tokio::test]
async fn an_item_follows_the_partial_score_and_a_sheet_carries_it() {
    let office = met_but(&["3.13.11["]).await;
    office.run(&["poam", "generate"]).good();
    assert_eq!(office.run(&["score"]).code, 3);
    let set = office.run(&[
        "set",
        "3.13.11",
        "--partial",
        "true",
        "--on-behalf-of",
        "alice",
    ]);
    assert!(set.err.contains("poam generate"), "{}", set.err);

    let moved = office
        .run(&["poam", "generate", "--on-behalf-of", "bob"])
        .good();
    assert!(
        moved.starts_with("0 items written") && moved.contains("for 3.13.11 moved to the POA&M"),
        "{moved}"
    );

    let items = office.run(&["poam", "list", "--json"]).json();
    assert_eq!(
        (items.as_array().unwrap().len(), &items[0]["kind"]),
        (1, &"poam".into())
    );

    let score = office.run(&["score"]);
    assert_eq!(
        (score.code, score.out.contains("107 of 110")),
        (0, true),
        "{}",
        score.out
    );

    let sheet = office.run(&["export"]).good();
    let other = met_but(&[]).await;
    let imported = other
        .run(&["import", &other.program.write("round.csv", &sheet)])
        .good();
    assert!(
        imported.contains("changed 1 finding and 1 requirement"),
        "{imported}"
    );

    assert_eq!(
        other.run(&["show", "3.13.11", "--json"]).json()["standing"]["partial_credit"],
        true
    );
    let wrong = sheet
        .replace("SC.L2-3.13.11", "x")
        .replacen(",false,", ",perhaps,", 1);
    let wrong = other.run(&["import", &other.program.write("wrong.csv", &wrong)]);
    assert!(
        wrong
            .err
            .contains("partial_credit: `perhaps` is neither true nor false"),
        "{}",
        wrong.err
    );
}

/// What the checks propose as met.
fn proposed(office: &Office) -> BTreeSet<String> {
    let found: Value = serde_json::from_str(&office.run(&["evidence", "--json"]).out).unwrap();
    let of = |check: &Value| -> Vec<String> {
        let says = check["says"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|s| s["verdict"] == "met");
        says.map(|s| {
            format!(
                "{}[{}]",
                check["control_id"].as_str().unwrap(),
                s["objective"].as_str().unwrap()
            )
        })
        .collect()
    };

    found.as_array().unwrap().iter().flat_map(of).collect()
}

#[tokio::test]
async fn checks_propose_nothing_of_what_an_installation_never_saw() {
    let office = Office::new().await;
    let nothing = BTreeSet::new();
    assert_eq!(proposed(&office), nothing, "a fresh database");
    assert_eq!(proposed(&office), nothing, "nor does running them again");

    // One of each: a console login, an event that anybody may post, a source that waits under a
    // telling name.
    let mut conn = office.db.connect().await;
    for sql in [
        "INSERT INTO blueteam.log_events (timestamp, source, category, action, result)
         VALUES (now(), 'syslog', 'auth', 'login_failed', 'failure')",
        "INSERT INTO public.audit_events (category, action, result, user_id, ip_address)
         SELECT c, a, 'success', gen_random_uuid(), '192.0.2.1' FROM (VALUES ('auth', \
         'account_locked'), ('admin', 'role_change'), ('data', 'export')) v (c, a)",
        "INSERT INTO blueteam.sources (source_id, kind) VALUES \
            ('php:/srv/access-denied-notes.log', 'php_error')",
        "INSERT INTO blueteam.security_incidents (title, severity, status, detected_at, \
            detected_by, root_cause) VALUES ('x', 'low', 'closed', now(), 'z', 'y')",
    ] {
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut conn)
            .await
            .unwrap();
    }

    office
        .run(&[
            "assets",
            "set",
            "server",
            "--category",
            "cui",
            "--owner",
            "alice",
        ])
        .good();

    office
        .run(&["set", "3.1.1", "--finding", "met", "--reason", "as seen"])
        .good();
    assert_eq!(proposed(&office), nothing, "one of each, and no daemon");
    let shown = office.run(&["show", "3.14.6"]).good();
    assert!(shown.contains("none has ever read the events"), "{shown}");
}
