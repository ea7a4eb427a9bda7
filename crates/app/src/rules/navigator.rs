//! The rules as a layer for MITRE's ATT&CK Navigator (layer format 4.5): what is looked for, and
//! what no longer is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Row;

/// A technique's color when a rule looks for it, and when all that do are off or blind.
const WATCHED: &str = "#7fc97f";
const UNWATCHED: &str = "#fdc086";

/// Returns the layer. A technique's score is how many rules look for it now; techniques of other
/// matrices (ATLAS) are left out.
pub fn layer(rows: &[Row]) -> Value {
    let mut techniques: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        for id in row.attack.iter().filter(|id| is_enterprise(id)) {
            techniques.entry(id).or_default().push(row);
        }
    }

    let entries: Vec<Value> = techniques
        .iter()
        .map(|(id, rules)| technique_json(id, rules))
        .collect();
    json!({
        "name": "blueteam rules",
        "description": "What the detection rules look for. The score is how many of them do now.",
        "domain": "enterprise-attack",
        "versions": { "layer": "4.5", "navigator": "5.1.0", "attack": "16" },
        "sorting": 3,
        "hideDisabled": false,
        "techniques": entries,
        "legendItems": [
            { "label": "a rule looks for it", "color": WATCHED },
            { "label": "its rules are off or blind", "color": UNWATCHED },
        ],
    })
}

/// `T1110` or `T1110.003`.
fn is_enterprise(id: &str) -> bool {
    let digits =
        |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    match id
        .strip_prefix('T')
        .map(|rest| rest.split_once('.').unwrap_or((rest, "000")))
    {
        Some((technique, part)) => digits(technique, 4) && digits(part, 3),
        None => false,
    }
}

fn technique_json(id: &str, rules: &[&Row]) -> Value {
    let watching = rules
        .iter()
        .filter(|row| row.enabled && row.blind_to.is_empty())
        .count();

    let say = |row: &&Row| match (row.enabled, row.blind_to.is_empty()) {
        (true, true) => row.rule_id.to_string(),
        (true, false) => format!(
            "{} (blind: {} is silent)",
            row.rule_id,
            row.blind_to.join(", ")
        ),
        (false, _) => format!("{} (off)", row.rule_id),
    };

    json!({
        "techniqueID": id,
        "score": watching,
        "color": if watching > 0 { WATCHED } else { UNWATCHED },
        "comment": rules.iter().map(say).collect::<Vec<_>>().join("; "),
        "enabled": true,
        "showSubtechniques": id.contains('.'),
    })
}

#[cfg(test)]
mod tests {
    use super::is_enterprise;

    #[test]
    fn knows_the_enterprise_matrix_by_its_ids() {
        for id in ["T1110", "T1110.003"] {
            assert!(is_enterprise(id), "{id}");
        }
        for id in ["AML.T0054", "T110", "T1110.3", "1110", "T1110.003.1", ""] {
            assert!(!is_enterprise(id), "{id}");
        }
    }
}
