//! Tenants: whose rows people's roles see and write (decision 0049).

use model::{Category, EventId, Outcome, SecurityEvent, Source};
use sqlx::{Connection as _, PgConnection, PgPool};
use store::Isolation;
use testkit::TestDb;
use uuid::Uuid;

use crate::{at, count, id, person, sql, try_sql};

pub(crate) const DEFAULT: &str = "00000000-0000-7000-8000-000000000001";
pub(crate) const OTHER: &str = "00000000-0000-7000-8000-000000000002";

pub(crate) const ADD_OTHER: &str = "INSERT INTO users.tenants (tenant_id, name) VALUES
     ('00000000-0000-7000-8000-000000000002', 'other')";

/// One row of each of two tenants in every table of [`SEEN`].
pub(crate) async fn two_tenants(db: &TestDb) -> PgConnection {
    let mut owner = db.connect().await;
    sql(&mut owner, ADD_OTHER).await;
    for tenant in [DEFAULT, OTHER] {
        let name = if tenant == OTHER { "other" } else { "own" };
        let text = format!(
            "INSERT INTO audit_events (category, action, result, tenant_id)
                 VALUES ('auth', '{name}', 'success', '{tenant}');
             INSERT INTO blueteam.log_events
                     (timestamp, source, category, action, result, tenant_id)
                 VALUES (now(), 'syslog', 'auth', '{name}', 'success', '{tenant}');
             INSERT INTO blueteam.alert_history (alert_id, fingerprint, severity, title, tenant_id)
                 SELECT i, i, 'high', '{name}', '{tenant}' FROM gen_random_uuid() AS i;
             INSERT INTO blueteam.security_incidents
                     (title, severity, detected_by, source, entity_type, entity_value, tenant_id)
                 VALUES ('{name}', 'high', 'manual', 'syslog', 'ip', '{name}', '{tenant}');
             INSERT INTO blueteam.sources (source_id, kind, tenant_id)
                 VALUES ('{name}', 'syslog', '{tenant}');
             INSERT INTO users.users (username, email, tenant_id)
                 VALUES ('{name}', '{name}@x.test', '{tenant}');
             INSERT INTO audit.audit_log (actor, action, resource_type, tenant_id)
                 VALUES ('{name}', 'LOGIN', 'USER', '{tenant}')"
        );
        sql(&mut owner, &text).await;
    }
    owner
}

const SEEN: [&str; 8] = [
    "blueteam.audit_events",
    "blueteam.log_events",
    "blueteam.all_events",
    "blueteam.alert_history",
    "blueteam.security_incidents",
    "blueteam.sources",
    "users.users",
    "audit.audit_log",
];

pub(crate) async fn act_for(conn: &mut PgConnection, tenant: &str) {
    sql(conn, &format!("SET blueteam.tenant = '{tenant}'")).await;
}

/// How many of its rows a role sees of each table, and of another tenant's.
async fn seen(conn: &mut PgConnection, tenant: &str) -> Vec<(i64, i64)> {
    let mut all = Vec::new();
    for table in SEEN {
        all.push((
            count(conn, &format!("{table} WHERE tenant_id = '{tenant}'")).await,
            count(conn, &format!("{table} WHERE tenant_id <> '{tenant}'")).await,
        ));
    }
    all
}

#[tokio::test]
async fn people_see_their_tenant_and_nothing_else() {
    let db = TestDb::new().await;
    let _owner = two_tenants(&db).await;
    let mut admin = db.connect_as("blueteam_admin").await;

    for tenant in [DEFAULT, OTHER] {
        act_for(&mut admin, tenant).await;
        for (table, (own, others)) in SEEN.iter().zip(seen(&mut admin, tenant).await) {
            assert!(own > 0, "{table}: nothing of {tenant}");
            assert_eq!(others, 0, "{table}: rows of another tenant");
        }
    }

    // Nobody's: nothing, and no error. The setting is empty after a transaction that set it.
    for tenant in ["", &Uuid::nil().to_string()] {
        act_for(&mut admin, tenant).await;
        for table in SEEN {
            assert_eq!(count(&mut admin, table).await, 0, "{table} for `{tenant}`");
        }
    }
    // What is no id is an error, and not everything.
    act_for(&mut admin, "everybody").await;
    let error = try_sql(&mut admin, "SELECT FROM blueteam.sources").await;
    assert!(error.unwrap_err().to_string().contains("uuid"));
}

#[tokio::test]
async fn with_one_tenant_no_client_has_to_name_it() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        "INSERT INTO blueteam.sources (source_id, kind) VALUES ('s', 'syslog')",
    )
    .await;
    let mut reader = db.connect_as("blueteam_reader").await;
    assert_eq!(count(&mut reader, "blueteam.sources").await, 1);
    sql(&mut owner, ADD_OTHER).await;
    assert_eq!(count(&mut reader, "blueteam.sources").await, 0);
}

#[tokio::test]
async fn nobody_writes_what_is_another_tenants() {
    let db = TestDb::new().await;
    let mut owner = two_tenants(&db).await;
    let of_other: String = sqlx::query_scalar(
        "SELECT alert_id::text FROM blueteam.alert_history WHERE title = 'other'",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();

    let mut admin = db.connect_as("blueteam_admin").await;
    act_for(&mut admin, DEFAULT).await;
    // A row for another tenant, by what people's role may insert.
    let text = format!(
        "INSERT INTO blueteam.silences (kind, reason, ends_at, rule_id, tenant_id)
         VALUES ('silence', 'x', now() + interval '1 hour', 'r', '{OTHER}')"
    );
    try_sql(&mut admin, &text).await.unwrap_err();
    // Its row, through the function that runs as its owner, whom no policy holds.
    let text = format!("SELECT blueteam.acknowledge_alert('{of_other}')");
    let error = try_sql(&mut admin, &text).await.unwrap_err().to_string();
    assert!(error.contains("another tenant"), "{error}");
    assert_eq!(
        count(
            &mut owner,
            "blueteam.alert_history WHERE acknowledged_at IS NOT NULL"
        )
        .await,
        0
    );

    // The owner neither, once it acts for a tenant; and nobody gives a row away.
    act_for(&mut owner, DEFAULT).await;
    for text in [
        "UPDATE blueteam.alert_history SET title = 'x' WHERE title = 'other'",
        "DELETE FROM blueteam.sources WHERE source_id = 'other'",
        "UPDATE blueteam.sources SET tenant_id = '00000000-0000-7000-8000-000000000002'
         WHERE source_id = 'own'",
    ] {
        let error = try_sql(&mut owner, text).await.unwrap_err().to_string();
        assert!(error.contains("tenant"), "{text}: {error}");
    }
}

/// One connection for all: what it leaves behind, the next one finds.
#[tokio::test]
async fn a_connection_carries_no_tenant_over() {
    let db = TestDb::new().await;
    let _owner = two_tenants(&db).await;
    let options = db.options().options([("role", "blueteam_admin")]);
    let people: PgPool = store::pool(options, 1);
    let mut actor = person("dana");

    for isolation in [Isolation::Snapshot, Isolation::ReadCommitted] {
        actor.tenant = Some(OTHER.parse().unwrap());
        let mut tx = store::begin_for(&people, &actor, isolation).await.unwrap();
        assert_eq!(count(&mut tx, "blueteam.sources").await, 1);
        store::start_over(&mut tx, &actor).await.unwrap();
        assert_eq!(count(&mut tx, "blueteam.sources").await, 1);
        // Also when it is dropped in the middle of everything.
        drop(tx);

        let mut next = people.acquire().await.unwrap();
        assert_eq!(count(&mut next, "blueteam.sources").await, 0);
        drop(next);

        actor.tenant = None;
        let mut tx = store::begin_for(&people, &actor, isolation).await.unwrap();
        assert_eq!(count(&mut tx, "blueteam.sources").await, 0);
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn what_an_application_calls_tenant_is_its_instance() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    let instance = "7b0c6a52-0d63-4c11-9d0a-2f4f1c1f9a10";
    let text = format!(
        "INSERT INTO users.users (username, email, tenant_id)
             VALUES ('dana', 'd@x.test', '{instance}');
         UPDATE users.users SET tenant_id = '{instance}' WHERE username = 'dana'"
    );
    sql(&mut owner, &text).await;
    let found: (String, String) = sqlx::query_as(
        "SELECT tenant_id::text, home_instance_id::text FROM users.users WHERE username = 'dana'",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!(found, (DEFAULT.to_owned(), instance.to_owned()));

    let facts = store::users::all_facts(&mut owner).await.unwrap();
    assert_eq!(facts[0].home_instance_id, Some(instance.parse().unwrap()));
}

/// Every table that says whose a row is, keeps to it.
#[tokio::test]
async fn no_table_of_tenants_is_without_its_policies() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    let names = |text: &'static str| sqlx::query_scalar::<_, String>(text);

    let open = names(
        "SELECT c.oid::regclass::text
         FROM pg_class c
         JOIN pg_attribute a
             ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND c.relnamespace::regnamespace::text IN ('public', 'blueteam', 'users', 'audit')
           AND NOT (
               c.relrowsecurity AND c.relforcerowsecurity
               AND (
                   SELECT count(DISTINCT r.rolname)
                   FROM pg_policy p
                   JOIN pg_roles r ON r.oid = ANY (p.polroles)
                   WHERE p.polrelid = c.oid
                     AND r.rolname IN (
                         'blueteam_admin', 'blueteam_reader', 'blueteam_engine',
                         'blueteam_ingest', 'blueteam_accounts'
                     )
               ) = 5
           )",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(open.is_empty(), "without policies for each role: {open:?}");

    // A policy that lets people's roles see everything.
    let wide = names(
        "SELECT p.polrelid::regclass || ': ' || p.polname
         FROM pg_policy p
         JOIN pg_roles r ON r.oid = ANY (p.polroles)
         WHERE r.rolname IN ('blueteam_admin', 'blueteam_reader')
           AND pg_get_expr(p.polqual, p.polrelid) NOT LIKE '%blueteam.tenant()%'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(wide.is_empty(), "{wide:?}");

    let parts = names(
        "SELECT i.inhrelid::regclass::text
         FROM pg_inherits i
         JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind = 'r'
         WHERE has_table_privilege('blueteam_admin', c.oid, 'SELECT, INSERT, UPDATE, DELETE')
            OR has_table_privilege('blueteam_reader', c.oid, 'SELECT, INSERT, UPDATE, DELETE')",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(parts.is_empty(), "rights on partitions: {parts:?}");

    let views = names(
        "SELECT c.oid::regclass::text
         FROM pg_class c
         WHERE c.relkind = 'v'
           AND c.relnamespace::regnamespace::text IN ('public', 'blueteam', 'users', 'audit')
           AND NOT coalesce(c.reloptions, '{}')
               && ARRAY['security_invoker=true', 'security_barrier=true']",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(
        views.is_empty(),
        "views with their owner's rights: {views:?}"
    );

    let strong = names(
        "SELECT rolname::text FROM pg_roles
         WHERE rolname IN ('blueteam_admin', 'blueteam_reader', 'blueteam_accounts')
           AND (rolsuper OR rolbypassrls)",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(strong.is_empty(), "{strong:?}");

    for (role, keeps) in [("blueteam_admin", true), ("blueteam_engine", false)] {
        let login = store::overview::login(&mut db.connect_as(role).await)
            .await
            .unwrap();
        assert_eq!(login.sees_one_tenant, keeps, "{role}");
        assert!(login.copies_log_events);
    }
    assert!(
        !store::overview::login(&mut conn)
            .await
            .unwrap()
            .sees_one_tenant
    );
}

/// Where nobody may give BYPASSRLS, COPY into a table with policies is refused.
#[tokio::test]
async fn log_events_find_their_way_without_copy() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    let writer = format!("writer_{}", Uuid::now_v7().simple());
    sql(
        &mut owner,
        &format!("CREATE ROLE {writer} NOLOGIN; GRANT blueteam_engine TO {writer}"),
    )
    .await;

    let mut conn = db.connect_as(&writer).await;
    let event = |n: u128| {
        let mut event = SecurityEvent::new(
            EventId(id(n)),
            at(0),
            Source::Syslog,
            Category::Auth,
            "login_failed".into(),
            Outcome::Failure,
        );
        event.account_name = Some("ro\\ot\t\u{e9}".into());
        event.classify()
    };
    // Several batches in one transaction, too, and what is known already.
    let mut tx = conn.begin().await.unwrap();
    for (events, new) in [(0..50, 50), (40..60, 10)] {
        let events: Vec<_> = events.map(event).collect();
        let done = store::log_events::insert(&mut tx, &events, None, None)
            .await
            .unwrap();
        assert_eq!(done.accepted, new);
        assert!(done.rejected.is_empty(), "{:?}", done.rejected);
    }
    tx.commit().await.unwrap();
    assert_eq!(
        count(
            &mut owner,
            "blueteam.log_events WHERE account = E'ro\\\\ot\t\u{e9}'"
        )
        .await,
        60
    );
    drop(conn);
    sql(
        &mut owner,
        &format!("DROP OWNED BY {writer}; DROP ROLE {writer}"),
    )
    .await;
}
