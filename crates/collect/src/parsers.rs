//! Formats: one file each, and this list.

mod audit;
pub mod journald;
mod nginx;
mod nginx_error;
mod php;
mod postgres;
mod syslog;

use model::civil::Zone;
use model::{SecurityEvent, Source, Timestamp};
use uuid::Uuid;

/// Every format, by the name that `--format` and the configuration use.
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
    /// Its name.
    pub name: &'static str,
    /// What it reads, in a sentence.
    pub description: &'static str,
    /// Where its events come from.
    pub source: Source,
    /// How lines make entries, where those may have many; none where each line is one.
    pub lines: Option<Lines>,
    /// Makes a parser.
    pub parser: fn(Reference) -> Box<dyn LineParser>,
}

impl Format {
    /// The format of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|f| f.name == name)
    }
}

/// Decides from the bytes of an entry before a line, none at its first line, and the line itself.
pub type GoesOn = fn(Option<usize>, &[u8]) -> bool;

/// How lines make entries.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    /// Whether a line looks like the first of an entry.
    pub begins: fn(&[u8]) -> bool,
    /// Whether an entry certainly goes on after a line, so that the next is part of it whatever it
    /// looks like.
    pub goes_on: Option<GoesOn>,
}

/// An entry that is being put together, line by line.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenEntry {
    /// Its bytes so far, while it certainly goes on.
    certain: Option<usize>,
}

impl OpenEntry {
    /// After so many bytes something is wrong with the file rather than with the entry, and the
    /// next beginning is believed.
    pub const MAX: usize = 12 * 1024 * 1024;

    /// Takes the next line; whether it begins an entry.
    pub fn next(&mut self, lines: &Lines, line: &[u8]) -> bool {
        let within = self.certain.filter(|before| *before < Self::MAX);
        let begins = within.is_none() && (lines.begins)(line);
        let goes_on = |before| lines.goes_on.is_some_and(|goes_on| goes_on(before, line));
        self.certain = match within {
            Some(before) => goes_on(within).then_some(before + 1 + line.len()),
            None => (begins && goes_on(None)).then_some(line.len()),
        };
        begins
    }
}

/// What a parser is told that the lines do not say.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The lines were written at this time or before; gives the year to lines that carry none.
    pub latest: Timestamp,
    /// The zone of lines that name none.
    pub zone: Zone,
}

impl Reference {
    /// Lines written until `latest`, in UTC where they do not say.
    pub const fn utc(latest: Timestamp) -> Self {
        Self {
            latest,
            zone: Zone::UTC,
        }
    }
}

/// Reads lines of one format. Stateless, so that lines can be read in parallel.
pub trait LineParser: Send + Sync {
    /// What a line (without its newline) means.
    fn parse<'a>(&self, line: &'a [u8], id: LineId) -> Parsed<'a>;
}

/// What a line means.
#[derive(Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every line of a busy log is an event; boxing would cost each of them"
)]
pub enum Parsed<'a> {
    /// This.
    Event(SecurityEvent<'a>),
    /// Nothing that concerns security.
    Nothing,
    /// It is not of this format, and why.
    Rejected(String),
}

/// Where a line stands: makes the same line the same event every time it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineId {
    /// Which file: a number that is the same for the same file.
    pub file: u32,
    /// Offset of its first byte.
    pub offset: u64,
}

impl LineId {
    /// An event id for a line: time, file and offset. None of it is text that whoever is watched
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
        // 6 bytes of time, then 10 of which the version and variant bits are taken out of the
        // file's number.
        model::EventId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

/// The nil id, for callers that need one before they know better.
pub const NO_EVENT: model::EventId = model::EventId(Uuid::nil());

#[cfg(test)]
mod tests {
    use super::*;

    /// What the fuzzer found once is found no more; see fuzz/README.md.
    #[test]
    fn every_seed_is_read() {
        let seeds = |name: &str| {
            let folder =
                concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/").to_owned() + name;
            let seeds = std::fs::read_dir(folder)
                .unwrap()
                .map(|e| std::fs::read(e.unwrap().path()).unwrap());
            seeds.collect::<Vec<_>>()
        };

        for format in ALL {
            let parser = (format.parser)(Reference::utc(Timestamp::from_secs(1_772_712_451)));
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
                "{} has no seed that says something",
                format.name
            );
        }

        for seed in seeds("json_ingest") {
            let _ = model::AuditRecord::from_json(&seed, model::audit::Strangers::Refuse);
        }

        for seed in seeds("otlp_protobuf") {
            let _ = crate::otlp::read(&seed, crate::otlp::Encoding::Protobuf, 1000, |_| ());
        }

        for seed in seeds("otlp_json") {
            let _ = crate::otlp::read(&seed, crate::otlp::Encoding::Json, 1000, |_| ());
        }
    }
}
