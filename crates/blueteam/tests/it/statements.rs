//! Statements about compliance as others read them: what they rest on is there, is what was taken
//! in, and survives a round trip.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::claims::met_but;
use crate::cli::account;
use crate::compliance::Office;

/// A description that lacks nothing.
const FULL: &str = include_str!("../../../compliance/tests/data/system.full.toml");

/// Writes the pictures that [`FULL`] names.
fn write_pictures(office: &Office) {
    for (name, picture) in [
        (
            "network.svg",
            include_str!("../../../compliance/tests/data/network.svg"),
        ),
        (
            "flow.svg",
            include_str!("../../../compliance/tests/data/flow.svg"),
        ),
    ] {
        office.program.write(name, picture);
    }
}

/// Adds an item, and returns its id.
fn item(office: &Office, control: &str, more: &[&str]) -> crate::cli::Ran {
    let args = [
        "poam",
        "add",
        control,
        "--weakness",
        "w",
        "--remediation",
        "r",
        "--json",
    ];
    office.run(&[&args[..], more].concat())
}

#[tokio::test]
async fn a_plan_of_blueteams_own_says_how_each_requirement_is_implemented() {
    let office = Office::new().await;
    office.program.write("system.toml", FULL);
    write_pictures(&office);
    office.piece("3.12.4", "the plan");
    let meet = ["--finding", "met", "--reason", "the plan of today"];
    let meet_plan = || office.run(&[&["assess", "3.12.4"], &meet[..]].concat());
    let refused = meet_plan();
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .err
            .contains("how 109 requirements are implemented (3.12.4[e])"),
        "{}",
        refused.err
    );

    // A sheet that says so decides 3.12.4 in the same breath; without one statement it does not.
    let sheet = |but: &str| {
        let mut text = "objective_id,finding,reason,notes\n".to_owned();
        for record in csv::Reader::from_reader(office.run(&["export"]).good().as_bytes()).records()
        {
            let id = record.unwrap()[1].to_owned();
            let notes = if id.starts_with(but) {
                ""
            } else {
                "as the policy says"
            };
            writeln!(text, "{id},met,because,{notes}").unwrap();
        }
        office.program.write("all.csv", &text)
    };
    let lacking = office.run(&["import", &sheet("3.7.4[")]);
    assert_eq!(lacking.code, 1);
    assert!(
        lacking.err.contains("how 3.7.4 is implemented"),
        "{}",
        lacking.err
    );
    office.run(&["import", &sheet("none")]).good();
    assert_eq!(office.run(&["score", "--json"]).json()["points"], 110);

    // What the plan lacks later withholds the score again.
    let gone = "UPDATE blueteam.compliance_controls SET implementation_notes = ' ' WHERE \
        control_id = '3.1.1'";
    sqlx::query(gone)
        .execute(&mut office.db.connect().await)
        .await
        .unwrap();
    let score = office.run(&["score"]);
    assert!(
        score.code == 3 && score.out.contains("how 3.1.1 is implemented"),
        "{}",
        score.out
    );
}

#[tokio::test]
async fn met_without_evidence_or_statement_is_counted_wherever_gaps_are() {
    let office = met_but(&[]).await;
    let evidence = "MET without evidence in final form (32 CFR 170.24(b)), number of \
        requirements: 109";
    let statement = "MET without saying how it is implemented (3.12.4[e]), number of \
        requirements: 110";

    let gaps = office.run(&["gaps"]);
    let status = office.run(&["status"]);
    let ssp = office.run(&["ssp"]).good();
    let report = office.program.run(&["report", "assessor"]).good();
    for caution in [evidence, statement] {
        assert!(gaps.out.contains(caution), "{}", gaps.out);
        assert!(status.err.contains(caution), "{}", status.err);
        let escaped = caution.replace('[', "\\[").replace(']', "\\]");
        for document in [&ssp, &report] {
            assert!(document.contains(&escaped), "{document}");
        }
    }

    let listed = office.run(&["status", "--json"]).json();
    let of = |id: &str| {
        let all = listed.as_array().unwrap();
        let one = all.iter().find(|l| l["control_id"] == id).unwrap();
        (
            one["lacks_evidence"].clone(),
            one["lacks_statement"].clone(),
        )
    };
    assert_eq!(of("3.1.1"), (true.into(), true.into()));
    assert_eq!(of("3.12.4"), (false.into(), true.into()));

    let misspelled = office.run(&["status", "--family", "foo"]);
    assert!(
        misspelled.code == 2 && misspelled.err.contains("3.1 Access Control"),
        "{}",
        misspelled.err
    );
}

#[tokio::test]
async fn tampered_evidence_is_marked_wherever_it_is_cited() {
    let office = met_but(&[]).await;
    let file = office.program.write("sample.log", "one line\n");
    let add = [
        "evidence",
        "add",
        &file,
        "--supports",
        "3.1.1",
        "--kind",
        "log_sample",
    ];
    let more = ["--shows", "a sample", "--final", "--json"];
    let piece = office.run(&[&add[..], &more].concat()).json();
    let id = piece["evidence_id"].as_str().unwrap();
    assert_eq!(office.run(&["score", "--json"]).json()["points"], 110);

    let kept = office.program.path(piece["file_path"].as_str().unwrap());
    std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&kept, "One line\n").unwrap();

    let listed = office.run(&["evidence", "list"]).good();
    let shown = office.run(&["evidence", "show", id]).good();
    assert!(
        listed.contains("tampered") && shown.contains("counts      tampered"),
        "{shown}"
    );
    assert!(
        office
            .run(&["status"])
            .err
            .contains(&format!("TAMPERED WITH  evidence {id}"))
    );
    let requirement = office.run(&["show", "3.1.1"]).good();
    assert!(requirement.contains("1 TAMPERED WITH"), "{requirement}");
    let plan = office.run(&["ssp"]).good();
    let marked = |line: &str| line.contains("-sample-") && line.contains("(TAMPERED WITH)");
    assert!(plan.lines().any(marked), "{plan}");

    // What rests on it alone is not met any more.
    let score = office.run(&["score"]);
    assert!(
        score.code == 3
            && score
                .out
                .contains("rest on evidence that lapsed or was tampered with"),
        "{}",
        score.out
    );

    for form in ["md", "html", "pdf"] {
        let to = office.program.path(&format!("report.{form}"));
        let ran = office
            .program
            .run(&["report", "assessor", "--output", to.to_str().unwrap()]);
        assert_eq!(ran.code, 1, "{form}");
        assert!(ran.err.contains("is not what was taken in"), "{}", ran.err);
        if form != "pdf" {
            let text = std::fs::read_to_string(to).unwrap();
            let short = id.rsplit('-').next().unwrap();
            assert!(text.contains(&format!("{short} (TAMPERED WITH)")), "{form}");
        }
    }
    let zip = office.program.path("report.zip");
    let packed = office
        .program
        .run(&["report", "assessor", "--output", zip.to_str().unwrap()]);
    assert!(packed.code == 1 && !zip.exists());

    let folder = office.program.path("oscal");
    office
        .run(&["export", "--oscal", folder.to_str().unwrap()])
        .good();
    let results = folder.join("assessment-results/blueteam/assessment-results.json");
    assert!(
        std::fs::read_to_string(results)
            .unwrap()
            .contains("\"tampered\"")
    );
}

#[tokio::test]
async fn a_plan_that_is_not_what_was_approved_is_no_plan() {
    let office = met_but(&[]).await;
    let mut conn = office.db.connect().await;
    for sql in [
        "ALTER TABLE blueteam.compliance_evidence DISABLE TRIGGER ALL",
        "UPDATE blueteam.compliance_evidence SET content = 'another plan'",
    ] {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }

    let score = office.run(&["score"]);
    assert!(
        score.code == 3 && score.out.contains("no approved system security plan"),
        "{}",
        score.out
    );
}

#[tokio::test]
async fn lapsed_evidence_is_marked_where_it_counts() {
    let office = met_but(&[]).await;
    let add = [
        "evidence",
        "add",
        "--text",
        "old",
        "--supports",
        "3.1.1",
        "--kind",
        "log_sample",
    ];
    let more = [
        "--shows",
        "a sample",
        "--final",
        "--effective",
        "2024-01-01T00:00:00Z",
        "--for",
        "30d",
        "--json",
    ];
    let piece = office.run(&[&add[..], &more].concat()).json();
    let short = piece["evidence_id"]
        .as_str()
        .unwrap()
        .rsplit('-')
        .next()
        .unwrap();

    assert!(office.run(&["ssp"]).good().contains("LAPSED on 2024-01-31"));
    let report = office.program.run(&["report", "assessor"]).good();
    assert!(report.contains(&format!("{short} (LAPSED)")), "{report}");
}

#[tokio::test]
async fn plans_of_action_are_due_within_the_180_days() {
    let office = met_but(&["3.1.9[", "3.8.4[", "3.13.11["]).await;
    let begun = model::Clock::now(&model::SystemClock).minus(model::Span::days(100));
    let begun = begun.to_string();
    let first = item(
        &office,
        "3.1.9",
        &["--conditional-since", &begun, "--due", "30d"],
    )
    .json();
    assert_eq!(first["kind"], "poam", "where the requirement belongs");

    // For the item itself, and for every other on the POA&M: the status began once.
    for late in [
        item(
            &office,
            "3.1.9",
            &["--conditional-since", &begun, "--due", "90d"],
        ),
        item(&office, "3.8.4", &["--due", "90d"]),
        office.run(&[
            "poam",
            "update",
            first["poam_id"].as_str().unwrap(),
            "--due",
            "90d",
        ]),
    ] {
        assert!(
            late.code == 2 && late.err.contains("must be closed out by"),
            "{}",
            late.err
        );
    }
    item(&office, "3.8.4", &["--due", "60d"]).good();

    // One that is there already is shown as late.
    let moved = "UPDATE blueteam.poam_items SET scheduled_completion = now() + interval '2 years' \
        WHERE control_id = '3.8.4'";
    sqlx::query(moved)
        .execute(&mut office.db.connect().await)
        .await
        .unwrap();
    assert!(office.run(&["poam", "list"]).out.contains("LATE"));
    let document = office
        .run(&["poam", "export", "--format", "markdown"])
        .good();
    assert!(document.contains("AFTER CLOSE-OUT"), "{document}");

    // Doubled, and about what is met: said, and written.
    let doubled = item(&office, "3.8.4", &["--due", "10d"]);
    assert!(
        doubled
            .err
            .contains("has an open item on the same plan already")
    );
    let met = item(&office, "3.2.3", &[]);
    assert!(met.err.contains("3.2.3 is MET"), "{}", met.err);
    doubled.good();
    met.good();

    // With the partial score it costs 3 points, and belongs on the POA&M.
    office
        .run(&["assess", "3.13.11", "--partial", "true"])
        .good();
    assert_eq!(
        item(&office, "3.13.11", &["--due", "10d"]).json()["kind"],
        "poam"
    );
    let document = office
        .run(&["poam", "export", "--format", "markdown"])
        .good();
    assert!(document.contains("3 (partial score)"), "{document}");
}

#[tokio::test]
async fn what_is_said_of_requirements_survives_a_sheet() {
    let (office, other) = (Office::new().await, Office::new().await);
    let says = [
        "assess",
        "3.10.1",
        "--responsibility",
        "shared",
        "--provider",
        "Acme",
        "--provider-duties",
        "locks",
        "--our-duties",
        "badges",
        "--due",
        "2027-01-31T00:00:00Z",
        "--evidence-type",
        "hybrid",
        "--assessor-notes",
        "see the lease",
        "--notes",
        "doors",
        "--owner",
        "bob",
    ];
    office.run(&says).good();
    office
        .run(&[
            "assess",
            "3.13.11",
            "--partial",
            "true",
            "--due",
            "2027-02-01T00:00:00Z",
        ])
        .good();

    let sheet = office.run(&["export"]).good();
    let file = other.program.write("sheet.csv", &sheet);
    other.run(&["import", &file]).good();
    for id in ["3.10.1", "3.13.11"] {
        let of = |office: &Office| office.run(&["show", id, "--json"]).json()["standing"].clone();
        assert_eq!(of(&office), of(&other), "{id}");
    }
    let again = other.run(&["import", &file]).good();
    assert!(again.contains("0 findings and 0 requirements"), "{again}");

    let wrong = sheet.replace("2027-01-31T00:00:00Z", "31.1.2027");
    let wrong = other.run(&["import", &other.program.write("wrong.csv", &wrong)]);
    assert!(
        wrong.code == 1 && wrong.err.contains("due: `31.1.2027`"),
        "{}",
        wrong.err
    );

    // Through OSCAL too.
    let folder = office.program.path("oscal");
    office
        .run(&["export", "--oscal", folder.to_str().unwrap()])
        .good();
    let third = Office::new().await;
    let plan = folder.join("system-security-plans/blueteam/system-security-plan.json");
    third.run(&["import", plan.to_str().unwrap()]).good();
    let read = third.run(&["show", "3.13.11", "--json"]).json();
    assert_eq!(read["standing"]["partial_credit"], true);
    assert_eq!(read["standing"]["due"], "2027-02-01T00:00:00Z");
}

#[tokio::test]
async fn what_no_software_shows_is_manual_with_its_reason() {
    let office = Office::new().await;
    let manual = office.run(&["show", "3.2.1"]).good();
    assert!(
        manual.contains("evidence    manual")
            && manual.contains("Awareness/training - organizational policy"),
        "{manual}"
    );

    office
        .run(&[
            "assess",
            "3.2.1",
            "--assessor-notes",
            "recorded in the training tool",
        ])
        .good();
    office.program.run(&["migrate"]).good();
    let report = office.program.run(&["report", "assessor"]).good();
    assert!(
        report.contains("Evidence is manual. recorded in the training tool"),
        "what people say stays"
    );
}

#[tokio::test]
async fn the_sections_of_the_plan_are_imported_and_exported() {
    let office = Office::new().await;
    let file = office.program.write("described.toml", FULL);
    let unreadable = office.run(&["ssp", "--import", &file]);
    assert!(
        unreadable.code == 1
            && unreadable
                .err
                .contains("the diagram `network.svg` is refused"),
        "{}",
        unreadable.err
    );
    write_pictures(&office);
    let imported = office
        .run(&["ssp", "--import", &file, "--on-behalf-of", "alice"])
        .good();
    assert!(
        imported.starts_with("changed 13 sections and "),
        "{imported}"
    );
    let again = office.run(&["ssp", "--import", &file]).good();
    assert_eq!(again.trim(), "changed 0 sections and 0 assets");

    let mut conn = office.db.connect().await;
    let by: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT updated_by FROM blueteam.ssp_sections")
            .fetch_all(&mut conn)
            .await
            .unwrap();
    assert_eq!(by, [format!("{}, on behalf of alice", account())]);

    // What comes out is what went in, and it is what the plan is written from.
    let exported = office.run(&["ssp", "--export"]).good();
    let read = |text: &str| toml::from_str::<compliance::system::System>(text).unwrap();
    let (mut before, mut after) = (read(FULL), read(&exported));
    for system in [&mut before, &mut after] {
        system.assets.sort_by(|a, b| a.name.cmp(&b.name));
    }
    for diagram in &mut after.diagrams {
        assert_eq!(diagram.sha256.len(), 64, "the copy that counts");
        diagram.sha256.clear();
    }
    assert_eq!(before, after);
    let plan = office.run(&["ssp"]);
    assert!(
        plan.out.contains(&before.name) && !plan.err.contains("missing"),
        "{}",
        plan.err
    );

    // A file that says something else is not taken for the plan, and that is said.
    office.program.write("system.toml", "name = \"another\"\n");
    let plan = office.run(&["ssp"]);
    assert!(
        plan.out.contains(&before.name) && plan.err.contains("ssp --import"),
        "{}",
        plan.err
    );

    // All wrong assets at once, and nothing of it.
    let wrong = "[[assets]]\nname = \"a\"\ncategory = \"x\"\n[[assets]]\nname = \"b\"\n\
        category = \"specialized\"\n";
    let wrong = office.run(&[
        "ssp",
        "--import",
        &office.program.write("wrong.toml", wrong),
    ]);
    assert!(
        wrong.code == 2 && wrong.err.contains("a: the category") && wrong.err.contains("b: `treat"),
        "{}",
        wrong.err
    );
    let live = office.program.write("live.toml", "state = \"live\"\n");
    let live = office.run(&["ssp", "--import", &live]);
    assert!(
        live.code == 1 && live.err.contains("under-development"),
        "{}",
        live.err
    );
}

#[tokio::test]
async fn there_is_one_inventory() {
    let office = Office::new().await;
    let described = "name = \"x\"\n[[assets]]\nname = \"fileserver\"\ncategory = \"cui\"\n";
    office.program.write("system.toml", described);
    office
        .run(&["assets", "set", "laptop", "--category", "cui"])
        .good();

    let names: Vec<Value> = office
        .run(&["assets", "list", "--json"])
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["name"].clone())
        .collect();
    assert_eq!(names, ["fileserver", "laptop"]);
    let found: Value = serde_json::from_str(
        &office
            .run(&["evidence", "--control", "3.4.1", "--json"])
            .out,
    )
    .unwrap();
    let text = found.to_string();
    assert!(!text.contains("no asset is in the inventory"), "{text}");

    let remove = office.run(&["assets", "remove", "fileserver"]);
    assert!(remove.code == 1 && remove.err.contains("description of the system"));
}

#[tokio::test]
async fn only_results_that_are_compared_become_a_baseline() {
    let office = Office::new().await;
    let result = |control: &str| {
        let ran: Value = serde_json::from_str(
            &office
                .run(&["evidence", "--control", control, "--json"])
                .out,
        )
        .unwrap();
        ran[0]["evidence_id"].as_str().unwrap().to_owned()
    };

    let other = office.run(&["baseline", "approve", &result("3.14.6")]);
    assert!(
        other.code == 1 && other.err.contains("cm_3_4_1"),
        "{}",
        other.err
    );
    office
        .run(&["baseline", "approve", &result("3.4.1")])
        .good();
}

#[tokio::test]
async fn who_collects_evidence_does_not_approve_it_where_there_are_two() {
    let office = Office::new().await;
    let config = office
        .program
        .write("two.toml", "[compliance]\nseparate_approver = true\n");
    let two = |args: &[&str]| {
        let head = ["--config", config.as_str(), "compliance"];
        office.program.run(&[&head[..], args].concat())
    };
    let add = [
        "evidence",
        "add",
        "--text",
        "x",
        "--supports",
        "3.1.1",
        "--kind",
        "policy_doc",
        "--shows",
        "the policy",
        "--json",
    ];

    let both = two(&[&add[..], &["--final"]].concat());
    assert!(
        both.code == 1 && both.err.contains("separate_approver"),
        "{}",
        both.err
    );
    let draft = two(&[&add[..], &["--on-behalf-of", "alice"]].concat()).json();
    let id = draft["evidence_id"].as_str().unwrap();
    let approved = two(&["evidence", "approve", id, "--on-behalf-of", "bob"]);
    assert!(
        approved.code == 1 && approved.err.contains("another account"),
        "{}",
        approved.err
    );

    // Without the key it is done, and shown.
    office.run(&["evidence", "approve", id]).good();
    let shown = office.run(&["evidence", "show", id]).good();
    assert!(shown.contains("who also collected it"), "{shown}");
    let report = office.program.run(&["report", "assessor"]).good();
    assert!(
        report.contains("(who also collected it)")
            && report.contains("approved by who collected it, number of pieces: 1"),
        "{report}"
    );
}

#[tokio::test]
async fn the_old_name_of_an_option_still_works_and_says_so() {
    let office = Office::new().await;
    let set = office.run(&["assess", "3.3.1", "--owner", "bob", "--as", "alice"]);
    assert!(
        set.err.contains("`--as` is now `--on-behalf-of`"),
        "{}",
        set.err
    );
    set.good();
    let actors: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT actor FROM audit.audit_log WHERE metadata ->> 'on_behalf_of' = 'alice'",
    )
    .fetch_all(&mut office.db.connect().await)
    .await
    .unwrap();
    assert_eq!(actors, [account()]);
}
