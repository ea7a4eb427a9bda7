//! Feeds of advisories with entries that cannot be read.

use serde_json::json;
use testkit::TestDb;

use crate::cli::Program;

const LOCK: &str = r#"
[[package]]
name = "rsa"
version = "0.9.6"
source = "registry+https://example.com"

[[package]]
name = "time"
version = "0.1.40"
source = "registry+https://example.com"
"#;

/// One odd entry neither keeps the others out nor closes what was found before.
#[tokio::test]
async fn an_odd_entry_of_a_feed_hides_nothing() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    program.run(&["migrate"]).good();
    let lock_file = program.write("Cargo.lock", LOCK);
    program
        .run(&["advisories", "inventory", "import", &lock_file])
        .good();

    let about = |id: &str, name: &str| {
        json!({ "id": id, "modified": "2026-01-01T00:00:00Z", "affected": [{
            "package": { "ecosystem": "crates.io", "name": name },
            "ranges": [{ "type": "SEMVER", "events": [{ "introduced": "0" }] }] }] })
    };
    let mut odd = about("CVE-2026-1", "rsa");
    odd["id"] = json!(["CVE-2026-1"]);
    let import = |entries: serde_json::Value| {
        let file = program.write("feed.json", &entries.to_string());
        program
            .run(&["advisories", "import", &file, "--json"])
            .json()
    };
    let found = || program.run(&["advisories", "list"]).good();

    import(json!([about("CVE-2026-1", "rsa")]));
    let done = import(json!([odd, about("CVE-2026-2", "time")]));
    assert_eq!(done[0]["defective"], 1);
    assert_eq!(done[0]["defects"][0]["entry"], "entry 1");
    assert!(found().contains("CVE-2026-1") && found().contains("CVE-2026-2"));

    // The same text does not make the defect forgotten.
    let done = import(json!([odd, about("CVE-2026-2", "time")]));
    assert_eq!(done[0]["defective"], 1);
    import(json!([about("CVE-2026-2", "time")]));
    assert!(!found().contains("CVE-2026-1"));
    let sources = program.run(&["advisories", "sources"]).good();
    assert!(!sources.contains("FAILED"), "{sources}");
}
