use model::SecurityEvent;
use sqlx::{Connection as _, PgConnection};
use store::StoreError;
use store::events::insert_audit;
use store::reader::{self, Check, Cursor, Start};
use testkit::TestDb;

use crate::{logins, number, sql};

/// Polls, saves, and gives the numbers of what came.
pub(crate) async fn read(conn: &mut PgConnection, cursor: &mut Cursor) -> Vec<u128> {
    let mut seen = Vec::new();
    let polled = reader::poll(conn, cursor, |e: &SecurityEvent<'_>| seen.push(number(e)))
        .await
        .unwrap();
    assert_eq!(polled.events, seen.len() as u64);
    *cursor = reader::save(conn, polled.cursor).await.unwrap();
    seen
}

#[tokio::test]
async fn a_pulse_ends_with_its_reader_however_that_ends() {
    let db = TestDb::new().await;
    let mut asker = db.connect_as("blueteam_reader").await;
    let asked = reader::pulse(&mut asker, "monitor").await.unwrap();
    assert_eq!(asked, reader::Pulse::default(), "no reader has ever run");

    let mut conn = db.connect_as("blueteam_engine").await;
    let at = model::Timestamp::from_secs(1_800_000_000);
    assert!(
        reader::claim(&mut conn, "monitor", crate::id(1))
            .await
            .unwrap()
    );

    for later in [0, 10] {
        let at = at.plus(model::Span::secs(later));
        reader::beat(&mut conn, "monitor", at).await.unwrap();
        let pulse = reader::pulse(&mut asker, "monitor").await.unwrap();
        assert_eq!(
            pulse,
            reader::Pulse {
                beat_at: Some(at),
                held: true
            }
        );
    }

    assert!(!reader::pulse(&mut asker, "another").await.unwrap().held);

    conn.close().await.unwrap();
    let since = std::time::Instant::now();
    while reader::pulse(&mut asker, "monitor").await.unwrap().held {
        assert!(
            since.elapsed() < std::time::Duration::from_secs(10),
            "the right to read ends with the connection"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    let after = reader::pulse(&mut asker, "monitor").await.unwrap();
    assert_eq!(
        after.beat_at,
        Some(at.plus(model::Span::secs(10))),
        "when it was last there stays known"
    );
}

#[tokio::test]
async fn a_transaction_held_open_delays_nobody_and_loses_nothing() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let mut writer = db.connect().await;
    insert_audit(&mut writer, &logins([9])).await.unwrap();
    let mut cursor = reader::initialize(&mut conn, "monitor", Start::Now)
        .await
        .unwrap();
    assert!(read(&mut conn, &mut cursor).await.is_empty());

    let mut holder = db.connect().await;
    let mut held = holder.begin().await.unwrap();
    insert_audit(&mut held, &logins([100_000, 100_001]))
        .await
        .unwrap();

    let mut aborted = db.connect().await;
    let mut abort = aborted.begin().await.unwrap();
    insert_audit(&mut abort, &logins([200_000])).await.unwrap();

    let mut seen = Vec::new();
    for batch in 0..100 {
        insert_audit(
            &mut writer,
            &logins(1000 + batch * 100..1000 + (batch + 1) * 100),
        )
        .await
        .unwrap();

        let got = read(&mut conn, &mut cursor).await;
        assert_eq!(
            got,
            (1000 + batch * 100..1000 + (batch + 1) * 100).collect::<Vec<_>>()
        );
        seen.extend(got);
    }

    abort.rollback().await.unwrap();
    assert!(read(&mut conn, &mut cursor).await.is_empty());
    held.commit().await.unwrap();
    assert_eq!(read(&mut conn, &mut cursor).await, [100_000, 100_001]);
    assert!(read(&mut conn, &mut cursor).await.is_empty());
    assert_eq!(seen.len(), 10_000);

    // What the cursor has passed, and nothing else, is the past that windows are rebuilt from.
    insert_audit(&mut writer, &logins([300_000])).await.unwrap();
    let mut past = 0;
    let (from, to) = (model::Timestamp::MIN, model::Timestamp::MAX);
    store::stored_events::stream_read(&mut conn, from, to, &cursor, |e| {
        assert_ne!(number(e), 300_000);
        past += 1;
    })
    .await
    .unwrap();

    assert_eq!(past, 10_003);
    assert_eq!(read(&mut conn, &mut cursor).await, [300_000]);
}

#[tokio::test]
async fn rows_inside_savepoints_and_of_both_tables_arrive() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    let mut cursor = reader::initialize(&mut conn, "monitor", Start::Now)
        .await
        .unwrap();

    sql(
        &mut conn,
        "BEGIN; SAVEPOINT a; INSERT INTO audit_events (event_id, category, action, result)
                    VALUES ('019a0000-0000-7000-8000-000000000001', 'auth', 'a', 'success'); \
                    SAVEPOINT b;
                    INSERT INTO blueteam.log_events (event_id, timestamp, source, category, \
                    action, result)
                    VALUES ('019a0000-0000-7000-8000-000000000002', now(), 'nginx', 'access', \
                    'a', 'success'); COMMIT",
    )
    .await;

    assert_eq!(read(&mut conn, &mut cursor).await, [1, 2]);
    assert!(read(&mut conn, &mut cursor).await.is_empty());
}

#[tokio::test]
async fn a_cursor_begins_where_it_is_told_and_moves_once() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    insert_audit(&mut conn, &logins([1, 2])).await.unwrap();
    let mut cursor = reader::initialize(&mut conn, "all", Start::Beginning)
        .await
        .unwrap();
    let stale = cursor.clone();

    assert_eq!(read(&mut conn, &mut cursor).await, [1, 2]);
    assert_eq!(
        reader::load(&mut conn, "all").await.unwrap(),
        Some(cursor.clone())
    );

    assert_eq!(
        reader::initialize(&mut conn, "all", Start::Now)
            .await
            .unwrap(),
        cursor,
        "an existing one is kept"
    );
    assert!(matches!(
        reader::save(&mut conn, stale).await,
        Err(StoreError::CursorMoved(_))
    ));
}

#[tokio::test]
async fn a_poll_does_not_scan_what_it_has_read() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    for n in 0..20 {
        insert_audit(&mut conn, &logins(n * 1000..(n + 1) * 1000))
            .await
            .unwrap();
    }

    let cursor = reader::initialize(&mut conn, "monitor", Start::Now)
        .await
        .unwrap();
    let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "EXPLAIN SELECT * FROM audit_events WHERE xact_id >= '{}' OR xact_id = ANY ('{{7,9}}') \
            ORDER BY seq",
        cursor.snapshot.xmax()
    )))
    .fetch_all(&mut conn)
    .await
    .unwrap();

    assert!(plan.iter().any(|l| l.contains("xact_id_idx")), "{plan:?}");
}

#[tokio::test]
async fn a_database_put_back_is_noticed() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    let mut cursor = reader::initialize(&mut conn, "monitor", Start::Now)
        .await
        .unwrap();
    assert_eq!(
        reader::check(&mut conn, &cursor, None).await.unwrap(),
        Check::Continuous
    );

    let early = cursor.clone();
    insert_audit(&mut conn, &logins([1])).await.unwrap();
    read(&mut conn, &mut cursor).await;
    let witness = cursor.witness();
    assert_eq!(
        reader::check(&mut conn, &cursor, Some(&witness))
            .await
            .unwrap(),
        Check::Continuous
    );

    // The database commits before the witness is written: being ahead of it is no loss.
    assert_eq!(
        reader::check(&mut conn, &cursor, Some(&early.witness()))
            .await
            .unwrap(),
        Check::Continuous
    );

    let back = reader::check(&mut conn, &early, Some(&witness))
        .await
        .unwrap();
    assert_eq!(
        back,
        Check::WentBack {
            remembered: 1,
            found: 0
        }
    );
}

/// What a dump restored into a younger cluster looks like: rows and cursor carry ids that this
/// cluster has not reached.
#[tokio::test]
async fn a_database_restored_elsewhere_is_read_on_without_loss_or_repetition() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    let big = 1_000_000_000_000_u64;

    // Read before the dump: 1, 2. Unread: 3 (running when the cursor was saved, and of a low seq),
    // 4 (after it).
    for (n, seq, xid) in [
        (3, 1, big + 5),
        (1, 2, big),
        (2, 3, big + 1),
        (4, 4, big + 20),
    ] {
        sql(
            &mut owner,
            &format!(
                "INSERT INTO audit_events (event_id, timestamp, category, action, result, seq, \
                xact_id) OVERRIDING SYSTEM VALUE
             VALUES ('019a0000-0000-7000-8000-00000000000{n}', now(), 'auth', 'a', 'success', \
             {seq}, '{xid}')"
            ),
        )
        .await;
    }

    sql(
        &mut owner,
        &format!(
            "SELECT setval(pg_get_serial_sequence('audit_events', 'seq'), 4);
         INSERT INTO blueteam.reader_cursor (name, snapshot, audit_floor, audit_last, \
         collected_floor, collected_last, system_identifier, version)
         VALUES ('monitor', '{}:{}:{}', 0, 3, 0, 0, '42', 7)",
            big + 5,
            big + 10,
            big + 5
        ),
    )
    .await;

    // Written here after the restore, with an id that looks long past to the old snapshot.
    insert_audit(&mut owner, &logins([5])).await.unwrap();

    let mut conn = db.connect_as("blueteam_engine").await;
    let cursor = reader::load(&mut conn, "monitor").await.unwrap().unwrap();
    assert_eq!(
        reader::check(&mut conn, &cursor, None).await.unwrap(),
        Check::Elsewhere
    );

    let mut seen = Vec::new();
    let mut tx = conn.begin().await.unwrap();
    let rebased = reader::rebase(&mut tx, &cursor, |e| seen.push(number(e)))
        .await
        .unwrap();
    let mut cursor = reader::save(&mut tx, rebased.cursor).await.unwrap();

    tx.commit().await.unwrap();
    assert_eq!(seen, [3, 4, 5]);
    assert_eq!(
        reader::check(&mut conn, &cursor, None).await.unwrap(),
        Check::Continuous
    );
    assert!(read(&mut conn, &mut cursor).await.is_empty());
    insert_audit(&mut owner, &logins([6])).await.unwrap();

    assert_eq!(read(&mut conn, &mut cursor).await, [6]);
}

#[tokio::test]
async fn a_commit_wakes_the_listener() {
    let db = TestDb::new().await;
    let mut listener = sqlx::postgres::PgListener::connect_with(&db.pool(2))
        .await
        .unwrap();
    listener.listen(store::EVENTS_CHANNEL).await.unwrap();
    insert_audit(&mut db.connect_as("eqmon_audit_writer").await, &logins([1]))
        .await
        .unwrap();

    let woken = tokio::time::timeout(std::time::Duration::from_secs(5), listener.recv()).await;
    assert_eq!(woken.unwrap().unwrap().channel(), store::EVENTS_CHANNEL);
}

/// Each row comes once, in parts that end with a transaction; a transaction that is still open when
/// its part is read comes later.
#[tokio::test]
async fn a_backlog_is_read_in_parts() {
    let db = TestDb::new().await;
    let mut ingest = db.connect_as("blueteam_ingest").await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let mut cursor = reader::initialize(&mut engine, "parts", Start::Now)
        .await
        .unwrap();

    let mut late = db.connect_as("blueteam_ingest").await;
    let mut open = late.begin().await.unwrap();
    insert_audit(&mut open, &logins([1])).await.unwrap();
    for n in 1..=10_u128 {
        let ids = (n * 10)..(n * 10 + 3);
        insert_audit(&mut ingest, &logins(ids)).await.unwrap();
    }

    let (mut seen, mut parts) = (Vec::new(), Vec::new());
    loop {
        let part = |e: &SecurityEvent<'_>| seen.push(number(e));
        let polled = reader::poll_some(&mut engine, &cursor, Some(7), part)
            .await
            .unwrap();
        parts.push(polled.events);
        let more = polled.more;
        cursor = reader::save(&mut engine, polled.cursor).await.unwrap();
        if !more {
            break;
        }
    }
    assert_eq!(parts, [9, 9, 9, 3]);

    open.commit().await.unwrap();
    let part = |e: &SecurityEvent<'_>| seen.push(number(e));
    let last = reader::poll_some(&mut engine, &cursor, Some(7), part)
        .await
        .unwrap();
    assert_eq!((last.events, last.more), (1, false));

    let mut expected: Vec<u128> = (1..=10).flat_map(|n| (n * 10)..(n * 10 + 3)).collect();
    expected.push(1);
    assert_eq!(seen, expected);
}
