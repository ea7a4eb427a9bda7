//! The product as a whole.

mod life;
mod scenarios;
