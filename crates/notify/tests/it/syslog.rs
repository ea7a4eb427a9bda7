use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use notify::channels::syslog::{Facility, Receiver, Settings, Target, outlet};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, UdpSocket, UnixListener};

use super::{IMPATIENCE, Opened, PATIENCE, send};

fn settings(target: &str, timeout: Duration) -> Opened {
    outlet(Settings {
        receiver: receiver(target, timeout),
        enterprise_id: 32473,
    })
}

pub(crate) fn receiver(target: &str, timeout: Duration) -> Receiver {
    Receiver {
        target: target.parse::<Target>().unwrap(),
        ca_pem: None,
        facility: Facility::AUTHPRIV,
        hostname: "soc1".to_owned(),
        app_name: "blueteam".to_owned(),
        max_message_bytes: 8192,
        timeout,
    }
}

#[tokio::test]
async fn tcp_counts_octets() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("tcp:{}", listener.local_addr().unwrap());
    let sink = tokio::spawn(async move {
        let mut text = String::new();
        listener
            .accept()
            .await
            .unwrap()
            .0
            .read_to_string(&mut text)
            .await
            .unwrap();

        text
    });

    let receipt = send(settings(&target, PATIENCE)).await.unwrap();
    assert_eq!(receipt.detail, "taken by the receiver");
    let text = sink.await.unwrap();
    let (count, message) = text.split_once(' ').unwrap();
    assert_eq!(count.parse::<usize>().unwrap(), message.len());
    assert!(
        message.starts_with("<83>1 2026-03-05T14:12:33.000000Z soc1 blueteam "),
        "{message}"
    );
}

#[tokio::test]
async fn a_unix_socket_may_be_datagram_or_stream() {
    let dir = tempfile::tempdir().unwrap();
    let datagram = dir.path().join("datagram");
    let socket = UnixDatagram::bind(&datagram).unwrap();
    send(settings(&format!("unix:{}", datagram.display()), PATIENCE))
        .await
        .unwrap();

    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"<83>1 "));

    let stream = dir.path().join("stream");
    let listener = UnixListener::bind(&stream).unwrap();
    let sink = tokio::spawn(async move {
        let mut text = String::new();
        listener
            .accept()
            .await
            .unwrap()
            .0
            .read_to_string(&mut text)
            .await
            .unwrap();

        text
    });

    send(settings(&format!("unix:{}", stream.display()), PATIENCE))
        .await
        .unwrap();

    let text = sink.await.unwrap();
    assert!(text.starts_with("<83>1 ") && text.ends_with('\n') && text.lines().count() == 1);
}

#[tokio::test]
async fn nobody_there_is_noticed() {
    let tcp = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();

    for target in [
        format!("tcp:{tcp}"),
        format!("udp:{udp}"),
        "unix:/nonexistent/log".to_owned(),
    ] {
        let error = send(settings(&target, PATIENCE)).await.unwrap_err();
        assert!(
            error.is_temporary() && error.what.contains(&target),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_does_not_hold_us_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let _full = UnixDatagram::bind(&path).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();

    while filler.send_to(b"x", &path).is_ok() {}
    let error = send(settings(&format!("unix:{}", path.display()), IMPATIENCE))
        .await
        .unwrap_err();
    assert!(
        error.is_temporary() && error.what.contains("in time"),
        "{error}"
    );
}

pub(crate) struct Rsyslogd(Child);

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rsyslogd(dir: &Path, udp: u16, tcp: u16) -> Option<Rsyslogd> {
    let config = format!(
        r#"global(workDirectory="{0}")
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
module(load="imtcp")
input(type="imuxsock" Socket="{0}/log" CreatePath="off" UseSpecialParser="off" ParseHostname="on")
input(type="imudp" address="127.0.0.1" port="{udp}")
input(type="imtcp" address="127.0.0.1" port="{tcp}")
template(name="parts" type="string" string="%inputname%|%syslogfacility-text%.%syslogseverity-text%|%hostname%|%app-name%|%msgid%|%structured-data%|%msg%\n")
action(type="omfile" file="{0}/out" template="parts")
"#,
        dir.display()
    );

    start(dir, &config)
}

/// A daemon with that configuration, when one is installed.
pub(crate) fn start(dir: &Path, config: &str) -> Option<Rsyslogd> {
    std::fs::write(dir.join("conf"), config).unwrap();
    let binary = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"]
        .into_iter()
        .find(|path| Path::new(path).exists())?;
    let child = Command::new(binary)
        .arg("-n")
        .arg("-f")
        .arg(dir.join("conf"))
        .arg("-i")
        .arg(dir.join("pid"))
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.join("err")).unwrap())
        .spawn()
        .ok()?;

    Some(Rsyslogd(child))
}

#[tokio::test]
async fn rsyslogd_takes_every_transport_apart_correctly() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let free_udp = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();

    let Some(_daemon) = rsyslogd(dir.path(), free_udp, free) else {
        eprintln!(
            "SKIPPED: rsyslogd is not installed, so nothing was checked against it (apt-get \
                install rsyslog)"
        );
        return;
    };

    let start = Instant::now();
    for target in [
        format!("tcp:127.0.0.1:{free}"),
        format!("unix:{}/log", dir.path().display()),
        format!("udp:127.0.0.1:{free_udp}"),
    ] {
        while let Err(error) = send(settings(&target, PATIENCE)).await {
            let log = std::fs::read_to_string(dir.path().join("err")).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "{error}\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    let mut lines = Vec::new();
    while lines.len() < 3 && start.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
        lines = std::fs::read_to_string(dir.path().join("out"))
            .unwrap_or_default()
            .lines()
            .filter(|line| line.contains("blueteam"))
            .map(str::to_owned)
            .collect();
    }

    assert_eq!(lines.len(), 3, "{lines:?}");
    for input in ["imtcp", "imudp", "imuxsock"] {
        let line = lines
            .iter()
            .find(|line| line.starts_with(input))
            .unwrap_or_else(|| panic!("{input}: {lines:?}"));
        let parts: Vec<_> = line.splitn(7, '|').collect();
        assert_eq!(
            &parts[1..5],
            ["authpriv.err", "soc1", "blueteam", "opened"],
            "{line}"
        );

        assert!(
            parts[5].starts_with("[alert@32473 alert_id=\"")
                && parts[5].contains("entity=\"203.0.113.7\""),
            "{line}"
        );
        assert!(
            parts[6].contains("Brute force from 203.0.113.7 – “żółw”"),
            "{line}"
        );
    }
}
