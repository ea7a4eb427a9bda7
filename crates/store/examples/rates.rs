//! Rates of the store against raw COPY, on the database of DATABASE_URL (rows are added to it).
//! Prints rows a second. `rates schema` writes the same rows by COPY into the documents' table and
//! into ours, both with their defaults, and prints the two rates.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::fmt::Write as _;
use std::time::Instant;

use futures_util::StreamExt as _;
use model::audit::Strangers;
use model::{AuditRecord, EventId, Timestamp};
use sqlx::{Connection as _, PgConnection};
use store::events::AuditRow;
use uuid::Uuid;

const ROWS: usize = 300_000;
const BATCH: usize = 5000;

fn event_json(n: usize, month: &str) -> String {
    let user = (n * 7919) % 20_000;
    let cat = [
        "auth", "access", "access", "access", "data", "admin", "ai", "system",
    ][n % 8];
    format!(
        r#"{{"timestamp":"{month}-{:02}T{:02}:{:02}:{:02}Z","category":"{cat}","action":"page_view","result":"success","user_id":"019a0000-0000-7000-8000-{user:012x}","session_id":"sess-{user:08x}-{:08x}","ip_address":"10.{}.{}.7","user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36","resource_type":"page","resource_id":"/api/projects/{}/items","instance_id":"019a0000-0000-7000-8000-0000000000aa","cui_accessed":{},"metadata":{{"username":"user{user}","role":"user","bytes":{n}}}}}"#,
        1 + n * 20 / ROWS,
        n * 480 / ROWS % 24,
        n / 60 % 60,
        n % 60,
        n / 100,
        user / 256,
        user % 256,
        n % 1000,
        n.is_multiple_of(50)
    )
}

fn copy_text(rows: &[AuditRow<'_>], ids: bool) -> Vec<u8> {
    let mut out = String::new();
    for row in rows {
        let r = row.record();
        if ids {
            write!(out, "{}\t", row.event_id()).unwrap();
        }

        writeln!(
            out,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            row.timestamp(),
            r.category,
            r.action,
            r.result,
            r.user_id.unwrap(),
            r.session_id.as_ref().unwrap(),
            r.ip_address.unwrap(),
            r.user_agent.as_ref().unwrap(),
            r.resource_type.as_ref().unwrap(),
            r.resource_id.as_ref().unwrap(),
            r.instance_id.unwrap(),
            r.cui_accessed,
            r.metadata.as_json()
        )
        .unwrap();
    }

    out.into_bytes()
}

const COLS: &str = "timestamp, category, action, result, user_id, session_id, ip_address, \
    user_agent, resource_type, resource_id, instance_id, cui_accessed, metadata";

async fn copy_raw(conn: &mut PgConnection, table: &str, ids: bool, batches: &[Vec<u8>]) -> f64 {
    let begin = Instant::now();
    for batch in batches {
        let id = if ids { "event_id, " } else { "" };
        let mut copy = conn
            .copy_in_raw(&format!("COPY {table} ({id}{COLS}) FROM STDIN"))
            .await
            .unwrap();
        copy.send(batch.as_slice()).await.unwrap();
        copy.finish().await.unwrap();
    }

    ROWS as f64 / begin.elapsed().as_secs_f64()
}

fn parse_rows(texts: &[String]) -> Vec<AuditRow<'_>> {
    texts
        .iter()
        .map(|t| {
            let record = AuditRecord::from_json(t.as_bytes(), Strangers::Refuse).unwrap();
            AuditRow::new(record, || EventId(Uuid::now_v7()), Timestamp::from_secs(0))
        })
        .collect()
}

/// The month that many after this one, as in `2026-11`.
fn partition_month(later: u32) -> String {
    let now = model::Clock::now(&model::SystemClock).to_string();
    let (year, month): (u32, u32) = (now[..4].parse().unwrap(), now[5..7].parse().unwrap());
    let months = year * 12 + month - 1 + later;
    format!("{:04}-{:02}", months / 12, months % 12 + 1)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut conn = PgConnection::connect(&std::env::var("DATABASE_URL").unwrap())
        .await
        .unwrap();
    if std::env::args().nth(1).as_deref() == Some("schema") {
        let texts: Vec<_> = (0..ROWS)
            .map(|n| event_json(n, &partition_month(0)))
            .collect();
        let bare: Vec<_> = parse_rows(&texts)
            .chunks(BATCH)
            .map(|c| copy_text(c, false))
            .collect();
        let docs = copy_raw(&mut conn, "docs.audit_events", false, &bare).await;
        let ours = copy_raw(&mut conn, "audit_events", false, &bare).await;
        return println!("{ours:.0} {docs:.0}");
    }

    // Each pass writes a month of its own, in order of time, as a live system does: this one and
    // the next two, which have partitions.
    let months = [0, 1, 2]
        .map(partition_month)
        .each_ref()
        .map(|m| (0..ROWS).map(|n| event_json(n, m)).collect::<Vec<_>>());
    {
        let (one, two, three) = (
            parse_rows(&months[0]),
            parse_rows(&months[1]),
            parse_rows(&months[2]),
        );
        let batches: Vec<_> = two.chunks(BATCH).map(|c| copy_text(c, true)).collect();
        let copy = copy_raw(&mut conn, "audit_events", true, &batches).await;
        let begin = Instant::now();

        for chunk in one.chunks(BATCH) {
            assert_eq!(
                store::events::insert_audit(&mut conn, chunk)
                    .await
                    .unwrap()
                    .accepted as usize,
                chunk.len()
            );
        }

        let ours = ROWS as f64 / begin.elapsed().as_secs_f64();
        let bare: Vec<_> = three.chunks(BATCH).map(|c| copy_text(c, false)).collect();
        let docs = copy_raw(&mut conn, "docs.audit_events", false, &bare).await;
        let defaults = copy_raw(&mut conn, "audit_events", false, &bare).await;
        println!(
            "insert_audit {ours:.0}, copy {copy:.0} (ratio {:.2}); documents {docs:.0}, ours with \
                server ids {defaults:.0} (ratio {:.2}), with ids {:.2}",
            ours / copy,
            defaults / docs,
            ours / docs
        );
    }

    for _ in 0..3 {
        let begin = Instant::now();
        let (n, _) = store::stored_events::stream(
            &mut conn,
            Timestamp::parse("2026-01-01T00:00:00Z").unwrap(),
            Timestamp::MAX,
            |e| {
                std::hint::black_box(e);
            },
        )
        .await
        .unwrap();

        let ours = n as f64 / begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        let mut m = 0;
        let sql = "COPY (SELECT seq, event_id, timestamp, category, action, result, user_id, \
            session_id, ip_address, user_agent, resource_type, resource_id, instance_id, \
            cui_accessed, metadata FROM audit_events) TO STDOUT (FORMAT binary)";
        let mut s = conn.copy_out_raw(sql).await.unwrap();
        while let Some(b) = s.next().await {
            m += b.unwrap().len();
        }

        drop(s);
        let raw = n as f64 / begin.elapsed().as_secs_f64();
        println!(
            "history {ours:.0}, raw {raw:.0} ({m} bytes), ratio {:.2}",
            ours / raw
        );
    }
}
