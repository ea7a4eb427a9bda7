//! Advisories from the file to the alert, and to the close of the response (3.14.3).

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::{Value, json};
use testkit::TestDb;

use super::daemon::{Daemon, PATIENCE};
use crate::cli::Program;

fn osv(id: &str, name: &str, fixed: &str, severity: &str) -> Value {
    json!({
        "id": id, "modified": "2026-01-01T00:00:00Z", "summary": format!("{name} is broken"), "details": "It is.",
        "aliases": [id.replace("RUSTSEC", "CVE")], "database_specific": { "severity": severity },
        "affected": [{ "package": { "ecosystem": "crates.io", "name": name },
                       "ranges": [{ "type": "SEMVER", "events": [{ "introduced": "0" }, { "fixed": fixed }] }] }]
    })
}

fn lock(packages: &[(&str, &str)]) -> String {
    let package = |(name, version): &(&str, &str)| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \
                \"registry+https://example.com\"\n"
        )
    };
    packages.iter().map(package).collect::<Vec<_>>().join("\n")
}

fn kev(cve: &str) -> Value {
    json!({ "catalogVersion": "2026.01.01", "vulnerabilities": [{
        "cveID": cve, "vendorProject": "Acme", "product": "Rsa", "vulnerabilityName": "Acme RSA leak", "dateAdded": "2026-01-02",
        "shortDescription": "Attackers use it.", "requiredAction": "Update.", "dueDate": "2026-01-23" }] })
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn what_concerns_us_is_found_answered_and_checked_again() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let lock_file = program.write(
        "Cargo.lock",
        &lock(&[("rsa", "0.9.6"), ("time", "0.1.40"), ("serde", "1.0.2")]),
    );
    let components = [
        "advisories",
        "inventory",
        "import",
        &lock_file,
        "--name",
        "apollo",
    ];
    assert_eq!(
        program.run(&components).good(),
        "apollo: 3 components; nothing new is concerned\n3 packages of ecosystems that no feed \
         covers: cargo 3\n"
    );

    let feed = format!(
        "{}\n{}\n{}\n",
        osv("RUSTSEC-2026-1", "rsa", "0.9.7", "HIGH"),
        osv("RUSTSEC-2026-2", "time", "0.2.23", "LOW"),
        osv("RUSTSEC-2026-3", "tokio", "9.9.9", "HIGH")
    );
    let feed = program.write("osv.ndjson", &feed);
    let imported = program.run(&["advisories", "import", &feed]).good();
    assert_eq!(
        imported,
        "osv.ndjson: 3 advisories; 2 new; `blueteam advisories list` shows them\n"
    );

    assert!(
        program
            .run(&["advisories", "import", &feed])
            .good()
            .contains("the same as last time; nothing new")
    );

    // What attackers use is critical, whoever described it.
    let kev = program.write("kev.json", &kev("CVE-2026-1").to_string());
    program.run(&["advisories", "import", &kev]).good();
    assert_snapshot!(
        "advisories_list",
        program.run(&["advisories", "list"]).good()
    );

    let shown = program.run(&["advisories", "show", "CVE-2026-1"]).good();
    assert!(
        shown.contains("exploited  yes")
            && shown.contains("due        2026-01-23")
            && shown.contains("RUSTSEC-2026-1"),
        "{shown}"
    );

    let respond = |status: &[&str]| {
        program.run(
            &[
                &[
                    "advisories",
                    "respond",
                    "CVE-2026-1",
                    "--on-behalf-of",
                    "alice",
                ],
                status,
            ]
            .concat(),
        )
    };

    assert_eq!(respond(&["--status", "fixed"]).code, 2);
    respond(&[
        "--status",
        "in-progress",
        "--owner",
        "bob",
        "--due",
        "2026-02-01",
    ])
    .good();

    respond(&["--status", "fixed", "--reason", "upgraded, CHG-91"]).good();
    program
        .run(&[
            "advisories",
            "respond",
            "CVE-2026-2",
            "--status",
            "accepted",
            "--reason",
            "not reachable",
        ])
        .good();

    assert_eq!(
        program.run(&["advisories", "list", "--json"]).json(),
        json!([])
    );

    // The list has the last word: it still holds the old version. What was accepted stays so.
    program.write("Cargo.lock", &lock(&[("rsa", "0.9.6"), ("time", "0.1.40")]));
    assert!(program.run(&components).good().contains("1 new"));
    let open = program.run(&["advisories", "list", "--json"]).json();
    assert_eq!(
        (
            open[0]["name"].as_str(),
            open[0]["state"].as_str(),
            open[1].is_null()
        ),
        (Some("rsa"), Some("open"), true)
    );

    program.write("Cargo.lock", &lock(&[("rsa", "0.9.7"), ("time", "0.1.40")]));
    program.run(&components).good();
    let all = program
        .run(&["advisories", "list", "--all", "--json"])
        .json();
    let gone = all
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["name"] == "rsa")
        .unwrap();

    assert_eq!(gone["resolution"], "gone");
    let sources = program.run(&["advisories", "sources", "--json"]).json();
    assert_eq!(sources.as_array().unwrap().len(), 3);

    // Who did what is on record.
    let mut conn = db.connect().await;
    let people: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT coalesce(metadata ->> 'on_behalf_of', '') FROM audit.audit_log
          WHERE resource_type = 'ALERT' ORDER BY 1",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(people.iter().any(|person| person == "alice"), "{people:?}");
}

/// What attackers use comes first, a severity that nobody gives is unknown, and what no feed speaks
/// of is counted.
#[tokio::test]
async fn what_is_exploited_comes_first_and_what_is_unknown_is_called_so() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let bom = program.write(
        "sbom.json",
        &json!({ "bomFormat": "CycloneDX", "components": [
            { "name": "rsa", "purl": "pkg:cargo/rsa@0.9.6" },
            { "name": "time", "purl": "pkg:cargo/time@0.1.40" },
            { "name": "tokio", "purl": "pkg:cargo/tokio@1.0.0" },
            { "name": "zlib", "purl": "pkg:conan/zlib@1.2" },
            { "name": "sudo", "purl": "pkg:deb/debian/sudo@1?distro=debian-12" },
        ] })
        .to_string(),
    );
    program
        .run(&[
            "advisories",
            "inventory",
            "import",
            &bom,
            "--name",
            "apollo",
        ])
        .good();

    let feed = [
        osv("RUSTSEC-2026-1", "rsa", "0.9.7", "LOW"),
        osv("RUSTSEC-2026-2", "time", "0.2.23", "CRITICAL"),
        osv("RUSTSEC-2026-3", "tokio", "2.0.0", "not said"),
    ];
    let feed = program.write("feed.json", &Value::from(feed.to_vec()).to_string());
    program.run(&["advisories", "import", &feed]).good();
    let kev = program.write("kev.json", &kev("CVE-2026-1").to_string());
    program.run(&["advisories", "import", &kev]).good();

    let listed = program.run(&["advisories", "list", "--json"]).json();
    let listed: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|m| format!("{} {}", m["severity"], m["name"]).replace('"', ""))
        .collect();
    assert_eq!(listed, ["critical rsa", "critical time", "unknown tokio"]);

    let text = program.run(&["advisories", "list"]).good();
    assert!(
        text.ends_with("2 packages of ecosystems that no feed covers: conan 1, debian:12 1\n"),
        "{text}"
    );
    assert!(text.contains("\nunknown "), "{text}");
    let shown = program.run(&["advisories", "show", "CVE-2026-3"]).good();
    assert!(shown.contains("severity   unknown"), "{shown}");
    let sources = program.run(&["advisories", "sources"]).good();
    assert!(sources.contains("5 (2 not covered)"), "{sources}");
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_changes_nothing() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let broken = program.write("broken.json", "{\"document\":");
    let ran = program.run(&["advisories", "import", &broken]);
    assert!(
        ran.code == 1 && ran.err.contains("broken.json") && ran.err.contains("not valid JSON"),
        "{}",
        ran.err
    );

    let other = program.write("other.json", "{}");
    assert!(
        program
            .run(&["advisories", "inventory", "import", &other])
            .err
            .contains("not in a known format")
    );

    assert!(
        program
            .run(&["advisories", "import", "http://192.0.2.1/x"])
            .err
            .contains("must start with https://")
    );

    let nothing = program.write("nothing.json", "[]");
    assert!(
        program
            .run(&["advisories", "import", &nothing, "--format", "osv"])
            .err
            .contains("lists no advisory")
    );

    let empty = program.write("sbom.json", "{\"bomFormat\":\"CycloneDX\"}");
    assert!(
        program
            .run(&["advisories", "inventory", "import", &empty])
            .err
            .contains("lists no component")
    );

    // A device never ends, and a pipe never begins.
    assert!(
        program
            .run(&["advisories", "import", "/dev/zero"])
            .err
            .contains("is no regular file")
    );
    assert_eq!(
        program.run(&["advisories", "sources", "--json"]).json(),
        json!([])
    );
}

/// Two vendors write of one vulnerability, and one takes back what it wrote.
#[tokio::test]
async fn publishers_do_not_overwrite_each_other() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let locks = program.write("Cargo.lock", &lock(&[("rsa", "0.9.6")]));
    program
        .run(&[
            "advisories",
            "inventory",
            "import",
            &locks,
            "--name",
            "apollo",
        ])
        .good();

    let csaf = |vendor: &str, purl: &str| {
        json!({ "document": { "csaf_version": "2.0", "title": vendor, "tracking": { "id": vendor } },
                "product_tree": { "full_product_names": [{ "name": "p", "product_id": "P", "product_identification_helper": { "purl": purl } }] },
                "vulnerabilities": [{ "cve": "CVE-2026-7", "product_status": { "known_affected": ["P"] } }] })
        .to_string()
    };

    let ours = program.write("ours.json", &csaf("ACME-1", "pkg:cargo/rsa@0.9.6"));
    let theirs = program.write("theirs.json", &csaf("OTHER-1", "pkg:cargo/other@1.0.0"));
    for file in [&ours, &theirs] {
        program.run(&["advisories", "import", file]).good();
    }

    let open = || {
        program
            .run(&["advisories", "list", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len()
    };

    assert_eq!(open(), 1);
    let mut entry = osv("RUSTSEC-2026-1", "rsa", "0.9.7", "HIGH");
    let name = program.write("osv.json", &entry.to_string());
    program.run(&["advisories", "import", &name]).good();
    assert_eq!(open(), 2);
    entry["withdrawn"] = json!("2026-02-01T00:00:00Z");
    program.write("osv.json", &entry.to_string());
    program.run(&["advisories", "import", &name]).good();

    assert_eq!(open(), 1);
}

/// What a catalog no longer lists concerns nothing, unless another lists it; a feed that somebody
/// has done with is retired, for a reason.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn what_no_feed_lists_any_more_is_withdrawn() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let locks = program.write("Cargo.lock", &lock(&[("rsa", "0.9.6"), ("time", "0.1.40")]));
    program
        .run(&[
            "advisories",
            "inventory",
            "import",
            &locks,
            "--name",
            "apollo",
        ])
        .good();

    let (rsa, time) = (
        osv("RUSTSEC-2026-1", "rsa", "0.9.7", "HIGH"),
        osv("RUSTSEC-2026-2", "time", "0.2.23", "LOW"),
    );

    let import = |file: &str, text: String, name: &str| {
        let path = program.write(file, &text);
        let done = program
            .run(&["advisories", "import", &path, "--name", name, "--json"])
            .json();
        assert_eq!(done[0]["name"], name);
    };

    let open = || {
        let all = program.run(&["advisories", "list", "--json"]).json();
        let names = all
            .as_array()
            .unwrap()
            .iter()
            .map(|m| (m["name"].as_str().unwrap().to_owned(), m["due"].clone()));
        names.collect::<Vec<_>>()
    };

    let names = || open().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    import("a.json", format!("{rsa}\n{time}\n"), "first");
    import("b.json", rsa.to_string(), "second");
    import("k.json", kev("CVE-2026-1").to_string(), "kev");

    // CISA's date is the due date until somebody decides otherwise.
    assert_eq!(open()[0], ("rsa".to_owned(), json!("2026-01-23")));
    assert_eq!(names(), ["rsa", "time"]);
    import("a.json", rsa.to_string(), "first");
    assert_eq!(names(), ["rsa"], "time is listed no more");
    let shown = program.run(&["advisories", "show", "CVE-2026-2"]).good();
    assert!(
        shown.contains("withdrawn  no feed lists it any more") && shown.contains("gone"),
        "{shown}"
    );

    import("a.json", time.to_string(), "first");
    assert_eq!(
        names(),
        ["rsa", "time"],
        "the second feed lists rsa still, and the first lists time again"
    );

    let retire = |args: &[&str]| {
        program.run(&[&["advisories", "remove", "--on-behalf-of", "alice"], args].concat())
    };
    assert_eq!(retire(&["second", "--reason", " "]).code, 2);
    assert_eq!(retire(&["nothing", "--reason", "not used"]).code, 1);
    assert_eq!(
        retire(&["second", "--reason", "we use them no more"]).good(),
        "feed second is retired\n"
    );

    // CISA's catalog names the product, and no version: a hint.
    let hint = program.run(&["advisories", "list", "--json"]).json();
    assert_eq!(
        (&hint[0]["name"], &hint[0]["confidence"]),
        (&json!("rsa"), &json!("possible"))
    );
    retire(&["kev", "--reason", "for the test"]).good();
    assert_eq!(names(), ["time"]);
    assert!(
        retire(&["second", "--reason", "we use them no more"])
            .err
            .contains("retired already")
    );

    let sources = program.run(&["advisories", "sources"]).good();
    assert!(
        sources.contains("on behalf of alice: we use them no more"),
        "{sources}"
    );

    let who = "SELECT metadata ->> 'on_behalf_of' FROM audit.audit_log WHERE new_value ->> \
        'retired_reason' = 'we use them no more'";
    let who: String = sqlx::query_scalar(who)
        .fetch_one(&mut db.connect().await)
        .await
        .unwrap();
    assert_eq!(who, "alice");
    import("b.json", rsa.to_string(), "second");

    assert_eq!(names(), ["rsa", "time"], "taken up again");
    let done = program.run(&[
        "advisories",
        "respond",
        "CVE-2026-1",
        "--status",
        "in-progress",
        "--owner",
        "bob",
        "--json",
    ]);

    assert_eq!(done.json()[0]["owner"], "bob");
    retire(&["apollo", "--reason", "the machine is gone"]).good();
    assert!(names().is_empty());
    let bad = program.write(
        "bad.json",
        &kev("CVE-2026-9")
            .to_string()
            .replace("2026-01-23", "infinity"),
    );
    let done = program.run(&["advisories", "import", &bad]).good();
    assert!(done.contains("`dueDate` is not a date"), "{done}");
    let sources = program.run(&["advisories", "sources"]).good();
    assert!(sources.contains("1 entry could not be read"), "{sources}");
}

/// Two feeds list one advisory and differ: what weighs more counts, whichever was read last, and
/// each goes with its feed alone.
#[tokio::test]
async fn feeds_that_differ_about_an_advisory_do_not_overwrite_each_other() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let locks = program.write("Cargo.lock", &lock(&[("rsa", "0.9.6")]));
    program
        .run(&[
            "advisories",
            "inventory",
            "import",
            &locks,
            "--name",
            "apollo",
        ])
        .good();

    let import = |name: &str, severity: &str, fixed: &str| {
        let path = program.write(
            "feed.json",
            &osv("RUSTSEC-2026-1", "rsa", fixed, severity).to_string(),
        );
        program
            .run(&["advisories", "import", &path, "--name", name])
            .good();
    };

    let open = || {
        let all = program.run(&["advisories", "list", "--json"]).json();
        let all = all
            .as_array()
            .unwrap()
            .iter()
            .map(|m| format!("{} {}", m["severity"], m["fixed_in"]).replace('"', ""));
        all.collect::<Vec<_>>().join(", ")
    };

    let retire = |name: &str| {
        program
            .run(&[
                "advisories",
                "remove",
                name,
                "--on-behalf-of",
                "alice",
                "--reason",
                "the test",
            ])
            .good()
    };

    import("first", "HIGH", "0.9.7");
    assert_eq!(open(), "high 0.9.7");
    import("second", "LOW", "0.9.8");
    assert_eq!(open(), "high 0.9.7", "the later one weighs less");
    retire("first");
    assert_eq!(open(), "low 0.9.8", "what the second feed says was kept");
    import("first", "CRITICAL", "0.9.9");
    assert_eq!(open(), "critical 0.9.9");

    import("second", "LOW", "0.9.9");
    retire("first");
    assert_eq!(open(), "low 0.9.9");
    import("second", "MODERATE", "0.9.9");
    assert_eq!(open(), "medium 0.9.9", "alone, a feed says something new");

    // By either feed is enough, and what one takes back the other still says.
    import("first", "HIGH", "0.9.6");
    assert_eq!(
        open(),
        "medium 0.9.9",
        "we run 0.9.6, which the first calls mended"
    );

    let mut taken_back = osv("RUSTSEC-2026-1", "rsa", "0.9.9", "CRITICAL");
    taken_back["withdrawn"] = json!("2026-02-01T00:00:00Z");
    let path = program.write("feed.json", &taken_back.to_string());
    program
        .run(&["advisories", "import", &path, "--name", "first"])
        .good();
    assert_eq!(open(), "medium 0.9.9");
    retire("second");

    assert_eq!(open(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_reads_tells_and_closes() {
    let files = tempfile::tempdir().unwrap();
    let place = |name: &str| files.path().join(name).display().to_string();
    std::fs::write(place("Cargo.lock"), lock(&[("rsa", "0.9.6")])).unwrap();
    std::fs::write(
        place("osv.json"),
        osv("RUSTSEC-2026-1", "rsa", "0.9.7", "HIGH").to_string(),
    )
    .unwrap();

    let entry = |name: &str, file: &str| {
        format!(
            "[{{ name = \"{name}\", from = \"{}\", every = \"10s\" }}]",
            place(file)
        )
    };

    let missing = format!(
        "{{ name = \"missing\", from = \"{}\" }}",
        place("no-such-file")
    );
    let daemon = Daemon::new(&format!(
        "[advisories]\ninventories = {}\nfeeds = [{missing}, {}\n",
        entry("apollo", "Cargo.lock"),
        entry("osv", "osv.json").trim_start_matches('[')
    ))
    .await;

    let (mut conn, mut watching) = (daemon.connect().await, daemon.connect().await);
    let state = "SELECT state || ' ' || severity || ' ' || title FROM blueteam.alert_history \
        WHERE rule_id = 'advisory'";
    let since = Instant::now();
    let mut wait = async |wanted: &str| loop {
        let seen: Vec<String> = sqlx::query_scalar(state)
            .fetch_all(&mut conn)
            .await
            .unwrap();
        if seen.first().is_some_and(|s| s.starts_with(wanted)) {
            break seen;
        }

        assert!(since.elapsed() < PATIENCE, "{seen:?}\n{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };

    let open = wait("open").await;
    assert_eq!(
        open,
        ["open high Advisory for apollo: CVE-2026-1: rsa 0.9.6 is affected, fixed in 0.9.7"]
    );

    // Attackers have begun to use it: what became worse is told again, and the alert that said less
    // is over.
    let both = format!(
        "[{},{}]",
        osv("RUSTSEC-2026-1", "rsa", "0.9.7", "HIGH"),
        kev("CVE-2026-1")
    );
    std::fs::write(place("osv.json"), both).unwrap();

    let since = Instant::now();
    let open = "SELECT severity::text FROM blueteam.alert_history WHERE rule_id = 'advisory' AND \
        state = 'open'";
    let mut becomes = async |wanted: &[&str]| loop {
        let seen: Vec<String> = sqlx::query_scalar(open)
            .fetch_all(&mut watching)
            .await
            .unwrap();
        if seen == wanted {
            break;
        }

        assert!(since.elapsed() < PATIENCE, "{seen:?}\n{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };

    becomes(&["critical"]).await;
    // The new list no longer has it: the match is gone and its alert closed.
    std::fs::write(place("Cargo.lock"), lock(&[("rsa", "0.9.7")])).unwrap();
    becomes(&[]).await;
    let incidents: i64 = sqlx::query_scalar("SELECT count(*) FROM blueteam.security_incidents")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(incidents, 0, "an advisory is no attack");

    let failed: Option<String> =
        sqlx::query_scalar("SELECT failed FROM blueteam.advisory_sources WHERE name = 'missing'")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert!(failed.unwrap().contains("cannot read"));
}
