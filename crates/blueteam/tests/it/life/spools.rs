//! What listeners have taken in is on disk before it is forgotten: over an outage of the database,
//! a kill and a stop. `BLUETEAM_TEST_MESSAGES` says how many messages each socket gets.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Cluster, ClusterConfig, Login};
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::sleep;

use super::daemon::{Daemon, PATIENCE};

const SOCKETS: [&str; 5] = ["udp", "tcp", "tls", "dgram", "stream"];

fn messages() -> usize {
    std::env::var("BLUETEAM_TEST_MESSAGES").map_or(3000, |n| n.parse().unwrap())
}

fn line(user: &str) -> String {
    format!(
        "<38>Mar  4 10:00:00 web sshd[7]: Failed password for {user} from 192.0.2.9 port 4 ssh2"
    )
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A database server that can be taken away.
pub(super) struct Server {
    dir: tempfile::TempDir,
    cluster: Option<Cluster>,
}

impl Server {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let mut server = Self { dir, cluster: None };
        server.start().await;
        let cluster = server.cluster.as_ref().unwrap();
        let mut admin = cluster
            .options(Login::Owner, "postgres")
            .unwrap()
            .connect()
            .await
            .unwrap();

        store::ensure_database(&mut admin, "blueteam")
            .await
            .unwrap();
        let login = cluster.password(Login::Owner).unwrap();
        let run = server.dir.path().join("postgres/run");
        let url = format!(
            "postgres://blueteam_owner:{login}@localhost/blueteam?host={}",
            run.display()
        );
        server.write_url("url", &url);

        server
    }

    /// Writes a URL into a file that only its owner reads; returns its path.
    fn write_url(&self, name: &str, url: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, url).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    /// The file with the URL of the owner of the database `blueteam`.
    pub(super) fn url_file(&self) -> String {
        self.dir.path().join("url").display().to_string()
    }

    /// A file with the URL of another login and database.
    pub(super) fn url_file_of(&self, login: &str, password: &str, database: &str) -> String {
        let run = self.dir.path().join("postgres/run");
        let url = format!(
            "postgres://{login}:{password}@localhost/{database}?host={}",
            run.display()
        );
        self.write_url(login, &url)
    }

    pub(super) async fn start(&mut self) {
        let config = ClusterConfig {
            durable: false,
            ..ClusterConfig::new(self.dir.path())
        };
        self.cluster = Some(Cluster::start(config).await.unwrap());
    }

    pub(super) async fn stop(&mut self) {
        self.cluster.take().unwrap().stop().await.unwrap();
    }

    pub(super) async fn connect(&self) -> PgConnection {
        self.connect_to("blueteam").await
    }

    pub(super) async fn connect_to(&self, database: &str) -> PgConnection {
        let options = self
            .cluster
            .as_ref()
            .unwrap()
            .options(Login::Owner, database)
            .unwrap();
        options.connect().await.unwrap()
    }
}

/// A place for each kind of socket, and what a sender needs to trust.
struct Places {
    dir: tempfile::TempDir,
    ports: [u16; 3],
    root: rustls::pki_types::CertificateDer<'static>,
}

impl Places {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("cert"), issued.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key"), issued.signing_key.serialize_pem()).unwrap();

        Self {
            dir,
            ports: [free_port(), free_port(), free_port()],
            root: issued.cert.der().clone(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> String {
        let [udp, tcp, tls] = self.ports;
        let path = |name| self.path(name).display().to_string();
        let addresses = [
            format!("udp:127.0.0.1:{udp}"),
            format!("tcp:127.0.0.1:{tcp}"),
            format!(
                "tls:127.0.0.1:{tls}\"\ntls_cert_file = \"{}\"\ntls_key_file = \"{}",
                path("cert"),
                path("key")
            ),
            format!("unix:{}", path("dgram")),
            format!("unix-stream:{}", path("stream")),
        ];

        addresses
            .map(|address| format!("[[collect.listeners]]\naddress = \"{address}\"\n"))
            .concat()
    }

    async fn open(&self, daemon: &Daemon) {
        let since = Instant::now();
        let [_, tcp, tls] = self.ports;
        let open = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        while !(open(tcp)
            && open(tls)
            && self.path("dgram").exists()
            && self.path("stream").exists())
        {
            assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends so many messages to each socket. What comes back keeps the connections open.
    fn send(&self, round: &str, count: usize) -> Vec<Box<dyn std::any::Any + Send>> {
        let [udp, tcp, tls] = self.ports;
        let lines = |socket: &str| {
            (0..count)
                .map(|n| line(&format!("{round}-{socket}-{n}-")))
                .collect::<Vec<_>>()
        };

        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        for text in lines("udp") {
            datagrams
                .send_to(text.as_bytes(), ("127.0.0.1", udp))
                .unwrap();
        }

        let socket = UnixDatagram::unbound().unwrap();
        for text in lines("dgram") {
            socket.send_to(text.as_bytes(), self.path("dgram")).unwrap();
        }

        let mut plain = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
        plain
            .write_all((lines("tcp").join("\n") + "\n").as_bytes())
            .unwrap();
        let mut local = UnixStream::connect(self.path("stream")).unwrap();
        local
            .write_all((lines("stream").join("\n") + "\n").as_bytes())
            .unwrap();

        let mut secret = tls_stream(tls, &self.root);
        secret
            .write_all((lines("tls").join("\n") + "\n").as_bytes())
            .unwrap();
        secret.flush().unwrap();

        vec![Box::new(plain), Box::new(local), Box::new(secret)]
    }
}

pub(super) type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A connection over TLS that trusts that certificate alone.
pub(super) fn tls_stream(port: u16, root: &rustls::pki_types::CertificateDer<'static>) -> Tls {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();

    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();

    rustls::StreamOwned::new(client, stream)
}

/// Bytes in the spools.
fn spooled(daemon: &Daemon) -> u64 {
    fn bytes(dir: &Path) -> u64 {
        let entries = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path());
        entries
            .map(|path| {
                if path.is_dir() {
                    bytes(&path)
                } else {
                    path.metadata().map_or(0, |about| about.len())
                }
            })
            .sum()
    }

    bytes(&daemon.path("listeners"))
}

/// Waits until the daemon has read what was sent: its spools grow no more.
async fn read(daemon: &Daemon) {
    let (mut before, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(700) {
        let now = spooled(daemon);
        if now != before {
            (before, since) = (now, Instant::now());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// How many messages of a round a socket brought: different ones, rows, and dropped ones.
async fn outcome(
    conn: &mut PgConnection,
    round: &str,
    socket: &str,
    places: &Places,
) -> (i64, i64, i64) {
    let sql = "SELECT count(DISTINCT account), count(*) FROM blueteam.log_events WHERE \
        starts_with(account, $1)";
    let (distinct, rows): (i64, i64) = sqlx::query_as(sql)
        .bind(format!("{round}-{socket}-"))
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let source = match socket {
        "udp" => format!("syslog:udp:127.0.0.1:{}", places.ports[0]),
        "dgram" => format!("syslog:unix:{}", places.path("dgram").display()),
        _ => return (distinct, rows, 0),
    };

    let sql = "SELECT coalesce(sum(lost), 0)::bigint FROM blueteam.source_gaps WHERE source_id = \
        $1 AND cause = 'dropped'";
    let dropped = sqlx::query_scalar(sql)
        .bind(source)
        .fetch_one(conn)
        .await
        .unwrap();
    (distinct, rows, dropped)
}

/// Waits until each message is stored once, or counted as dropped where nobody can wait.
async fn all_there(server: &Server, daemon: &Daemon, round: &str, places: &Places, count: usize) {
    let since = Instant::now();
    let mut conn = server.connect().await;
    for socket in SOCKETS {
        loop {
            let (distinct, rows, dropped) = outcome(&mut conn, round, socket, places).await;
            assert_eq!(distinct, rows, "{socket}: stored twice");
            if distinct + dropped == count as i64 {
                assert!(
                    dropped == 0 || matches!(socket, "udp" | "dgram"),
                    "{socket}"
                );
                break;
            }

            let told =
                format!("{round}: {socket}: {distinct} stored, {dropped} dropped, of {count}");
            assert!(since.elapsed() < PATIENCE, "{told}\n{}", daemon.log());
            sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_in_survives_an_outage_with_a_kill_or_a_stop() {
    let (mut server, places, count) = (Server::new().await, Places::new(), messages());
    let url = server.url_file();
    let mut daemon = Daemon::new(&format!(
        "{}[database]\nurl_file = \"{url}\"\n",
        places.config()
    ))
    .await;

    for round in ["killed", "stopped", "outlived"] {
        places.open(&daemon).await;
        server.stop().await;
        let _open = places.send(round, count);

        match round {
            "killed" => {
                read(&daemon).await;
                daemon.kill();
            }
            "stopped" => assert!(daemon.terminate().await.success(), "{}", daemon.log()),
            _ => read(&daemon).await,
        }

        server.start().await;
        if round != "outlived" {
            daemon.start().await;
        }

        all_there(&server, &daemon, round, &places, count).await;
    }

    // The time at which nobody listened is in the ledger, and nothing was read twice.
    let mut conn = server.connect().await;
    let sql = "SELECT count(*) FROM blueteam.source_gaps WHERE cause = 'outage' AND ended_at IS \
        NOT NULL AND source_id LIKE $1";
    for (source, gaps) in [
        ("syslog:udp:%", 2),
        ("syslog:tcp:%", 1),
        ("syslog:unix:%", 2),
    ] {
        let found: i64 = sqlx::query_scalar(sql)
            .bind(source)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert_eq!(found, gaps, "{source}");
    }

    let sql = "SELECT coalesce(sum(repeated), 0)::bigint FROM blueteam.sources WHERE source_id \
        LIKE 'syslog:%'";
    let repeated: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
    assert_eq!(repeated, 0);
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_makes_streams_wait_and_counts_datagrams() {
    let (mut server, places, count) = (Server::new().await, Arc::new(Places::new()), messages());
    let url = server.url_file();
    let daemon = Daemon::new(&format!(
        "[collect]\nlistener_spool_max_bytes = 20000\n{}[database]\nurl_file = \"{url}\"\n",
        places.config()
    ))
    .await;
    places.open(&daemon).await;

    server.stop().await;
    let sending = Arc::clone(&places);
    let sender = std::thread::spawn(move || sending.send("full", count));
    read(&daemon).await;
    assert!(spooled(&daemon) < 5 * 24_000, "{}", spooled(&daemon));
    server.start().await;
    all_there(&server, &daemon, "full", &places, count).await;
    drop(sender.join().unwrap());

    let mut conn = server.connect().await;
    let (stored, _, dropped) = outcome(&mut conn, "full", "udp", &places).await;
    assert!(stored > 0 && dropped > 0, "{stored} {dropped}");
    let source = format!("syslog:udp:127.0.0.1:{}", places.ports[0]);
    let listed = daemon
        .command()
        .args(["sources", "list", "--json"])
        .output()
        .unwrap();
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();

    let row = listed
        .iter()
        .find(|row| row["source_id"] == source.as_str())
        .unwrap();
    assert_eq!(row["dropped"], dropped);

    let shown = daemon
        .command()
        .args(["sources", "show", &source])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("dropped") && shown.contains(&dropped.to_string()),
        "{shown}"
    );

    drop(daemon);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_listener_left_behind_is_stored_without_it() {
    let mut server = Server::new().await;
    let url = format!(
        "[database]\nurl_file = \"{}\"\n",
        server.dir.path().join("url").display()
    );
    let port = free_port();
    let listener =
        format!("[[collect.listeners]]\naddress = \"tcp:127.0.0.1:{port}\"\nservice = \"web\"\n");
    let mut daemon = Daemon::new(&format!("{listener}{url}")).await;
    let since = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        sleep(Duration::from_millis(20)).await;
    }
    server.stop().await;
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket
        .write_all(format!("{}\n", line("left")).as_bytes())
        .unwrap();
    read(&daemon).await;
    daemon.kill();
    // The kernel has closed the connection for it.
    let _ = socket.read(&mut [0; 1]);
    let config = std::fs::read_to_string(daemon.path("blueteam.toml")).unwrap();
    std::fs::write(daemon.path("blueteam.toml"), config.replace(&listener, "")).unwrap();
    server.start().await;
    daemon.start().await;
    let mut conn = server.connect().await;
    let sql = "SELECT count(*) FROM blueteam.log_events WHERE account = 'left' AND metadata \
        ->> 'service' = 'web'";
    let since = Instant::now();
    while sqlx::query_scalar::<_, i64>(sql)
        .fetch_one(&mut conn)
        .await
        .unwrap()
        != 1
    {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        sleep(Duration::from_millis(100)).await;
    }
    drop(daemon);
    server.stop().await;
}
