use std::io::{Cursor, Read as _};

use model::{EvidenceEntry, EvidenceItem, IncidentId};
use serde_json::json;
use zip::ZipArchive;

use super::*;
use crate::chain::{GENESIS, sealed, verify};
use crate::signing;

fn record(sequence: i64, previous: &str, item: EvidenceItem) -> EvidenceRecord {
    sealed(EvidenceRecord {
        tenant: Uuid::from_u128(1),
        incident: IncidentId(Uuid::from_u128(2)),
        sequence,
        previous: previous.to_owned(),
        hash: String::new(),
        id: Uuid::from_u128(100 + sequence as u128),
        by: "dana\u{202e}".to_owned(),
        login: None,
        at: Timestamp::from_secs(1_700_000_000),
        what: EvidenceEntry::Item(Box::new(item)),
    })
}

fn two_records() -> Vec<EvidenceRecord> {
    let first = record(
        1,
        GENESIS,
        EvidenceItem {
            kind: "network_capture".to_owned(),
            description: "traffic of web01".to_owned(),
            sha256: Some(sha256(b"traffic")),
            file_name: Some("web01.pcap".to_owned()),
            file_path: Some("evidence/x".to_owned()),
            ..EvidenceItem::default()
        },
    );
    let second = record(
        2,
        &first.hash,
        EvidenceItem {
            kind: "file".to_owned(),
            description: "the dropper\n\"quoted\"".to_owned(),
            sha256: Some(sha256(b"sealed")),
            file_name: Some("a.exe".to_owned()),
            file_path: Some("evidence/y".to_owned()),
            sealed_to: Some("age1…".to_owned()),
            ..EvidenceItem::default()
        },
    );
    vec![first, second]
}

fn packed(records: &[EvidenceRecord], contents: &[&[u8]]) -> (Packed, Vec<u8>) {
    let at = Timestamp::from_secs(1_700_000_100);
    let mut package = Package::begin(Cursor::new(Vec::new()), at).unwrap();
    for (record, content) in records.iter().zip(contents) {
        let item = record.item().unwrap();
        let file = PackedFile {
            name: file_name(record.sequence, record),
            sha256: None,
            size: content.len() as u64,
            evidence_id: Some(record.id),
            sequence: Some(record.sequence),
            recorded_sha256: item.sha256.clone(),
            sealed_to: item.sealed_to.clone(),
        };
        package.add(file, *content).unwrap();
    }
    let case = Case {
        incident: json!({ "incident_id": records[0].incident }),
        records,
        verdict: &verify(records, None),
        at,
        by: "dana",
        program: "blueteam 0.0.0",
    };
    let (packed, to) = package
        .end(&case, &SigningKey::generate().unwrap())
        .unwrap();
    (packed, to.into_inner())
}

fn read(zip: &[u8], name: &str) -> String {
    let mut zip = ZipArchive::new(Cursor::new(zip)).unwrap();
    let mut text = String::new();
    zip.by_name(name)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[test]
fn a_package_holds_everything_and_is_signed() {
    let records = two_records();
    let (packed, zip) = packed(&records, &[b"traffic", b"sealed"]);
    assert!(packed.files.iter().all(PackedFile::is_whole));
    assert_eq!(packed.files[0].name, "evidence/0001-web01.pcap");
    assert_eq!(packed.files[1].name, "evidence/0002-a.exe.age");
    assert_eq!(read(&zip, "evidence/0001-web01.pcap"), "traffic");

    let manifest = read(&zip, "manifest.json");
    for name in ["manifest.json", "SHA256SUMS"] {
        let signature = read(&zip, &format!("{name}.minisig"));
        let text = read(&zip, name);
        let comment = signing::check(&packed.key.key, text.as_bytes(), &signature).unwrap();
        assert!(comment.ends_with(&format!("head:{} file:{name}", packed.head)));
        assert!(signing::check(&packed.key.key, b"other", &signature).is_err());
    }

    let parsed: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(parsed["chain"]["records"], 2);
    assert_eq!(parsed["chain"]["head"], records[1].hash.as_str());
    assert_eq!(parsed["files"][1]["sealed_to"], "age1…");
    let sums = read(&zip, "SHA256SUMS");
    for name in [
        "manifest.json",
        "records.ndjson",
        "VERIFY.txt",
        "evidence/0002-a.exe.age",
    ] {
        let hash = sha256(read(&zip, name).as_bytes());
        assert!(sums.contains(&format!("{hash}  {name}\n")), "{sums}");
    }
    let how = read(&zip, "VERIFY.txt");
    assert!(
        how.contains(&packed.key.fingerprint) && how.contains("every record and the chain held")
    );
    assert!(!how.contains('{'), "{how}");
    assert_eq!(read(&zip, "records.ndjson").lines().count(), 2);
}

#[test]
fn what_is_not_what_was_taken_in_is_named() {
    let mut records = two_records();
    records[0].by = "eve".to_owned();
    let (packed, zip) = packed(&records, &[b"Traffic", b"sealed"]);
    assert!(!packed.files[0].is_whole() && packed.files[1].is_whole());
    assert!(read(&zip, "VERIFY.txt").contains("did not hold:\n  record 1 ("));
    assert!(read(&zip, "manifest.json").contains("\"fault\": \"changed\""));
}

/// The program in the package is what strangers check the chain with.
#[test]
fn the_program_in_the_package_agrees() {
    use std::process::Command;
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no python3");
        return;
    }
    let run = |zip: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        ZipArchive::new(Cursor::new(zip))
            .unwrap()
            .extract(folder.path())
            .unwrap();
        let done = Command::new("python3")
            .arg("check_chain.py")
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        (done.status.success(), text)
    };

    let records = two_records();
    let (packed, zip) = packed(&records, &[b"traffic", b"sealed"]);
    assert_eq!(
        run(&zip),
        (
            true,
            format!("2 records hold; the last is {}\n", packed.head)
        )
    );

    let mut changed = records.clone();
    changed[0].by = "eve".to_owned();
    let (_, zip) = self::packed(&changed, &[b"traffic", b"Sealed"]);
    let found = "record 1 was changed\n\
                 the file of record 2 was changed: evidence/0002-a.exe.age\n";
    assert_eq!(run(&zip), (false, found.to_owned()));
}
