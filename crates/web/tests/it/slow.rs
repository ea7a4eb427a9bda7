//! Clients that are slow, many, or too much.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::http::{Running, event, read_answer};

#[tokio::test]
async fn a_slow_head_is_cut_and_a_slow_body_answered() {
    let run = Running::new(|s| {
        s.timeouts.head = Duration::from_millis(300);
        s.ingest.timeouts.body = Duration::from_millis(300);
    })
    .await;
    let begin = Instant::now();
    let mut stream = TcpStream::connect(run.to).await.unwrap();
    stream
        .write_all(b"POST /v1/events HTTP/1.1\r\nHo")
        .await
        .unwrap();

    let mut rest = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest))
        .await
        .unwrap();
    let mut stream = TcpStream::connect(run.to).await.unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n",
        run.key
    );
    stream
        .write_all(format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes())
        .await
        .unwrap();

    assert_eq!(read_answer(&mut stream).await.status, 408);
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert_eq!(run.post(event(1)).await.status, 200);
}

#[tokio::test]
async fn whoever_holds_all_connections_and_says_nothing_shuts_nobody_out() {
    let run = Running::new(|s| s.max_connections = 4).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(run.to).await.unwrap();
        let _ = stream.write_all(b"POST /v1/events HTTP/1.1\r\nHo").await;
        silent.push(stream);
    }

    for n in 0..6 {
        let answer = timeout(Duration::from_secs(2), run.post(event(n)))
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let run = Running::new(|s| s.ingest.queue_max_events = 2).await;
    // Nothing commits while the table is locked.
    let mut tx = run.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await
        .unwrap();

    let waits = async { tokio::join!(run.post(event(1)), run.post(event(2))) };
    let busy = async {
        while run.ingest.stats().waiting < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let busy = run.post(event(3)).await;
        tx.commit().await.unwrap();
        busy
    };

    let ((first, second), busy) = tokio::join!(waits, busy);
    assert_eq!((first.status, second.status, busy.status), (200, 200, 429));
    assert!(busy.head.contains("retry-after: 1"), "{busy:?}");
    assert_eq!(run.rows().await, 2);
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let run = Running::new(|s| {
        s.max_connections = 1;
        s.timeouts.head = Duration::from_millis(300);
    })
    .await;
    let _idle = TcpStream::connect(run.to).await.unwrap();

    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = timeout(Duration::from_secs(5), run.post(event(1)))
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
}
