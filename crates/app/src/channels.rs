//! Channels: whether a message arrives.

use model::{Actor, Channel, Clock as _, Content, Notice, Severity, SystemClock, Topic, WallClock};
use notify::channels::{Definition, those};
use notify::{Channels, Kind, Notification};
use store::outbox::ChannelTraits;
use uuid::Uuid;

use crate::actor::{Action, Resource, require};
use crate::{AppError, Session};

pub use notify::{Receipt, SendError};

/// Returns what the outbox must know of the channels that there are.
pub fn traits() -> ChannelTraits {
    ChannelTraits {
        limited: those(Definition::is_limited),
        resolving: those(|definition| definition.resolves),
    }
}

/// Sends a test message through one channel, or through each that is configured, and hands each
/// answer to `each` as it comes.
pub async fn send_test(
    actor: &Actor,
    channels: &Channels,
    only: Option<Channel>,
    severity: Severity,
    each: impl FnMut(Channel, Result<Receipt, SendError>),
) -> Result<(), AppError> {
    require(actor, Action::Write, Resource::Channels)?;
    send_permitted(TestPermit(actor.clone()), channels, only, severity, each).await
}

/// That someone may send a test message. A message takes as long as the other side does, and no
/// transaction waits for that.
#[derive(Debug)]
pub struct TestPermit(Actor);

/// Checks that whoever asks may send a test message.
pub fn permit_test(session: &Session) -> Result<TestPermit, AppError> {
    session.require(Action::Write, Resource::Channels)?;
    Ok(TestPermit(session.actor().clone()))
}

/// The same as [`send_test`], for whoever may.
pub async fn send_permitted(
    TestPermit(actor): TestPermit,
    channels: &Channels,
    only: Option<Channel>,
    severity: Severity,
    mut each: impl FnMut(Channel, Result<Receipt, SendError>),
) -> Result<(), AppError> {
    let wanted = only.map_or_else(|| channels.configured(), |channel| vec![channel]);
    if wanted.is_empty() {
        return Err(AppError::conflict(
            "no channel is configured; see [channels] in `blueteam config sample`",
        ));
    }

    let message = test_message(&actor, severity);
    for channel in wanted {
        each(channel, channels.send(channel, &message).await);
    }

    Ok(())
}

fn test_message(actor: &Actor, severity: Severity) -> Notification {
    let now = SystemClock.now();
    let hostname = crate::actor::hostname();

    // A test of its own each time: a receiver must not take the second for a repetition of the
    // first.
    let id = Uuid::now_v7();
    let notice = Notice {
        id,
        topic: Topic::Test,
        severity,
        title: format!("Test of the alert channel from {hostname}"),
        body: format!("{actor} on {hostname} checks that alerts arrive. Nothing has happened."),
        about: hostname,
        from: now,
        to: now,
        count: 0,
        lasts: false,
    };

    Notification {
        content: Content::Notice(notice),
        delivery_id: id,
        kind: Kind::Test,
        sent_at: now,
        people: Vec::new(),
        ack_url: None,
        clock: WallClock::default(),
        within: None,
    }
}
