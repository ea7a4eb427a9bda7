//! Plans of action, the system security plan, and the package for an assessor.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::compliance::Office;

/// A description that lacks nothing.
const FULL: &str = include_str!("../../../compliance/tests/data/system.full.toml");
const SYSTEM: &str = "name = \"Bearing <Expert>\"\nboundary = \"two \
    servers\"\n[organization]\nname = \"Example Ltd\"\ncage_codes = [\"1ABC2\"]\n";

async fn assessed() -> Office {
    let office = Office::new().await;
    office.piece("3.12.4", "the plan");
    office
        .run(&[
            "set",
            "3.12.4",
            "--finding",
            "met",
            "--reason",
            "this plan",
            "--on-behalf-of",
            "alice",
        ])
        .good();

    office
        .run(&[
            "set",
            "3.1.9",
            "--finding",
            "not_met",
            "--reason",
            "no <notice> | yet",
            "--on-behalf-of",
            "alice",
        ])
        .good();

    office
        .run(&[
            "set",
            "3.1.1a",
            "--finding",
            "not_met",
            "--reason",
            "no list of users",
            "--on-behalf-of",
            "alice",
        ])
        .good();

    office
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn plans_are_made_from_gaps_kept_apart_clocked_and_closed_with_evidence() {
    let office = assessed().await;
    let poam = |args: &[&str]| office.run(&[&["poam"], args].concat());
    assert!(poam(&[]).good().contains("no plans of action"));
    assert!(
        poam(&["generate", "--on-behalf-of", "bob"])
            .good()
            .starts_with("2 items written")
    );

    assert!(
        poam(&["generate"]).good().starts_with("0 items written"),
        "once is enough"
    );
    let listed = poam(&["list", "--json"]).json();
    let of = |control: &str| {
        listed
            .as_array()
            .unwrap()
            .iter()
            .find(|p| p["control_id"] == control)
            .unwrap()
            .clone()
    };

    assert_eq!(
        (&of("3.1.9")["kind"], &of("3.1.1")["kind"]),
        (&"poam".into(), &"operational".into()),
        "five points may not wait"
    );
    assert_eq!(
        (&of("3.1.9")["risk"], &of("3.1.1")["risk"]),
        (&"low".into(), &"high".into())
    );

    assert!(
        of("3.1.9")["weakness"]
            .as_str()
            .unwrap()
            .contains("3.1.9[a]: no <notice>")
    );

    let status = office.run(&["status", "--json"]).json();
    let planned = status
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["status"] == "planned")
        .count();
    assert_eq!(planned, 2);

    let score: Value = serde_json::from_str(&office.run(&["score", "--json"]).out).unwrap();
    assert!(score["unplanned"].as_array().unwrap().is_empty());

    // Past its day, and past its 180 days.
    let id = of("3.1.9")["poam_id"].as_str().unwrap().to_owned();
    let number = of("3.1.9")["item_number"].as_str().unwrap().to_owned();
    assert!(
        number.starts_with("POAM-2") && number.len() == 13,
        "{number}"
    );
    assert_ne!(of("3.1.9")["item_number"], of("3.1.1")["item_number"]);
    assert!(
        poam(&["update", "poam-2020-7", "--owner", "x"])
            .err
            .contains("no item is called POAM-2020-007")
    );
    poam(&[
        "update",
        &id,
        "--due",
        "2026-01-01T00:00:00Z",
        "--owner",
        "carol",
        "--task",
        "SEC-7",
    ])
    .good();

    let overdue = poam(&["list", "--overdue", "--json"]);
    assert_eq!(overdue.code, 3);
    assert!(
        overdue.out.contains("was due 20"),
        "the change of milestones is kept: {}",
        overdue.out
    );

    poam(&[
        "update",
        &id,
        "--due",
        "2099-01-01T00:00:00Z",
        "--conditional-since",
        "2026-01-01T00:00:00Z",
    ])
    .good();

    let late: Value = serde_json::from_str(&poam(&["list", "--overdue", "--json"]).out).unwrap();
    assert_eq!(
        late[0]["close_out_by"], "2026-06-30T00:00:00Z",
        "180 days, whatever day somebody sets"
    );

    let sheet = poam(&["export"]).good();
    let mut sheet = csv::Reader::from_reader(sheet.as_bytes());
    assert_eq!(sheet.headers().unwrap().len(), 25);
    let row = sheet
        .records()
        .map(Result::unwrap)
        .find(|r| &r[2] == "AC.L2-3.1.9")
        .unwrap();
    assert_eq!(
        (&row[0], &row[6], &row[10], &row[12]),
        (number.as_str(), "01/01/2099", "Ongoing", "Low")
    );
    assert_eq!(
        &row[3], "",
        "the office is the organization, which is not stated"
    );
    assert!(row[11].contains("owner: carol"), "{}", &row[11]);
    assert_eq!((&row[19], &row[20], &row[22]), ("High", "Low", "Low"));

    let book = office.program.path("poam.xlsx");
    poam(&["update", &id, "--mitigation", "=cmd|' /C calc'!A0"]).good();
    poam(&[
        "export",
        "--format",
        "xlsx",
        "--output",
        book.to_str().unwrap(),
    ])
    .good();

    let cells = workbook(&book);
    let heads = cells.iter().find(|r| r[0] == "POA&M Item ID").unwrap();
    assert_eq!(cells[0][0], "Plan of Action and Milestones");
    assert_eq!(
        (heads.len(), heads[0].as_str(), heads[24].as_str()),
        (
            25,
            "POA&M Item ID",
            "Resulting Residual Risk after Proposed Mitigations"
        )
    );

    let row = cells.iter().find(|r| r[2] == "AC.L2-3.1.9").unwrap();
    assert_eq!(
        (row[0].as_str(), row[3].as_str(), row[6].as_str()),
        (number.as_str(), "", "day 72686"),
        "a date is a number of days, 1 January 2099"
    );
    assert_eq!(row[14], "'=cmd|' /C calc'!A0", "no formula");

    assert!(
        poam(&[
            "add",
            "3.1.20",
            "--kind",
            "poam",
            "--weakness",
            "w",
            "--remediation",
            "r"
        ])
        .err
        .contains("may not be on the POA&M")
    );

    assert!(
        poam(&["update", &id, "--status", "completed"])
            .err
            .contains("poam close")
    );

    let add = [
        "evidence",
        "add",
        "--text",
        "photo of the notice",
        "--supports",
        "3.1.9",
        "--kind",
        "test_result",
        "--shows",
        "the notice",
        "--json",
    ];

    let draft = office.run(&add).json()["evidence_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        poam(&["close", &id, "--evidence", &draft])
            .err
            .contains("is a draft")
    );

    office.run(&["evidence", "approve", &draft]).good();
    poam(&[
        "close",
        &number.to_lowercase(),
        "--evidence",
        &draft,
        "--on-behalf-of",
        "alice",
    ])
    .good();
    assert!(
        poam(&["close", &id, "--evidence", &draft])
            .err
            .contains("on behalf of alice")
    );

    assert_eq!(
        poam(&["list", "--all", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

/// The cells of a workbook's first sheet, as another program reads them. None of them may be
/// anything but text.
fn workbook(path: &std::path::Path) -> Vec<Vec<String>> {
    const READ: &str = "
import json, re, sys, zipfile
from xml.etree import ElementTree as E
book = zipfile.ZipFile(sys.argv[1]); assert book.testzip() is None
ns = '{http://schemas.openxmlformats.org/spreadsheetml/2006/main}'
shared = [''.join(t.text or '' for t in s.iter(ns + 't')) for s in \
E.fromstring(book.read('xl/sharedStrings.xml'))]
rows = []
for row in E.fromstring(book.read('xl/worksheets/sheet1.xml')).iter(ns + 'row'):
    cells = [''] * 25
    for c in row:
        assert c.find(ns + 'f') is None, 'a formula'
        v, place = c.find(ns + 'v'), re.match('[A-Z]+', c.get('r')).group()
        n = 0
        for letter in place: n = n * 26 + ord(letter) - 64
        if v is not None:
            # The column of the day by which an item is done holds dates.
            assert c.get('t') == 's' or n == 7, 'no text'
            cells[n - 1] = shared[int(v.text)] if c.get('t') == 's' else 'day ' + v.text
    rows.append(cells)
json.dump(rows, sys.stdout)";

    let read = Command::new("python3")
        .args(["-c", READ])
        .arg(path)
        .output()
        .unwrap();
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );

    serde_json::from_slice(&read.stdout).unwrap()
}

#[tokio::test]
async fn what_sprs_asks_for_is_given_and_what_is_missing_is_listed() {
    let office = assessed().await;
    office.run(&["poam", "generate"]).good();
    // A plan that blueteam writes says how each is implemented.
    sqlx::query("UPDATE blueteam.compliance_controls SET implementation_notes = 'by policy'")
        .execute(&mut office.db.connect().await)
        .await
        .unwrap();
    let ran = office.run(&["score", "--sprs"]);
    assert_eq!(ran.code, 3, "something is missing");

    assert!(
        ran.out.contains("Assessment scope        -")
            && ran.out.contains("  - assessment.scope: Enterprise"),
        "{}",
        ran.out
    );

    let mut full: compliance::system::System = toml::from_str(FULL).unwrap();
    (full.version, full.organization.cage_codes) = ("3".to_owned(), vec!["1ABC2".to_owned()]);
    (full.assessment.scope, full.assessment.level) = ("enclave".to_owned(), "basic".to_owned());
    (full.assessment.plan_date, full.assessment.completion) =
        ("2026-02-01".to_owned(), String::new());

    let full = office
        .program
        .write("full.toml", &toml::to_string(&full).unwrap());
    let json: Value = serde_json::from_str(
        &office
            .run(&["score", "--sprs", "--json", "--system", &full])
            .out,
    )
    .unwrap();
    assert_eq!(
        (&json["scope"], &json["confidence_level"], &json["ssp_date"]),
        (&"Enclave".into(), &"Low".into(), &"2026-02-01".into())
    );

    assert_eq!(
        (
            &json["ssp_version"],
            &json["cage_codes"][0],
            &json["poam_used"]
        ),
        (&"3".into(), &"1ABC2".into(), &true.into())
    );

    assert_eq!(json["assessment_date"].as_str().unwrap().len(), 10);
    assert!(json["score"].as_str().unwrap().ends_with(" out of 110"));

    // Not everything that costs points is planned: the day of 110 is nobody's guess.
    assert_eq!(json["plan_completion_date"], Value::Null);
    let missing: Vec<&str> = json["missing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap())
        .collect();
    assert_eq!(missing.len(), 2, "{missing:?}");
}

/// Texts that stop a typesetter: a bullet of Word's own, an emoji of several, another script,
/// marks, controls.
const HOSTILE: [&str; 8] = [
    "\u{f0b7} order keys",
    "done \u{1f680}\u{1f469}\u{200d}\u{1f680}",
    "ask \u{738b}\u{5c0f}\u{660e}",
    "\u{301}lone mark, e\u{301}\u{489}\u{1ab0}",
    "\u{5d0}\u{5b0} \u{627}\u{644}\u{639} \u{202e}reversed",
    "bell \u{7} escape \u{1b}[2J",
    "\u{378}\u{ffff}\u{10ffff}\u{feff}",
    "\u{915}\u{94d}\u{937} \u{e01}\u{e33} \u{1100}\u{1161}",
];

#[tokio::test]
async fn any_text_of_anybody_can_be_printed() {
    let office = assessed().await;
    for (n, text) in HOSTILE.iter().enumerate() {
        let id = format!("3.1.{}", n + 1);
        let item = [
            "poam",
            "add",
            &id,
            "--kind",
            "operational",
            "--weakness",
            text,
            "--remediation",
            text,
            "--owner",
            text,
        ];

        office.run(&item).good();
        office
            .run(&[
                "set",
                &id,
                "--finding",
                "not_met",
                "--reason",
                &format!("why {text}"),
                "--notes",
                text,
                "--owner",
                text,
            ])
            .good();

        office.piece(&id, text);
    }

    office.program.write(
        "system.toml",
        &format!(
            "name = \"Plant {0}\"\nboundary = \"{0}\"\nmarking = \"CUI {0}\"\n",
            HOSTILE[0]
        ),
    );

    for args in [
        &["compliance", "poam", "export"][..],
        &["compliance", "ssp"],
        &["report", "assessor"],
    ] {
        let pdf = office.program.path(&format!("{}.pdf", args[1]));
        office
            .program
            .run(&[args, &["--output", pdf.to_str().unwrap()]].concat())
            .good();
        assert!(std::fs::read(&pdf).unwrap().starts_with(b"%PDF-"));
    }

    let zip = office.program.path("p.zip");
    office
        .program
        .run(&["report", "assessor", "--output", zip.to_str().unwrap()])
        .good();

    let markdown = office
        .run(&["poam", "export", "--format", "markdown"])
        .good();
    assert!(
        markdown.contains("\u{f0b7} order keys") && markdown.contains('\u{1f680}'),
        "other forms keep the original"
    );
}

#[tokio::test]
async fn the_score_is_noted_when_it_changes_and_drawn_over_time() {
    let office = Office::new().await;
    assert!(
        office
            .run(&["score", "--history"])
            .good()
            .contains("no score was noted yet")
    );

    assert!(
        office
            .program
            .run(&["report", "assessor"])
            .good()
            .contains("No earlier score was recorded")
    );
    office.piece("3.12.4", "the plan");

    office
        .run(&[
            "set",
            "3.12.4",
            "--finding",
            "met",
            "--reason",
            "this plan",
            "--on-behalf-of",
            "alice",
        ])
        .good();

    office
        .run(&[
            "set",
            "3.12.4",
            "--notes",
            "changes no score",
            "--on-behalf-of",
            "alice",
        ])
        .good();

    office
        .run(&[
            "set",
            "3.1.1",
            "--finding",
            "met",
            "--reason",
            "list of users",
            "--on-behalf-of",
            "alice",
        ])
        .good();

    let noted = office.run(&["score", "--history", "--json"]).json();
    let points: Vec<_> = noted
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["points"].as_i64().unwrap())
        .collect();
    assert_eq!(points, [-203, -198], "each score once");

    assert!(office.run(&["score", "--history"]).good().contains("-198"));
    let text = office.program.run(&["report", "assessor"]).good();
    let line = text
        .lines()
        .skip_while(|l| !l.contains("Score over time"))
        .find(|l| l.contains("| -203 |"));
    assert!(line.is_some(), "{text}");

    let page = office.program.path("report.html");
    office
        .program
        .run(&["report", "assessor", "--output", page.to_str().unwrap()])
        .good();
    assert!(
        std::fs::read_to_string(&page)
            .unwrap()
            .contains("<polyline points=")
    );

    let pdf = office.program.path("report.pdf");
    office
        .program
        .run(&["report", "assessor", "--output", pdf.to_str().unwrap()])
        .good();
    assert!(std::fs::read(&pdf).unwrap().starts_with(b"%PDF-"));
}

#[test]
fn the_demonstration_ends_with_a_package_for_an_assessor() {
    let program = crate::cli::Program::new(None);
    let zip = program.path("cmmc.zip");
    let ran = program.run(&["demo", "--package", zip.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("Compliance: ") && ran.out.contains("SHA256SUMS in it has the hash"),
        "{}",
        ran.out
    );

    assert!(
        !ran.err.contains("missing in the description"),
        "{}",
        ran.err
    );

    let out = program.path("unpacked");
    zip::ZipArchive::new(std::fs::File::open(&zip).unwrap())
        .unwrap()
        .extract(&out)
        .unwrap();

    let checked = Command::new("sha256sum")
        .args(["-c", "--quiet", "SHA256SUMS"])
        .current_dir(&out)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );

    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let report = read("assessor-report.md");

    // What an assessor works from: a score, findings with who and why, what was seen, and what is
    // planned.
    for says in [
        "Example Bearings Ltd \\(demonstration\\)",
        " out of 110",
        "Demonstration: taken over from check ",
        "Sample of events",
        "Sample of alerts",
        "0DEM0",
        "System security plan of the made-up system",
    ] {
        let says = says.replace("\\(", "(").replace("\\)", ")");
        assert!(report.contains(&says), "{says}");
    }

    let sample = report
        .lines()
        .skip_while(|l| !l.contains("Sample of events"))
        .take_while(|l| !l.contains("Sample of alerts"));
    assert!(
        sample.filter(|l| l.starts_with("| 20")).count() >= 5,
        "events that were played are in it"
    );

    assert!(
        csv::Reader::from_reader(read("poam.csv").as_bytes())
            .records()
            .count()
            > 0
    );

    assert_eq!(
        csv::Reader::from_reader(read("findings.csv").as_bytes())
            .records()
            .count(),
        320
    );

    for file in ["poam.xlsx", "assessor-report.pdf"] {
        assert!(out.join(file).exists(), "{file}");
    }

    assert!(std::fs::read_dir(out.join("evidence")).unwrap().count() > 40);
}

#[tokio::test]
async fn the_plan_says_what_is_missing_and_takes_no_misspelled_key() {
    let office = assessed().await;
    let system = office.program.write("system.toml", SYSTEM);
    let plan = office.run(&["ssp", "--system", &system]);
    let text = plan.out.clone();
    assert_eq!(plan.code, 0);
    assert!(
        plan.err.contains("people: the system owner by name"),
        "{}",
        plan.err
    );

    for says in [
        "Bearing &lt;Expert&gt;",
        "two servers",
        "3.14.7 ",
        "NOT STATED",
        "110 requirements do not say how",
    ] {
        assert!(text.contains(says), "{says}");
    }

    assert_eq!(
        office.run(&["ssp"]).good(),
        text,
        "that of the state directory is taken by itself"
    );

    let bad = office.run(&[
        "ssp",
        "--system",
        &office.program.write("bad.toml", "nmae = \"x\"\n"),
    ]);
    assert!(
        bad.err.contains("nmae") && bad.err.contains("line 1"),
        "{}",
        bad.err
    );

    let sample = office.run(&["ssp", "--sample"]).good();
    office
        .run(&[
            "ssp",
            "--system",
            &office.program.write("sample.toml", &sample),
        ])
        .good();

    assert!(
        office
            .run(&[
                "ssp",
                "--output",
                office.program.path("x.docx").to_str().unwrap()
            ])
            .err
            .contains(".docx")
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn the_package_checks_without_us_and_names_what_was_tampered_with() {
    let office = assessed().await;
    office.program.write("system.toml", SYSTEM);
    office.run(&["poam", "generate"]).good();
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

    assert!(
        office
            .run(&["assets", "set", "tv", "--category", "out_of_scope"])
            .err
            .contains("--treatment")
    );
    office.run(&["evidence"]);

    // Two files of one name, one of them large enough for several buffers.
    let add = |path: &str| {
        let args = [
            "evidence",
            "add",
            path,
            "--supports",
            "3.1.1",
            "--kind",
            "policy_doc",
            "--shows",
            "a policy",
            "--final",
            "--json",
        ];

        office.run(&args).json()
    };

    let first = add(&office
        .program
        .write("a/policy.txt", &"long ".repeat(200_000)));
    add(&office.program.write("b/policy.txt", "short"));
    let zip = office.program.path("package.zip");
    let report = |zip: &std::path::Path| {
        office
            .program
            .run(&["report", "assessor", "--output", zip.to_str().unwrap()])
    };

    let said = report(&zip).good();
    assert!(report(&zip).err.contains("exists"));

    let out = office.program.path("unpacked");
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&zip).unwrap()).unwrap();
    archive.extract(&out).unwrap();
    let checked = Command::new("sha256sum")
        .args(["-c", "--quiet", "SHA256SUMS"])
        .current_dir(&out)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );

    let own = Command::new("sha256sum")
        .arg("SHA256SUMS")
        .current_dir(&out)
        .output()
        .unwrap();
    assert!(
        said.contains(
            String::from_utf8(own.stdout)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
        ),
        "{said}"
    );

    let listed = std::fs::read_to_string(out.join("SHA256SUMS"))
        .unwrap()
        .lines()
        .count();
    assert_eq!(listed, archive.len() - 1, "each file but the list itself");

    let hashes = std::fs::read_to_string(out.join("hashes.csv")).unwrap();
    assert_eq!(
        hashes.lines().count() - 1,
        std::fs::read_dir(out.join("evidence")).unwrap().count()
    );

    let mut html = String::new();
    std::fs::File::open(out.join("assessor-report.html"))
        .unwrap()
        .read_to_string(&mut html)
        .unwrap();

    for says in [
        "Bearing &lt;Expert&gt;",
        "no &lt;notice&gt; | yet",
        "3.14.7[b]",
        "Contents",
        "no CMMC status",
        "1ABC2",
    ] {
        assert!(html.contains(says), "{says}");
    }

    assert!(
        std::fs::read(out.join("assessor-report.pdf"))
            .unwrap()
            .starts_with(b"%PDF-")
    );

    let findings = std::fs::read_to_string(out.join("findings.csv")).unwrap();
    assert_eq!(
        csv::Reader::from_reader(findings.as_bytes())
            .records()
            .count(),
        320
    );

    let kept = office.program.path(first["file_path"].as_str().unwrap());
    std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::write(&kept, "another policy").unwrap();
    let tampered = report(&office.program.path("again.zip"));
    assert_eq!(tampered.code, 1);

    assert!(
        tampered
            .err
            .contains(first["evidence_id"].as_str().unwrap())
            && tampered.err.contains("was changed"),
        "{}",
        tampered.err
    );

    assert!(
        !office.program.path("again.zip").exists(),
        "nothing half-written is left"
    );
}

#[tokio::test]
async fn oscal_goes_out_and_comes_back() {
    let office = assessed().await;
    office.program.write("system.toml", SYSTEM);
    office.run(&["poam", "generate"]).good();
    office
        .run(&["set", "3.1.1", "--owner", "alice", "--notes", "by role"])
        .good();

    let folder = office.program.path("workspace");
    let folder = folder.to_str().unwrap();
    let written = office.run(&["export", "--oscal", folder]).good();
    assert_eq!(written.lines().count(), 7, "{written}");
    assert_eq!(
        office.run(&["export", "--oscal", folder]).code,
        1,
        "nothing is overwritten"
    );

    let other = Office::new().await;
    let path = |end: &str| written.lines().find(|l| l.ends_with(end)).unwrap();
    let (plan, poam) = (
        path("system-security-plan.json"),
        path("plan-of-action-and-milestones.json"),
    );
    assert!(
        other
            .run(&["import", plan, "--dry-run"])
            .good()
            .contains("would change 1 requirement")
    );

    assert!(
        other
            .run(&["import", plan])
            .good()
            .contains("changed 1 requirement")
    );

    assert!(
        other
            .run(&["import", poam])
            .good()
            .contains("changed 2 plans of action")
    );

    assert!(
        other
            .run(&["import", poam])
            .good()
            .contains("changed 0 plans of action"),
        "they are there"
    );

    let shown = other.run(&["show", "3.1.1", "--json"]).json();
    assert_eq!(
        (&shown["standing"]["notes"], &shown["standing"]["owner"]),
        (&"by role".into(), &"alice".into())
    );
    assert_eq!(shown["status"], "not_assessed", "an import decides nothing");

    assert!(
        other
            .run(&["import", path("catalog.json")])
            .err
            .contains("neither")
    );
}

#[tokio::test]
async fn what_is_logged_is_reviewed_signed_and_compared() {
    let office = Office::new().await;
    let mut conn = office.db.connect().await;
    let event = |action: &str| {
        format!(
            "INSERT INTO public.audit_events (category, action, result, cui_accessed) VALUES \
                ('data', '{action}', 'denied', true)"
        )
    };

    sqlx::query(sqlx::AssertSqlSafe(event("export")))
        .execute(&mut conn)
        .await
        .unwrap();
    let first = office.run(&["review"]).good();
    assert!(
        first.contains("New since the last review:\n  audit_db data.export"),
        "{first}"
    );

    assert_eq!(
        office.run(&["review", "--sign"]).code,
        2,
        "a signature has a conclusion"
    );

    let signed = office
        .run(&[
            "review",
            "--sign",
            "--conclusion",
            "as it should be",
            "--on-behalf-of",
            "alice",
        ])
        .good();

    assert!(signed.contains("on behalf of alice"), "{signed}");
    sqlx::query(sqlx::AssertSqlSafe(event("print")))
        .execute(&mut conn)
        .await
        .unwrap();

    let second = office.run(&["review"]).good();
    assert!(
        second.contains("New since the last review:\n  audit_db data.print\n\nSilent"),
        "{second}"
    );

    let checked = office.run(&["evidence", "--control", "3.3.3", "--json"]);
    let found: Value = serde_json::from_str(&checked.out).unwrap();
    let says = &found[0]["says"][1];
    assert_eq!(
        says["verdict"], "cant_tell",
        "a signature proves no process: {found}"
    );
    assert!(
        says["saw"].to_string().contains("reviewed and signed on"),
        "{found}"
    );
}
