//! A console to talk to, and a plain client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ingest::Ingest;
use model::{SystemClock, Timestamp};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use testkit::TestDb;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use web::{HttpServer, Pools, Settings, serve};

/// A running console with one key that may write events.
pub(crate) struct Running {
    pub(crate) pool: PgPool,
    pub(crate) key: String,
    pub(crate) spool: std::path::PathBuf,
    pub(crate) to: SocketAddr,
    pub(crate) ingest: Ingest,
    console: Option<(HttpServer, oneshot::Sender<()>)>,
    _dir: tempfile::TempDir,
    _db: Option<TestDb>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(crate) fn counts(&self) -> (u64, u64, usize) {
        let json = self.json();
        let n = |key: &str| json[key].as_u64().unwrap_or_else(|| panic!("{self:?}"));
        (
            n("accepted"),
            n("duplicates"),
            json["rejected"].as_array().map_or(0, Vec::len),
        )
    }
}

impl Running {
    pub(crate) async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let db = TestDb::new().await;
        let pool = db.pool(10);
        Self::on(pool, Some(db), change).await
    }

    pub(crate) async fn on(
        pool: PgPool,
        db: Option<TestDb>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(dir.path().join("spool"));
        settings.listen = SocketAddr::from(([127, 0, 0, 1], 0));

        // The machine may be busy with other tests; those about outages are less patient.
        settings.ingest.timeouts.acquire = Duration::from_secs(20);
        change(&mut settings);
        let key = mint(&pool, 1, "{events:write}", "NULL").await;
        let spool = settings.ingest.spool_dir.clone();
        let (stop, stopped) = oneshot::channel();
        let pools = Pools {
            events: pool.clone(),
            keys: pool.clone(),
        };

        let end = async move {
            let _ = stopped.await;
        };
        let console = serve(settings, pools, Arc::new(SystemClock), end)
            .await
            .unwrap();
        let (to, ingest) = (console.address(), console.ingest().clone());

        Self {
            pool,
            key,
            spool,
            to,
            ingest,
            console: Some((console, stop)),
            _dir: dir,
            _db: db,
        }
    }

    pub(crate) async fn stop(&mut self) {
        let (console, stop) = self.console.take().unwrap();
        let _ = stop.send(());
        console.ended().await;
    }

    pub(crate) async fn post(&self, body: impl AsRef<[u8]>) -> Answer {
        self.post_with("", body).await
    }

    /// Posts with more header lines, each ending in CRLF.
    pub(crate) async fn post_with(&self, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        let auth = format!("Authorization: Bearer {}\r\n{headers}", self.key);
        call(self.to, "POST /v1/events", &auth, body.as_ref()).await
    }

    pub(crate) async fn rows(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM audit_events")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }
}

/// Stores a key made of one repeated byte; returns it.
pub(crate) async fn mint(pool: &PgPool, byte: u8, scopes: &str, expires: &str) -> String {
    let key = app::auth::mint([byte; 32]);
    let sql = format!(
        "INSERT INTO users.users (username, email, password_hash) VALUES ('u', 'u@x', '!') ON \
            CONFLICT DO NOTHING;
         INSERT INTO users.api_keys (user_id, key_hash, key_name, key_prefix, scopes, expires_at)
         SELECT user_id, '{}', 'k{byte}', '{}', '{scopes}', {expires} FROM users.users WHERE \
         username = 'u'
         ON CONFLICT DO NOTHING",
        key.hash, key.prefix
    );

    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(pool)
        .await
        .unwrap();

    key.secret
}

/// One request on a connection of its own.
pub(crate) async fn call(to: SocketAddr, line: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );

    // The server may answer and close before it has read everything.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
    read_answer(&mut stream).await
}

pub(crate) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
        if whole(&bytes) {
            break;
        }
    }

    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);

    Answer {
        status,
        head: head.to_ascii_lowercase(),
        text: body.to_owned(),
    }
}

fn whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

/// An event with an id made of a number.
pub(crate) fn event(n: u64) -> String {
    let at = now();
    format!(
        r#"{{"event_id":"019a0000-0000-7000-8000-{n:012x}","timestamp":"{at}","category":"auth","action":"login","result":"success","session_id":"s{n}"}}"#
    )
}

pub(crate) fn now() -> Timestamp {
    model::Clock::now(&SystemClock)
}
