//! Messages over sockets: from a real rsyslog, in pieces, as garbage, and while the database dies.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use tokio::time::sleep;

use super::daemon::{Daemon, PATIENCE};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn line(user: &str) -> String {
    format!(
        "<38>Mar  4 10:00:00 web sshd[7]: Failed password for {user} from 192.0.2.9 port 4 ssh2"
    )
}

/// Waits until so many accounts with that prefix were tried; says how many events there are of
/// them.
async fn stored(daemon: &Daemon, prefix: &str, accounts: i64) -> i64 {
    let sql = "SELECT count(DISTINCT account), count(*) FROM blueteam.log_events WHERE \
        starts_with(account, $1)";
    let since = Instant::now();
    loop {
        let mut conn = daemon.connect().await;
        let found: Result<(i64, i64), _> =
            sqlx::query_as(sql).bind(prefix).fetch_one(&mut conn).await;
        if let Ok((distinct, rows)) = found
            && distinct == accounts
        {
            return rows;
        }
        assert!(
            since.elapsed() < PATIENCE,
            "{prefix}: {found:?} of {accounts}\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

struct Sender(Child);

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_rsyslog_is_heard_over_udp_tcp_and_tls() {
    const LINES: i64 = 500;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(file("cert"), issued.cert.pem()).unwrap();
    std::fs::write(file("key"), issued.signing_key.serialize_pem()).unwrap();

    let [udp, tcp, tls] = [free_port(), free_port(), free_port()];
    let daemon = Daemon::new(&format!(
        "[[collect.listeners]]\naddress = \"udp:127.0.0.1:{udp}\"\n[[collect.listeners]]\naddress \
            = \"tcp:127.0.0.1:{tcp}\"\n\
         [[collect.listeners]]\naddress = \"tls:127.0.0.1:{tls}\"\ntls_cert_file = \
         \"{}\"\ntls_key_file = \"{}\"",
        file("cert"),
        file("key"),
    ))
    .await;

    let forward = format!(
        "global(workDirectory=\"{}\" \
            defaultNetstreamDriverCAFile=\"{}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
         input(type=\"imuxsock\" Socket=\"{}\" RateLimit.Interval=\"0\")\n\
         template(name=\"new\" type=\"string\" string=\"<%PRI%>1 %TIMESTAMP:::date-rfc3339% \
         %HOSTNAME% %APP-NAME% - - - %msg:2:$%\\n\")\n\
         if $msg contains 'viaudp' then action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{udp}\" \
         protocol=\"udp\")\n\
         if $msg contains 'viatcp' then action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{tcp}\" \
         protocol=\"tcp\" TCP_Framing=\"octet-counted\")\n\
         if $msg contains 'viatls' then action(type=\"omfwd\" template=\"new\" \
         target=\"127.0.0.1\" port=\"{tls}\" protocol=\"tcp\"\n\
           StreamDriver=\"ossl\" StreamDriverMode=\"1\" StreamDriverAuthMode=\"anon\")\n",
        dir.path().display(),
        file("cert"),
        file("log"),
    );

    std::fs::write(file("conf"), forward).unwrap();
    let out = std::fs::File::create(file("out")).unwrap();
    let mut command = Command::new("rsyslogd");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args([
        "-n",
        "-f",
        &file("conf"),
        "-i",
        &file("pid"),
    ]);

    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out)
        .spawn();
    let _sender = Sender(child.expect("rsyslogd is missing: run scripts/setup --tests"));
    let socket = UnixDatagram::unbound().unwrap();

    let since = Instant::now();
    while socket.connect(file("log")).is_err() {
        assert!(
            since.elapsed() < PATIENCE,
            "{}",
            std::fs::read_to_string(file("out")).unwrap()
        );
        sleep(Duration::from_millis(50)).await;
    }

    for n in 0..LINES {
        for via in ["viaudp", "viatcp", "viatls"] {
            // A program of the same machine does not name it.
            socket
                .send(line(&format!("{via}{n}")).replace(" web ", " ").as_bytes())
                .unwrap();
        }
    }

    for via in ["viaudp", "viatcp", "viatls"] {
        assert_eq!(stored(&daemon, via, LINES).await, LINES, "{via}: twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_garbage_and_a_stop_lose_nothing() {
    let [udp, tcp] = [free_port(), free_port()];
    let dir = tempfile::tempdir().unwrap();
    let unix = dir.path().join("log");
    let mut daemon = Daemon::new(&format!(
        "[[collect.listeners]]\naddress = \"udp:127.0.0.1:{udp}\"\n[[collect.listeners]]\naddress \
            = \"tcp:127.0.0.1:{tcp}\"\n\
         [[collect.listeners]]\naddress = \"unix:{}\"",
        unix.display(),
    ))
    .await;

    // The sockets open beside the rest.
    let since = Instant::now();
    while TcpStream::connect(("127.0.0.1", tcp)).is_err() || !unix.exists() {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        sleep(Duration::from_millis(20)).await;
    }

    // Garbage first: it must not keep anybody else from being heard.
    let garbage: Vec<u8> = (0..200_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    TcpStream::connect(("127.0.0.1", tcp))
        .unwrap()
        .write_all(&garbage)
        .unwrap();

    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams
        .send_to(&garbage[..9000], ("127.0.0.1", udp))
        .unwrap();
    datagrams.send_to(b"", ("127.0.0.1", udp)).unwrap();
    datagrams
        .send_to(line("udp").as_bytes(), ("127.0.0.1", udp))
        .unwrap();

    UnixDatagram::unbound()
        .unwrap()
        .send_to(line("unix").as_bytes(), &unix)
        .unwrap();

    // Split at every byte, the framings in turn.
    let mut stream = String::new();
    for n in 0..4 {
        let line = line(&format!("tcp{n}"));
        let _ = if n % 2 == 0 {
            write!(stream, "{} {line}", line.len())
        } else {
            writeln!(stream, "{line}")
        };
    }

    let mut socket = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
    socket.set_nodelay(true).unwrap();
    for byte in stream.bytes() {
        socket.write_all(&[byte]).unwrap();
        std::thread::yield_now();
    }

    for (prefix, accounts) in [("tcp", 4), ("udp", 1), ("unix", 1)] {
        assert_eq!(stored(&daemon, prefix, accounts).await, accounts);
    }

    // Sent just before the stop, the last without an end.
    let mut last = String::new();
    for n in 0..2000 {
        let _ = write!(
            last,
            "{}{}",
            if n == 0 { "" } else { "\n" },
            line(&format!("last{n}"))
        );
    }

    socket.write_all(last.as_bytes()).unwrap();
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    daemon.start().await;
    assert_eq!(stored(&daemon, "last", 2000).await, 2000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_loses_no_line_that_came_over_tcp() {
    const LINES: i64 = 6000;
    let tcp = free_port();
    let daemon = Daemon::new(&format!(
        "[[collect.listeners]]\naddress = \"tcp:127.0.0.1:{tcp}\""
    ))
    .await;

    let sending = tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
        for n in 0..LINES {
            socket
                .write_all(format!("{}\n", line(&format!("load{n}"))).as_bytes())
                .unwrap();
            if n % 10 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });

    for _ in 0..2 {
        sleep(Duration::from_millis(900)).await;
        let pid = daemon.postmaster().unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        let since = Instant::now();
        while daemon.postmaster() == Some(pid) || daemon.try_connect().await.is_err() {
            assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    sending.await.unwrap();
    assert_eq!(stored(&daemon, "load", LINES).await, LINES);
}
