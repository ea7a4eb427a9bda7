//! The PHP files, by a real PHP.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::door::Database;

/// A file of `clients/php`.
pub(crate) fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../clients/php")
        .join(name)
        .display()
        .to_string()
}

pub(crate) fn command(env: &[(&str, &str)]) -> Command {
    let mut command = Command::new("php");
    command
        .args(["-d", "display_errors=stderr", "-d", "error_reporting=-1"])
        .envs(env.iter().copied());
    command
}

/// Runs PHP to its end; returns what it printed. Its error log is standard error.
fn run(args: &[&str], env: &[(&str, &str)]) -> (String, String) {
    let done = command(env).args(args).output();
    let done =
        done.unwrap_or_else(|error| panic!("php: {error}; scripts/setup --tests installs it"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (out, log) = (text(done.stdout), text(done.stderr));
    assert!(done.status.success(), "{out}{log}");
    (out, log)
}

/// The same, with nothing in the error log.
pub(crate) fn php(args: &[&str], env: &[(&str, &str)]) -> String {
    let (out, log) = run(args, env);
    assert_eq!(log, "", "{out}");
    out
}

/// A database with a login for PHP, and a spool.
pub(crate) struct Page {
    pub(crate) db: Database,
    dsn: String,
    user: String,
    spool: tempfile::TempDir,
}

impl Page {
    pub(crate) async fn new() -> Self {
        let db = Database::new().await;
        db.writer().await;
        let options = db.db.options();
        let socket = options
            .get_socket()
            .map(|dir| dir.display().to_string())
            .unwrap();
        let name = options.get_database().unwrap().to_owned();
        let dsn = format!(
            "pgsql:host={socket};port={};dbname={name}",
            options.get_port()
        );

        Self {
            db,
            dsn,
            user: format!("w_{name}"),
            spool: tempfile::tempdir().unwrap(),
        }
    }

    fn spool(&self) -> String {
        self.spool
            .path()
            .join("events.ndjson")
            .display()
            .to_string()
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.spool()).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Runs a script that has the class and the settings; returns what it printed and its error
    /// log.
    fn run(&self, script: &str) -> (String, String) {
        let spool = self.spool();
        let env = [
            ("AUDIT_DSN", &*self.dsn),
            ("AUDIT_DB_USER", &*self.user),
            ("AUDIT_DB_PASSWORD", "w"),
            ("AUDIT_SPOOL", &spool),
        ];
        let class = file("AuditLogger.php");

        run(
            &["-r", &format!("require '{class}'; {script} echo 'page';")],
            &env,
        )
    }

    /// The same, and the page comes out whole and nothing is in the error log.
    fn quiet(&self, script: &str) {
        assert_eq!(self.run(script), ("page".to_owned(), String::new()));
    }

    pub(crate) fn env(&self, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let own = [
            ("AUDIT_DSN", &*self.dsn),
            ("AUDIT_DB_USER", &*self.user),
            ("AUDIT_DB_PASSWORD", "w"),
        ];
        let mut env: Vec<_> = own
            .iter()
            .chain(more)
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect();

        env.push(("AUDIT_SPOOL", self.spool()));
        env
    }
}

#[tokio::test]
async fn an_event_becomes_a_row_with_all_that_it_said() {
    let page = Page::new().await;
    page.quiet(
        r"$_SERVER = ['REMOTE_ADDR' => '10.0.0.5', 'HTTP_X_FORWARDED_FOR' => '6.6.6.6, 198.51.100.4', 'HTTP_USER_AGENT' => 'curl',
            'REQUEST_URI' => '/api/ai_chat.php?token=secret', 'AUDIT_TRUSTED_PROXIES' => '10.0.0.4, 10.0.0.5'] + $_SERVER;
        AuditLogger::context(['session_id' => 'jti-1', 'instance_id' => '019a0000-0000-7000-8000-0000000000aa', 'role' => 'analyst']);
        AuditLogger::log(AuditLogger::CAT_AI, 'guardrail_triggered', 'denied', '019A0000-0000-7000-8000-000000000001',
            ['rule' => 'export', 'bytes' => 5], true);
        AuditLogger::log('data', 'export_data', 'success', null, ['resource_type' => 'document', 'resource_id' => 7, 'ip_address' => '2001:db8::1']);",
    );

    let rows = page.db.rows("guardrail_triggered").await;
    for (column, expect) in [
        ("category", json!("ai")),
        ("result", json!("denied")),
        ("user_id", json!("019a0000-0000-7000-8000-000000000001")),
        ("session_id", json!("jti-1")),
        ("ip_address", json!("198.51.100.4")),
        ("user_agent", json!("curl")),
        ("resource_type", json!("endpoint")),
        ("resource_id", json!("/api/ai_chat.php")),
        ("instance_id", json!("019a0000-0000-7000-8000-0000000000aa")),
        ("cui_accessed", json!(true)),
        (
            "metadata",
            json!({"rule": "export", "bytes": 5, "role": "analyst"}),
        ),
    ] {
        assert_eq!(rows[0][column], expect, "{column}");
    }

    assert_eq!(
        rows[0]["event_id"].as_str().unwrap().as_bytes()[14],
        b'7',
        "UUIDv7"
    );

    let rows = page.db.rows("export_data").await;
    assert_eq!(
        (&rows[0]["resource_type"], &rows[0]["resource_id"]),
        (&json!("document"), &json!("7"))
    );
    assert_eq!(
        (&rows[0]["ip_address"], &rows[0]["cui_accessed"]),
        (&json!("2001:db8::1"), &json!(false))
    );

    let drift =
        "SELECT max(abs(extract(epoch FROM created_at - timestamp)))::float8 FROM audit_events";
    let drift: f64 = sqlx::query_scalar(drift)
        .fetch_one(&page.db.pool)
        .await
        .unwrap();
    assert!(drift < 5.0, "UTC, whatever the time zone: {drift}");
}

#[tokio::test]
async fn hostile_values_cost_no_event_and_no_page() {
    let page = Page::new().await;
    page.quiet(
        r#"date_default_timezone_set('Asia/Tokyo');
        set_error_handler(function ($level, $text) { throw new ErrorException($text); });
        $_SERVER['HTTP_USER_AGENT'] = str_repeat("\u{fc}", 600) . "\xff";
        AuditLogger::log('nonsense', "a\0b", 'maybe', "x' OR 1=1 --", ['n' => 1, 'ip_address' => 'unknown', 'bad' => "\xff\0", "k\0" => '\u0000',
            'session_id' => str_repeat('é', 2000), 'inf' => INF, 'producer' => fopen('php://memory', 'r')]);
        AuditLogger::log('access', '', 'success', null, ['n' => 2, 'big' => str_repeat('x', 70000)]);
        $deep = []; for ($i = 0; $i < 60; $i++) { $deep = [$deep]; }
        AuditLogger::log('access', str_repeat('€', 100), 'success', null, ['n' => 3, 'deep' => $deep]);
        AuditLogger::log('access', 'page_view', 'success', null, []);"#,
    );

    let rows = page.db.rows("").await;
    assert_eq!(rows.len(), 4, "{rows:?}");
    let row = |action: &str| {
        rows.iter()
            .find(|row| row["action"] == action)
            .unwrap_or_else(|| panic!("{action}: {rows:?}"))
    };

    let odd = row("a\u{fffd}b");
    assert_eq!(
        (&odd["category"], &odd["result"], &odd["user_id"]),
        (&json!("system"), &json!("failure"), &json!(null))
    );
    assert_eq!(
        odd["metadata"]["as_given"],
        json!({"user": "x' OR 1=1 --", "result": "maybe", "category": "nonsense", "ip_address": "unknown"})
    );

    assert_eq!(
        (&odd["metadata"]["bad"], &odd["metadata"]["k\u{fffd}"]),
        (&json!("\u{fffd}\u{fffd}"), &json!("\\u0000"))
    );
    assert_eq!(odd["user_agent"].as_str().unwrap().chars().count(), 500);
    assert!(odd["session_id"].as_str().unwrap().len() <= 1024);
    let big = &row("unnamed")["metadata"];
    assert_eq!(
        (&big["n"], &big["metadata_cut"]),
        (&json!(2), &json!(["big"]))
    );
    assert_eq!(big["big"].as_str().unwrap().len(), 16384);
    assert!(
        rows.iter().any(
            |row| row["action"].as_str().unwrap().starts_with('€') && row["metadata"]["n"] == 3
        )
    );

    assert_eq!(row("page_view")["metadata"], json!({}));
}

/// Whoever makes the metadata too large hides neither who it was nor how much was taken.
#[tokio::test]
async fn metadata_that_is_too_much_keeps_what_the_rules_need() {
    let page = Page::new().await;
    page.quiet(
        r#"class Throws implements JsonSerializable { public function jsonSerialize(): mixed { throw new Exception('x'); } }
        $deep = 'end'; for ($i = 0; $i < 600; $i++) { $deep = [$deep]; }
        $much = []; for ($i = 0; $i < 5000; $i++) { $much["k$i"] = str_repeat('m', 300); }
        $who = ['username' => 'eve', 'bytes' => 12345];
        AuditLogger::log('data', 'many_fields', 'success', null, $much + $who);
        AuditLogger::log('data', 'long_text', 'success', null, ['q' => str_repeat('x', 200000)] + $who);
        AuditLogger::log('data', 'deep', 'success', null, ['deep' => $deep, 'deeper' => [[$deep]]] + $who);
        AuditLogger::log('data', 'throws', 'success', null, ['t' => new Throws(), 'in' => [new Throws(), 1]] + $who);
        AuditLogger::log('data', 'many_texts', 'success', null, array_fill(0, 100, str_repeat('y', 5000)) + $who);
        AuditLogger::log('data', 'columns', 'success', null, ['user_id' => 'u7', 'action' => 'other', 'timestamp' => 'then',
            'resource_id' => ['a', 'list'], 'instance_id' => 'none', 'ip_address' => '1.2.3.4.5'] + $who);"#,
    );

    let rows = page.db.rows("").await;
    assert_eq!(rows.len(), 6, "{rows:?}");
    let metadata = |action: &str| {
        let row = rows.iter().find(|row| row["action"] == action);
        row.unwrap_or_else(|| panic!("{action}: {rows:?}"))["metadata"].clone()
    };

    for row in &rows {
        let metadata = &row["metadata"];
        assert_eq!(
            (&metadata["username"], &metadata["bytes"]),
            (&json!("eve"), &json!(12345)),
            "{metadata}"
        );
        assert!(metadata.to_string().len() <= 64 * 1024);
        assert_eq!(
            metadata.get("metadata_cut").is_some(),
            row["action"] != "columns"
        );
    }

    assert_eq!(metadata("deep")["metadata_cut"], json!(["deep", "deeper"]));
    assert_eq!(metadata("throws")["in"], json!([null, 1]));
    assert_eq!(
        metadata("many_texts")["metadata_cut"]
            .as_array()
            .unwrap()
            .len(),
        20
    );
    assert_eq!(
        metadata("columns")["as_given"],
        json!({"user_id": "u7", "action": "other", "timestamp": "then",
            "resource_id": ["a", "list"], "instance_id": "none", "ip_address": "1.2.3.4.5"})
    );
}

/// Azure's gateways write `address:port`, RFC 7239 brackets.
#[tokio::test]
async fn forwarded_addresses_may_have_ports_brackets_and_zones() {
    let page = Page::new().await;
    let cases = [
        ("198.51.100.4:51234", Some("198.51.100.4")),
        ("[2001:db8::7]:443", Some("2001:db8::7")),
        ("[2001:db8::7]", Some("2001:db8::7")),
        ("fe80::1%eth0", Some("fe80::1")),
        ("2001:db8::7", Some("2001:db8::7")),
        ("6.6.6.6, 198.51.100.4:1", Some("198.51.100.4")),
        ("198.51.100.4:x", None),
        ("unknown", None),
    ];
    let calls: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(n, (header, _))| {
            format!(
                "$_SERVER = ['REMOTE_ADDR' => '10.0.0.5', 'HTTP_X_FORWARDED_FOR' => '{header}', 'AUDIT_TRUSTED_PROXIES' => '10.0.0.5'] + $_SERVER;
                AuditLogger::log('access', 'call_{n}', 'success', null);"
            )
        })
        .collect();
    page.quiet(&calls.concat());

    let rows = page.db.rows("").await;
    for (n, (header, expected)) in cases.iter().enumerate() {
        let row = rows.iter().find(|row| row["action"] == format!("call_{n}"));
        let address = row.unwrap()["ip_address"].as_str().unwrap().to_owned();
        assert_eq!(
            address.split('/').next(),
            expected.or(Some("10.0.0.5")),
            "{header}"
        );
    }
}

#[tokio::test]
async fn while_the_database_is_away_lines_are_spooled_and_come_back_once() {
    let page = Page::new().await;
    page.db.set_away(true).await;
    let script = "foreach (range(1, 300) as $n) \
        { AuditLogger::log('access', 'page_view', 'success', null, ['n' => $n]); }";
    let (out, log) = page.run(script);
    assert_eq!(out, "page");

    // Asked once, and not again for some seconds: no page waits for a database that is away.
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(
        log.contains("AuditLogger exception: PDOException: ") && log.contains("spooled"),
        "{log}"
    );

    let lines = page.lines();
    assert!(
        lines.len() == 300
            && lines
                .iter()
                .enumerate()
                .all(|(n, line)| line["metadata"]["n"] == n + 1)
    );

    assert!(log.contains(lines[0]["event_id"].as_str().unwrap()));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(page.spool()).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    assert!(page.db.rows("").await.is_empty());

    page.db.set_away(false).await;
    page.quiet("AuditLogger::log('access', 'page_view', 'success', null, ['n' => 301]);");
    assert_eq!(page.lines().len(), 301, "still within the pause");
    std::fs::remove_file(page.spool() + ".away").unwrap();

    // One line is in the table already: a page was killed after its insert.
    let sql = "INSERT INTO audit_events (event_id, timestamp, category, action, result, metadata)
               SELECT ($1->>'event_id')::uuid, ($1->>'timestamp')::timestamptz, 'access', \
               'page_view', 'success', $1->'metadata'";
    sqlx::query(sql)
        .bind(&lines[7])
        .execute(&page.db.pool)
        .await
        .unwrap();

    page.quiet("AuditLogger::log('access', 'page_view', 'success', null, ['n' => 302]);");
    assert_eq!(
        page.db.rows("page_view").await.len(),
        201,
        "a part at the end of each page: 200 lines and the new one"
    );
    page.quiet("AuditLogger::log('access', 'page_view', 'success', null, ['n' => 303]);");

    let mut rows: Vec<_> = page
        .db
        .rows("page_view")
        .await
        .iter()
        .map(|row| row["metadata"]["n"].as_u64().unwrap())
        .collect();
    rows.sort_unstable();

    assert_eq!(rows, (1..=303).collect::<Vec<_>>());
    let left: Vec<_> = std::fs::read_dir(page.spool.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["events.ndjson.lock"]);
}

#[tokio::test]
async fn a_line_that_the_table_refuses_is_set_apart_and_a_full_disk_costs_no_page() {
    let page = Page::new().await;
    let good = json!({"event_id": "019a0000-0000-7000-8000-000000000001", "timestamp": "2026-03-05T00:00:00Z", "category": "access",
        "action": "page_view", "result": "success", "cui_accessed": true, "metadata": {}});
    let mut bad = good.clone();
    bad["user_id"] = json!("nobody");
    std::fs::write(page.spool(), format!("{bad}\n{good}\n{{\"half")).unwrap();

    let (out, log) = page.run("echo AuditLogger::drain(), ' ';");
    assert_eq!(out, "3 page");
    assert!(
        log.lines().count() == 1 && log.contains("event refused for good"),
        "{log}"
    );
    assert_eq!(page.db.rows("page_view").await.len(), 1);
    assert_eq!(
        std::fs::read_to_string(page.spool() + ".refused").unwrap(),
        format!("{bad}\n")
    );

    page.db.set_away(true).await;
    let gone = "AuditLogger::configure(['spool' => '/nonexistent/events.ndjson']);
        AuditLogger::log('access', 'page_view', 'success', null);";
    let (out, log) = page.run(gone);
    assert!(
        out == "page"
            && log.contains("AuditLogger exception: RuntimeException")
            && log.contains("event lost"),
        "{log}"
    );

    let unset = "AuditLogger::configure(['dsn' => '']); AuditLogger::log('access', 'page_view', \
        'success', null);";
    let (out, log) = page.run(unset);
    assert!(out == "page" && log.contains("spooled"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_at_once_lose_nothing_while_the_spool_is_brought_in() {
    let page = Page::new().await;
    // Each process takes the database for away half of the time, so that spooling and draining
    // meet.
    let script = "foreach (range(1, 200) as $n) {
            if ($n % 20 == 0) { @touch(getenv('AUDIT_SPOOL') . '.away'); }
            if ($n % 20 == 10) { @unlink(getenv('AUDIT_SPOOL') . '.away'); AuditLogger::drain(); }
            AuditLogger::log('access', 'page_view', 'success', null, ['p' => getmypid(), 'n' => \
            $n]);
        }";
    let pages: Vec<(String, String)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| page.run(script))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });

    assert!(
        pages
            .iter()
            .all(|(out, log)| out == "page" && log.is_empty()),
        "{pages:?}"
    );
    page.quiet("@unlink(getenv('AUDIT_SPOOL') . '.away'); while (AuditLogger::drain()) {}");

    let sql = "SELECT count(*), count(DISTINCT (metadata->>'p', metadata->>'n')) FROM audit_events";
    let counts: (i64, i64) = sqlx::query_as(sql).fetch_one(&page.db.pool).await.unwrap();
    assert_eq!(counts, (800, 800));
}
