//! Files that must not be left behind when somebody presses Ctrl-C or ends us: half a package, half a copy.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, Once, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

static HELD: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();

/// As long as this lives, SIGINT, SIGTERM and SIGHUP remove the file before they end the program.
#[derive(Debug)]
pub(crate) struct Held(PathBuf);

/// Takes care of a temporary file. Of commands only: the daemon ends in its own way.
pub(crate) fn hold(path: &Path) -> Held {
    WATCH.call_once(|| {
        let (ready, told) = std::sync::mpsc::channel();
        let started = std::thread::Builder::new().name("interrupted".to_owned()).spawn(move || watch(&ready));
        // Without a thread the file is left behind, as it would be after SIGKILL.
        if started.is_ok() {
            let _ = told.recv();
        }
    });
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    Held(path.to_owned())
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| *path != self.0);
    }
}

fn watch(ready: &Sender<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let number = runtime.block_on(async {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
            return None;
        };
        let _ = ready.send(());
        Some(tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
            _ = hangup.recv() => 1,
        })
    });
    let Some(number) = number else { return };
    for path in HELD.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let _ = std::fs::remove_file(path);
    }
    // As a shell tells it of a program that a signal ended.
    std::process::exit(128 + number);
}
