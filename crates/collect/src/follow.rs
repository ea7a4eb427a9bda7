//! Following files.
