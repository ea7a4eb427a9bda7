//! What AuditLogger.php does when the database hangs, restarts, or refuses a line, by a real PHP
//! and a real server that is stopped.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster::{Cluster, ClusterConfig, Login};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};

use crate::php::file;

/// What a page waits for the database at most, and what starting PHP takes on a busy machine.
const WAIT: Duration = Duration::from_secs(2);
const START: Duration = Duration::from_millis(2500);

/// A server of one test's own, which it may stop, with a login for PHP and a spool.
struct Site {
    cluster: Cluster,
    dir: tempfile::TempDir,
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        let config = ClusterConfig {
            durable: false,
            ..ClusterConfig::new(dir.path().join("state"))
        };

        let site = Self {
            cluster: Cluster::start(config).await.unwrap(),
            dir,
        };

        let mut admin = site
            .cluster
            .options(Login::Owner, "postgres")
            .unwrap()
            .connect()
            .await
            .unwrap();
        store::ensure_database(&mut admin, "app").await.unwrap();

        let mut conn = site.superuser().await;
        store::migrate(&mut conn).await.unwrap();
        sql(
            &mut conn,
            "CREATE ROLE web LOGIN PASSWORD 'w' IN ROLE eqmon_audit_writer",
        )
        .await;

        site
    }

    async fn superuser(&self) -> PgConnection {
        self.cluster
            .options(Login::Owner, "app")
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    fn spool(&self) -> String {
        self.dir.path().join("events.ndjson").display().to_string()
    }

    /// PHP with the settings of the site.
    fn php(&self, options: &[&str]) -> Command {
        let server = self.cluster.options(Login::Owner, "app").unwrap();
        let socket = server.get_socket().unwrap().display();
        let mut command = Command::new("php");
        command
            .args(options)
            .args(["-d", "display_errors=stderr", "-d", "error_reporting=-1"])
            .env(
                "AUDIT_DSN",
                format!("pgsql:host={socket};port={};dbname=app", server.get_port()),
            )
            .env("AUDIT_DB_USER", "web")
            .env("AUDIT_DB_PASSWORD", "w")
            .env("AUDIT_SPOOL", self.spool())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());

        command
    }

    fn start(&self, options: &[&str], script: &str) -> Child {
        let page = format!(
            "require '{}'; {script} echo 'page';",
            file("AuditLogger.php")
        );
        let page = self.php(options).args(["-r", &page]).spawn();
        page.unwrap_or_else(|error| panic!("php: {error}; scripts/setup --tests installs it"))
    }

    fn run(&self, script: &str) -> (String, String) {
        ended(self.start(&[], script))
    }

    /// What cron runs; returns its exit code.
    fn drain(&self) -> i32 {
        let out = self.php(&[]).arg(file("AuditLogger.php")).output().unwrap();
        out.status.code().unwrap()
    }

    /// Stops the server and all its processes, or lets them go on.
    fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let server = self.cluster.pid();
        let kill = |pid: &str| {
            Command::new("kill")
                .args([signal, pid])
                .stderr(Stdio::null())
                .status()
                .unwrap()
                .success()
        };

        assert!(kill(&server.to_string()));
        let children =
            std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();

        // One may just have ended.
        children.split_whitespace().for_each(|child| {
            kill(child);
        });
    }

    async fn numbers(&self) -> Vec<i64> {
        let numbers =
            "SELECT (metadata->>'n')::bigint FROM audit_events WHERE metadata ? 'n' ORDER BY 1";
        sqlx::query_scalar(numbers)
            .fetch_all(&mut self.superuser().await)
            .await
            .unwrap()
    }

    fn age_mark(&self) {
        let old = std::time::SystemTime::now() - Duration::from_mins(1);
        let mark = std::fs::File::options()
            .write(true)
            .open(self.spool() + ".away")
            .unwrap();
        mark.set_modified(old).unwrap();
    }
}

/// A server that is stopped cannot end.
impl Drop for Site {
    fn drop(&mut self) {
        if self.cluster.is_alive() {
            self.freeze(false);
        }
    }
}

async fn sql(conn: &mut PgConnection, text: &str) {
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(text.to_owned()))
        .execute(conn)
        .await
    {
        panic!("{text}: {error}");
    }
}

/// What a page printed, and its error log.
fn ended(page: Child) -> (String, String) {
    let out = page.wait_with_output().unwrap();
    let (page, log) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert!(out.status.success(), "{page}{log}");
    (page.into_owned(), log.into_owned())
}

fn log(n: i64) -> String {
    format!("AuditLogger::log('access', 'page_view', 'success', null, ['n' => {n}]);")
}

/// Waits for a file that the page writes, or for the test to write one.
fn wait_for(path: &Path) {
    let since = Instant::now();
    while !path.exists() {
        assert!(
            since.elapsed() < Duration::from_secs(30),
            "{} does not come",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_answer_costs_each_page_one_wait() {
    let site = Site::new().await;
    let go = site.dir.path().join("go");

    // Each page has a connection when the server stops, and then tells of five events.
    let page = |n: i64| {
        let ready = site.dir.path().join(format!("ready{n}"));
        let script = format!(
            "{} touch('{}'); while (!file_exists('{}')) {{ usleep(1000); clearstatcache(); }}
             foreach (range(1, 5) as $i) {{ {} }}",
            log(n),
            ready.display(),
            go.display(),
            log(0).replace("=> 0", &format!("=> {n} + $i")),
        );
        let page = site.start(&[], &script);

        wait_for(&ready);
        page
    };

    let pages: Vec<_> = [10, 20, 30].map(page).into();
    site.freeze(true);
    let since = Instant::now();
    std::fs::write(&go, "").unwrap();
    let mut waited = 0;
    for page in pages {
        let (out, log) = ended(page);
        assert!(out == "page" && log.lines().count() <= 1, "{log}");
        // A page that came late, on a busy machine, found that another had waited.
        waited += usize::from(log.contains("did not answer within 2 s"));
        assert!(since.elapsed() < WAIT + START, "{:?}", since.elapsed());
    }

    assert!(waited > 0);

    // From then on one worker at a time tries, and the others go on without.
    site.age_mark();
    let since = Instant::now();
    let pages: Vec<_> = (41..=44).map(|n| site.start(&[], &log(n))).collect();
    let tried = pages
        .into_iter()
        .map(ended)
        .filter(|(_, log)| !log.is_empty())
        .count();
    assert_eq!(tried, 1);

    assert!(
        since.elapsed() < Duration::from_secs(3) + START,
        "a connection may take a second more: {:?}",
        since.elapsed()
    );

    let since = Instant::now();
    assert_eq!(site.run(&log(45)), ("page".to_owned(), String::new()));
    assert!(since.elapsed() < START, "{:?}", since.elapsed());

    site.freeze(false);
    assert_eq!(site.drain(), 0);
    let all: Vec<_> = [10, 20, 30]
        .into_iter()
        .flat_map(|n| n..=n + 5)
        .chain(41..=45)
        .collect();
    assert_eq!(site.numbers().await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_pdo_alone_pages_never_ask_the_database() {
    let site = Site::new().await;
    let pdo = ["-n", "-d", "extension=pdo", "-d", "extension=pdo_pgsql"];
    let (out, errors) = ended(site.start(
        &pdo,
        &format!(
            "{} echo function_exists('pg_pconnect') ? 'pgsql ' : '';",
            log(1)
        ),
    ));
    assert_eq!((&*out, &*errors), ("page", ""));

    assert_eq!(
        site.numbers().await,
        [1],
        "brought in at the end of the page"
    );

    site.freeze(true);
    // One of them waits, after its page, for as long as the server is stopped.
    let mut pages: Vec<_> = (2..=6).map(|n| site.start(&pdo, &log(n))).collect();
    let since = Instant::now();
    while pages.len() > 1 {
        assert!(since.elapsed() < WAIT + START, "{} pages wait", pages.len());
        pages.retain_mut(|page| page.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }

    site.freeze(false);
    for page in pages {
        drop(ended(page));
    }

    assert_eq!(site.drain(), 0);
    assert_eq!(site.numbers().await, (1..=6).collect::<Vec<_>>());

    // After an outage that was noticed, each page brings lines in again.
    std::fs::write(site.spool() + ".away", "").unwrap();
    site.age_mark();
    for n in 7..=8 {
        assert_eq!(
            ended(site.start(&pdo, &log(n))),
            ("page".to_owned(), String::new())
        );
    }

    assert_eq!(site.numbers().await, (1..=8).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_kept_over_a_restart_costs_no_event() {
    let site = Site::new().await;
    let (ready, go) = (site.dir.path().join("ready"), site.dir.path().join("go"));
    let script = format!(
        "{} touch('{}'); while (!file_exists('{}')) {{ usleep(1000); clearstatcache(); }} {}",
        log(1),
        ready.display(),
        go.display(),
        log(2)
    );
    let pages: Vec<_> = (0..4).map(|_| site.start(&[], &script)).collect();

    wait_for(&ready);
    while site.numbers().await.len() < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    sql(
        &mut site.superuser().await,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'web'",
    )
    .await;
    std::fs::write(&go, "").unwrap();

    for page in pages {
        assert_eq!(ended(page), ("page".to_owned(), String::new()));
    }

    assert_eq!(site.numbers().await, [1, 1, 1, 1, 2, 2, 2, 2]);
    assert!(
        !Path::new(&(site.spool() + ".away")).exists(),
        "nobody was barred"
    );
}

fn line(n: i64, metadata: &Value) -> String {
    let mut event = json!({"event_id": format!("019a0000-0000-7000-8000-{n:012}"), "timestamp": "2026-03-05T00:00:00Z",
        "category": "access", "action": "page_view", "result": "success", "cui_accessed": true, "metadata": {"n": n}});
    for (key, value) in metadata.as_object().unwrap() {
        event["metadata"][key] = value.clone();
    }
    format!("{event}\n")
}

/// A trigger of the application's own: raises what an event names, or takes its time.
const TRIGGER: &str = "
    CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.metadata ? 'sleep' THEN PERFORM pg_sleep(30); END IF;
        IF NEW.metadata ? 'raise' THEN RAISE EXCEPTION 'no' USING ERRCODE = \
        NEW.metadata->>'raise'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER picky BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION picky()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_the_table_refuses_stops_no_other() {
    let site = Site::new().await;
    sql(&mut site.superuser().await, TRIGGER).await;
    let states = [
        "P0001", "54000", "22023", "23514", "0A000", "42501", "42P01", "40001", "55P03", "25006",
        "XX000", "57014",
    ];
    let mut spool = String::new();
    let mut bad: Vec<String> = states
        .iter()
        .zip(0..)
        .map(|(state, n)| line(n, &json!({"raise": state})))
        .collect();

    // Nor does what is no event, or not storable for another reason.
    bad.push(line(50, &json!({"big": 0})).replace("\"big\":0", "\"big\":1e999"));
    bad.push(line(51, &json!({})).replace("\"page_view\"", "{\"a\":1}"));
    bad.push("[1, 2\n".to_owned());
    bad.push(line(52, &json!({"sleep": true})));
    bad.push(line(53, &json!({"long": "x".repeat(200_000)})));

    for (line_, n) in bad.iter().zip(100..) {
        spool += line_;
        spool += &line(n, &json!({}));
    }

    std::fs::write(site.spool(), &spool).unwrap();
    assert_eq!(site.drain(), 1, "lines were set aside");
    assert_eq!(
        site.numbers().await,
        (100..100 + bad.len() as i64).collect::<Vec<_>>()
    );

    let refused = std::fs::read_to_string(site.spool() + ".refused").unwrap();
    let mut refused: Vec<_> = refused.split_inclusive('\n').collect();
    refused.sort_unstable();
    bad.sort_unstable();
    assert_eq!(refused, bad);

    let (out, _) = site.run("echo json_encode(AuditLogger::status());");
    assert_eq!(
        out,
        format!(
            "{{\"spooled\":0,\"refused\":{},\"away\":false}}page",
            bad.len()
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_refused_bars_nobody() {
    let site = Site::new().await;
    sql(&mut site.superuser().await, TRIGGER).await;
    let poison =
        "AuditLogger::log('access', 'page_view', 'success', null, ['n' => 1, 'raise' => 'P0001']);";
    let (out, errors) = site.run(&format!("{poison} {}", log(2)));
    assert!(
        out == "page" && errors.lines().count() == 1 && errors.contains("refused"),
        "{errors}"
    );

    assert_eq!(site.numbers().await, [2]);
    let left = std::fs::read_to_string(site.spool() + ".refused").unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&left).unwrap()["metadata"]["n"],
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_nobody_could_insert_now_stay() {
    let site = Site::new().await;
    let mut conn = site.superuser().await;
    sql(&mut conn, "REVOKE eqmon_audit_writer FROM web").await;
    std::fs::write(
        site.spool(),
        (1..=5).map(|n| line(n, &json!({}))).collect::<String>(),
    )
    .unwrap();

    assert_eq!(site.drain(), 2, "lines are left");
    let (out, _) = site.run(&format!("{} echo AuditLogger::drain(), ' ';", log(6)));
    assert_eq!(out, "0 page");
    assert!(!Path::new(&(site.spool() + ".refused")).exists());
    sql(&mut conn, "GRANT eqmon_audit_writer TO web").await;
    assert_eq!(site.drain(), 0);
    assert_eq!(site.numbers().await, (1..=6).collect::<Vec<_>>());
}
