//! What each route of the API takes.

use serde_json::{Value, json};

/// A body that each route takes, where one is needed.
pub(super) fn body_for(path: &str) -> Option<Value> {
    Some(match path {
        "/api/v1/incidents/{id}/status" => json!({"status": "analyzing", "reason": "a test"}),
        "/api/v1/incidents" => json!({"title": "a test", "severity": "low"}),
        "/api/v1/incidents/{id}" => json!({"title": "a test"}),
        "/api/v1/incidents/{id}/observables" => json!({"kind": "ip", "value": "203.0.113.7"}),
        "/api/v1/incidents/{id}/tasks" => json!({"task": "a test"}),
        "/api/v1/incidents/{id}/tasks/{number}" => json!({"state": "done"}),
        "/api/v1/incidents/{id}/assign" => json!({"account": null}),
        "/api/v1/incidents/{id}/notes" => json!({"text": "a test"}),
        "/api/v1/incidents/{id}/link" | "/api/v1/incidents/{id}/unlink" => {
            json!({"alerts": ["0"], "reason": "a test"})
        }
        "/api/v1/incidents/{id}/split" => {
            json!({"alerts": ["0"], "title": "a test", "reason": "a test"})
        }
        "/api/v1/incidents/{id}/merge" => json!({"into": null, "reason": "a test"}),
        "/api/v1/incidents/{id}/decide" => json!({"applies": true, "reason": "a test"}),
        "/api/v1/incidents/{id}/reported" => json!({}),
        "/api/v1/incidents/{id}/release" => json!({"reason": "a test"}),
        "/api/v1/keys/{id}/rotate" => json!({}),
        "/api/v1/keys" => json!({"name": "test", "scopes": ["metrics:read"]}),
        "/api/v1/alerts/{id}/verdict" => json!({"verdict": "true_positive"}),
        "/api/v1/alerts:batch" => json!({"ids": ["0"]}),
        "/api/v1/silences" => json!({"length": "1h", "reason": "a test"}),
        "/api/v1/compliance/poam" => json!({
            "control": "9.9.9", "weakness": "x", "remediation": "y",
        }),
        "/api/v1/compliance/poam/{id}" => json!({}),
        "/api/v1/compliance/evidence" => json!({
            "text": "x", "supports": [], "kind": "policy_doc", "shows": "a test",
        }),
        "/api/v1/users" => json!({"username": "new", "email": "new@example.com", "role": "user"}),
        "/api/v1/users/{name}/role" => json!({"role": "manager"}),
        "/api/v1/permissions" => json!({
            "role": "user", "action": "write", "resource": "silences", "allowed": false,
        }),
        "/api/v1/users/{name}/disable" => json!({"reason": "a test"}),
        _ => return None,
    })
}
