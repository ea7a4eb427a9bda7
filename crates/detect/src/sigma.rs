//! Custom rules.
use crate::rule::Context;
use model::{SecurityEvent, Span};
/// Custom rules.
#[derive(Default)]
pub struct Sigma {}
impl Sigma {
    pub(crate) fn is_empty(&self) -> bool {
        true
    }
    pub(crate) fn memory(&self) -> Span {
        Span::ZERO
    }
    pub(crate) fn observe(&mut self, _e: &SecurityEvent<'_>, _b: u16, _cx: &mut Context<'_>) {}
}
