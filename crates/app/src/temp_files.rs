//! Files that must not be left behind when a command is interrupted: half a package, half a copy.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, Once, PoisonError};

use tokio::signal::unix::{Signal, SignalKind, signal};

static HELD: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();

/// As long as this lives, SIGINT, SIGTERM and SIGHUP remove the file before they end the program.
#[derive(Debug)]
pub struct Held(PathBuf);

/// Registers a temporary file for removal on a signal. For commands only: the daemon handles
/// signals itself.
pub fn hold(path: &Path) -> Held {
    WATCH.call_once(|| {
        let (ready, told) = std::sync::mpsc::channel();
        let started = std::thread::Builder::new()
            .name("interrupted".to_owned())
            .spawn(move || watch_signals(&ready));
        // Without a thread the file is left behind, as it would be after SIGKILL.
        if started.is_ok() {
            let _ = told.recv();
        }
    });

    HELD.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(path.to_owned());

    Held(path.to_owned())
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|path| *path != self.0);
    }
}

/// Returns the signals that the program was started to ignore, as bits: `nohup` and jobs in the
/// background must not be ended by what they ignore.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

/// Waits for a signal; forever when it is ignored.
async fn signal_received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn watch_signals(ready: &Sender<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return;
    };

    let ignored = ignored_signals();
    let number = runtime.block_on(async {
        let ours = |kind: SignalKind| {
            let is_ignored = ignored >> (kind.as_raw_value() - 1) & 1 == 1;
            if is_ignored { None } else { signal(kind).ok() }
        };

        let mut interrupt = ours(SignalKind::interrupt());
        let mut terminate = ours(SignalKind::terminate());
        let mut hangup = ours(SignalKind::hangup());
        let _ = ready.send(());

        tokio::select! {
            () = signal_received(interrupt.as_mut()) => 2,
            () = signal_received(terminate.as_mut()) => 15,
            () = signal_received(hangup.as_mut()) => 1,
        }
    });

    for path in HELD.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let _ = std::fs::remove_file(path);
    }

    // The exit code that a shell reports for a program that a signal ended.
    std::process::exit(128 + number);
}
