//! What waits to be stored: bounded in messages and in bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Messages that wait.
const MESSAGES: usize = 50_000;
/// Bytes that wait.
const BYTES: usize = 32 * 1024 * 1024;

/// A message, and the room that it takes until it is stored.
pub(super) struct Message {
    text: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl Message {
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}

/// The way in.
#[derive(Clone)]
pub(super) struct Queue {
    room: Arc<Semaphore>,
    messages: mpsc::Sender<Message>,
}

/// A queue and its end.
pub(super) fn new() -> (Queue, mpsc::Receiver<Message>) {
    let (messages, end) = mpsc::channel(MESSAGES);
    (Queue { room: Arc::new(Semaphore::new(BYTES)), messages }, end)
}

fn size(text: &[u8]) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

impl Queue {
    /// Waits for room. False when nobody takes messages any more.
    pub(super) async fn push(&self, text: Vec<u8>) -> bool {
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(size(&text)).await else { return false };
        self.messages.send(Message { text, _room: room }).await.is_ok()
    }

    /// Whether there was room.
    pub(super) fn try_push(&self, text: Vec<u8>) -> bool {
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(size(&text)) else { return false };
        self.messages.try_send(Message { text, _room: room }).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_until_something_is_stored() {
        let (queue, mut end) = new();
        let mut taken = 0;
        while queue.try_push(vec![0; 1024 * 1024]) {
            taken += 1;
        }
        assert_eq!(taken, BYTES / 1024 / 1024);
        drop(end.recv().await);
        assert!(queue.try_push(vec![0; 1024 * 1024]));
        assert!(!queue.try_push(vec![0; 1]));
    }
}
