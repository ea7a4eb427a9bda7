//! What people get by mail, and what they answer.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::daemon::{Daemon, PATIENCE, failure};

/// A mail server that takes everything and hands it on.
pub(super) async fn take_mail(listener: TcpListener, told: mpsc::Sender<String>) {
    while let Ok((stream, _)) = listener.accept().await {
        let told = told.clone();
        tokio::spawn(async move {
            if let Some(mail) = converse(stream).await {
                let _ = told.send(mail).await;
            }
        });
    }
}

async fn converse(stream: TcpStream) -> Option<String> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 here\r\n").await.ok()?;
    let (mut mail, mut in_data) = (String::new(), false);
    while let Some(line) = lines.next_line().await.ok()? {
        let answer: &[u8] = match (in_data, line.as_str()) {
            (true, ".") => {
                write.write_all(b"250 queued\r\n").await.ok()?;
                return Some(mail);
            }
            (true, _) => {
                mail.push_str(&line);
                mail.push_str("\r\n");
                continue;
            }
            (false, "DATA") => {
                in_data = true;
                b"354 go on\r\n"
            }
            (false, _) => b"250 fine\r\n",
        };

        write.write_all(answer).await.ok()?;
    }

    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_in_the_mail_acknowledges_the_alert() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut told) = mpsc::channel(64);
    tokio::spawn(take_mail(listener, tell));

    let daemon = Daemon::new(&format!(
        "[channels.email]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"plain\"\nfrom = \
            \"a@example.com\"\nto = [\"b@example.com\"]\n\
         [escalation]\nack_url = \"https://soc.example.com/\"\n"
    ))
    .await;
    let failures: Vec<_> = (0..6).map(|_| failure("203.0.113.9", "root")).collect();
    daemon.client().send(&failures).await;

    let mail = tokio::time::timeout(PATIENCE, told.recv())
        .await
        .unwrap()
        .unwrap();

    // Quoted-printable breaks long lines.
    let mail = mail.replace("=\r\n", "");
    let path = mail
        .split("https://soc.example.com")
        .nth(1)
        .unwrap()
        .split(['\r', '"', ' '])
        .next()
        .unwrap();
    assert!(path.starts_with("/ack/"), "{mail}");

    let mut conn = daemon.connect().await;
    let seen = "SELECT acknowledged_by FROM blueteam.alert_history WHERE rule_id = 'brute_force'";
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let url = format!("http://127.0.0.1:{}{path}", daemon.port);
    assert_eq!(http.get(&url).send().await.unwrap().status(), 200);

    assert_eq!(
        sqlx::query_scalar::<_, Option<String>>(seen)
            .fetch_one(&mut conn)
            .await
            .unwrap(),
        None
    );
    assert_eq!(http.post(&url).send().await.unwrap().status(), 200);

    let by: Option<String> = sqlx::query_scalar(seen).fetch_one(&mut conn).await.unwrap();
    assert_eq!(by.as_deref(), Some("b@example.com (link in a mail)"));
    let key = std::fs::metadata(daemon.path("acknowledge.key")).unwrap();
    assert_eq!((key.len(), key.permissions().mode() & 0o777), (32, 0o600));
}

/// Its PostgreSQL lets nobody in for a while: people are told from the configuration alone, once,
/// and once more when it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_that_the_database_is_away_and_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut told) = mpsc::channel(64);
    tokio::spawn(take_mail(listener, tell));
    let daemon = Daemon::new(&format!(
        "[channels.email]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"plain\"\nfrom = \
            \"a@example.com\"\nto = [\"b@example.com\"]\n\
         [personnel]\npeople = \
         [{{ name = \"Ann\", mail = \"ann@example.com\" }}]\n[watchdog]\ndatabase_away = \"1s\"\n"
    ))
    .await;
    let postmaster = daemon.postmaster().unwrap();
    kill_process(postmaster, Signal::STOP).unwrap();
    let away = tokio::time::timeout(PATIENCE, told.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(
        away.contains("Subject: [CRITICAL] The database of the audit record is unreachable"),
        "{away}"
    );
    assert!(away.contains("ann@example.com"), "{away}");
    // Two more looks say nothing new.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(told.try_recv().is_err());
    kill_process(postmaster, Signal::CONT).unwrap();
    let mut subjects = Vec::new();
    while !subjects
        .iter()
        .any(|subject: &String| subject.contains("[OVER]"))
    {
        let mail = tokio::time::timeout(PATIENCE, told.recv())
            .await
            .unwrap()
            .unwrap();
        subjects.push(
            mail.lines()
                .find(|line| line.starts_with("Subject: "))
                .unwrap()
                .to_owned(),
        );
    }
    assert!(
        !subjects
            .iter()
            .any(|subject| subject.contains("[CRITICAL] The database")),
        "{subjects:?}"
    );
}
