use std::collections::BTreeSet;

use model::SecurityEvent;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{Connection as _, Executor as _, PgConnection};
use store::events::insert_audit;
use store::reader::{self, Start};
use testkit::TestDb;

use crate::reader::read;
use crate::{logins, number, sql};

/// One step of one of four writers, or of the reader.
#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(usize),
    Insert(usize),
    Savepoint(usize),
    RollbackTo(usize),
    Commit(usize),
    Abort(usize),
    Poll,
    /// A poll of about so many events.
    Part(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let writer = 0_usize..4;
    prop_oneof![
        2 => writer.clone().prop_map(Step::Begin),
        6 => writer.clone().prop_map(Step::Insert),
        1 => writer.clone().prop_map(Step::Savepoint),
        1 => writer.clone().prop_map(Step::RollbackTo),
        2 => writer.clone().prop_map(Step::Commit),
        1 => writer.prop_map(Step::Abort),
        2 => Just(Step::Poll),
        2 => (1_u64..4).prop_map(Step::Part),
    ]
}

#[derive(Default)]
struct Writer {
    open: bool,
    pending: Vec<u128>,
    savepoint: Option<usize>,
}

async fn plays_out(
    conns: &mut [PgConnection],
    reader_conn: &mut PgConnection,
    next: &mut u128,
    steps: &[Step],
) {
    let name = format!("run-{next}");
    let mut cursor = reader::initialize(reader_conn, &name, Start::Now)
        .await
        .unwrap();
    let mut writers: [Writer; 4] = Default::default();
    let (mut committed, mut seen) = (BTreeSet::new(), Vec::new());

    let ends: Vec<Step> = (0..4).map(Step::Commit).chain([Step::Poll]).collect();
    for step in steps.iter().chain(&ends).copied() {
        match step {
            Step::Poll => seen.extend(read(reader_conn, &mut cursor).await),
            Step::Part(most) => {
                let part = |e: &SecurityEvent<'_>| seen.push(number(e));
                let polled = reader::poll_some(reader_conn, &cursor, Some(most), part)
                    .await
                    .unwrap();
                cursor = reader::save(reader_conn, polled.cursor).await.unwrap();
            }
            Step::Begin(w) if !writers[w].open => {
                sql(&mut conns[w], "BEGIN").await;
                writers[w].open = true;
            }
            Step::Insert(w) => {
                *next += 1;
                let text = format!(
                    "INSERT INTO audit_events (event_id, category, action, result) VALUES ('{}', \
                        'auth', 'a', 'success')",
                    crate::id(*next)
                );
                conns[w]
                    .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(text)))
                    .await
                    .unwrap();

                if writers[w].open {
                    writers[w].pending.push(*next);
                } else {
                    committed.insert(*next);
                }
            }
            Step::Savepoint(w) if writers[w].open => {
                sql(&mut conns[w], "SAVEPOINT s").await;
                writers[w].savepoint = Some(writers[w].pending.len());
            }
            Step::RollbackTo(w) => {
                if let Some(len) = writers[w].savepoint {
                    sql(&mut conns[w], "ROLLBACK TO s").await;
                    writers[w].pending.truncate(len);
                }
            }
            Step::Commit(w) if writers[w].open => {
                sql(&mut conns[w], "COMMIT").await;
                committed.extend(std::mem::take(&mut writers[w]).pending);
            }
            Step::Abort(w) if writers[w].open => {
                sql(&mut conns[w], "ROLLBACK").await;
                writers[w] = Writer::default();
            }
            _ => {}
        }
    }

    let distinct: BTreeSet<u128> = seen.iter().copied().collect();
    assert_eq!(distinct.len(), seen.len(), "an event was read twice");
    assert_eq!(distinct, committed);
}

#[test]
fn polls_add_up_to_what_was_committed_each_once() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (db, mut conns, mut reader_conn) = runtime.block_on(async {
        let db = TestDb::new().await;
        let mut conns = Vec::new();
        for _ in 0..4 {
            conns.push(db.connect().await);
        }
        let reader_conn = db.connect().await;
        (db, conns, reader_conn)
    });

    let mut next = 0;
    let state = std::cell::RefCell::new((&mut conns, &mut reader_conn, &mut next));
    TestRunner::new(Config {
        cases: 60,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    })
    .run(&prop::collection::vec(step(), 1..80), |steps| {
        let (conns, reader_conn, next) = &mut *state.borrow_mut();
        runtime.block_on(plays_out(conns, reader_conn, next, &steps));
        Ok(())
    })
    .unwrap();

    drop((conns, reader_conn, db));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_writers_lose_nothing() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    let mut cursor = reader::initialize(&mut conn, "monitor", Start::Now)
        .await
        .unwrap();

    let mut tasks = Vec::new();
    for writer in 0..6_u128 {
        let mut own = db.connect().await;
        tasks.push(tokio::spawn(async move {
            for n in 0..60 {
                let base = writer * 100_000 + n * 10;
                let mut tx = own.begin().await.unwrap();
                insert_audit(&mut tx, &logins(base..base + 5))
                    .await
                    .unwrap();

                if n % 7 == 3 {
                    tx.rollback().await.unwrap();
                } else {
                    tx.commit().await.unwrap();
                }
            }
        }));
    }

    let mut seen = Vec::new();
    while tasks.iter().any(|t| !t.is_finished()) {
        seen.extend(read(&mut conn, &mut cursor).await);
    }

    for task in tasks {
        task.await.unwrap();
    }

    seen.extend(read(&mut conn, &mut cursor).await);
    let distinct: BTreeSet<u128> = seen.iter().copied().collect();
    assert_eq!(distinct.len(), seen.len());
    let committed = (0..60).filter(|n| n % 7 != 3).count();
    assert_eq!(seen.len(), 6 * committed * 5);
}
