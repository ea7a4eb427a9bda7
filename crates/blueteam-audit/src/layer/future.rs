//! Waits for the response and logs the request however it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Response, StatusCode};
use pin_project_lite::pin_project;

use super::AuditContext;
use crate::AuditLogger;
use crate::event::{Detail, Event, Outcome};

pin_project! {
    /// The response of an [`AuditService`](crate::AuditService).
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        guard: RequestGuard,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, guard: RequestGuard) -> Self {
        Self { inner, guard }
    }
}

impl<F: Future<Output = Result<Response<R>, E>>, R, E> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(context));
        match &result {
            Ok(response) => this.guard.log_status(response.status()),
            Err(_) => this.guard.log_failure("error"),
        }
        Poll::Ready(result)
    }
}

/// Logs a request once: with its status, or as failed when it is dropped before.
#[derive(Debug)]
pub(super) struct RequestGuard {
    logger: AuditLogger,
    context: AuditContext,
    since: Instant,
}

impl RequestGuard {
    pub(super) fn new(logger: AuditLogger, context: AuditContext, since: Instant) -> Self {
        Self {
            logger,
            context,
            since,
        }
    }

    fn log_status(&self, status: StatusCode) {
        self.log_once(|event| {
            event.outcome = outcome_of_status(status);
            event.put_detail("status".into(), Detail::Number(status.as_u16().into()));
        });
    }

    fn log_failure(&self, how: &'static str) {
        self.log_once(|event| {
            event.outcome = Outcome::Failure;
            event.put_detail("ended".into(), Detail::Word(how));
        });
    }

    fn log_once(&self, change: impl FnOnce(&mut Event)) {
        self.context.close_once(|event| {
            change(event);
            event.put_detail(
                "duration_ms".into(),
                Detail::Number(self.since.elapsed().as_millis() as u64),
            );

            let time = event
                .time
                .unwrap_or_else(|| self.logger.time_of(self.since));
            self.logger.log_at(time, event);
        });
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        // The client disconnected, or the service panicked.
        self.log_failure(if std::thread::panicking() {
            "panic"
        } else {
            "aborted"
        });
    }
}

fn outcome_of_status(status: StatusCode) -> Outcome {
    match status.as_u16() {
        401 | 403 | 407 | 429 => Outcome::Denied,
        ..=399 => Outcome::Success,
        _ => Outcome::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_determines_the_outcome() {
        for (status, expect) in [
            (200, Outcome::Success),
            (304, Outcome::Success),
            (400, Outcome::Failure),
            (401, Outcome::Denied),
            (403, Outcome::Denied),
            (404, Outcome::Failure),
            (407, Outcome::Denied),
            (429, Outcome::Denied),
            (500, Outcome::Failure),
        ] {
            assert_eq!(
                outcome_of_status(StatusCode::from_u16(status).unwrap()),
                expect,
                "{status}"
            );
        }
    }
}
