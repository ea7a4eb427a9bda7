//! Changes of what someone has seen take turns: nothing comes between the comparison with what they
//! have seen and the change.

use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until no other change is under way.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}
