//! What is wrong with a text that is not an event.

use sonic_rs::{JsonContainerTrait, JsonValueTrait};

use super::FieldError;

/// The columns whose JSON type is a string.
const TEXTS: [&str; 12] = [
    "event_id",
    "timestamp",
    "category",
    "action",
    "result",
    "user_id",
    "session_id",
    "ip_address",
    "user_agent",
    "resource_type",
    "resource_id",
    "instance_id",
];

/// Says what is wrong with a text that could not be read; slow, and only for those.
pub(super) fn diagnose(json: &str) -> FieldError {
    let value: sonic_rs::Value = match sonic_rs::from_str(json) {
        Ok(value) => value,
        Err(error) => {
            let text = error.to_string();
            let reason = text
                .lines()
                .next()
                .unwrap_or("unreadable")
                .trim_end_matches('.');
            return FieldError::new("event", format_args!("is not valid JSON: {reason}"));
        }
    };

    let Some(object) = value.as_object() else {
        return FieldError::new("event", "is not a JSON object");
    };
    for (key, value) in object {
        let null = value.is_null();
        if let Some(field) = TEXTS
            .into_iter()
            .find(|f| *f == key && !null && !value.is_str())
        {
            return FieldError::new(field, "is not a string");
        }
        if key == "cui_accessed" && !null && !value.is_boolean() {
            return FieldError::new("cui_accessed", "is not true or false");
        }
        if object.iter().filter(|(other, _)| *other == key).count() > 1 {
            return FieldError::new(key.to_owned(), "appears twice");
        }
    }

    FieldError::new("event", "cannot be read")
}
