//! Requests of the API that are sent again: what was answered is answered again, and not done
//! again.

use std::time::Duration;

use model::Actor;
use store::StoreError;
use tokio::time::timeout;

use crate::console::Console;
use crate::{AppError, Session};

pub use store::api_requests::{Answered, Claim, Repeatable};

/// How long the database has to take an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Claims a request for the one who asks.
pub async fn claim(session: &mut Session, request: &Repeatable<'_>) -> Result<Claim, AppError> {
    let (conn, actor) = session.parts();
    Ok(store::api_requests::claim(conn, actor, request).await?)
}

/// Keeps the answer of a claimed request, or forgets the request if there is none to keep. What
/// cannot be kept stays in flight for a day, and so is not done twice.
pub async fn finish(
    console: &Console,
    actor: &Actor,
    request: &Repeatable<'_>,
    answer: Option<&Answered>,
) {
    let kept = timeout(PATIENCE, async {
        let mut tx = console.begin(actor).await?;
        match answer {
            Some(answer) => store::api_requests::keep_answer(&mut tx, request, answer).await?,
            None => store::api_requests::release(&mut tx, request).await?,
        }
        tx.commit().await?;
        Ok::<(), StoreError>(())
    });
    if !matches!(kept.await, Ok(Ok(()))) {
        tracing::warn!("the answer of a request with an Idempotency-Key cannot be kept");
    }
}
