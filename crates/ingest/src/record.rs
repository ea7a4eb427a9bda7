//! A row as the JSON that the spool and the dead letters hold: ids and times fixed, one object,
//! readable by people and by
//! [`AuditRecord::from_json`].

use std::borrow::Cow;

use model::{AuditRecord, FieldError, TenantId, Timestamp};
use serde::Serialize;
use store::events::{AuditRow, Claim};

#[derive(Serialize)]
struct Fields<'a> {
    event_id: uuid::Uuid,
    timestamp: Timestamp,
    category: &'a str,
    action: &'a str,
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<uuid::Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<uuid::Uuid>,
    cui_accessed: bool,
}

/// The last field of a row that has the time of its arrival: what its sender claims, or null.
const CLAIM: &[u8] = b",\"claimed_at\":";

/// The very last field of a row that is not the tenant `default`'s: whose it is. Rows that an earlier
/// version wrote have none.
const TENANT: &[u8] = b",\"tenant_id\":\"";
/// The bytes of an id as text, and of what ends a row after it.
const ID: usize = 36;
const END: &[u8] = b"\"}";

/// Appends a row as JSON.
pub(super) fn encode(row: &AuditRow<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let r = row.record();
    let fields = Fields {
        event_id: row.event_id().0,
        timestamp: row.timestamp(),
        category: r.category.as_str(),
        action: &r.action,
        result: r.result.as_str(),
        user_id: r.user_id,
        session_id: r.session_id.as_deref(),
        ip_address: r.ip_address,
        user_agent: r.user_agent.as_deref(),
        resource_type: r.resource_type.as_deref(),
        resource_id: r.resource_id.as_deref(),
        instance_id: r.instance_id,
        cui_accessed: r.cui_accessed,
    };

    serde_json::to_writer(&mut *out, &fields)?;
    let metadata = r.metadata.as_json();
    if !metadata.is_empty() {
        // Verbatim: it may be JSON that only the database can judge.
        out.pop();
        out.extend_from_slice(b",\"metadata\":");
        out.extend_from_slice(metadata.as_bytes());
        out.push(b'}');
    }

    if let Some(claim) = row.claim() {
        out.pop();
        out.extend_from_slice(CLAIM);
        match claim {
            Claim::NoTime => out.extend_from_slice(b"null"),
            Claim::At(at) => serde_json::to_writer(&mut *out, &at)?,
        }
        out.push(b'}');
    }

    if row.tenant() != TenantId::DEFAULT {
        out.pop();
        out.extend_from_slice(TENANT);
        out.extend_from_slice(row.tenant().to_string().as_bytes());
        out.extend_from_slice(END);
    }

    Ok(())
}

/// Whose a row is that [`encode`] wrote.
pub(super) fn tenant_of(json: &[u8]) -> TenantId {
    split_tenant(json).1
}

/// Reads a row that [`encode`] wrote.
pub(super) fn decode(json: &[u8]) -> Result<AuditRow<'static>, FieldError> {
    let (json, tenant) = split_tenant(json);
    let (json, claim) = split_claim(&json);
    let record = AuditRecord::from_checked_json(&json)?.into_owned();
    let id = record
        .event_id
        .ok_or_else(|| FieldError::new("event_id", "is missing"))?;
    let at = record
        .timestamp
        .ok_or_else(|| FieldError::new("timestamp", "is missing"))?;

    Ok(AuditRow::new(record, || model::EventId(id), at)
        .of_tenant(tenant)
        .claiming(claim))
}

/// Splits the tenant off the end of a row. What a sender chose is within brackets of its own, after
/// which at least one more character follows.
fn split_tenant(json: &[u8]) -> (Cow<'_, [u8]>, TenantId) {
    let found = || {
        let rest = json.strip_suffix(END)?;
        let (rest, id) = rest.split_at_checked(rest.len().checked_sub(ID)?)?;
        let rest = rest.strip_suffix(TENANT)?;
        let id = std::str::from_utf8(id).ok()?.parse().ok()?;
        Some(([rest, b"}"].concat(), TenantId(id)))
    };

    found().map_or(
        (Cow::Borrowed(json), TenantId::DEFAULT),
        |(json, tenant)| (Cow::Owned(json), tenant),
    )
}

/// Splits the claim off the end of a row.
fn split_claim(json: &[u8]) -> (Cow<'_, [u8]>, Option<Claim>) {
    let found = || {
        let at = memchr::memmem::rfind(json, CLAIM)?;
        // Within the metadata, another bracket follows.
        let claim = match json[at + CLAIM.len()..].strip_suffix(b"}")? {
            b"null" => Claim::NoTime,
            at => Claim::At(serde_json::from_slice(at).ok()?),
        };
        Some(([&json[..at], b"}"].concat(), claim))
    };

    found().map_or((Cow::Borrowed(json), None), |(json, claim)| {
        (Cow::Owned(json), Some(claim))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_the_spool() {
        for json in [
            r#"{"event_id":"019a0000-0000-7000-8000-000000000001","timestamp":"2026-03-05T14:07:31.000001Z","category":"data",
            "action":"é\n\"","result":"success","user_id":"019a0000-0000-7000-8000-000000000002","session_id":"s1",
            "ip_address":"2001:db8::1","user_agent":"curl/8\u0001","resource_type":"","resource_id":"/x",
            "instance_id":"019a0000-0000-7000-8000-000000000003","cui_accessed":true,"metadata":{"bytes": 12,"x":"\ud800"}}"#,
            r#"{"event_id":"019a0000-0000-7000-8000-000000000001","timestamp":"2026-03-05T14:07:31Z","category":"ai",
            "action":"a","result":"denied"}"#,
            // What a sender writes into its metadata is not ours.
            r#"{"event_id":"019a0000-0000-7000-8000-000000000001","timestamp":"2026-03-05T14:07:31Z","category":"ai",
            "action":"a","result":"denied","metadata":{"a":1,"claimed_at":null}}"#,
            r#"{"event_id":"019a0000-0000-7000-8000-000000000001","timestamp":"2026-03-05T14:07:31Z","category":"ai",
            "action":"a","result":"denied","metadata":{"a":1,"tenant_id":"019a0000-0000-7000-8000-000000000009"}}"#,
        ] {
            let row = decode(json.as_bytes()).unwrap();
            assert_eq!((row.claim(), row.tenant()), (None, TenantId::DEFAULT));
            for claim in [
                None,
                Some(Claim::NoTime),
                Some(Claim::At(Timestamp::from_micros(1_772_719_651_000_001))),
            ] {
                for tenant in [TenantId::DEFAULT, TenantId(uuid::Uuid::from_u128(9))] {
                    let row = row.clone().claiming(claim).of_tenant(tenant);
                    let mut out = Vec::new();
                    encode(&row, &mut out).unwrap();
                    assert_eq!(decode(&out).unwrap(), row);
                    assert_eq!(tenant_of(&out), tenant);
                }
            }
        }
    }
}
