//! The example application: a process of its own, talked to over its port, killed and started
//! again.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::door::{Database, Door, nowhere};

struct App {
    child: Child,
    out: BufReader<ChildStdout>,
    to: SocketAddr,
}

impl App {
    fn start(spool: &Path, env: &[(&str, &str)]) -> Self {
        // Beside this test in the target directory; Cargo builds examples together with tests.
        let program: PathBuf = std::env::current_exe()
            .unwrap()
            .ancestors()
            .nth(2)
            .unwrap()
            .join("examples/audited-app");
        let mut command = Command::new(&program);
        command
            .env("LISTEN", "127.0.0.1:0")
            .env("AUDIT_SPOOL", spool)
            .envs(env.iter().copied())
            .stdout(Stdio::piped());

        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();

        let to = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("{line}"))
            .parse()
            .unwrap();
        Self { child, out, to }
    }

    fn get(&self, line: &str, head: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(self.to).unwrap();
        let length = body.len();
        write!(
            stream,
            "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: \
                {length}\r\n{head}\r\n{body}"
        )
        .unwrap();

        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_default();
        answer
            .get(9..12)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn end(mut self) -> String {
        assert!(
            Command::new("kill")
                .arg(self.child.id().to_string())
                .status()
                .unwrap()
                .success()
        );

        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());

        rest
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn its_requests_are_in_the_table() {
    let db = Database::new().await;
    let spool = tempfile::tempdir().unwrap();
    let app = App::start(spool.path(), &[("AUDIT_DATABASE_URL", &db.writer().await)]);
    let alice = "Authorization: Bearer alice\r\nX-Forwarded-For: 198.51.100.9\r\n";
    assert_eq!(app.get("POST /login", "", "alice"), 204);
    assert_eq!(app.get("POST /login", "", "mallory"), 401);
    assert_eq!(app.get("GET /documents/7?token=secret", alice, ""), 200);
    assert_eq!(app.get("GET /documents/7/export", alice, ""), 200);

    assert_eq!(app.get("GET /documents/7", "", ""), 401);
    assert_eq!(app.get("GET /nowhere", "X-Session-Name: s9\r\n", ""), 404);
    app.get("GET /fall", "", "");
    let said = app.end();
    assert_eq!(said.trim(), "11 audit events sent, 0 spooled");

    let rows = db.rows("").await;
    let says = |row: &serde_json::Value| {
        let cui = if row["cui_accessed"] == true {
            " CUI"
        } else {
            ""
        };

        format!(
            "{} {} {}{cui}",
            row["action"], row["resource_id"], row["result"]
        )
        .replace('"', "")
    };

    let said: Vec<String> = rows.iter().map(says).collect();
    let expect = [
        "login null success",
        "api_request /login success",
        "login_failed null failure",
        "api_request /login denied",
        "api_request /documents/7 success CUI",
        "export_data 7 success CUI",
        "api_request /documents/7 denied",
        "api_request /nowhere failure",
        "api_request /fall failure",
    ];

    assert_eq!(said, expect);
    assert_eq!(rows[2]["metadata"]["username"], "mallory");
    assert_eq!(rows[4]["ip_address"], "198.51.100.9");
    assert_eq!(rows[4]["user_id"], "019a0000-0000-7000-8000-000000000001");
    assert_eq!(rows[5]["metadata"]["bytes"], 1100);
    assert_eq!(
        (&rows[6]["user_id"], &rows[7]["session_id"]),
        (&json!(null), &json!("s9"))
    );

    assert!(!format!("{rows:?}").contains("secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_it_loses_nothing_that_reached_the_spool() {
    let db = Database::new().await;
    let spool = tempfile::tempdir().unwrap();
    let (to, key) = (nowhere(), crate::door::mint(&db.pool).await);
    let url = format!("http://{to}");
    let env = [("AUDIT_URL", &*url), ("AUDIT_KEY", &*key)];

    let app = App::start(spool.path(), &env);
    for n in 0..50 {
        assert_eq!(
            app.get(
                &format!("GET /documents/{n}"),
                "Authorization: Bearer bob\r\n",
                ""
            ),
            200
        );
    }

    // Several times the interval after which the queue is on disk.
    tokio::time::sleep(Duration::from_millis(500)).await;
    app.kill();
    let door = Door::open(&db, to, |_| {}).await;
    let app = App::start(spool.path(), &env);
    assert_eq!(app.get("GET /", "", ""), 200);

    let rows = db.wait("api_request", 51).await;
    // And killed again right after all was sent: what is sent twice counts once.
    app.kill();
    let app = App::start(spool.path(), &env);
    app.end();
    let mut paths: Vec<_> = rows
        .iter()
        .map(|row| row["resource_id"].as_str().unwrap().to_owned())
        .collect();
    paths.sort();

    let mut expect: Vec<_> = (0..50)
        .map(|n| format!("/documents/{n}"))
        .chain(["/".to_owned()])
        .collect();
    expect.sort();
    assert_eq!(paths, expect);
    assert_eq!(db.rows("api_request").await.len(), 51);

    let starts = db.wait("audit_start", 3).await;
    for start in &starts {
        let producer = start["metadata"]["producer"].as_str().unwrap();
        db.assert_whole(producer).await;
    }

    let unclean = starts
        .iter()
        .filter(|start| start["metadata"]["unclean_end_of"].is_array())
        .count();
    assert_eq!((unclean, db.rows("audit_stop").await.len()), (2, 1));
    door.close().await;
}
