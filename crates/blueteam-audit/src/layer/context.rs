//! Access to the event of a request in progress.

use std::sync::{Arc, Mutex, PoisonError};

use crate::event::Event;

/// The event of a request that [`AuditLayer`](crate::AuditLayer) audits, found among the request's
/// extensions (in axum as `Extension<AuditContext>`). Authentication can set the user, a handler
/// the access to CUI.
///
/// ```
/// # use blueteam_audit::{AuditContext, Category, action};
/// # fn handler(audit: AuditContext, user: uuid::Uuid) {
/// audit.update(|event| {
///     event.set_user(user);
///     event.set_action(Category::Data, action::EXPORT_DATA);
///     event.set_cui(true);
///     event.set_detail("bytes", 120_000);
/// });
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AuditContext(Arc<Mutex<Option<Event>>>);

impl AuditContext {
    pub(super) fn new(event: Event) -> Self {
        Self(Arc::new(Mutex::new(Some(event))))
    }

    /// Changes the event. Does nothing after the response was sent.
    pub fn update(&self, change: impl FnOnce(&mut Event)) {
        if let Some(event) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            change(event);
        }
    }

    /// Passes the event to `log`, the first time only.
    pub(super) fn close_once(&self, log: impl FnOnce(&mut Event)) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = open.as_mut() {
            log(event);
            *open = None;
        }
    }
}
