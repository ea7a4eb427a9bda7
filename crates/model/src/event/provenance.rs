//! Where an event of a log was: on which machine, in which process, who sent the line, and what it
//! said.

use std::net::IpAddr;

use crate::text::Text;

/// Longest names of machines, in bytes (RFC 1035, section 2.3.4).
pub const HOST_MAX: usize = 255;
/// Longest names of programs, in bytes.
pub const PROGRAM_MAX: usize = 128;
/// Longest names of facilities, in bytes.
pub const FACILITY_MAX: usize = 32;
/// Longest raw lines that are kept, in bytes.
pub const RAW_MAX: usize = 2048;

/// Where an event of a log was. Host, program, process ID and facility are what the line says, as
/// its parser read them by position; source and peer are what the collector saw, which no text of a
/// line can change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance<'a> {
    /// The file, journal or listener, as `blueteam sources` lists it.
    pub source_id: Option<Text<'a>>,
    /// The machine that logged it.
    pub host: Option<Text<'a>>,
    /// The program that logged it.
    pub program: Option<Text<'a>>,
    /// Its process ID.
    pub pid: Option<u32>,
    /// The syslog facility, by name (RFC 5424, section 6.2.1).
    pub facility: Option<Text<'a>>,
    /// The address that sent the line to a listener. A relay sends the lines of many machines.
    pub peer: Option<IpAddr>,
    /// The line with secrets masked, up to [`RAW_MAX`] bytes.
    pub raw: Option<Text<'a>>,
}

impl Provenance<'_> {
    /// Cuts what is too long, and replaces NUL, which PostgreSQL cannot hold.
    pub(super) fn fit(&mut self) {
        for (text, most) in [
            (&mut self.host, HOST_MAX),
            (&mut self.program, PROGRAM_MAX),
            (&mut self.facility, FACILITY_MAX),
            (&mut self.raw, RAW_MAX),
        ] {
            if let Some(text) = text {
                super::fit::fit_text(text, most);
            }
        }
    }

    /// The same, owning its bytes.
    pub fn into_owned(self) -> Provenance<'static> {
        Provenance {
            source_id: self.source_id.map(Text::into_owned),
            host: self.host.map(Text::into_owned),
            program: self.program.map(Text::into_owned),
            pid: self.pid,
            facility: self.facility.map(Text::into_owned),
            peer: self.peer,
            raw: self.raw.map(Text::into_owned),
        }
    }
}
