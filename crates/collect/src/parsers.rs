//! The log formats: one file each, and this list.

mod audit;
pub mod journald;
mod nginx;
mod nginx_error;
mod php;
mod postgres;
mod syslog;

use model::Network;
use model::civil::Zone;
use model::{SecurityEvent, Source, Timestamp};
use uuid::Uuid;

use crate::sequence::Line;

/// All formats.
pub const ALL: &[&Format] = &[
    &audit::FORMAT,
    &syslog::FORMAT,
    &journald::FORMAT,
    &nginx::FORMAT,
    &nginx_error::FORMAT,
    &php::FORMAT,
    &postgres::FORMAT,
];

/// A format of log lines.
#[derive(Debug)]
pub struct Format {
    /// The name that `--format` and the configuration use.
    pub name: &'static str,
    /// One phrase that says what it reads.
    pub description: &'static str,
    /// The source of its events.
    pub source: Source,
    /// How lines are joined to entries; `None` where each line is an entry.
    pub entry_rules: Option<EntryRules>,
    /// Creates a parser.
    pub parser: fn(ParseContext) -> Box<dyn LineParser>,
}

impl Format {
    /// Finds a format by its name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|f| f.name == name)
    }
}

/// Decides from the length of an entry before a line (`None` at its first line) and the line itself
/// whether the entry continues.
pub type Continues = fn(Option<usize>, &[u8]) -> bool;

/// How lines are joined to entries.
#[derive(Clone, Copy, Debug)]
pub struct EntryRules {
    /// Returns whether a line looks like the first of an entry.
    pub is_entry_start: fn(&[u8]) -> bool,
    /// Returns whether an entry certainly continues after a line, so the next line is part of it
    /// whatever it looks like.
    pub continues: Option<Continues>,
    /// Returns whether a line is the first of an entry wherever it stands, since no text of
    /// strangers can look like it: the entry before it was torn.
    pub is_certain_start: Option<fn(&[u8]) -> bool>,
    /// Entries that quote text which strangers may have chosen.
    pub quotes: Option<QuotedText>,
}

/// How entries are read whose text comes from strangers, with newlines as they came: a line of it
/// may look like the first of an entry.
#[derive(Clone, Copy, Debug)]
pub struct QuotedText {
    /// Returns whether the first line of an entry leaves such a text open.
    pub opens: fn(&[u8]) -> bool,
    /// Returns whether a line that looks like the first of an entry is worth forging. It is part of
    /// the entry before it, as long as the text may last: what looks like its end, or like another
    /// entry, may be in the text, too.
    pub is_worth_forging: fn(&[u8]) -> bool,
    /// The longest entry.
    pub entry_max: usize,
}

/// The state of an entry that is being assembled line by line.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenEntry {
    /// Its length so far, while it certainly continues.
    certain: Option<usize>,
    /// The length of a text of strangers so far, while it may last.
    quoted: Option<usize>,
}

impl OpenEntry {
    /// The longest entry that is continued unconditionally. Beyond it the file is damaged, and the
    /// next line that looks like a start is one.
    pub const MAX: usize = 12 * 1024 * 1024;

    /// Adds the next line and returns whether it begins an entry.
    pub fn push_line(&mut self, rules: &EntryRules, line: &[u8]) -> bool {
        if self.is_quoted(rules, line) {
            return false;
        }

        let within = self
            .certain
            .filter(|before| *before < Self::MAX)
            .filter(|_| {
                !rules
                    .is_certain_start
                    .is_some_and(|is_start| is_start(line))
            });
        let is_start = within.is_none() && (rules.is_entry_start)(line);
        let continues = |before| rules.continues.is_some_and(|decide| decide(before, line));

        self.certain = match within {
            Some(before) => continues(within).then_some(before + 1 + line.len()),
            None => (is_start && continues(None)).then_some(line.len()),
        };
        if is_start && rules.quotes.is_some_and(|text| (text.opens)(line)) {
            self.quoted = Some(line.len());
        }

        is_start
    }

    /// Returns whether a line may be part of a text of strangers, and would be worth forging.
    fn is_quoted(&mut self, rules: &EntryRules, line: &[u8]) -> bool {
        let (Some(before), Some(text)) = (self.quoted, rules.quotes) else {
            return false;
        };
        let length = before + 1 + line.len();
        self.quoted = (length < text.entry_max).then_some(length);
        self.quoted.is_some() && (rules.is_entry_start)(line) && (text.is_worth_forging)(line)
    }
}

/// What a parser needs to know that the lines do not say.
#[derive(Clone, Debug)]
pub struct ParseContext {
    /// The lines were written at this time or before. Gives the year to times without one.
    pub latest: Timestamp,
    /// The zone of times without one.
    pub zone: Zone,
    /// When the lines arrived, as the time of those whose sender has no clock. `None` in a replay,
    /// where nobody knows.
    pub arrived: Option<Timestamp>,
    /// Proxies that are trusted to name the client for which they forward.
    pub trusted_proxies: Vec<Network>,
}

impl ParseContext {
    /// Creates the context of lines written until `latest`, in UTC where they name no zone.
    pub fn utc(latest: Timestamp) -> Self {
        Self {
            latest,
            zone: Zone::UTC,
            arrived: None,
            trusted_proxies: Vec::new(),
        }
    }
}

/// A parser of one format. Stateless, so lines can be parsed in parallel.
pub trait LineParser: Send + Sync {
    /// Parses an entry without its last newline, and says what it means by itself.
    fn parse<'a>(&self, line: &'a [u8], id: LineId) -> Parsed<'a>;

    /// The same, with what it means to the lines around it. Give it to a
    /// [`Sequencer`](crate::sequence::Sequencer).
    fn read<'a>(&self, line: &'a [u8], id: LineId) -> Line<'a> {
        self.parse(line, id).into()
    }
}

/// The meaning of an entry.
#[derive(Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every line of a busy log is an event; boxing would cost each of them"
)]
pub enum Parsed<'a> {
    /// An event.
    Event(SecurityEvent<'a>),
    /// Nothing that concerns security.
    Nothing,
    /// The entry is not of this format; says why.
    Rejected(String),
}

/// The place of a line. Makes a line the same event every time it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineId {
    /// A number that is the same for the same file.
    pub file: u32,
    /// The offset of the line's first byte.
    pub offset: u64,
}

impl LineId {
    /// Builds an event ID from time, file and offset. No part of it is text that a monitored user
    /// could choose.
    pub fn event_id(self, at: Timestamp) -> model::EventId {
        let millis = (at.as_micros() / 1000) as u64;
        let mut bytes = [0; 16];
        for (to, from) in bytes
            .iter_mut()
            .zip(millis.to_be_bytes().into_iter().skip(2))
        {
            *to = from;
        }

        let rest = u128::from(self.file) << 48 | u128::from(self.offset & 0xffff_ffff_ffff);
        for (to, from) in bytes
            .iter_mut()
            .skip(6)
            .zip(rest.to_be_bytes().into_iter().skip(6))
        {
            *to = from;
        }

        // 6 bytes of time, then 10 bytes; the version and variant bits replace bits of the file's
        // number.
        model::EventId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

/// The nil ID, for callers that need an ID before the real one is known.
pub const NO_EVENT: model::EventId = model::EventId(Uuid::nil());

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression test for what the fuzzer found; see fuzz/README.md.
    #[test]
    fn every_fuzz_seed_is_read() {
        let seeds = |name: &str| {
            let folder =
                concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/").to_owned() + name;
            let seeds = std::fs::read_dir(folder)
                .unwrap()
                .map(|e| std::fs::read(e.unwrap().path()).unwrap());
            seeds.collect::<Vec<_>>()
        };

        for format in ALL {
            let parser = (format.parser)(ParseContext::utc(Timestamp::from_secs(1_772_712_451)));
            let mut events = 0;
            for seed in seeds(format.name) {
                for (line, offset) in seed.split(|byte| *byte == b'\n').zip(0..) {
                    events += usize::from(matches!(
                        parser.parse(line, LineId { file: 7, offset }),
                        Parsed::Event(_)
                    ));
                }
            }

            assert!(
                events > 0,
                "{} has no seed that gives an event",
                format.name
            );
        }

        for seed in seeds("json_ingest") {
            let _ = model::AuditRecord::from_json(&seed, model::audit::Strangers::Refuse);
        }

        for seed in seeds("otlp_protobuf") {
            let _ =
                crate::otlp::read_request(&seed, crate::otlp::Encoding::Protobuf, 1000, |_, _| ());
        }

        for seed in seeds("otlp_json") {
            let _ = crate::otlp::read_request(&seed, crate::otlp::Encoding::Json, 1000, |_, _| ());
        }
    }
}
