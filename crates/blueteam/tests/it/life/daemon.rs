//! The program under test, and what tests ask it and its database.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::sleep;

use super::migrated_state;

const PROGRAM: &str = env!("CARGO_BIN_EXE_blueteam");

/// The program: `BLUETEAM_TEST_PROGRAM`, such as a release build whose figures mean something, or
/// the one that was built with the tests.
fn program() -> PathBuf {
    std::env::var_os("BLUETEAM_TEST_PROGRAM").map_or_else(|| PROGRAM.into(), PathBuf::from)
}

/// How long anything may take on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// A daemon with its state directory. Dropped, both are gone, and its PostgreSQL.
pub(super) struct Daemon {
    dir: tempfile::TempDir,
    pub(super) port: u16,
    child: Option<Child>,
    starts: u32,
    /// The command that runs it: `serve` or `monitor`.
    runs: &'static str,
    /// The spool lies on a file system of its own of that many KiB, which lasts as long as the
    /// daemon.
    spool_disk: Option<u32>,
    /// A folder whose programs stand in for those of the system.
    tools: Option<PathBuf>,
}

impl Daemon {
    /// A running daemon with `more` in its configuration file.
    pub(super) async fn new(more: &str) -> Self {
        Self::on_disk(more, None, None).await
    }

    /// The same without the HTTP server.
    pub(super) async fn monitor(more: &str) -> Self {
        let more = format!("[detection]\nexpected_sources = []\n{more}");
        let mut daemon = Self::prepared(&more, None, None);
        migrated_state::copy_into(daemon.dir.path(), &program());
        daemon.runs = "monitor";
        daemon.start().await;
        daemon
    }

    /// The same, with programs that stand in for those of the system.
    pub(super) async fn with_tools(more: &str, tools: &Path) -> Self {
        Self::on_disk(more, None, Some(tools.to_owned())).await
    }

    /// The same, with that certificate for the door.
    pub(super) async fn with_tls(files: &str, more: &str) -> Self {
        let mut daemon = Self::prepared(
            &format!("{files}[detection]\nexpected_sources = []\n{more}"),
            None,
            None,
        );
        daemon.start().await;
        daemon
    }

    /// A running daemon that expects its sources to speak, with `detection` as that section.
    pub(super) async fn expecting(detection: &str, more: &str) -> Self {
        let mut daemon = Self::prepared(&format!("{detection}{more}"), None, None);
        daemon.start().await;
        daemon
    }

    /// Has it read its configuration again.
    pub(super) fn hang_up(&self) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), Signal::HUP).unwrap();
    }

    /// Does something while the daemon sees nothing.
    pub(super) fn while_suspended(&self, act: impl FnOnce()) {
        let pid = Pid::from_child(self.child.as_ref().unwrap());
        kill_process(pid, Signal::STOP).unwrap();
        act();
        kill_process(pid, Signal::CONT).unwrap();
    }

    /// The same with a spool on a disk of that many KiB.
    pub(super) async fn with_spool_disk(kib: u32) -> Self {
        Self::on_disk("", Some(kib), None).await
    }

    async fn on_disk(more: &str, spool_disk: Option<u32>, tools: Option<PathBuf>) -> Self {
        // The tests' events are from all kinds of days: silence between them means nothing.
        let more = format!("[detection]\nexpected_sources = []\n{more}");
        let mut daemon = Self::prepared(&more, spool_disk, tools);
        migrated_state::copy_into(daemon.dir.path(), &program());
        daemon.start().await;
        daemon
    }

    fn prepared(more: &str, spool_disk: Option<u32>, tools: Option<PathBuf>) -> Self {
        let mut builder = tempfile::Builder::new();
        let dir = builder
            .prefix("blueteam-life-")
            .permissions(std::fs::Permissions::from_mode(0o711))
            .tempdir()
            .unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();

        let config = format!(
            "[logging]\nfilter = \"info\"\n[ingest]\nlisten = \"127.0.0.1:{port}\"\n{more}"
        );
        std::fs::write(dir.path().join("blueteam.toml"), config).unwrap();

        Self {
            dir,
            port,
            child: None,
            starts: 0,
            runs: "serve",
            spool_disk,
            tools,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(program());
        command
            .env_remove("DATABASE_URL")
            .arg("--state-dir")
            .arg(self.dir.path());
        command.arg("--config").arg(self.path("blueteam.toml"));
        command
    }

    /// [`Self::command`] in a mount namespace of its own, which takes the file system with it when it ends.
    fn on_a_disk_of(&self, kib: u32) -> Command {
        let spool = self.path("spool");
        std::fs::create_dir_all(&spool).unwrap();
        let script =
            format!("mount -t tmpfs -o size={kib}k,mode=700 tmpfs \"$1\" && shift && exec \"$@\"");
        let mut command = private_mounts();
        let inner = self.command();

        command
            .env_remove("DATABASE_URL")
            .args(["sh", "-c", &script, "sh"])
            .arg(spool);
        command.arg(inner.get_program()).args(inner.get_args());

        command
    }

    /// Starts it and waits until it is ready.
    pub(super) async fn start(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("daemon.log"))
            .unwrap();
        self.start_with(log.into()).await;
    }

    /// The same, with a log whose reader has gone.
    pub(super) async fn start_unread(&mut self) {
        self.start_with(Stdio::piped()).await;
    }

    /// A daemon that does not run yet.
    pub(super) fn stopped(more: &str) -> Self {
        let more = format!("[detection]\nexpected_sources = []\n{more}");
        Self::prepared(&more, None, None)
    }

    /// Starts it without waiting until it is ready.
    pub(super) fn start_unready(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("daemon.log"))
            .unwrap();
        self.spawn(log.into());
    }

    async fn start_with(&mut self, log: Stdio) {
        self.spawn(log);
        self.ready().await;
    }

    fn output(&self) -> PathBuf {
        self.path(&format!("out.{}", self.starts))
    }

    fn spawn(&mut self, log: Stdio) {
        self.starts += 1;
        let out = self.output();
        let mut up = self
            .spool_disk
            .map_or_else(|| self.command(), |kib| self.on_a_disk_of(kib));
        if let Some(tools) = &self.tools {
            up.env(
                "PATH",
                format!("{}:{}", tools.display(), std::env::var("PATH").unwrap()),
            );
        }
        up.arg(self.runs)
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(log);
        let mut child = up.spawn().unwrap();
        drop(child.stderr.take());
        self.child = Some(child);
    }

    /// Waits until it is ready.
    pub(super) async fn ready(&mut self) {
        let out = self.output();
        let since = Instant::now();
        while !std::fs::read_to_string(&out)
            .unwrap()
            .contains("blueteam is ready")
        {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && since.elapsed() < PATIENCE,
                "it does not start ({ended:?}):\n{}",
                self.log()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// As `kill -9` does.
    pub(super) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The most memory that it has had at once, in bytes.
    pub(super) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!(
            "/proc/{}/status",
            self.child.as_ref().unwrap().id()
        ))
        .unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// As an init system does; says how it ended.
    pub(super) async fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let since = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }

            assert!(
                since.elapsed() < PATIENCE,
                "it does not stop:\n{}",
                self.log()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The process id of its PostgreSQL, when one runs.
    pub(super) fn postmaster(&self) -> Option<Pid> {
        postmaster(self.dir.path())
    }

    /// A connection as the database's owner.
    pub(super) async fn connect(&self) -> PgConnection {
        let since = Instant::now();
        loop {
            match self.try_connect().await {
                Ok(conn) => return conn,
                Err(error) => assert!(
                    since.elapsed() < PATIENCE,
                    "no connection: {error}\n{}",
                    self.log()
                ),
            }

            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn try_connect(&self) -> Result<PgConnection, sqlx::Error> {
        let password =
            std::fs::read_to_string(self.path("secrets/blueteam_owner.password")).unwrap();
        let options = PgConnectOptions::new()
            .socket(self.path("postgres/run"))
            .port(5432)
            .database("blueteam");
        options
            .username("blueteam_owner")
            .password(password.trim())
            .connect()
            .await
    }

    /// A key with which events may be sent.
    pub(super) fn key(&self) -> String {
        self.key_with(&[])
    }

    /// The same, made with more arguments.
    pub(super) fn key_with(&self, more: &[&str]) -> String {
        let out = self
            .command()
            .args(["keys", "create", "test", "--scope", "events:write"])
            .args(more)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );

        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// Something that sends events.
    pub(super) fn client(&self) -> Client {
        self.client_with(self.key())
    }

    /// The same with that key.
    pub(super) fn client_with(&self, key: String) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Client {
            http,
            url: format!("http://127.0.0.1:{}/v1/events", self.port),
            key,
        }
    }
}

/// Runs a command that may mount what it likes, unseen by others.
pub(super) fn private_mounts() -> Command {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    command
}

fn postmaster(dir: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(dir.join("postgres/data/postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }

        if let Some(pid) = self.postmaster() {
            // An immediate shutdown; its files go next.
            let _ = kill_process(pid, Signal::QUIT);
            let since = Instant::now();
            while self.postmaster().is_some() && since.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Sends events.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Client {
    /// Sends a batch until it is acknowledged, as a good client does.
    pub(super) async fn send(&self, events: &[Value]) {
        let body = serde_json::to_vec(events).unwrap();
        let since = Instant::now();
        loop {
            let request = self
                .http
                .post(&self.url)
                .bearer_auth(&self.key)
                .body(body.clone())
                .send()
                .await;
            if let Ok(response) = request
                && response.status().is_success()
                && let Ok(text) = response.text().await
            {
                let answer: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(answer["rejected"], json!([]), "{answer}");
                return;
            }
            assert!(since.elapsed() < PATIENCE, "no acknowledgment");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Client {
    /// Sends a batch once; returns the status of the answer, none while nobody listens.
    pub(super) async fn try_send(&self, events: &[Value]) -> Option<u16> {
        let body = serde_json::to_vec(events).unwrap();
        let request = self.http.post(&self.url).bearer_auth(&self.key).body(body);
        Some(request.send().await.ok()?.status().as_u16())
    }

    /// Sends a batch again and again until the answer has that status.
    pub(super) async fn answers(&self, events: &[Value], status: u16) {
        let since = Instant::now();
        loop {
            let answer = self.try_send(events).await;
            if answer == Some(status) {
                return;
            }

            assert!(since.elapsed() < PATIENCE, "{answer:?}, never {status}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// A failed login now.
pub(super) fn failure(ip: &str, account: &str) -> Value {
    json!({"category": "auth", "action": "login_failed", "result": "failure", "ip_address": ip, "metadata": {"username": account}})
}

/// Rule, entity and fingerprint of every alert. Fails when one is there twice.
pub(super) async fn alerts(conn: &mut PgConnection) -> BTreeSet<(String, String, uuid::Uuid)> {
    let sql = "SELECT rule_id::text, entity_value, fingerprint FROM blueteam.alert_history";
    let rows: Vec<(String, String, uuid::Uuid)> =
        sqlx::query_as(sql).fetch_all(conn).await.unwrap();
    let (count, set) = (rows.len(), BTreeSet::from_iter(rows));
    assert_eq!(count, set.len(), "an alert is there twice");
    set
}

/// Waits for an alert of that rule about that entity; says how long it took.
pub(super) async fn alert_comes(
    conn: &mut PgConnection,
    rule: &str,
    entity: &str,
    limit: Duration,
) -> Duration {
    let since = Instant::now();
    loop {
        let asked = Instant::now();
        if has_alert(conn, rule, entity).await {
            break;
        }

        assert!(
            since.elapsed() < limit,
            "no alert of {rule} about {entity} within {limit:?}"
        );
        // Among many alerts the question costs something: it must not take the server from those
        // who write them.
        sleep((asked.elapsed() * 10).max(Duration::from_millis(1))).await;
    }

    since.elapsed()
}

pub(super) async fn has_alert(conn: &mut PgConnection, rule: &str, entity: &str) -> bool {
    let sql = "SELECT EXISTS (SELECT FROM blueteam.alert_history WHERE rule_id = $1 AND \
        entity_value = $2)";
    sqlx::query_scalar(sql)
        .bind(rule)
        .bind(entity)
        .fetch_one(conn)
        .await
        .unwrap()
}
