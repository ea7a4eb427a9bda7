//! Who is at the other end of a connection.

use std::net::SocketAddr;

/// The address that a connection came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);
