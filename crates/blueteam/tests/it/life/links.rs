//! From the mail that tells of an alert to its acknowledgement.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::daemon::{Daemon, PATIENCE, failure};

/// A mail server that takes everything and hands it on.
async fn take_mail(listener: TcpListener, told: mpsc::Sender<String>) {
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
        "[channels.email]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"plain\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\n\
         [escalation]\nack_url = \"https://soc.example.com/\"\n"
    ))
    .await;
    let failures: Vec<_> = (0..6).map(|_| failure("203.0.113.9", "root")).collect();
    daemon.client().send(&failures).await;
    let mail = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    // Quoted-printable breaks long lines.
    let mail = mail.replace("=\r\n", "");
    let path = mail.split("https://soc.example.com").nth(1).unwrap().split(['\r', '"', ' ']).next().unwrap();
    assert!(path.starts_with("/ack/"), "{mail}");

    let mut conn = daemon.connect().await;
    let seen = "SELECT acknowledged_by FROM blueteam.alert_history WHERE rule_id = 'brute_force'";
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    let url = format!("http://127.0.0.1:{}{path}", daemon.port);
    assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
    assert_eq!(sqlx::query_scalar::<_, Option<String>>(seen).fetch_one(&mut conn).await.unwrap(), None);
    assert_eq!(http.post(&url).send().await.unwrap().status(), 200);
    let by: Option<String> = sqlx::query_scalar(seen).fetch_one(&mut conn).await.unwrap();
    assert_eq!(by.as_deref(), Some("a reader (link in a mail)"));
    let key = std::fs::metadata(daemon.path("acknowledge.key")).unwrap();
    assert_eq!((key.len(), key.permissions().mode() & 0o777), (32, 0o600));
}
