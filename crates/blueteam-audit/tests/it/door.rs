//! A database and a real ingest in front of it, for one test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::SystemClock;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use testkit::TestDb;
use tokio::sync::oneshot;
use web::{HttpServer, Pools, Settings, serve};

/// One row of `audit_events`, as JSON.
pub(crate) type Row = Value;

pub(crate) struct Database {
    pub(crate) db: TestDb,
    pub(crate) pool: PgPool,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let db = TestDb::new().await;
        let pool = db.pool(8);
        Self { db, pool }
    }

    /// The events of one kind in the order of their sequence numbers; all but start and stop when
    /// `action` is empty.
    pub(crate) async fn rows(&self, action: &str) -> Vec<Row> {
        let sql = "SELECT to_jsonb(e) FROM audit_events e
                   WHERE CASE WHEN $1 = '' THEN action NOT IN ('audit_start', 'audit_stop') ELSE \
                   action = $1 END
                   ORDER BY metadata->>'producer', (metadata->>'producer_seq')::bigint";
        sqlx::query_scalar(sql)
            .bind(action)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Waits until there are at least so many of them.
    pub(crate) async fn wait(&self, action: &str, count: usize) -> Vec<Row> {
        let since = Instant::now();
        loop {
            let rows = self.rows(action).await;
            if rows.len() >= count {
                return rows;
            }

            assert!(
                since.elapsed() < Duration::from_secs(40),
                "{} of {count} {action}: {rows:?}",
                rows.len()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The sequence numbers of a producer, which begin with 1 and have no hole.
    pub(crate) async fn assert_whole(&self, producer: &str) -> u64 {
        let sql = "SELECT (metadata->>'producer_seq')::bigint FROM audit_events WHERE \
            metadata->>'producer' = $1 ORDER BY 1";
        let found: Vec<i64> = sqlx::query_scalar(sql)
            .bind(producer)
            .fetch_all(&self.pool)
            .await
            .unwrap();
        assert_eq!(
            found,
            (1..=found.len() as i64).collect::<Vec<_>>(),
            "{producer}"
        );

        found.len() as u64
    }

    /// A login that may add events and nothing else, as a URL.
    pub(crate) async fn writer(&self) -> String {
        let name = sqlx::query_scalar::<_, String>("SELECT 'w_' || current_database()")
            .fetch_one(&self.pool)
            .await
            .unwrap();
        let sql = format!(
            "DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN PASSWORD 'w' IN ROLE \
                eqmon_audit_writer"
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&self.pool)
            .await
            .unwrap();

        let options = self.db.options();
        let socket = options
            .get_socket()
            .map(|dir| dir.display().to_string())
            .unwrap();
        format!(
            "postgres://{name}:w@localhost:{}/{}?host={socket}",
            options.get_port(),
            options.get_database().unwrap()
        )
    }

    /// The database goes away for everybody but who is connected as the superuser, or comes back.
    pub(crate) async fn set_away(&self, away: bool) {
        let mut conn = self.pool.acquire().await.unwrap();
        let name: String = sqlx::query_scalar("SELECT current_database()")
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        let sql = format!(
            "ALTER DATABASE {name} CONNECTION LIMIT {}",
            if away { 0 } else { -1 }
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *conn)
            .await
            .unwrap();

        if away {
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = \
                'w_' || current_database()";
            sqlx::raw_sql(sql).execute(&mut *conn).await.unwrap();
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let admin = self.db.options().database("postgres");
        let name = self
            .db
            .options()
            .get_database()
            .unwrap_or_default()
            .to_owned();

        // The login belongs to the cluster and would outlive the database. It owns nothing.
        let done = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            runtime.block_on(async move {
                let mut conn = sqlx::ConnectOptions::connect(&admin).await.ok()?;
                let sql = format!("DROP ROLE IF EXISTS w_{name}");
                sqlx::raw_sql(AssertSqlSafe(sql))
                    .execute(&mut conn)
                    .await
                    .ok()
            })
        });

        drop(done.join());
    }
}

pub(crate) struct Door {
    pub(crate) key: String,
    pub(crate) to: SocketAddr,
    console: HttpServer,
    stop: oneshot::Sender<()>,
    _dir: tempfile::TempDir,
}

impl Door {
    pub(crate) async fn open(
        db: &Database,
        listen: SocketAddr,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(dir.path().join("spool"));
        settings.listen = listen;
        settings.ingest.timeouts.acquire = Duration::from_secs(20);
        change(&mut settings);

        let key = mint(&db.pool).await;
        let (stop, stopped) = oneshot::channel::<()>();
        let pools = Pools {
            events: db.pool.clone(),
            keys: db.pool.clone(),
        };

        let end = async move { drop(stopped.await) };
        let console = serve(settings, pools, Arc::new(SystemClock), end)
            .await
            .unwrap();
        Self {
            key,
            to: console.address(),
            console,
            stop,
            _dir: dir,
        }
    }

    pub(crate) async fn any(db: &Database) -> Self {
        Self::open(db, SocketAddr::from(([127, 0, 0, 1], 0)), |_| {}).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.to)
    }

    pub(crate) async fn close(self) {
        self.stop.send(()).unwrap();
        self.console.ended().await;
    }
}

/// An address at which nothing listens for now.
pub(crate) fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// The one key that may write events; the same in each database.
pub(crate) async fn mint(pool: &PgPool) -> String {
    let key = app::auth::mint([7; 32]);
    let sql = format!(
        "INSERT INTO users.users (username, email, password_hash) VALUES ('u', 'u@x', '!') ON \
            CONFLICT DO NOTHING;
         INSERT INTO users.api_keys (user_id, key_hash, key_name, key_prefix, scopes)
         SELECT user_id, '{}', 'k', '{}', '{{events:write}}' FROM users.users WHERE username = \
         'u' ON CONFLICT DO NOTHING",
        key.hash, key.prefix
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(pool)
        .await
        .unwrap();

    key.secret
}
