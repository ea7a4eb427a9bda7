//! Where events come from.

use askama::Template;

use crate::frame::Frame;
use crate::words::When;

/// A source.
#[derive(Clone, Debug)]
pub struct SourceRow {
    /// Its name.
    pub id: String,
    /// Where more of it is.
    pub path: String,
    /// Its kind.
    pub kind: String,
    /// The machines that its lines name.
    pub hosts: String,
    /// When it last sent something.
    pub last: Option<When>,
    /// The account: received, accepted, ignored, repeated, rejected.
    pub account: [u64; 5],
    /// What is wrong with it, in words; nothing if it is well.
    pub trouble: String,
}

/// The sources.
#[derive(Debug, Template)]
#[template(path = "sources.html")]
pub struct SourcesPage {
    /// What is around it.
    pub frame: Frame,
    /// The sources.
    pub rows: Vec<SourceRow>,
}
