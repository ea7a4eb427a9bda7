//! OpenTelemetry logs come in by the road of events.

use std::io::Write as _;

use serde_json::json;

use crate::http::{Answer, Running, call, mint, now};

async fn post(run: &Running, headers: &str, body: &[u8]) -> Answer {
    let headers = format!("Authorization: Bearer {}\r\n{headers}", run.key);
    call(run.to, "POST /v1/logs", &headers, body).await
}

fn request(records: &serde_json::Value) -> Vec<u8> {
    let service = json!([{ "key": "service.name", "value": { "stringValue": "artemis" } }]);
    let logs = json!([{ "resource": { "attributes": service }, "scopeLogs": [{ "logRecords": records }] }]);
    json!({ "resourceLogs": logs }).to_string().into_bytes()
}

fn login(result: &str) -> serde_json::Value {
    let time = (now().as_micros() * 1000).to_string();
    let outcome = json!([{ "key": "event.outcome", "value": { "stringValue": result } }]);
    json!({ "timeUnixNano": time, "eventName": "user.login", "attributes": outcome })
}

const JSON: &str = "Content-Type: application/json\r\n";
const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";

async fn services(run: &Running) -> Vec<String> {
    let sql = "SELECT coalesce(metadata->>'service', '-') FROM audit_events ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(&run.pool).await.unwrap()
}

#[tokio::test]
async fn records_become_events_once() {
    let mut run = Running::new(|_| {}).await;
    let body = request(
        &json!([login("success"), { "body": { "stringValue": "talk" } }, login("failure")]),
    );
    for _ in 0..2 {
        let answer = post(&run, JSON, &body).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (200, "{}"),
            "{answer:?}"
        );
        assert!(answer.head.contains("content-type: application/json"));
    }

    assert_eq!(
        services(&run).await,
        ["artemis", "artemis"],
        "a retry adds nothing, and a relay is believed"
    );

    // A key with a service is that service, whatever the resource says.
    run.key = mint(&run.pool, 2, "{events:write}", "NULL").await;
    sqlx::query("UPDATE users.api_keys SET service = 'eqmon' WHERE key_name = 'k2'")
        .execute(&run.pool)
        .await
        .unwrap();

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&request(&json!([login("success")])))
        .unwrap();
    let answer = post(
        &run,
        &format!("{JSON}Content-Encoding: gzip\r\n"),
        &gzip.finish().unwrap(),
    )
    .await;
    assert_eq!(answer.status, 200, "{answer:?}");

    assert_eq!(services(&run).await, ["artemis", "artemis", "eqmon"]);
    let sql =
        "SELECT metadata->>'service.name' FROM audit_events WHERE metadata->>'service' = 'eqmon'";
    let said: Option<String> = sqlx::query_scalar(sql).fetch_one(&run.pool).await.unwrap();
    assert_eq!(said.as_deref(), Some("artemis"));
}

#[tokio::test]
async fn protobuf_is_answered_in_protobuf() {
    let mut run = Running::new(|_| {}).await;
    // One record without a time, "logout".
    let record = b"\x62\x06logout";
    let of = |record: &[u8]| {
        let wrap =
            |field: u8, inner: &[u8]| [&[field << 3 | 2, inner.len() as u8][..], inner].concat();
        wrap(1, &wrap(2, &wrap(2, record)))
    };

    let answer = post(&run, PROTOBUF, &of(record)).await;
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (200, ""),
        "{answer:?}"
    );
    assert!(answer.head.contains("content-type: application/x-protobuf"));
    assert_eq!(run.rows().await, 1);

    // One good and one broken.
    let answer = post(&run, PROTOBUF, &[of(record), of(b"\x0a")].concat()).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .text
            .starts_with("\n/\u{8}\u{1}\u{12}+log record 1: "),
        "{:?}",
        answer.text
    );

    let answer = post(&run, PROTOBUF, b"\x0a").await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text.starts_with("\u{8}\u{3}\u{12}"),
        "a google.rpc.Status: {:?}",
        answer.text
    );
    run.key = app::auth::mint([9; 32]).secret;

    assert_eq!(post(&run, PROTOBUF, &of(record)).await.status, 401);
    assert_eq!(
        post(&run, "Content-Type: text/plain\r\n", b"x")
            .await
            .status,
        415
    );
}

#[tokio::test]
async fn part_of_a_request_may_be_rejected() {
    let run = Running::new(|s| s.ingest.max_batch_events = 2).await;
    let bad = json!({ "attributes": [
        { "key": "audit.action", "value": { "stringValue": "x" } },
        { "key": "audit.result", "value": { "stringValue": "maybe" } }] });
    let answer = post(&run, JSON, &request(&json!([login("success"), bad]))).await;
    assert_eq!(answer.status, 200);

    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedLogRecords"], "1");
    assert!(
        partial["errorMessage"]
            .as_str()
            .unwrap()
            .starts_with("log record 1: result: "),
        "{partial}"
    );

    assert_eq!(run.rows().await, 1);
    let many = post(&run, JSON, &request(&json!([1, 2, 3]))).await;
    assert_eq!((many.status, many.json()["code"].as_u64()), (413, Some(3)));
}

#[tokio::test]
async fn too_much_is_told_to_come_again() {
    let run = Running::new(|s| s.ingest.queue_max_events = 1).await;
    // The queue's only place is taken by a request that waits for a locked table.
    let mut lock = run.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE audit_events")
        .execute(&mut *lock)
        .await
        .unwrap();

    let body = request(&json!([login("success")]));
    let waiting = post(&run, JSON, &body);
    let refused = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let body = request(&json!([login("success")]));
            let other = post(&run, JSON, &body);
            if let Ok(answer) =
                tokio::time::timeout(std::time::Duration::from_millis(500), other).await
            {
                return answer;
            }
        }
    };

    let free = async {
        let answer = refused.await;
        lock.rollback().await.unwrap();
        answer
    };

    let (first, refused) = tokio::join!(waiting, free);
    assert_eq!((first.status, refused.status), (200, 429), "{refused:?}");
    assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
}
