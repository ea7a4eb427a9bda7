//! Response to incidents (3.6.1, 3.6.2): the phases and what leads from one to the next, the clocks
//! of the law and of contracts, the first things to do, and the worksheet of a report to DC3; and
//! the chain of evidence, the package in which it leaves, and its signature.
//!
//! Invariant: no I/O, no clock. What a stranger's event says is text here; no time in an event
//! starts or ends a clock.

pub mod chain;
pub mod clocks;
pub mod measures;
pub mod media;
pub mod names;
pub mod package;
pub mod phases;
pub mod playbooks;
pub mod sealing;
pub mod signing;
pub mod stix;
pub mod worksheet;
