//! What libraries say of a wrong value, in the words of the documentation.

use serde_json::Value;

/// Returns the known name that resembles a misspelled one.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this, two names have little in common.
    const ALIKE: f64 = 0.7;

    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Returns what is wrong with a value, given what serde says of it.
pub(super) fn plain_words(message: &str, value: Option<&Value>) -> String {
    if let Some(field) = between(message, "missing field `", "`") {
        return format!("needs the key `{field}`");
    }

    if let Some((found, known)) = message
        .strip_prefix("unknown variant `")
        .and_then(|rest| rest.split_once('`'))
    {
        return unknown_word(found, known);
    }

    if message.contains("UUID parsing failed") {
        let example = "7b0c6a52-0d63-4c11-9d0a-2f4f1c1f9a10";
        return format!("{} is not a UUID such as {example}", shown(value));
    }

    // The only texts that the date library reads here are days.
    if message.starts_with("failed to parse") || message.contains("parse civil date") {
        return format!("{} is not a day such as 2026-12-25", shown(value));
    }

    if message == "invalid socket address syntax" {
        return format!(
            "{} is not {}",
            shown(value),
            expected_words("socket address")
        );
    }

    let expected = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|kind| message.strip_prefix(kind))
        .and_then(|rest| rest.rsplit_once(", expected "));
    match expected {
        Some((_, expected)) => {
            format!("{} is not {}", shown(value), expected_words(expected))
        }
        None => message.to_owned(),
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?
        .1
        .split_once(after)
        .map(|(found, _)| found)
}

/// `known` is the rest of serde's sentence: ``, expected one of `a`, `b` ``.
fn unknown_word(found: &str, known: &str) -> String {
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let meant = nearest(found, known.iter().copied())
        .map(|near| format!("; did you mean `{near}`?"))
        .unwrap_or_default();

    format!("`{found}` is not one of {}{meant}", known.join(", "))
}

fn shown(value: Option<&Value>) -> String {
    /// Nobody needs more of a wrong value to find it.
    const MAX: usize = 80;

    match value {
        None => "the value".to_owned(),
        Some(Value::String(text)) => format!("`{}`", model::text::clip(text, MAX)),
        Some(Value::Array(_)) => "a list".to_owned(),
        Some(Value::Object(_)) => "a section".to_owned(),
        Some(other) => format!("`{other}`"),
    }
}

/// What a Rust type is to the writer of the file.
fn expected_words(expected: &str) -> String {
    let whole = |max: u64| format!("a whole number from 0 to {max}");
    match expected {
        "u8" => whole(u8::MAX.into()),
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        "u64" | "usize" => "a whole number that is not negative".to_owned(),
        "i64" | "i32" => "a whole number".to_owned(),
        "f64" | "f32" => "a number".to_owned(),
        "a string" | "string" | "a borrowed string" | "str" => {
            "a text in quotation marks".to_owned()
        }
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list in brackets".to_owned(),
        "a map" => "a section".to_owned(),
        "socket address" => {
            "an address with its port, such as \"127.0.0.1:8514\" or \"[::1]:8514\"".to_owned()
        }
        _ if expected.starts_with("struct ") => "a section with keys of its own".to_owned(),
        _ => expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wrong_value_is_described_without_rust() {
        for (message, value, words) in [
            (
                "invalid type: integer `8514`, expected socket address",
                json!(8514),
                "`8514` is not an address with its port, such as \"127.0.0.1:8514\" or \
                    \"[::1]:8514\"",
            ),
            (
                "unknown variant `monday`, expected one of `mon`, `tue`",
                json!("monday"),
                "`monday` is not one of mon, tue; did you mean `mon`?",
            ),
            (
                "invalid value: integer `-1`, expected u32",
                json!(-1),
                "`-1` is not a whole number from 0 to 4294967295",
            ),
            (
                "failed to parse four digit integer as year: invalid digit",
                json!("12/25/2026"),
                "`12/25/2026` is not a day such as 2026-12-25",
            ),
            (
                "invalid type: string \"x, expected y\", expected struct Entry",
                json!("x, expected y"),
                "`x, expected y` is not a section with keys of its own",
            ),
            ("missing field `from`", json!({}), "needs the key `from`"),
            ("must be at least 1s", json!("0s"), "must be at least 1s"),
        ] {
            assert_eq!(plain_words(message, Some(&value)), words);
        }
    }

    #[test]
    fn only_a_name_that_is_alike_is_suggested() {
        assert_eq!(
            nearest("bruteforce", ["brute_force", "slow_spray"]),
            Some("brute_force")
        );
        assert_eq!(nearest("xyz", ["brute_force", "slow_spray"]), None);
    }
}
