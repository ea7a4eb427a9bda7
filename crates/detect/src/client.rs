//! The client that failed logins are counted by.

use std::fmt;
use std::net::IpAddr;

use model::{EntityKind, SecurityEvent, Source};

use crate::keyed::Key;
use crate::rule::Context;

/// The client that attempts are counted by.
pub(crate) enum Client {
    Address(IpAddr),
    /// The log has only the client's host name.
    Named(String),
    /// The log does not name the client, or the client chose the name: the machine that was logged
    /// in to. Not its process: a client that can keep its address out of the log may use a new
    /// connection for each attempt.
    Unnamed(String),
}

impl Client {
    pub(crate) fn of(event: &SecurityEvent<'_>) -> Option<Self> {
        // Only collectors set it; an application's `origin` means something else.
        let by_origin = || {
            let origin = event
                .details
                .text("origin")
                .filter(|_| event.source != Source::AuditDb)?;
            let named = event
                .details
                .text("host")
                .is_some_and(|host| host == origin);
            Some(if named {
                Self::Named(origin)
            } else {
                Self::Unnamed(origin)
            })
        };

        // An application passed on an address that is none (`X-Forwarded-For: junk`): whoever sent
        // it would otherwise be counted nowhere.
        let by_service = || {
            let junk = event.details.text("ip_address_sent");
            junk.filter(|_| event.source == Source::AuditDb)?;
            let service = event.details.text("service");
            Some(Self::Unnamed(
                service.unwrap_or_else(|| "an application".to_owned()),
            ))
        };

        event
            .ip_address
            .map(Self::Address)
            .or_else(by_origin)
            .or_else(by_service)
    }

    pub(crate) fn key(&self, event: &SecurityEvent<'_>, cx: &Context<'_>) -> Key {
        match self {
            Self::Address(ip) => Key::ip(event.source, *ip),
            Self::Named(origin) | Self::Unnamed(origin) => {
                Key::new(event.source, cx.key_hasher.hash_name(origin))
            }
        }
    }

    pub(crate) const fn entity_kind(&self) -> EntityKind {
        match self {
            Self::Address(_) => EntityKind::Ip,
            Self::Named(_) | Self::Unnamed(_) => EntityKind::Source,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Named(name) | Self::Unnamed(name) => name.fmt(f),
        }
    }
}
