use sqlx::{AssertSqlSafe, PgConnection};
use testkit::TestDb;

use crate::{LOGIN, count, row, sql, try_sql};

/// The statement fails, and for lack of rights (a typing error in a test must not pass for a
/// refusal).
async fn refused(conn: &mut PgConnection, role: &str, text: &str) {
    let error = try_sql(conn, text)
        .await
        .expect_err(&format!("{role} may: {text}"));
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .unwrap_or_default()
        .into_owned();

    // 42501 insufficient privilege, 428C9 generated always
    assert!(
        ["42501", "428C9"].contains(&code.as_str()),
        "{role}: {text}: {error}"
    );
}

async fn allowed(conn: &mut PgConnection, role: &str, text: &str) {
    if let Err(error) = try_sql(conn, text).await {
        panic!("{role} may not: {text}: {error}");
    }
}

async fn partition(db: &TestDb, of: &str) -> String {
    let sql = format!(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{of}'::regclass AND \
            inhrelid::regclass::text ~ '20' LIMIT 1"
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut db.connect().await)
        .await
        .unwrap()
}

const ROLES: [&str; 7] = [
    "eqmon_audit_writer",
    "blueteam_reader",
    "blueteam_admin",
    "blueteam_ingest",
    "blueteam_engine",
    "blueteam_accounts",
    "audit_retention",
];

const EVENT: &str =
    "INSERT INTO audit_events (category, action, result) VALUES ('auth', 'login', 'success')";

#[tokio::test]
async fn nobody_changes_what_is_append_only() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(&mut owner, EVENT).await;
    sql(
        &mut owner,
        "INSERT INTO blueteam.log_events (timestamp, source, category, action, result)
                     VALUES (now(), 'syslog', 'auth', 'login', 'failure')",
    )
    .await;

    sql(
        &mut owner,
        "INSERT INTO audit.audit_log (actor, action, resource_type, ip_address) \
        VALUES ('x', 'LOGIN', 'USER', '192.0.2.1')",
    )
    .await;

    let mut tables = vec!["audit.audit_log".to_owned()];
    for parent in ["public.audit_events", "blueteam.log_events"] {
        tables.push(parent.to_owned());
        tables.push(format!("{parent}_default"));
        tables.push(partition(&db, parent).await);
    }

    for role in ROLES {
        let mut conn = db.connect_as(role).await;
        for table in &tables {
            let column = if table == "audit.audit_log" {
                "user_agent"
            } else {
                "action"
            };

            for text in [
                format!("UPDATE {table} SET {column} = 'x'"),
                format!("DELETE FROM {table}"),
                format!("TRUNCATE {table}"),
                format!("TRUNCATE {table} CASCADE"),
                format!("UPDATE {table} SET created_at = now()"),
                format!("DROP TRIGGER append_only_truncate ON {table}"),
                format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
                format!("DROP TABLE {table}"),
                format!("ALTER TABLE {table} ADD COLUMN x int"),
                format!("CREATE RULE r AS ON UPDATE TO {table} DO INSTEAD NOTHING"),
                format!("MERGE INTO {table} t USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE"),
            ] {
                refused(&mut conn, role, &text).await;
            }
        }

        refused(&mut conn, role, "SET session_replication_role = replica").await;
        refused(
            &mut conn,
            role,
            "DROP FUNCTION audit.refuse_change() CASCADE",
        )
        .await;
    }

    // Privileges aside, the triggers stop the owner and a superuser, on partitions too, in replica
    // mode too.
    for table in &tables {
        for text in [format!("DELETE FROM {table}"), format!("TRUNCATE {table}")] {
            let empty = count(&mut owner, table).await == 0;
            if text.starts_with("TRUNCATE") || !empty {
                refused(&mut owner, "the owner", &text).await;
                refused(
                    &mut owner,
                    "the owner",
                    &format!("SET session_replication_role = replica; {text}"),
                )
                .await;
                sql(&mut owner, "RESET session_replication_role").await;
            }
        }
    }

    let login: bool = sqlx::query_scalar(
        "SELECT bool_or(rolcanlogin OR rolsuper) FROM pg_roles WHERE rolname = ANY ($1)",
    )
    .bind(ROLES.map(str::to_owned).to_vec())
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert!(!login);
}

#[tokio::test]
async fn nobody_forges_what_the_server_sets() {
    let db = TestDb::new().await;
    let part = partition(&db, "public.audit_events").await;
    let values = "('auth', 'login', 'success',";
    for role in ROLES {
        let mut conn = db.connect_as(role).await;
        for table in ["public.audit_events", "public.audit_events_default", &part] {
            for (column, value) in [("created_at", "now()"), ("seq", "7"), ("xact_id", "'7'")] {
                for extra in ["", "OVERRIDING SYSTEM VALUE"] {
                    refused(
                        &mut conn,
                        role,
                        &format!(
                            "INSERT INTO {table} (category, action, result, {column}) {extra} \
                                VALUES {values} {value})"
                        ),
                    )
                    .await;
                }

                refused(
                    &mut conn,
                    role,
                    &format!("COPY {table} (category, action, result, {column}) FROM STDIN"),
                )
                .await;
            }

            refused(&mut conn, role, &format!("COPY {table} FROM STDIN")).await;
        }

        for (column, value) in [("created_at", "now()"), ("seq", "7"), ("xact_id", "'7'")] {
            for table in ["blueteam.log_events", "blueteam.log_events_default"] {
                refused(
                    &mut conn,
                    role,
                    &format!(
                        "INSERT INTO {table} (timestamp, source, category, action, result, {column})
                     OVERRIDING SYSTEM VALUE VALUES (now(), 'syslog', {values} {value})"
                    )
                    .replace("('auth'", "'auth'"),
                )
                .await;
            }
        }

        // Straight into a partition nobody may write at all (its owner, whom nobody can be, apart).
        if role != "audit_retention" {
            refused(
                &mut conn,
                role,
                &format!("INSERT INTO {part} (category, action, result) VALUES {values})")
                    .replace(",)", ")"),
            )
            .await;
        }

        refused(
            &mut conn,
            role,
            "INSERT INTO audit.audit_log (actor, action, resource_type) VALUES ('x', 'LOGIN', \
                'USER')",
        )
        .await;
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn each_role_may_do_its_work() {
    let db = TestDb::new().await;
    for role in ["eqmon_audit_writer", "blueteam_ingest"] {
        let mut conn = db.connect_as(role).await;
        allowed(&mut conn, role, EVENT).await;
        let done =
            store::events::insert_audit(&mut conn, &[row(LOGIN, u128::from(role.len() as u64))])
                .await
                .unwrap();
        assert_eq!(done.accepted, 1, "{role}");
        refused(&mut conn, role, "SELECT * FROM audit_events").await;

        refused(&mut conn, role, "SELECT * FROM blueteam.alert_history").await;
        refused(&mut conn, role, "SELECT password_hash FROM users.users").await;
    }

    let cannot_read_secrets = ["blueteam_reader", "blueteam_engine", "blueteam_ingest"];
    for role in cannot_read_secrets {
        refused(
            &mut db.connect_as(role).await,
            role,
            "SELECT * FROM users.users",
        )
        .await;

        refused(
            &mut db.connect_as(role).await,
            role,
            "SELECT key_name, key_hash FROM users.api_keys",
        )
        .await;
    }

    for role in ["blueteam_reader", "blueteam_admin"] {
        let mut conn = db.connect_as(role).await;
        for table in [
            "audit_events",
            "blueteam.alert_history",
            "blueteam.log_events",
            "audit.audit_log",
            "blueteam.ssp_sections",
        ] {
            allowed(&mut conn, role, &format!("SELECT * FROM {table}")).await;
        }

        refused(&mut conn, role, EVENT).await;
    }

    let mut reader = db.connect_as("blueteam_reader").await;
    refused(
        &mut reader,
        "reader",
        "INSERT INTO blueteam.alert_rules (rule_id, name, severity) VALUES ('a', 'a', 'low')",
    )
    .await;

    let mut admin = db.connect_as("blueteam_admin").await;
    for text in [
        "INSERT INTO blueteam.alert_rules (rule_id, name, severity) VALUES ('a', 'a', 'low')",
        "UPDATE blueteam.alert_rules SET enabled = false",
        "DELETE FROM blueteam.alert_rules",
        "INSERT INTO users.users (username, email) VALUES ('a', 'a@b')",
    ] {
        allowed(&mut admin, "admin", text).await;
    }

    refused(&mut admin, "admin", "TRUNCATE blueteam.alert_rules CASCADE").await;
    refused(
        &mut admin,
        "admin",
        "DROP TRIGGER audit_rows ON blueteam.alert_rules",
    )
    .await;

    refused(
        &mut admin,
        "admin",
        "ALTER TABLE blueteam.alert_rules DISABLE TRIGGER audit_rows",
    )
    .await;

    let mut engine = db.connect_as("blueteam_engine").await;
    for text in [
        "SELECT * FROM audit_events",
        "SELECT role, tenant_id FROM users.users",
        "SELECT blueteam.ensure_partitions(5)",
        "SELECT audit.anonymize()",
        "SELECT audit.drop_old_events(24)",
        "BEGIN; SELECT blueteam.hold_writers(); COMMIT",
        "SELECT blueteam.system_identifier()",
    ] {
        allowed(&mut engine, "engine", text).await;
    }

    refused(&mut engine, "engine", EVENT).await;
    refused(
        &mut engine,
        "engine",
        "SELECT blueteam.make_partition('audit_events', '2030-01-01')",
    )
    .await;

    for role in [
        "eqmon_audit_writer",
        "blueteam_reader",
        "blueteam_admin",
        "blueteam_ingest",
    ] {
        refused(
            &mut db.connect_as(role).await,
            role,
            "SELECT audit.drop_old_events(24)",
        )
        .await;
    }
}
