//! Each answer, each limit.

use std::io::Write as _;

use model::Span;

use crate::http::{Running, call, event, now};

const BAD: &str = r#"{"category":"auth","action":"login","result":"maybe"}"#;

#[tokio::test]
async fn an_object_an_array_and_lines_are_taken() {
    let run = Running::new(|_| {}).await;
    assert_eq!(run.post(event(1)).await.counts(), (1, 0, 0));
    assert_eq!(
        run.post(format!("[{},{}]", event(2), event(3)))
            .await
            .counts(),
        (2, 0, 0)
    );

    assert_eq!(
        run.post(format!("{}\n\n{}\n", event(4), event(5)))
            .await
            .counts(),
        (2, 0, 0)
    );
    assert_eq!(run.post("[]").await.counts(), (0, 0, 0));

    let bare = run
        .post(r#"{"category":"auth","action":"login","result":"success"}"#)
        .await;
    assert_eq!((bare.status, bare.counts()), (200, (1, 0, 0)));
    assert_eq!(run.rows().await, 6);
    assert_eq!(run.ingest.stats().accepted, 6);
    assert_eq!(*run.ingest.committed().borrow(), 6);
}

/// Makes the database refuse what nothing before it does.
async fn dislike(run: &Running, session: &str) {
    let sql = format!(
        "ALTER TABLE audit_events ADD CONSTRAINT disliked CHECK (session_id <> '{session}')"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&run.pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_bad_event_costs_its_neighbors_nothing() {
    let run = Running::new(|_| {}).await;
    let answer = run
        .post(format!("[{},{BAD},{{\"a\":nul}},7,{}]", event(1), event(2)))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.counts(), (2, 0, 3));

    let rejected = &answer.json()["rejected"];
    assert_eq!(
        (&rejected[0]["index"], &rejected[0]["field"]),
        (&1.into(), &"result".into())
    );
    assert_eq!(
        (&rejected[1]["index"], &rejected[2]["index"]),
        (&2.into(), &3.into())
    );

    // A line that ends early.
    let answer = run
        .post(format!("{}\n{{\"category\":\"au\n{}", event(3), event(4)))
        .await;
    assert_eq!(answer.counts(), (2, 0, 1));
    let all = run.post(BAD).await;
    assert_eq!((all.status, all.counts()), (422, (0, 0, 1)));

    // What only the database can refuse is found among its neighbors and named by its place in the
    // request.
    dislike(&run, "s6").await;
    let answer = run
        .post(format!("[{BAD},{},{},{}]", event(5), event(6), event(7)))
        .await;
    assert_eq!(answer.counts(), (2, 0, 2));
    assert_eq!(answer.json()["rejected"][1]["index"], 2);
    assert_eq!(run.rows().await, 6);
}

#[tokio::test]
async fn what_is_refused_stands_in_the_ledger() {
    let mut run = Running::new(|_| {}).await;
    run.post(format!("[{},{BAD},7]", event(1))).await;
    dislike(&run, "s6").await;
    assert_eq!(run.post(event(6)).await.counts(), (0, 0, 1));
    run.stop().await;

    let booked: (i64, i64) = sqlx::query_as(
        "SELECT received, rejected FROM blueteam.sources WHERE source_id = 'ingest'",
    )
    .fetch_one(&run.pool)
    .await
    .unwrap();
    assert_eq!(booked, (3, 3));

    let letters: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT place, entry FROM blueteam.dead_letters ORDER BY letter_id")
            .fetch_all(&run.pool)
            .await
            .unwrap();
    assert_eq!(letters.len(), 3);

    assert_eq!(
        letters[0],
        (
            "POST /v1/events by a relay, event 1".to_owned(),
            BAD.as_bytes().to_vec()
        )
    );
    assert_eq!(letters[1].1, b"7");

    assert!(
        letters[2].0 == "the database" && letters[2].1.starts_with(b"{\"event_id\":"),
        "{letters:?}"
    );
}

#[tokio::test]
async fn duplicates_are_counted_for_whom_they_are() {
    let run = Running::new(|_| {}).await;
    let body = format!("[{},{}]", event(1), event(2));
    assert_eq!(run.post(&body).await.counts(), (2, 0, 0));
    let third = event(3);
    let inside = format!("[{third},{third},{}]", &body[1..body.len() - 1]);
    assert_eq!(run.post(inside).await.counts(), (1, 3, 0));

    // Many at once: each is told about its own.
    let (first, mut others) = (run.post(&body), Vec::new());
    for n in 10..40 {
        others.push(run.post(format!(
            "[{},{}]",
            event(n),
            if n % 2 == 0 {
                event(n + 1000)
            } else {
                third.clone()
            }
        )));
    }

    let (first, others) = tokio::join!(first, async {
        let mut set = Vec::new();
        for other in others {
            set.push(other.await.counts());
        }
        set
    });

    assert_eq!(first.counts(), (0, 2, 0));
    for (n, counts) in (10..40).zip(others) {
        assert_eq!(
            counts,
            if n % 2 == 0 { (2, 0, 0) } else { (1, 1, 0) },
            "{n}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_as_a_whole() {
    let run = Running::new(|s| {
        s.ingest.max_body_bytes = 100_000;
        s.ingest.max_batch_events = 10;
    })
    .await;
    let many = vec![event(1); 11].join("\n");
    let gzip = gzip(&vec![b' '; 50_000_000]);
    let zstd = zstd::encode_all(&vec![b' '; 50_000_000][..], 3).unwrap();

    let coded = |kind: &str| format!("Content-Encoding: {kind}\r\n");
    for (headers, body, status) in [
        (String::new(), b"".to_vec(), 400),
        (String::new(), b"hello".to_vec(), 400),
        (String::new(), b"[{}".to_vec(), 400),
        (String::new(), vec![b'['; 90_000], 400),
        (String::new(), vec![b' '; 100_001], 413),
        (String::new(), many.into_bytes(), 413),
        (coded("gzip"), gzip, 413),
        (coded("zstd"), zstd, 413),
        (coded("gzip"), event(1).into_bytes(), 400),
        (coded("zstd"), event(1).into_bytes(), 400),
        (coded("br"), event(1).into_bytes(), 415),
        (coded("gzip, gzip"), event(1).into_bytes(), 415),
        (
            "Content-Type: application/x-www-form-urlencoded\r\n".to_owned(),
            event(1).into_bytes(),
            415,
        ),
    ] {
        let answer = run.post_with(&headers, &body).await;
        assert_eq!(answer.status, status, "{headers} {answer:?}");
        assert!(
            answer
                .head
                .contains("content-type: application/problem+json"),
            "{answer:?}"
        );

        assert_eq!(answer.json()["status"], status);
    }

    for (line, status) in [
        ("GET /v1/events", 405),
        ("POST /v1/nothing", 404),
        ("GET /healthz", 200),
    ] {
        assert_eq!(call(run.to, line, "", b"").await.status, status, "{line}");
    }

    assert_eq!(run.rows().await, 0);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[tokio::test]
async fn compressed_bodies_are_taken() {
    let run = Running::new(|_| {}).await;
    let body = |from: u64| {
        (from..from + 1000)
            .map(event)
            .collect::<Vec<_>>()
            .join("\n")
    };

    let answer = run
        .post_with("Content-Encoding: gzip\r\n", gzip(body(0).as_bytes()))
        .await;
    assert_eq!(answer.counts(), (1000, 0, 0));
    let zstd = zstd::encode_all(body(1000).as_bytes(), 3).unwrap();
    assert_eq!(
        run.post_with("Content-Encoding: zstd\r\n", zstd)
            .await
            .counts(),
        (1000, 0, 0)
    );

    assert_eq!(run.post(body(2000)).await.counts(), (1000, 0, 0));
    assert_eq!(run.rows().await, 3000);
}

#[tokio::test]
async fn clocks_are_checked() {
    let run = Running::new(|_| {}).await;
    let at = |t: model::Timestamp| {
        format!(
            r#"{{"category":"auth","action":"login","result":"success","timestamp":"{t}","metadata":{{"a":1}}}}"#
        )
    };

    let ahead = now().plus(Span::hours(3));
    assert_eq!(run.post(at(ahead)).await.counts(), (1, 0, 0));
    let old = run.post(at(now().minus(Span::days(31)))).await;
    assert_eq!(
        (old.status, old.json()["rejected"][0]["field"].as_str()),
        (422, Some("timestamp"))
    );

    let row: (serde_json::Value, bool) = sqlx::query_as(
        "SELECT metadata, timestamp < now() + interval '1 minute' FROM audit_events",
    )
    .fetch_one(&run.pool)
    .await
    .unwrap();
    let expected = serde_json::json!({ "a": 1, "clock_skew": true, "clock_skew_timestamp": ahead.to_string() });
    assert_eq!(row, (expected, true));
}

#[tokio::test]
async fn a_retry_is_a_no_op_whatever_the_senders_clock() {
    let run = Running::new(|_| {}).await;
    let ahead = now().plus(Span::mins(10));
    let of_id = |at: model::Timestamp| {
        uuid::Builder::from_unix_timestamp_millis(at.as_micros() as u64 / 1000, &[7; 10])
    };
    let claims = [
        format!(r#""event_id":"4f0b5c1e-63a8-4f0e-9c51-0a6c0e1d2f33","timestamp":"{ahead}""#),
        format!(r#""event_id":"{}""#, of_id(ahead).into_uuid()),
        format!(
            r#""event_id":"{}""#,
            of_id(now().minus(Span::days(3))).into_uuid()
        ),
        r#""event_id":"4f0b5c1e-63a8-4f0e-9c51-0a6c0e1d2f34""#.to_owned(),
    ];

    for (n, claim) in claims.iter().enumerate() {
        let event =
            format!(r#"{{{claim},"category":"auth","action":"login_failed","result":"failure"}}"#);
        assert_eq!(run.post(&event).await.counts(), (1, 0, 0), "{claim}");

        // By another request, and twice in one.
        assert_eq!(run.post(&event).await.counts(), (0, 1, 0), "{claim}");
        assert_eq!(
            run.post(format!("[{event},{event}]")).await.counts(),
            (0, 2, 0),
            "{claim}"
        );
        assert_eq!(run.rows().await, n as i64 + 1);
    }
}

/// Whoever is watched chooses these texts; the events are taken, and say what was done to them.
#[tokio::test]
async fn what_a_client_sends_is_no_reason_to_refuse_its_event() {
    let run = Running::new(|_| {}).await;
    let long = "x".repeat(70_000);
    let hostile = [
        r#""metadata":{"username":"root\u0000"}"#.to_owned(),
        r#""metadata":{"username":"\ud800"}"#.to_owned(),
        r#""metadata":{"username":"\u41zz"}"#.to_owned(),
        format!(r#""metadata":{{"username":"root","a":"{long}"}}"#),
        format!(r#""session_id":"{long}","resource_id":"{long}""#),
        r#""ip_address":"[2001:db8::1%eth0]:443""#.to_owned(),
        r#""ip_address":"9.9.9.9, 203.0.113.9""#.to_owned(),
        r#""ip_address":"unknown""#.to_owned(),
    ];

    let event = |extra: &str| {
        format!(r#"{{"category":"auth","action":"login_failed","result":"failure",{extra}}}"#)
    };
    for extra in &hostile {
        assert_eq!(
            run.post(event(extra)).await.counts(),
            (1, 0, 0),
            "{}",
            &extra[..extra.len().min(80)]
        );
    }

    let mut bytes = event(r#""metadata":{"username":"X"}"#).into_bytes();
    let at = bytes.iter().position(|c| *c == b'X').unwrap();
    bytes[at] = 0xff;
    assert_eq!(run.post(&bytes).await.counts(), (1, 0, 0));
    let marked: i64 =
        sqlx::query_scalar("SELECT count(*) FROM audit_events WHERE metadata ?| '{cut,cleaned}'")
            .fetch_one(&run.pool)
            .await
            .unwrap();
    assert_eq!(marked, hostile.len() as i64 + 1);

    let addresses: Vec<String> = sqlx::query_scalar(
        "SELECT host(ip_address) FROM audit_events WHERE ip_address IS NOT NULL ORDER BY 1",
    )
    .fetch_all(&run.pool)
    .await
    .unwrap();
    assert_eq!(addresses, ["2001:db8::1", "203.0.113.9"]);

    // What the program got wrong is still an error.
    for broken in [
        r#"{"action":"a","result":"success"}"#,
        r#"{"category":"auth","action":"a","result":"success""#,
    ] {
        assert_eq!(run.post(broken).await.status, 422, "{broken}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_each_event_once() {
    let run = std::sync::Arc::new(Running::new(|_| {}).await);
    let mut clients = tokio::task::JoinSet::new();
    for c in 0..200 {
        let run = std::sync::Arc::clone(&run);
        clients.spawn(async move {
            for n in 0..10 {
                assert_eq!(run.post(event(c * 10 + n)).await.counts(), (1, 0, 0));
            }
        });
    }

    clients.join_all().await;
    assert_eq!(run.rows().await, 2000);
    assert_eq!(run.ingest.stats().waiting, 0);
}

#[tokio::test]
async fn an_end_finishes_what_was_begun() {
    let mut run = Running::new(|_| {}).await;
    let ingest = run.ingest.clone();
    let record = model::AuditRecord::from_json(
        br#"{"category":"system","action":"audit_failure","result":"failure"}"#,
        model::audit::Strangers::Refuse,
    )
    .unwrap();
    assert_eq!(
        ingest
            .record(record.clone(), model::TenantId::DEFAULT)
            .await,
        Ok(ingest::Recorded::Written)
    );

    run.post(event(1)).await;
    run.stop().await;
    assert!(tokio::net::TcpStream::connect(run.to).await.is_err());
    assert_eq!(
        ingest.record(record, model::TenantId::DEFAULT).await,
        Err(ingest::IngestError::Closed)
    );
    assert_eq!(run.rows().await, 2);

    let used: i32 = sqlx::query_scalar("SELECT usage_count FROM users.api_keys")
        .fetch_one(&run.pool)
        .await
        .unwrap();
    assert_eq!(used, 1);
}
