//! A receiver of webhooks on this machine, for `scripts/bench deliveries`: `sink FILE`. Prints its
//! address, takes every message with 204, and writes a line for each to FILE: microseconds since
//! 1970 and the delivery's id.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program talks to a person and may fall over"
)]

use std::io::{BufWriter, Write as _};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// When, and which delivery.
type Receipt = (u128, String);

/// A header's value; names are sent in small letters.
fn find_header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        line.split_once(": ")
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    })
}

/// Takes messages until the other side has had enough.
async fn take_request(
    mut stream: TcpStream,
    receipts: mpsc::Sender<Receipt>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::with_capacity(16 * 1024);
    loop {
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };

        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length: usize = find_header(&head, "content-length")
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        while bytes.len() < end + length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }

        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_micros();
        let id = find_header(&head, "blueteam-delivery")
            .unwrap_or("-")
            .to_owned();
        let _ = receipts.send((now, id));

        bytes.drain(..end + length);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
}

fn main() {
    let mut file = BufWriter::new(std::fs::File::create(std::env::args().nth(1).unwrap()).unwrap());
    let (sender, receipts) = mpsc::channel::<Receipt>();
    std::thread::spawn(move || {
        loop {
            match receipts.recv_timeout(Duration::from_millis(100)) {
                Ok((at, id)) => writeln!(file, "{at} {id}").unwrap(),
                // Whoever reads the file counts its lines.
                Err(_) => file.flush().unwrap(),
            }
        }
    });

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move { take_request(stream, sender).await });
        }
    });
}
