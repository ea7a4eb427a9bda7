//! The event of a request under way, for whoever learns more about it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::event::Event;

/// Stands among the extensions of each request that [`AuditLayer`](crate::AuditLayer) audits.
/// Authentication says there who the user is, a handler that CUI was touched; in axum by
/// `Extension<AuditContext>`.
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

    /// Changes the event. When the response is out already, nothing happens.
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

    /// Gives the event to `tell`, the first time.
    pub(super) fn close(&self, tell: impl FnOnce(&mut Event)) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = open.as_mut() {
            tell(event);
            *open = None;
        }
    }
}
