//! Whoever gets at the database and the files as their owner: every change is named.

use std::fs;
use std::os::unix::fs::FileExt as _;

use testkit::TestDb;

use super::{evidence, kept, open_incident, run_sql, value};
use crate::cli::Program;

/// A value that a column does not have, and that its type takes.
fn other(kind: &str, column: &str) -> String {
    match kind {
        "uuid" => "gen_random_uuid()".to_owned(),
        "bigint" => format!("coalesce({column}, 0) + 1"),
        "timestamp with time zone" => format!("{column} + interval '1 microsecond'"),
        _ => format!("coalesce({column}, '') || 'x'"),
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one chain, and all that can be done to it"
)]
#[tokio::test]
async fn every_change_of_a_row_or_a_file_is_named() {
    let db = TestDb::new().await;
    let program = Program::new(Some(&db));
    let id = open_incident(&db).await;
    let traffic: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let path = program.path("traffic.pcap");
    fs::write(&path, &traffic).unwrap();
    evidence(
        &program,
        &["add", &id, "--text", "a call", "--shows", "a call"],
    )
    .good();
    let path = path.to_str().unwrap();
    evidence(
        &program,
        &["add", &id, path, "--type", "pcap", "--shows", "traffic"],
    )
    .good();
    evidence(&program, &["transfer", &id, "3", "--to", "DC3"]).good();
    evidence(
        &program,
        &["add", &id, "--text", "another", "--shows", "a call"],
    )
    .good();
    let verify = || program.run(&["incidents", "verify", &id]);
    let named = |what: &str| {
        let found = verify();
        assert_eq!(found.code, 1, "{what}: {}{}", found.out, found.err);
        assert!(found.out.contains(what), "{what}: {}", found.out);
    };
    verify().good();

    // As the superuser, who has put every guard out of the way.
    let mut owner = db.connect().await;
    let guards = "DO $$ DECLARE c record; BEGIN
        ALTER TABLE blueteam.incident_evidence DISABLE TRIGGER ALL;
        ALTER TABLE blueteam.incident_custody DISABLE TRIGGER ALL;
        FOR c IN SELECT conrelid::regclass AS place, conname FROM pg_constraint
                  WHERE conrelid IN ('blueteam.incident_evidence'::regclass, 'blueteam.incident_custody'::regclass)
                    AND contype IN ('c', 'f') LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I CASCADE', c.place, c.conname);
        END LOOP; END $$";
    run_sql(&mut owner, guards).await;
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
          WHERE table_schema = 'blueteam' AND table_name IN ('incident_evidence', 'incident_custody')
          ORDER BY 1, 2",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert!(columns.len() > 30, "{columns:?}");
    for (table, column, kind) in &columns {
        let number = if table == "incident_evidence" { 3 } else { 5 };
        let place = format!("blueteam.{table}");
        let key = format!(
            "(SELECT ctid FROM {place} WHERE incident_id = '{id}' AND sequence = {number})"
        );
        let table_id = if table == "incident_evidence" {
            "evidence_id"
        } else {
            "custody_id"
        };
        let row = value(
            &mut owner,
            &format!("SELECT to_jsonb(t)::text FROM {place} t WHERE ctid = {key}"),
        )
        .await
        .unwrap();
        let change = format!(
            "UPDATE {place} SET {column} = {} WHERE ctid = {key} RETURNING {table_id}::text",
            other(kind, column)
        );
        let changed = value(&mut owner, &change).await.unwrap();
        let what = match column.as_str() {
            // It is not of this incident any more, or nobody's whom the command may look for.
            "incident_id" | "tenant_id" => format!("record {number} ({changed}) is missing"),
            // By its id it is another one.
            name if name == table_id => format!("record {number} ({changed}) was added outside"),
            "sequence" => format!("record {} ({changed}) is out of order", number + 1),
            name => format!("record {number} ({changed}) was changed: {name}"),
        };
        named(&what);

        let back = format!(
            "DELETE FROM {place} WHERE {table_id} = '{changed}';
             INSERT INTO {place} SELECT * FROM jsonb_populate_record(NULL::{place}, '{}')",
            row.replace('\'', "''")
        );
        run_sql(&mut owner, &back).await;
        verify().good();
    }

    // Any byte of a file; a file that is gone, longer, shorter, or a link.
    let stored = &kept(&program)[0];
    for at in [0, 1, 4_095, 65_536, 99_999] {
        let file = fs::File::options().write(true).open(stored).unwrap();
        let byte = traffic[at];
        file.write_all_at(&[byte ^ 1], at as u64).unwrap();
        named("the file of record 3 (");
        file.write_all_at(&[byte], at as u64).unwrap();
    }
    verify().good();
    let file = fs::File::options().write(true).open(stored).unwrap();
    for length in [99_999, 100_001] {
        file.set_len(length).unwrap();
        named("traffic.pcap) was changed: its SHA-256 is ");
    }
    fs::remove_file(stored).unwrap();
    named("traffic.pcap) is gone");
    std::os::unix::fs::symlink(path, stored).unwrap();
    named("cannot be read");
    fs::remove_file(stored).unwrap();
    fs::write(stored, &traffic).unwrap();
    verify().good();

    // The end cut off; something in the middle taken out; something put in.
    let cut = |number: i64| {
        format!(
            "CREATE TABLE held AS SELECT * FROM blueteam.incident_custody WHERE sequence = {number};
             DELETE FROM blueteam.incident_custody WHERE sequence = {number}"
        )
    };
    let back = "INSERT INTO blueteam.incident_custody SELECT * FROM held; DROP TABLE held";
    for number in [7, 4] {
        run_sql(&mut owner, &cut(number)).await;
        named(&format!("record {number} ("));
        named("is missing");
        run_sql(&mut owner, back).await;
        verify().good();
    }
    run_sql(
        &mut owner,
        "INSERT INTO blueteam.incident_custody SELECT (jsonb_populate_record(c, jsonb_build_object('sequence', 8,
             'custody_id', gen_random_uuid(), 'previous_hash', c.record_hash))).*
           FROM blueteam.incident_custody c WHERE c.sequence = 7",
    )
    .await;
    named("record 8 (");
    named("was added outside of blueteam");
}
