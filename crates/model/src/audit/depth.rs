//! How deep a JSON text nests. Whoever is watched may choose it (an application copies what a
//! client sent), so a value that is nested too deep is replaced, and the rest is kept.

use std::borrow::Cow;

/// What stands in place of a value that was nested too deep.
const REPLACED: &str = "\"(nested too deep)\"";

/// Returns the text with each object and array that would be nested more than `most` deep replaced
/// by a string. Borrowed when there is none. What is not JSON stays so.
pub fn limit_depth(json: &str, most: usize) -> Cow<'_, str> {
    // Vectorizes; nearly every text ends here with two or three.
    if json.bytes().filter(|c| matches!(c, b'{' | b'[')).count() <= most {
        return Cow::Borrowed(json);
    }

    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let (mut out, mut kept) = (String::new(), 0);
    for (at, c) in json.bytes().enumerate() {
        match c {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth == most + 1 {
                    out.push_str(&json[kept..at]);
                    out.push_str(REPLACED);
                    kept = json.len();
                }
            }
            b'}' | b']' if !in_string => {
                if depth == most + 1 {
                    kept = at + 1;
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }

    if out.is_empty() {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[kept..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_too_deep_is_replaced_and_its_neighbors_stay() {
        for (text, expected) in [
            (r#"{"a":[1],"b":2}"#, r#"{"a":[1],"b":2}"#),
            (
                r#"{"a":[[1],"]",{"x":[[]]}],"b":2}"#,
                r#"{"a":["(nested too deep)","]","(nested too deep)"],"b":2}"#,
            ),
            (
                r#"{"a":"[[[[{{\"[[","b":[]}"#,
                r#"{"a":"[[[[{{\"[[","b":[]}"#,
            ),
            // Cut off, it is no more JSON than before.
            (r"[[[[1", r#"[["(nested too deep)""#),
            ("]]]][[[1]]]", r#"]]]][["(nested too deep)"]]"#),
        ] {
            assert_eq!(limit_depth(text, 2), expected);
        }
    }

    /// The same, on the value.
    fn limited(value: Value, most: usize) -> Value {
        match value {
            Value::Array(_) | Value::Object(_) if most == 0 => json!("(nested too deep)"),
            Value::Array(list) => list.into_iter().map(|v| limited(v, most - 1)).collect(),
            Value::Object(map) => {
                let limit = |(key, value)| (key, limited(value, most - 1));
                Value::Object(map.into_iter().map(limit).collect())
            }
            other => other,
        }
    }

    proptest! {
        #[test]
        fn texts_are_limited_as_values_are(value in value(), most in 1_usize..6) {
            let text = value.to_string();
            let found: Value = serde_json::from_str(&limit_depth(&text, most)).unwrap();
            prop_assert_eq!(found, limited(value, most));
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Value::from),
            r#"[\[\]{}"\\,a]{0,6}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(8, 64, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(r#"[\[{"a]{1,2}"#, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
