//! The journal of systemd, followed by `journalctl`: a stand-in for what it may do, and the real
//! one.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::PgConnection;
use tokio::time::sleep;

use super::daemon::{Daemon, PATIENCE};

/// Prints from the cursor's entry on (from the next one that is left, where it was vacuumed) and
/// goes on, as `journalctl --follow` does; notes each start. At the first it dies within the third
/// entry.
const STAND_IN: &str = r#"#!/bin/sh
dir=$(dirname "$0")
from= n=1
for a; do case $a in --cursor=*) from=${a#*=} ;; esac; done
echo "$$ $from" >>"$dir/starts"
if [ -n "$from" ]; then
    n=$(grep -nF "\"__CURSOR\":\"$from\"" "$dir/entries" | cut -d: -f1)
fi
if [ "$(wc -l <"$dir/starts")" = 1 ]; then
    head -n 2 "$dir/entries"; sed -n 3p "$dir/entries" | head -c 40; echo "it breaks" >&2; exit 7
fi
exec tail -n +${n:-1} -f "$dir/entries"
"#;

fn entry(n: u32) -> String {
    let at = 1_772_712_451_000_000_u64 + u64::from(n) * 1_000_000;
    format!(
        r#"{{"__CURSOR":"s=6b0e;i={n:x};b=2;m={n:x};t=4;x=5","__REALTIME_TIMESTAMP":"{at}","_COMM":"sshd","SYSLOG_IDENTIFIER":"sshd","MESSAGE":"Failed password for user{n} from 192.0.2.7 port 4 ssh2"}}"#
    )
}

async fn accounts(conn: &mut PgConnection) -> Vec<String> {
    let sql = "SELECT account FROM blueteam.log_events WHERE source = 'syslog' ORDER BY \
        timestamp, event_id";
    sqlx::query_scalar(sql).fetch_all(conn).await.unwrap()
}

async fn until_there_are(daemon: &Daemon, count: u32) {
    let expected: Vec<String> = (0..count).map(|n| format!("user{n}")).collect();
    let (mut conn, since) = (daemon.connect().await, Instant::now());
    loop {
        let found = accounts(&mut conn).await;
        if found == expected {
            return;
        }

        assert!(
            found.len() <= expected.len() && since.elapsed() < PATIENCE,
            "{found:?}\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

fn starts(dir: &Path) -> Vec<String> {
    std::fs::read_to_string(dir.join("starts"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_is_followed_over_every_death() {
    let tools = tempfile::tempdir().unwrap();
    let script = tools.path().join("journalctl");
    std::fs::write(&script, STAND_IN).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut entries = File::create(tools.path().join("entries")).unwrap();
    let mut said = 0;
    let mut say = |more: u32| {
        for n in said..said + more {
            writeln!(entries, "{}", entry(n)).unwrap();
        }
        said += more;
        said
    };
    say(5);
    let mut daemon =
        Daemon::with_tools("[[collect.journals]]\nservice = \"bastion\"", tools.path()).await;
    until_there_are(&daemon, 5).await;
    assert!(
        daemon
            .log()
            .contains("journalctl ended (exit status: 7): it breaks"),
        "{}",
        daemon.log()
    );
    let told = starts(tools.path());
    assert_eq!(told.len(), 2);
    assert!(told[1].ends_with(" s=6b0e;i=1;b=2;m=1;t=4;x=5"), "{told:?}");
    // journalctl is killed.
    let pid = told[1]
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let all = say(3000);
    until_there_are(&daemon, all).await;
    assert_eq!(starts(tools.path()).len(), 3);
    // We are killed, amid more.
    let all = say(3000);
    daemon.kill();
    daemon.start().await;
    until_there_are(&daemon, all).await;
    let mut conn = daemon.connect().await;
    let sql = "SELECT count(*) FROM blueteam.log_events WHERE metadata->>'service' = 'bastion'";
    let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
    assert_eq!(count, i64::from(all));
    let sql = "SELECT received, repeated, rejected FROM blueteam.sources WHERE source_id = \
        'journald:journal'";
    let account: (i64, i64, i64) = sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap();
    assert_eq!(account, (i64::from(all), 0, 0), "no entry is read twice");
    // The entry that was read last is vacuumed, and 40 that were not read; the next one is not.
    daemon.kill();
    let path = tools.path().join("entries");
    let text: String = (all + 40..all + 45).map(|n| entry(n) + "\n").collect();
    std::fs::write(&path, text).unwrap();
    daemon.start().await;
    let expected = i64::from(all) + 5;
    let since = Instant::now();
    loop {
        let sql = "SELECT count(*) FROM blueteam.log_events WHERE source = 'syslog'";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
        if count == expected {
            break;
        }
        assert!(
            count < expected && since.elapsed() < PATIENCE,
            "{count} of {expected}\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(100)).await;
    }
    let sql = "SELECT cause, lost FROM blueteam.source_gaps WHERE source_id = 'journald:journal'";
    let gaps: Vec<(String, Option<i64>)> = sqlx::query_as(sql).fetch_all(&mut conn).await.unwrap();
    assert_eq!(
        gaps,
        [("rotation".to_owned(), Some(40))],
        "{}",
        daemon.log()
    );
    assert_eq!(daemon.terminate().await.code(), Some(0));
    // Nothing is said, and we are killed: it goes with us.
    let before = starts(tools.path()).len();
    daemon.start().await;
    while starts(tools.path()).len() == before {
        sleep(Duration::from_millis(20)).await;
    }
    let pid = starts(tools.path())[before]
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    daemon.kill();
    let since = Instant::now();
    // One that nobody has buried yet is dead as well.
    while std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
    {
        assert!(since.elapsed() < PATIENCE, "it goes on");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Writes a journal file as systemd does, by what receives the journals of other machines.
fn write_journal(file: &Path, entries: std::ops::Range<u32>) {
    let mut export = String::new();
    for n in entries {
        let at = 1_772_712_451_000_000_u64 + u64::from(n) * 1_000_000;
        let boot = "0123456789abcdef0123456789abcdef";
        write!(
            export,
            "__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={n}\n_BOOT_ID={boot}\n_COMM=sshd\nSYSLOG_IDENTIFIER=sshd\n\
             MESSAGE=Failed password for user{n} from 192.0.2.7 port 4 ssh2\n\n"
        )
        .unwrap();
    }

    let input = file.with_extension("export");
    std::fs::write(&input, export).unwrap();
    let remote = "/lib/systemd/systemd-journal-remote";
    let done = Command::new(remote)
        .arg("-o")
        .arg(file)
        .arg(&input)
        .output();

    // `scripts/setup --tests` installs it.
    let done = done.unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    std::fs::remove_file(input).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_journalctl_is_followed() {
    let journal = tempfile::tempdir().unwrap();
    write_journal(&journal.path().join("remote-a.journal"), 0..500);
    let config = format!(
        "[[collect.journals]]\ndirectory = \"{}\"",
        journal.path().display()
    );
    let mut daemon = Daemon::new(&config).await;
    until_there_are(&daemon, 500).await;

    // Another file appears, while it runs and while it does not.
    write_journal(&journal.path().join("remote-b.journal"), 500..600);
    until_there_are(&daemon, 600).await;
    daemon.kill();
    write_journal(&journal.path().join("remote-c.journal"), 600..700);
    daemon.start().await;
    until_there_are(&daemon, 700).await;

    // What was read last is vacuumed: the next entry is read all the same, and it is told.
    daemon.kill();
    for file in ["remote-a", "remote-b", "remote-c"] {
        std::fs::remove_file(journal.path().join(format!("{file}.journal"))).unwrap();
    }
    write_journal(&journal.path().join("remote-d.journal"), 700..800);
    daemon.start().await;
    until_there_are(&daemon, 800).await;
    let mut conn = daemon.connect().await;
    let sql = "SELECT count(*) FROM blueteam.source_gaps WHERE cause = 'rotation' AND lost IS NULL";
    let gaps: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
    assert_eq!(gaps, 1, "{}", daemon.log());
}
