use sqlx::Connection as _;
use store::search::{self, Command, FIELDS, Field, Filter, Order, Tail};
use testkit::TestDb;

use crate::{at, count, person, sql, try_sql};

/// Five events of applications and one of a log.
async fn with_events() -> TestDb {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    sql(
        &mut conn,
        "INSERT INTO audit_events (event_id, timestamp, category, action, result, user_id, \
            session_id, ip_address, resource_id, cui_accessed, metadata)
         SELECT ('019a0000-0000-7000-8000-00000000000' || n)::uuid, \
         '2026-11-02T10:00:00Z'::timestamptz + n * interval '1 second',
                CASE WHEN n < 3 THEN 'auth' ELSE 'data' END, 'action_' || n, CASE WHEN n = 1 THEN \
                'failure' ELSE 'success' END,
                CASE WHEN n > 3 THEN '00000000-0000-4000-8000-000000000001'::uuid END, 's' || n % \
                2, ('203.0.113.' || n)::inet,
                '/a_b/' || n, n = 5, jsonb_build_object('username', CASE WHEN n < 4 THEN 'alice' \
                ELSE 'bob' END, 'service', 'eqmon')
           FROM generate_series(1, 5) AS n",
    )
    .await;

    sql(
        &mut conn,
        "INSERT INTO blueteam.log_events (event_id, timestamp, source, category, action, \
            result, user_name, ip_address, metadata)
         VALUES ('019a0000-0000-7000-8000-000000000009', '2026-11-02T10:00:09Z', 'syslog', \
         'auth', 'login', 'denied', 'alice',
                 '198.51.100.1', '{\"message\": \"100% Wrong\"}')",
    )
    .await;

    db
}

#[tokio::test]
async fn old_months_of_logs_are_dropped_and_recorded() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    let month = |ago: u8, table: &str| {
        format!(
            "SELECT blueteam.make_partition('{table}', (date_trunc('month', now() AT TIME ZONE \
                'UTC') - interval '{ago} months')::date)"
        )
    };

    for ago in [3, 4, 5] {
        sql(&mut owner, &month(ago, "blueteam.log_events")).await;
        sql(&mut owner, &month(ago, "public.audit_events")).await;
        let row = format!(
            "INSERT INTO blueteam.log_events (event_id, timestamp, source, category, \
                action, result)
             SELECT blueteam.uuid_v7(), date_trunc('month', now()) - interval '{ago} months' + \
             interval '3 days', 'nginx', 'network', 'x', 'success'
               FROM generate_series(1, {ago})"
        );
        sql(&mut owner, &row).await;
    }

    let mut engine = db.connect_as("blueteam_engine").await;
    assert_eq!(
        store::log_events::drop_old(&mut engine, 12).await.unwrap(),
        Vec::<String>::new()
    );

    assert_eq!(
        store::log_events::drop_old(&mut engine, 4)
            .await
            .unwrap()
            .len(),
        1
    );

    // Less than three is three.
    assert_eq!(
        store::log_events::drop_old(&mut engine, 0)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(count(&mut engine, "blueteam.log_events").await, 3);

    let held: Vec<i64> =
        sqlx::query_scalar("SELECT events FROM blueteam.retention_drops ORDER BY drop_id")
            .fetch_all(&mut engine)
            .await
            .unwrap();
    assert_eq!(held, [5, 4]);

    for denied in [
        "DELETE FROM blueteam.retention_drops",
        "INSERT INTO blueteam.retention_drops DEFAULT VALUES",
    ] {
        assert!(
            try_sql(&mut engine, denied)
                .await
                .unwrap_err()
                .to_string()
                .contains("permission denied"),
            "{denied}"
        );
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn each_filter_finds_its_own_and_nothing_else() {
    let db = with_events().await;
    let mut conn = db.connect_as("blueteam_admin").await;
    let f = Filter::default;
    let some = |text: &str| Some(text.to_owned());
    let cases = [
        (f(), "9 5 4 3 2 1"),
        (
            Filter {
                since: Some(at(3)),
                until: Some(at(5)),
                ..f()
            },
            "4 3",
        ),
        (
            Filter {
                user: some("alice"),
                ..f()
            },
            "9 3 2 1",
        ),
        (
            Filter {
                user: some("00000000-0000-4000-8000-000000000001"),
                ..f()
            },
            "5 4",
        ),
        (
            Filter {
                ip: Some("203.0.113.4".parse().unwrap()),
                ..f()
            },
            "4",
        ),
        (
            Filter {
                ip: Some("203.0.113.2/31".parse().unwrap()),
                ..f()
            },
            "3 2",
        ),
        (
            Filter {
                category: Some(model::Category::Auth),
                ..f()
            },
            "9 2 1",
        ),
        (
            Filter {
                action: some("action_3"),
                ..f()
            },
            "3",
        ),
        (
            Filter {
                result: Some(model::Outcome::Denied),
                ..f()
            },
            "9",
        ),
        (
            Filter {
                source: some("audit_db"),
                session: some("s1"),
                ..f()
            },
            "5 3 1",
        ),
        (
            Filter {
                service: some("eqmon"),
                cui: true,
                ..f()
            },
            "5",
        ),
        (
            Filter {
                text: some("100% wrong"),
                ..f()
            },
            "9",
        ),
        (
            Filter {
                text: some("A_B"),
                ..f()
            },
            "5 4 3 2 1",
        ),
        (
            Filter {
                text: some("a%b"),
                ..f()
            },
            "",
        ),
        (
            Filter {
                text: some("'; DROP TABLE audit_events; --"),
                ..f()
            },
            "",
        ),
    ];

    for (filter, expected) in cases {
        let mut found = Vec::new();
        search::events(&mut conn, &filter, Order::Newest, Some(10), |e| {
            found.push(e.event_id.as_u128() % 16);
            true
        })
        .await
        .unwrap();

        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), expected, "{filter:?}");
    }

    let mut first = Vec::new();
    let all = f();
    let handed = search::events(&mut conn, &all, Order::Oldest, None, |e| {
        first.push(e);
        false
    });

    assert_eq!(handed.await.unwrap(), 1, "it stops when nobody wants more");
    assert_eq!(
        (
            first[0].timestamp,
            first[0].ip_address.as_deref(),
            &first[0].metadata["service"]
        ),
        (at(1), Some("203.0.113.1"), &"eqmon".into())
    );
}

#[tokio::test]
async fn events_are_counted_by_any_two_fields() {
    let db = with_events().await;
    let mut conn = db.connect_as("blueteam_admin").await;
    for a in FIELDS {
        for b in FIELDS {
            let counts = search::stats(&mut conn, &Filter::default(), &[*a, *b], None, 100)
                .await
                .unwrap();
            assert_eq!(
                counts.iter().map(|c| c.events).sum::<i64>(),
                6,
                "{a:?} {b:?}"
            );
        }
    }

    let by = |name: &str| FIELDS.iter().find(|f| f.name == name).copied().unwrap();
    let fields: [Field; 2] = [by("category"), by("result")];
    let counts = search::stats(&mut conn, &Filter::default(), &fields, None, 1)
        .await
        .unwrap();
    assert_eq!((counts.len(), counts[0].events), (1, 3));
    assert_eq!(
        counts[0].values,
        [Some("data".to_owned()), Some("success".to_owned())]
    );
}

/// A sender may write anything where a number should be.
#[tokio::test]
async fn numbers_of_events_are_summed_up_whatever_senders_write() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        r#"INSERT INTO audit_events (timestamp, category, action, result, resource_id, metadata)
           VALUES (now(), 'access', 'a', 'success', '/slow', '{"duration_ms": 1000}'),
                  (now(), 'access', 'a', 'success', '/slow', '{"duration_ms": "2000.5"}'),
                  (now(), 'access', 'a', 'success', '/slow', '{"duration_ms": 1e131}'),
                  (now(), 'access', 'a', 'success', '/slow', '{"duration_ms": "-5 OR 1=1"}'),
                  (now(), 'access', 'a', 'success', '/slow', '{"duration_ms": {"a": 1}}'),
                  (now(), 'access', 'b', 'success', '/fast', '{"duration_ms": 1}'),
                  (now(), 'access', 'b', 'success', '/fast', '{"duration_ms": 3}'),
                  (now(), 'access', 'c', 'success', '/none', '{}')"#,
    )
    .await;

    let mut conn = db.connect_as("blueteam_admin").await;
    let action = FIELDS.iter().find(|f| f.name == "action").copied().unwrap();
    let filter = Filter::default();
    let of = Some(search::Measure::Duration);
    let counts = search::stats(&mut conn, &filter, &[action], of, 10)
        .await
        .unwrap();

    assert_eq!(
        counts.iter().map(|c| c.events).collect::<Vec<_>>(),
        [5, 2, 1]
    );
    let slow = counts[0].measured.unwrap();
    assert_eq!(slow.events, 2);
    assert!((slow.total - 3000.5).abs() < 1e-9 && (slow.max - 2000.5).abs() < 1e-9);
    assert!((counts[1].measured.unwrap().mean - 2.0).abs() < 1e-9);
    assert_eq!(counts[2].measured, None);
}

#[tokio::test]
async fn events_from_a_time_on_are_counted_up_to_a_limit() {
    let db = with_events().await;
    let mut conn = db.connect_as("blueteam_admin").await;
    for (from, most, expected) in [(at(0), 100, 6), (at(0), 4, 4), (at(1_000_000), 100, 0)] {
        let filter = Filter::default();
        let found = search::count_from(&mut conn, &filter, from, most).await;
        assert_eq!(found.unwrap(), expected);
    }
}

#[tokio::test]
async fn who_asks_is_recorded_and_cannot_be_unrecorded() {
    let db = with_events().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let filter = serde_json::json!({ "user": "alice" });
    let query = search::record(&mut admin, &person("eve"), Command::Export, &filter)
        .await
        .unwrap();

    assert_eq!(search::asked(&mut admin, 10).await.unwrap()[0].rows, None);
    search::answered(&mut admin, query, 7).await.unwrap();
    assert!(
        search::answered(&mut admin, query, 8).await.is_err(),
        "it is answered once"
    );
    assert_eq!(
        search::asked(&mut admin, 10).await.unwrap()[0].rows,
        Some(7)
    );

    let asked = search::asked(&mut admin, 10).await.unwrap();
    assert_eq!(
        (
            asked.len(),
            asked[0].actor.as_str(),
            asked[0].command.as_str(),
            &asked[0].filter
        ),
        (1, "eve", "export", &filter)
    );

    for text in [
        "DELETE FROM blueteam.event_searches",
        "UPDATE blueteam.event_searches SET actor = 'x'",
        "TRUNCATE blueteam.event_searches",
        "UPDATE blueteam.event_search_results SET rows = 0",
        "DELETE FROM blueteam.event_search_results",
        "INSERT INTO blueteam.event_searches (actor, login, command, filter) VALUES ('x', 'x', \
            'tail', '{}')",
    ] {
        assert!(try_sql(&mut admin, text).await.is_err(), "{text}");
    }

    for role in ["blueteam_ingest", "blueteam_engine", "eqmon_audit_writer"] {
        let mut conn = db.connect_as(role).await;
        assert!(
            try_sql(&mut conn, "SELECT FROM blueteam.all_events")
                .await
                .is_err(),
            "{role}"
        );
        assert!(search::asked(&mut conn, 1).await.is_err(), "{role}");
    }
}

#[tokio::test]
async fn tail_shows_each_event_once_in_whatever_order_writers_commit() {
    let db = with_events().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let (mut slow, mut quick) = (db.connect().await, db.connect().await);
    let insert = |ip: &str| {
        format!(
            "INSERT INTO audit_events (category, action, result, ip_address) VALUES ('auth', \
                'login', 'success', '{ip}')"
        )
    };

    let mut held = slow.begin().await.unwrap();
    sql(&mut held, &insert("192.0.2.1")).await;
    let mut tail = Tail::begin(&mut admin).await.unwrap();
    let mut seen = Vec::new();
    let all = Filter::default();
    let mut look = async |seen: &mut Vec<String>| {
        let each = |event: search::Found| {
            seen.extend(event.ip_address);
            true
        };
        tail.next(&mut admin, &all, each).await.unwrap();
    };

    look(&mut seen).await;
    sql(&mut quick, &insert("192.0.2.2")).await;
    look(&mut seen).await;
    held.commit().await.unwrap();
    look(&mut seen).await;
    look(&mut seen).await;
    assert_eq!(seen, ["192.0.2.2", "192.0.2.1"]);
}

/// The access paths that the documents name, each by time, on partitions: with enough rows the
/// planner takes their indexes.
#[tokio::test]
async fn the_usual_questions_are_served_by_indexes() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    sql(
        &mut conn,
        "INSERT INTO audit_events (timestamp, category, action, result, user_id, ip_address, \
            cui_accessed)
         SELECT now() - n * interval '1 second', CASE WHEN n % 50 = 0 THEN 'auth' ELSE 'access' \
         END, 'x', 'success',
                md5((n % 1000)::text)::uuid, '10.0.0.0'::inet + n % 1000, n % 100 = 0 FROM \
                generate_series(1, 40000) AS n",
    )
    .await;

    sql(&mut conn, "ANALYZE audit_events").await;
    let newest = "ORDER BY timestamp DESC, event_id DESC LIMIT 100";
    for (condition, index) in [
        ("user_id = md5('7')::uuid", "user_id"),
        ("ip_address = '10.0.0.7'", "ip_address"),
        ("category = 'auth'", "timestamp"),
        ("cui_accessed", "timestamp"),
        ("true", "timestamp"),
    ] {
        let explain = format!(
            "EXPLAIN (COSTS OFF) SELECT event_id, timestamp FROM blueteam.all_events
              WHERE timestamp >= now() - interval '1 day' AND {condition} {newest}"
        );
        let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
            .fetch_all(&mut conn)
            .await
            .unwrap();
        let plan = plan.join("\n");
        assert!(
            plan.contains("Index") && plan.contains(index),
            "{condition}:\n{plan}"
        );

        // The view is read through: where its branches differ in a type it is not, and all that
        // matches would be sorted.
        assert!(!plan.contains("Subquery Scan"), "{condition}:\n{plan}");
        // The partition that holds the rows is not read from end to end.
        let month = sqlx::query_scalar::<_, String>(
            "SELECT tableoid::regclass::text FROM audit_events ORDER BY timestamp DESC LIMIT 1",
        );
        let month = month.fetch_one(&mut conn).await.unwrap();
        assert!(
            !plan.contains(&format!("Seq Scan on {month}")),
            "{condition}:\n{plan}"
        );
    }
}
