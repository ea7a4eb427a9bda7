//! Waits for the response, and tells what became of the request whatever happens.

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
        watch: Watch,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, watch: Watch) -> Self {
        Self { inner, watch }
    }
}

impl<F: Future<Output = Result<Response<R>, E>>, R, E> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(context));
        match &result {
            Ok(response) => this.watch.answered(response.status()),
            Err(_) => this.watch.end("error"),
        }
        Poll::Ready(result)
    }
}

/// Tells of the request once: when it is answered, else when it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    logger: AuditLogger,
    context: AuditContext,
    since: Instant,
}

impl Watch {
    pub(super) fn new(logger: AuditLogger, context: AuditContext, since: Instant) -> Self {
        Self {
            logger,
            context,
            since,
        }
    }

    fn answered(&self, status: StatusCode) {
        self.tell(|event| {
            event.outcome = outcome(status);
            event.put("status".into(), Detail::Number(status.as_u16().into()));
        });
    }

    fn end(&self, how: &'static str) {
        self.tell(|event| {
            event.outcome = Outcome::Failure;
            event.put("ended".into(), Detail::Word(how));
        });
    }

    fn tell(&self, change: impl FnOnce(&mut Event)) {
        self.context.close(|event| {
            change(event);
            event.put(
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

impl Drop for Watch {
    fn drop(&mut self) {
        // The client has gone, or the service fell.
        self.end(if std::thread::panicking() {
            "panic"
        } else {
            "aborted"
        });
    }
}

fn outcome(status: StatusCode) -> Outcome {
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
    fn the_status_says_the_result() {
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
                outcome(StatusCode::from_u16(status).unwrap()),
                expect,
                "{status}"
            );
        }
    }
}
