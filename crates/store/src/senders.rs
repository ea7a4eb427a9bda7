//! The accounts of a source's senders: who sends how much, and how much of it is not understood.

use model::{Span, Timestamp};
use serde::Serialize;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::Ts;

/// Senders of a source that have an account each. What others send is booked together under the
/// empty key: who sends to an open port can make up any number of names and, over UDP, addresses.
pub const SENDERS_MAX: usize = 1000;

/// A sender of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SenderKey {
    /// The address that sends to a listener; empty for files, journals and local sockets.
    pub peer: String,
    /// The machine that its lines name, in lower case; empty for the sum of a peer.
    pub host: String,
}

/// What a batch adds to the account of a sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderIntake {
    /// Lines received; of a machine, those that were events.
    pub lines: u64,
    /// Events among them.
    pub events: u64,
    /// Lines that were not understood.
    pub unparsed: u64,
    /// Of the newest lines, how many in a row were not understood.
    pub unparsed_in_a_row: u64,
    /// Whether any line was understood, so that the row began within the batch.
    pub understood_any: bool,
}

/// The account of a sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sender {
    /// The source, as `blueteam sources` lists it.
    pub source_id: String,
    /// Who it is.
    #[serde(flatten)]
    pub key: SenderKey,
    /// When it was first heard.
    pub first_seen_at: Timestamp,
    /// When it was last heard.
    pub last_seen_at: Timestamp,
    /// Lines received; of a machine, those that were events.
    pub lines: u64,
    /// Events among them.
    pub events: u64,
    /// Lines that were not understood.
    pub unparsed: u64,
    /// Lines in the hour of the clock in which it was last heard.
    pub hour_lines: u64,
    /// Of them, those that were not understood.
    pub hour_unparsed: u64,
    /// Lines in the hour before that one.
    pub last_hour_lines: u64,
    /// Of them, those that were not understood.
    pub last_hour_unparsed: u64,
    /// Of the newest lines, how many in a row were not understood.
    pub unparsed_in_a_row: u64,
    /// Since when people know that too much of it is not understood.
    pub unread_since: Option<Timestamp>,
    /// Since when people know that it has been silent.
    pub silent_since: Option<Timestamp>,
}

/// Lines of a sender that were not understood, among all that it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Unread {
    /// Those that were not understood.
    pub unparsed: u64,
    /// All.
    pub lines: u64,
}

impl Sender {
    /// Lines that were not understood make a source partly blind from this number on.
    const UNREAD_MIN: u64 = 20;
    /// And from this share of an hour on: one of so many.
    const UNREAD_SHARE: u64 = 50;

    /// Returns how much of an hour was not understood, if it is so much that rules and checks
    /// cannot rely on this sender: at least 20 lines and 2 % of an hour of the clock, this or the
    /// last one, or all of the newest 20 lines. Only the sum of a peer knows; see [`SenderKey`].
    pub fn unread(&self, now: Timestamp) -> Option<Unread> {
        let hour = |at: Timestamp| at.as_micros().div_euclid(Span::hours(1).as_micros());
        let age = hour(now) - hour(self.last_seen_at);
        let this = Unread {
            unparsed: self.hour_unparsed,
            lines: self.hour_lines,
        };
        let last = Unread {
            unparsed: self.last_hour_unparsed,
            lines: self.last_hour_lines,
        };

        let hours = match age {
            ..=0 => [Some(this), Some(last)],
            1 => [Some(this), None],
            _ => [None, None],
        };
        let too_many = |unread: &Unread| {
            unread.unparsed >= Self::UNREAD_MIN
                && unread.unparsed * Self::UNREAD_SHARE >= unread.lines
        };
        let in_a_row = (self.unparsed_in_a_row >= Self::UNREAD_MIN).then_some(Unread {
            unparsed: self.unparsed_in_a_row,
            lines: self.unparsed_in_a_row,
        });
        hours.into_iter().flatten().find(too_many).or(in_a_row)
    }

    /// A sender counts as one that is to be heard once it was heard over this time.
    const KNOWN_AFTER: Span = Span::days(2);
    /// And so often on average.
    const LINES_A_DAY: i64 = 24;
    /// Silence that is reported. Nights and what is switched off for one are shorter.
    const SILENT_AFTER: Span = Span::hours(24);
    /// Of that, so much must lie in the present business hours: weekends are silent.
    const OPEN_AFTER: Span = Span::hours(4);
    /// What has been silent for longer was taken out of service while nobody watched.
    const FORGOTTEN_AFTER: Span = Span::days(30);

    /// Returns for how long a sender that speaks regularly has been silent, if that is to be
    /// reported. `watched` is since when its listener could hear it, `open` since when business
    /// hours last, if they do.
    ///
    /// Only a peer, or a machine that one names, falls silent; a file or journal is a source of its
    /// own.
    pub fn silence(
        &self,
        now: Timestamp,
        watched: Timestamp,
        open: Option<Timestamp>,
    ) -> Option<Span> {
        let heard = self.last_seen_at.since(self.first_seen_at);
        let days = heard.as_micros() / Span::days(1).as_micros();
        let lines = i64::try_from(self.lines).unwrap_or(i64::MAX);
        let is_regular = heard >= Self::KNOWN_AFTER && lines / days.max(1) >= Self::LINES_A_DAY;
        let silent = now.since(self.last_seen_at);
        let watched_silence = now.since(self.last_seen_at.max(watched));
        let open_silence = now.since(self.last_seen_at.max(watched).max(open?));

        (!self.key.peer.is_empty()
            && is_regular
            && watched_silence > Self::SILENT_AFTER
            && open_silence > Self::OPEN_AFTER
            && silent < Self::FORGOTTEN_AFTER)
            .then_some(silent)
    }

    /// Returns the machine and its address, as far as they are known.
    pub fn machine(&self) -> String {
        if self.key.host.is_empty() {
            self.key.peer.clone()
        } else {
            format!("{} ({})", self.key.host, self.key.peer)
        }
    }

    /// Returns the source, with the peer where it has several.
    pub fn name(&self) -> String {
        if self.key.peer.is_empty() {
            self.source_id.clone()
        } else {
            format!("{} from {}", self.source_id, self.key.peer)
        }
    }
}

/// Notes since when people know that too much of a sender is not understood; `None` when that has
/// passed.
pub async fn set_unread_since(
    conn: &mut PgConnection,
    sender: &Sender,
    since: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE blueteam.source_senders
         SET unread_since = $4
         WHERE source_id = $1 AND peer = $2 AND host = $3
           AND tenant_id = blueteam.tenant_of_new()",
        sender.source_id,
        sender.key.peer,
        sender.key.host,
        since.map(Ts) as Option<Ts>,
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Notes since when people know that a sender has been silent; `None` when it was heard again.
pub async fn set_silent_since(
    conn: &mut PgConnection,
    sender: &Sender,
    since: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE blueteam.source_senders
         SET silent_since = $4
         WHERE source_id = $1 AND peer = $2 AND host = $3
           AND tenant_id = blueteam.tenant_of_new()",
        sender.source_id,
        sender.key.peer,
        sender.key.host,
        since.map(Ts) as Option<Ts>,
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Books what a batch of a source held by sender. Belongs into the transaction that stores the
/// batch.
pub async fn book(
    conn: &mut PgConnection,
    source_id: &str,
    senders: &[(SenderKey, SenderIntake)],
    now: Timestamp,
) -> Result<(), StoreError> {
    if senders.is_empty() {
        return Ok(());
    }

    let numbers = |of: fn(&SenderIntake) -> u64| -> Vec<i64> {
        senders
            .iter()
            .map(|(_, intake)| i64::try_from(of(intake)).unwrap_or(i64::MAX))
            .collect()
    };
    let peers: Vec<String> = senders.iter().map(|(key, _)| key.peer.clone()).collect();
    let hosts: Vec<String> = senders.iter().map(|(key, _)| key.host.clone()).collect();
    let understood: Vec<bool> = senders
        .iter()
        .map(|(_, intake)| intake.understood_any)
        .collect();

    sqlx::query_file!(
        "src/senders/book.sql",
        source_id,
        Ts(now) as Ts,
        &peers,
        &hosts,
        &numbers(|intake| intake.lines),
        &numbers(|intake| intake.events),
        &numbers(|intake| intake.unparsed),
        &numbers(|intake| intake.unparsed_in_a_row),
        &understood,
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Lists the senders of a source, or of all, by source, peer and machine.
pub async fn list(
    conn: &mut PgConnection,
    source_id: Option<&str>,
) -> Result<Vec<Sender>, StoreError> {
    let rows = sqlx::query_file!("src/senders/list.sql", source_id)
        .fetch_all(conn)
        .await?;

    let senders = rows.into_iter().map(|row| Sender {
        source_id: row.source_id,
        key: SenderKey {
            peer: row.peer,
            host: row.host,
        },
        first_seen_at: row.first_seen_at.0,
        last_seen_at: row.last_seen_at.0,
        lines: row.lines.unsigned_abs(),
        events: row.events.unsigned_abs(),
        unparsed: row.unparsed.unsigned_abs(),
        hour_lines: row.hour_lines.unsigned_abs(),
        hour_unparsed: row.hour_unparsed.unsigned_abs(),
        last_hour_lines: row.last_hour_lines.unsigned_abs(),
        last_hour_unparsed: row.last_hour_unparsed.unsigned_abs(),
        unparsed_in_a_row: row.unparsed_in_a_row.unsigned_abs(),
        unread_since: row.unread_since.map(|at| at.0),
        silent_since: row.silent_since.map(|at| at.0),
    });
    Ok(senders.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines, and those not understood, of this hour and of the last one, and in a row.
    fn unread(this: [u64; 2], last: [u64; 2], in_a_row: u64, hours_ago: i64) -> Option<Unread> {
        let now = Timestamp::from_secs(1_800_000_000);
        let sender = Sender {
            source_id: "syslog:udp:0.0.0.0:514".to_owned(),
            key: SenderKey::default(),
            first_seen_at: now,
            last_seen_at: now.minus(Span::hours(hours_ago)),
            lines: 0,
            events: 0,
            unparsed: 0,
            hour_lines: this[0],
            hour_unparsed: this[1],
            last_hour_lines: last[0],
            last_hour_unparsed: last[1],
            unparsed_in_a_row: in_a_row,
            unread_since: None,
            silent_since: None,
        };
        sender.unread(now)
    }

    #[test]
    fn a_machine_that_spoke_for_days_and_stops_is_silent() {
        let now = Timestamp::from_secs(1_800_000_000);
        let ago = |hours| now.minus(Span::hours(hours));
        let machine = |first, last, lines| Sender {
            source_id: "syslog:udp:0.0.0.0:514".to_owned(),
            key: SenderKey {
                peer: "192.0.2.7".to_owned(),
                host: "db02".to_owned(),
            },
            first_seen_at: ago(first),
            last_seen_at: ago(last),
            lines,
            events: lines,
            unparsed: 0,
            hour_lines: 0,
            hour_unparsed: 0,
            last_hour_lines: 0,
            last_hour_unparsed: 0,
            unparsed_in_a_row: 0,
            unread_since: None,
            silent_since: None,
        };
        let open = Some(ago(5));
        let is_silent = |sender: &Sender| sender.silence(now, ago(1000), open).is_some();

        let silent = machine(300, 30, 1000);
        assert_eq!(silent.machine(), "db02 (192.0.2.7)");
        assert_eq!(silent.silence(now, ago(1000), open), Some(Span::hours(30)));
        for (sender, why) in [
            (machine(300, 20, 1000), "it may be off for a night"),
            (machine(60, 30, 1000), "it was heard for a day only"),
            (machine(300, 30, 100), "it speaks now and then"),
            (machine(2000, 800, 100_000), "it was taken out of service"),
        ] {
            assert!(!is_silent(&sender), "{why}");
        }

        assert_eq!(silent.silence(now, ago(10), open), None, "nobody listened");
        assert_eq!(silent.silence(now, ago(1000), None), None, "a weekend");
        assert_eq!(
            silent.silence(now, ago(1000), Some(ago(1))),
            None,
            "the morning after one"
        );
        let file = Sender {
            key: SenderKey::default(),
            ..silent
        };
        assert!(!is_silent(&file), "a file is a source of its own");
    }

    #[test]
    fn twenty_lines_and_two_percent_of_an_hour_are_too_many() {
        let of = |unparsed, lines| Some(Unread { unparsed, lines });
        assert_eq!(unread([1000, 20], [0, 0], 0, 0), of(20, 1000));
        assert_eq!(unread([1001, 20], [0, 0], 0, 0), None, "less than 2 %");
        assert_eq!(unread([19, 19], [0, 0], 19, 0), None, "too few to say");
        assert_eq!(
            unread([5, 0], [100, 50], 0, 0),
            of(50, 100),
            "the hour before"
        );
        assert_eq!(unread([100, 50], [0, 0], 0, 1), of(50, 100), "silent since");
        assert_eq!(unread([100, 50], [0, 0], 0, 2), None, "long past");
        assert_eq!(
            unread([9000, 20], [0, 0], 20, 30),
            of(20, 20),
            "all of the newest"
        );
    }
}
