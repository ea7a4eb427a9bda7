//! A check that sees the same as before confirms what is stored (decision 0020).

use compliance::checks::{Check, CheckResult};
use model::Actor;
use model::evidence::{Confirmation, Evidence};
use model::facts::Facts;
use model::{EvidenceId, Finding, Span, Timestamp};
use store::PgConnection;
use store::evidence::EvidenceFilter;

use super::VALID;
use crate::compliance::evidence_store::sha256;

/// After so long the facts are written down again although they are the same: nobody must read a
/// record of years ago to know today's.
const RENEW: Span = Span::days(90);

/// SHA-256 over what a check decided from and what it said, without the time.
pub(super) fn digest(own: &Facts, says: &[CheckResult]) -> anyhow::Result<String> {
    let timeless = Facts {
        taken_at: Timestamp::from_secs(0),
        ..own.clone()
    };
    Ok(sha256(&serde_json::to_vec(&(timeless, says))?))
}

/// Confirms the newest result of a check, if it is the same and not too old. None when it must be
/// taken in anew.
pub(super) async fn again(
    conn: &mut PgConnection,
    check: &Check,
    own: &Facts,
    says: &[CheckResult],
    actor: &Actor,
) -> anyhow::Result<Option<EvidenceId>> {
    let now = own.taken_at;
    let Some(newest) = store::evidence::newest(conn, check.id).await? else {
        return Ok(None);
    };
    let Some(before) = &newest.last_sha256 else {
        return Ok(None);
    };
    // A result of the future was taken by a wrong clock: it confirms nothing.
    let fresh = newest.collected_at <= now && newest.collected_at.plus(RENEW) > now;
    if !fresh || newest.facts_sha256 != Some(digest(own, says)?) {
        return Ok(None);
    }
    // What stands in the database is believed only when it is what the check made of its facts:
    // whoever may write there may write anything.
    let wanted = EvidenceFilter {
        evidence_id: Some(newest.evidence_id),
        ..EvidenceFilter::default()
    };
    if !store::evidence::list(conn, &wanted)
        .await?
        .iter()
        .all(is_the_checks_own)
    {
        return Ok(None);
    }
    let mut c = Confirmation {
        evidence_id: newest.evidence_id,
        n: newest.confirmations + 1,
        at: now,
        by: actor.to_string(),
        sha256: String::new(),
    };
    c.sha256 = sha256(c.link(before).as_bytes());
    store::evidence::confirm(conn, actor, &c, now.plus(VALID)).await?;
    Ok(Some(newest.evidence_id))
}

/// Whether a stored result says what its check decides from its facts, and of the objectives that
/// it says.
fn is_the_checks_own(piece: &Evidence) -> bool {
    let Ok(replayed) = super::replay(piece) else {
        return false;
    };
    let Some(check) = compliance::checks::find(&replayed.check_id) else {
        return false;
    };
    let met = replayed
        .says
        .iter()
        .filter(|s| s.verdict.finding() == Some(Finding::Met));

    let (mut met, mut stored): (Vec<_>, Vec<_>) = (
        met.map(|s| s.objective_id(&check.control)).collect(),
        piece.objectives.clone(),
    );
    met.sort_by(|a, b| a.0.cmp(&b.0));
    stored.sort_by(|a, b| a.0.cmp(&b.0));

    replayed.same && met == stored
}

/// What is wrong with the confirmations of a piece: the first that does not follow from the one
/// before it. A number that is missing is seen as well.
pub(in crate::compliance) fn broken(
    piece: &Evidence,
    confirmations: &[Confirmation],
) -> Option<String> {
    let mut before = piece.sha256.clone().unwrap_or_default();
    for (expected, c) in (1..).zip(confirmations) {
        if c.n != expected || c.sha256 != sha256(c.link(&before).as_bytes()) {
            return Some(format!(
                "confirmation {expected} does not follow from what was before it"
            ));
        }
        before.clone_from(&c.sha256);
    }

    None
}
