//! A real nginx under load, whose log logrotate rotates in both ways: every line is one event.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::daemon::{Daemon, PATIENCE};

/// Clients that ask at once.
const CLIENTS: u32 = 4;
const ROTATIONS: u32 = 6;

/// nginx, which goes with the test.
struct Nginx(Child);

impl Nginx {
    fn start(dir: &Path, port: u16) -> Self {
        let at = dir.display();
        let conf = format!(
            "daemon off;\nworker_processes 2;\nuser {user};\npid {at}/pid;\nerror_log \
                {at}/error.log;\nevents {{}}\nhttp {{\n\
             access_log {at}/access.log combined;\nclient_body_temp_path \
             {at}/body;\nproxy_temp_path {at}/proxy;\n\
             fastcgi_temp_path {at}/fastcgi;\nuwsgi_temp_path {at}/uwsgi;\nscgi_temp_path \
             {at}/scgi;\n\
             keepalive_requests 1000000;\nserver {{ listen 127.0.0.1:{port}; return 204; }}\n}}\n",
            user = if rustix::process::geteuid().is_root() {
                "root"
            } else {
                "nobody"
            },
        );

        std::fs::write(dir.join("nginx.conf"), conf).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
        let mut command = Command::new("nginx");
        command
            .env("PATH", path)
            .arg("-e")
            .arg(dir.join("error.log"))
            .arg("-c")
            .arg(dir.join("nginx.conf"));

        // `scripts/setup --tests` installs it.
        Self(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

fn rotate(dir: &Path, how: &str) {
    let at = dir.display();
    let conf = dir.join("logrotate.conf");
    std::fs::write(
        &conf,
        format!("\"{at}/access.log\" {{\nrotate 20\nsize 1\nmissingok\n{how}\n}}\n"),
    )
    .unwrap();

    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
    let mut command = Command::new("logrotate");
    let out = command
        .env("PATH", path)
        .arg("--force")
        .arg("--state")
        .arg(dir.join("state"))
        .arg(&conf)
        .output()
        .unwrap();

    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Asks for `/1`, `/2`, … until told to stop.
async fn ask(url: String, next: Arc<AtomicU32>, stop: Arc<AtomicBool>) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    while !stop.load(Ordering::Relaxed) {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let answer = client.get(format!("{url}/{n}")).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }
}

/// The paths in all pieces of the log.
fn written(dir: &Path) -> BTreeSet<String> {
    let pieces = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let pieces = pieces.filter(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("access.log")
    });

    let lines = |path| -> Vec<String> {
        std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    };

    pieces
        .flat_map(lines)
        .map(|line| line.split(' ').nth(6).unwrap().to_owned())
        .collect()
}

/// How many were asked, what is in the files, and what was stored.
async fn under_load(how: &str) -> (u32, BTreeSet<String>, Vec<String>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let how = how.replace("PID", &dir.path().join("pid").display().to_string());
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let log = dir.path().join("access.log");
    let daemon = Daemon::new(&format!(
        "[[collect.files]]\npath = \"{}\"\nformat = \"nginx\"",
        log.display()
    ))
    .await;
    let _nginx = Nginx::start(dir.path(), port);
    let since = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_err()
    {
        assert!(since.elapsed() < PATIENCE, "nginx does not start");
        sleep(Duration::from_millis(20)).await;
    }
    let (next, stop) = (
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let url = format!("http://127.0.0.1:{port}");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(ask(url.clone(), Arc::clone(&next), Arc::clone(&stop))))
        .collect();
    let mut conn = daemon.connect().await;
    let sql = "SELECT resource_id FROM blueteam.log_events WHERE source = 'nginx'";
    // Nobody's past is what was rotated away before the daemon knew of the log.
    while sqlx::query_scalar::<_, String>(sql)
        .fetch_optional(&mut conn)
        .await
        .unwrap()
        .is_none()
    {
        assert!(
            since.elapsed() < PATIENCE,
            "nothing is read:\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..ROTATIONS {
        sleep(Duration::from_millis(500)).await;
        let (dir, how) = (dir.path().to_owned(), how.clone());
        tokio::task::spawn_blocking(move || rotate(&dir, &how))
            .await
            .unwrap();
    }
    sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let asked = next.load(Ordering::Relaxed);
    let files = written(dir.path());
    let since = Instant::now();
    loop {
        let stored: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut conn).await.unwrap();
        let missing = files
            .iter()
            .filter(|path| !stored.contains(path))
            .take(1)
            .count();
        if missing == 0 || since.elapsed() > Duration::from_secs(15) {
            return (asked, files, stored);
        }

        sleep(Duration::from_millis(500)).await;
    }
}

fn none_is_missing_or_twice(files: &BTreeSet<String>, stored: &[String]) {
    let unique: BTreeSet<String> = stored.iter().cloned().collect();
    assert_eq!(unique.len(), stored.len(), "an event is there twice");
    let missing: Vec<&String> = files.difference(&unique).collect();
    assert!(
        missing.is_empty(),
        "{} of {} lines are missing, such as {:?}",
        missing.len(),
        files.len(),
        missing.first()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_renamed_under_load_is_read_whole() {
    let how = "create\npostrotate\nkill -USR1 $(cat PID)\nendscript";
    let (asked, files, stored) = under_load(how).await;
    assert_eq!(
        files.len(),
        asked as usize,
        "nginx and logrotate lose nothing"
    );
    none_is_missing_or_twice(&files, &stored);

    assert_eq!(stored.len(), asked as usize);
}

/// Copying and truncating itself loses what is written in between; what it leaves, we have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_copied_and_truncated_under_load_is_read_whole() {
    let (asked, files, stored) = under_load("copytruncate").await;
    none_is_missing_or_twice(&files, &stored);
    assert!(files.len() <= asked as usize && stored.len() <= asked as usize);
    assert!(
        files.len() as f64 > 0.5 * f64::from(asked),
        "{} of {asked} lines are left",
        files.len()
    );
}

/// The database holds the reader up from its first moment on, and the log is rotated twice before
/// the reader gets to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_rotated_before_the_first_look_is_read_whole() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut daemon = Daemon::new("").await;
    daemon.kill();
    let mut locked = daemon.connect().await;
    let mut transaction = sqlx::Connection::begin(&mut locked).await.unwrap();
    sqlx::query("LOCK TABLE blueteam.collector_positions")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let _nginx = Nginx::start(dir.path(), port);
    let since = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_err()
    {
        assert!(since.elapsed() < PATIENCE, "nginx does not start");
        sleep(Duration::from_millis(20)).await;
    }
    let next = Arc::new(AtomicU32::new(0));
    let ask_for_a_while = async || {
        let stop = Arc::new(AtomicBool::new(false));
        let asking = tokio::spawn(ask(
            format!("http://127.0.0.1:{port}"),
            Arc::clone(&next),
            Arc::clone(&stop),
        ));

        sleep(Duration::from_millis(100)).await;
        stop.store(true, Ordering::Relaxed);
        asking.await.unwrap();
    };
    ask_for_a_while().await;
    let config = std::fs::read_to_string(daemon.path("blueteam.toml")).unwrap();
    let file = format!(
        "[[collect.files]]\npath = \"{}\"\nformat = \"nginx\"\n",
        dir.path().join("access.log").display()
    );
    std::fs::write(daemon.path("blueteam.toml"), config + &file).unwrap();
    daemon.start().await;
    let how = format!(
        "create\ncompress\npostrotate\nkill -USR1 $(cat {})\nendscript",
        dir.path().join("pid").display()
    );
    for _ in 0..2 {
        ask_for_a_while().await;
        rotate(dir.path(), &how);
        sleep(Duration::from_millis(200)).await;
    }
    ask_for_a_while().await;
    let mut conn = daemon.connect().await;
    let sql = "SELECT count(*) FROM blueteam.log_events WHERE source = 'nginx'";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(sql)
            .fetch_one(&mut conn)
            .await
            .unwrap(),
        0,
        "it was to be held up"
    );
    transaction.commit().await.unwrap();
    let asked = i64::from(next.load(Ordering::Relaxed));
    let since = Instant::now();
    loop {
        let stored: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
        assert!(stored <= asked, "{stored} of {asked}");
        if stored == asked {
            break;
        }

        assert!(
            since.elapsed() < PATIENCE,
            "{stored} of {asked} lines are read:\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(100)).await;
    }
}
