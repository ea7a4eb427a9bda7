//! The running program, from outside: the built binary, a state directory and a port of each test's own.

mod alerts;
mod daemon;
mod kills;
mod stops;
