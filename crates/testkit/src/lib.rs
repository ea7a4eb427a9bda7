//! For tests only: a PostgreSQL cluster shared by all tests of a run, a fresh database per test
//! made from a migrated template, and a clock that stands still.
//!
//! Tests run as many processes at once, so the cluster is shared through files: each process holds
//! a shared lock while it lives, and a small shell stops the cluster when nobody has held it for
//! half a minute.

mod alerts;
mod shared;

pub use alerts::{apply_alerts, channel_traits, retry_alerts};

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use model::{Clock, Timestamp};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool};

/// A database of one test's own; dropped with it.
#[derive(Debug)]
pub struct TestDb {
    name: String,
    admin: PgConnectOptions,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl TestDb {
    /// A database with the product's schema.
    pub async fn new() -> Self {
        let (admin, template) = shared::shared().await;
        Self::create(admin, Some(&template)).await
    }

    /// A database with nothing in it.
    pub async fn empty() -> Self {
        let (admin, _) = shared::shared().await;
        Self::create(admin, None).await
    }

    async fn create(admin: PgConnectOptions, template: Option<&str>) -> Self {
        let name = format!(
            "t_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let mut conn = connect_retrying(&admin).await;
        let template = template.unwrap_or("template0");

        run_sql(&mut conn, &format!("DROP DATABASE IF EXISTS {name}")).await;
        run_sql(
            &mut conn,
            &format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"),
        )
        .await;

        Self { name, admin }
    }

    /// How to connect as the superuser.
    pub fn options(&self) -> PgConnectOptions {
        self.admin.clone().database(&self.name)
    }

    /// The same as a URL, for a program under test.
    pub fn url(&self) -> String {
        self.options().to_url_lossy().to_string()
    }

    /// A connection as the superuser. It compiles no queries, like those of the program: that takes
    /// longer than what tests ask.
    pub async fn connect(&self) -> PgConnection {
        let mut conn = connect_retrying(&self.options()).await;
        run_sql(&mut conn, "SET jit = off").await;
        conn
    }

    /// A connection that has the rights of a role and no more.
    pub async fn connect_as(&self, role: &str) -> PgConnection {
        let mut conn = self.connect().await;
        // Unlike SET ROLE, a test cannot leave this one by RESET.
        run_sql(&mut conn, &format!("SET SESSION AUTHORIZATION {role}")).await;
        conn
    }

    /// A pool as the superuser.
    pub fn pool(&self, size: u32) -> PgPool {
        store::pool(self.options(), size)
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (name, admin) = (self.name.clone(), self.admin.clone());
        // A runtime of its own: ours may be the one that is being torn down.
        let done = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            runtime.block_on(async move {
                let mut conn = admin.connect().await.ok()?;
                let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                sqlx::query(AssertSqlSafe(sql))
                    .execute(&mut conn)
                    .await
                    .ok()?;
                conn.close().await.ok()
            })
        });

        let _ = done.join();
    }
}

async fn connect_retrying(options: &PgConnectOptions) -> PgConnection {
    match options.connect().await {
        Ok(conn) => conn,
        Err(error) => fail_loudly(&format!("cannot connect to the test cluster: {error}")),
    }
}

async fn run_sql(conn: &mut PgConnection, sql: &str) {
    if let Err(error) = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .execute(conn)
        .await
    {
        fail_loudly(&format!("{sql}: {error}"));
    }
}

#[expect(
    clippy::panic,
    reason = "this crate serves tests alone, and a panic is how a test fails"
)]
fn fail_loudly(why: &str) -> ! {
    panic!("{why}")
}

/// A clock that stands still until it is told to move.
#[derive(Debug, Default)]
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// Stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    /// Moves to `now`.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}
