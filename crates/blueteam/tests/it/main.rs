//! The product as a whole.

mod scenarios;
