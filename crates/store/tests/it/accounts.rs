//! Accounts: the document's functions and statements, and what holds whoever changes a row.

use identity::policy::{RequiredClasses, is_strong_enough};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{PgConnection, Row as _};

use testkit::TestDb;

async fn account(conn: &mut PgConnection, name: &str, role: &str) {
    sqlx::query("INSERT INTO users.users (username, email, role) VALUES ($1, $1 || '@x.test', $2)")
        .bind(name)
        .bind(role)
        .execute(conn)
        .await
        .unwrap();
}

async fn fail(conn: &mut PgConnection, name: &str, times: u32) {
    for _ in 0..times {
        sqlx::query("SELECT users.handle_failed_login($1)")
            .bind(name)
            .execute(&mut *conn)
            .await
            .unwrap();
    }
}

/// Wrong attempts that are counted, and for how many minutes the account is locked.
async fn lock(conn: &mut PgConnection, name: &str) -> (i32, Option<i32>) {
    let row = sqlx::query(
        "SELECT failed_login_attempts,
             round(extract(epoch FROM account_locked_until - now()) / 60)::integer
         FROM users.users WHERE username = $1",
    )
    .bind(name)
    .fetch_one(conn)
    .await
    .unwrap();
    (row.get(0), row.get(1))
}

/// The message of a statement that is refused.
async fn refusal(conn: &mut PgConnection, sql: &'static str) -> String {
    sqlx::query(sql)
        .execute(conn)
        .await
        .expect_err(sql)
        .to_string()
}

#[tokio::test]
async fn the_documents_statements_do_what_it_says() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    for sql in [
        "INSERT INTO users.users (username, email, password_hash, must_change_password)
         VALUES ('newuser', 'user@domain.com', '[argon2_hash]', TRUE)",
        "UPDATE users.users SET must_change_password = TRUE",
        "UPDATE users.users SET failed_login_attempts = 0, last_failed_login = NULL,
             account_locked_until = NULL WHERE account_locked_until IS NOT NULL",
        "UPDATE users.password_policies SET min_length = 14, max_failed_attempts = 3,
             lockout_duration_minutes = 60",
        "SELECT * FROM users.password_policies",
    ] {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }

    fail(&mut conn, "newuser", 2).await;
    assert_eq!(lock(&mut conn, "newuser").await, (2, None));
    fail(&mut conn, "NewUser", 1).await;
    assert_eq!(lock(&mut conn, "newuser").await, (3, Some(60)));
    sqlx::query("SELECT users.handle_successful_login('newuser')")
        .execute(&mut conn)
        .await
        .unwrap();
    assert_eq!(lock(&mut conn, "newuser").await, (0, None));
    fail(&mut conn, "nobody", 1).await;
}

#[tokio::test]
async fn a_lock_ends_by_time_and_is_not_made_longer() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    account(&mut conn, "dana", "user").await;
    account(&mut conn, "chief", "system_admin").await;
    fail(&mut conn, "dana", 5).await;
    sqlx::query(
        "UPDATE users.users SET account_locked_until = now() + interval '1 minute'
         WHERE username = 'dana'",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    fail(&mut conn, "dana", 9).await;
    assert_eq!(lock(&mut conn, "dana").await, (5, Some(1)));

    // After it, counting begins again.
    sqlx::query(
        "UPDATE users.users SET account_locked_until = now() - interval '1 second'
         WHERE username = 'dana'",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    fail(&mut conn, "dana", 1).await;
    assert_eq!(lock(&mut conn, "dana").await, (1, None));

    // Whoever alone can help is not kept out for long.
    fail(&mut conn, "chief", 5).await;
    assert_eq!(lock(&mut conn, "chief").await, (5, Some(15)));
    account(&mut conn, "second", "system_admin").await;
    fail(&mut conn, "second", 5).await;
    assert_eq!(lock(&mut conn, "second").await, (5, Some(15)));
}

#[tokio::test]
async fn failures_at_the_same_moment_all_count() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    account(&mut conn, "dana", "user").await;
    sqlx::query("UPDATE users.password_policies SET max_failed_attempts = 50")
        .execute(&mut conn)
        .await
        .unwrap();

    let mut tasks = Vec::new();
    for _ in 0..4 {
        let mut conn = db.connect().await;
        tasks.push(tokio::spawn(
            async move { fail(&mut conn, "dana", 10).await },
        ));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(lock(&mut conn, "dana").await, (40, None));
}

#[tokio::test]
async fn names_stay_and_somebody_stays_in_charge() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    account(&mut conn, "chief", "system_admin").await;
    account(&mut conn, "dana", "user").await;
    for (sql, says) in [
        (
            "UPDATE users.users SET is_active = false WHERE username = 'chief'",
            "last system admin",
        ),
        (
            "UPDATE users.users SET role = 'admin' WHERE username = 'chief'",
            "last system admin",
        ),
        (
            "UPDATE users.users SET expires_at = now() WHERE username = 'chief'",
            "last system admin",
        ),
        (
            "UPDATE users.users SET username = 'lee' WHERE username = 'dana'",
            "keeps its name",
        ),
        (
            "DELETE FROM users.users WHERE username = 'dana'",
            "stays in the record",
        ),
        (
            "INSERT INTO users.users (username, email) VALUES ('DANA', 'd@y.test')",
            "given before",
        ),
        (
            "INSERT INTO users.users (username, email) VALUES ('-x', 'e@y.test')",
            "no user name",
        ),
        (
            "UPDATE users.users SET role = 'root' WHERE username = 'dana'",
            "no role",
        ),
        (
            "UPDATE users.password_policies SET max_failed_attempts = 0",
            "password_policies_attempts",
        ),
    ] {
        let error = refusal(&mut conn, sql).await;
        assert!(error.contains(says), "{sql}: {error}");
    }
}

#[tokio::test]
async fn two_administrators_cannot_remove_each_other_at_once() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    account(&mut conn, "one", "system_admin").await;
    account(&mut conn, "two", "system_admin").await;

    let mut other = db.connect().await;
    sqlx::query("BEGIN").execute(&mut conn).await.unwrap();
    sqlx::query("UPDATE users.users SET is_active = false WHERE username = 'one'")
        .execute(&mut conn)
        .await
        .unwrap();
    let second = tokio::spawn(async move {
        sqlx::query("UPDATE users.users SET is_active = false WHERE username = 'two'")
            .execute(&mut other)
            .await
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    sqlx::query("COMMIT").execute(&mut conn).await.unwrap();
    assert!(second.await.unwrap().is_err());
}

#[tokio::test]
async fn hashes_and_secrets_are_for_who_signs_people_in() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    account(&mut conn, "dana", "user").await;
    let secret = [
        "SELECT password_hash FROM users.users",
        "SELECT password_history FROM users.users",
        "SELECT secret FROM users.mfa_factors",
        "SELECT token_hash FROM users.recovery_codes",
        "SELECT token_hash FROM users.sessions",
        "SELECT token_hash FROM users.enrollment_links",
        "UPDATE users.users SET password_hash = '$x'",
        "INSERT INTO users.sessions (user_id, token_hash, factors)
         SELECT user_id, sha256('x'), '{password}' FROM users.users",
        "INSERT INTO users.mfa_factors (user_id, kind, name, secret)
         SELECT user_id, 'totp', 'x', 'y' FROM users.users",
    ];
    for role in [
        "blueteam_admin",
        "blueteam_reader",
        "blueteam_ingest",
        "blueteam_engine",
    ] {
        let mut asker = db.connect_as(role).await;
        for sql in secret {
            let error = refusal(&mut asker, sql).await;
            assert!(
                error.contains("permission denied"),
                "{role}: {sql}: {error}"
            );
        }
    }

    // And who signs people in administers nobody.
    let mut door = db.connect_as("blueteam_accounts").await;
    for sql in [
        "UPDATE users.users SET role = 'system_admin'",
        "UPDATE users.users SET is_active = true",
        "INSERT INTO users.users (username, email) VALUES ('x', 'x@y.test')",
        "INSERT INTO users.enrollment_links (user_id, token_hash, purpose)
         SELECT user_id, sha256('x'), 'enroll' FROM users.users",
        "UPDATE users.password_policies SET min_length = 8",
        "SELECT FROM blueteam.alert_history",
        "SELECT FROM audit.audit_log",
    ] {
        let error = refusal(&mut door, sql).await;
        assert!(error.contains("permission denied"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn the_program_and_the_database_agree_on_what_is_strong() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    let mut runner = TestRunner::new(Config::default());
    let any = (
        "[a-zA-Z0-9 !\u{e9}\u{df}\u{130}\u{ff21}\u{661}\n\t]{0,20}|[a-z]{0,16}|\\PC{0,14}",
        -1_i32..20,
        any::<[bool; 4]>(),
    );
    let cases: Vec<(String, i32, [bool; 4])> = (0..10_000)
        .map(|_| any.new_tree(&mut runner).unwrap().current())
        .collect();

    let texts: Vec<&str> = cases.iter().map(|case| case.0.as_str()).collect();
    let lengths: Vec<i32> = cases.iter().map(|case| case.1).collect();
    let flags = |i: usize| cases.iter().map(|case| case.2[i]).collect::<Vec<bool>>();
    let found: Vec<bool> = sqlx::query_scalar(
        "SELECT users.validate_password_strength(p, n, a, b, c, d)
         FROM unnest($1::text[], $2::integer[], $3::bool[], $4::bool[], $5::bool[], $6::bool[])
             WITH ORDINALITY AS t (p, n, a, b, c, d, place)
         ORDER BY place",
    )
    .bind(texts)
    .bind(lengths)
    .bind(flags(0))
    .bind(flags(1))
    .bind(flags(2))
    .bind(flags(3))
    .fetch_all(&mut conn)
    .await
    .unwrap();

    for ((password, length, [uppercase, lowercase, numbers, special_chars]), strong) in
        cases.iter().zip(&found)
    {
        let required = RequiredClasses {
            uppercase: *uppercase,
            lowercase: *lowercase,
            numbers: *numbers,
            special_chars: *special_chars,
        };
        assert_eq!(
            is_strong_enough(password, *length, required),
            *strong,
            "{password:?} {length} {required:?}"
        );
    }
    assert!(found.iter().any(|strong| *strong) && found.iter().any(|strong| !strong));
}
