//! The way from the sockets to the disk: bounded in bytes, and so short that it is nearly empty.

use std::net::IpAddr;
use std::sync::Arc;

use model::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Handovers that wait.
const HANDOVERS: usize = 4096;
/// Bytes that wait.
const BYTES: usize = 32 * 1024 * 1024;

/// A message, and who sent it.
pub(super) struct Message {
    pub bytes: Vec<u8>,
    /// The address of its sender; none of a local socket.
    pub peer: Option<IpAddr>,
}

/// Messages that were read at once, and the room that they take until they are kept.
pub(super) struct Handover {
    pub messages: Vec<Message>,
    /// When they were read: a line without a year is of the year of this time, however often it is
    /// read again.
    pub received: Timestamp,
    /// Answered once they are on disk.
    kept: Option<oneshot::Sender<()>>,
    _room: OwnedSemaphorePermit,
}

impl Handover {
    /// Tells whoever read them that they are on disk, or in the database, or counted as dropped.
    pub(super) fn answer(self) {
        if let Some(kept) = self.kept {
            // A reader that was cut off does not wait any more.
            let _ = kept.send(());
        }
    }
}

/// The way in.
#[derive(Clone)]
pub(super) struct Queue {
    room: Arc<Semaphore>,
    handovers: mpsc::Sender<Handover>,
}

/// A queue and its end.
pub(super) fn new() -> (Queue, mpsc::Receiver<Handover>) {
    let (handovers, end) = mpsc::channel(HANDOVERS);
    (
        Queue {
            room: Arc::new(Semaphore::new(BYTES)),
            handovers,
        },
        end,
    )
}

fn total_size(messages: &[Message]) -> u32 {
    // A message costs more than its bytes.
    let bytes: usize = messages
        .iter()
        .map(|message| message.bytes.len() + 64)
        .sum();
    u32::try_from(bytes).unwrap_or(u32::MAX).min(BYTES as u32)
}

impl Queue {
    /// Waits until the messages are kept: nobody reads more of a stream before. False when nobody
    /// takes messages any more.
    pub(super) async fn hand_over(&self, messages: Vec<Message>, received: Timestamp) -> bool {
        let room = Arc::clone(&self.room)
            .acquire_many_owned(total_size(&messages))
            .await;
        let Ok(room) = room else { return false };
        let (kept, answer) = oneshot::channel();
        let handover = Handover {
            messages,
            received,
            kept: Some(kept),
            _room: room,
        };

        self.handovers.send(handover).await.is_ok() && answer.await.is_ok()
    }

    /// Whether there was room; does not wait.
    pub(super) fn offer(&self, messages: Vec<Message>, received: Timestamp) -> bool {
        let room = Arc::clone(&self.room).try_acquire_many_owned(total_size(&messages));
        let Ok(room) = room else { return false };
        self.handovers
            .try_send(Handover {
                messages,
                received,
                kept: None,
                _room: room,
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(bytes: Vec<u8>) -> Message {
        Message { bytes, peer: None }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_until_something_is_kept() {
        let (queue, mut end) = new();
        let now = Timestamp::from_micros(0);
        let mut taken = 0;
        while queue.offer(vec![local(vec![0; 1024 * 1024 - 64])], now) {
            taken += 1;
        }

        assert_eq!(taken, BYTES / 1024 / 1024);
        end.recv().await.unwrap().answer();
        assert!(queue.offer(vec![local(vec![0; 1024 * 1024 - 64])], now));
        assert!(!queue.offer(vec![local(vec![0; 1])], now));
    }

    #[tokio::test]
    async fn a_reader_waits_until_its_messages_are_kept() {
        let (queue, mut end) = new();
        let reading = tokio::spawn(async move {
            queue
                .hand_over(vec![local(b"x".to_vec())], Timestamp::from_micros(0))
                .await
        });

        let handover = end.recv().await.unwrap();
        tokio::task::yield_now().await;
        assert!(!reading.is_finished());
        handover.answer();
        assert!(reading.await.unwrap());
    }
}
