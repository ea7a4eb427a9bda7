//! 3.5.7: password complexity and change of characters.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, not_met, unread};

pub(super) const CHECK: Check = Check {
    id: "ia_3_5_7",
    control: ControlId::known("3.5.7"),
    title: "Rules for new passwords",
    reads: &[Section::Host],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let Some(h) = &facts.host else { return unread("abcd", "the machine's settings") };
    let rules = h.pwquality.clone().unwrap_or_default();
    let shown: Vec<String> = rules.iter().map(|(k, v)| format!("{k} = {v}")).collect();
    let saw = if shown.is_empty() {
        "PAM of this machine has no pwquality rules".to_owned()
    } else {
        format!("PAM of this machine: {}", shown.join(", "))
    };
    let needs = "the password rules of each system and the policy";
    let short = rules.get("minlen").and_then(|v| v.parse::<u32>().ok()).filter(|n| *n < 8);
    let enforced = match short {
        Some(n) => not_met('c', format!("PAM of this machine takes passwords of {n} characters")),
        None => cant_tell('c', saw.clone(), needs),
    };
    vec![cant_tell('a', saw.clone(), needs), cant_tell('b', saw.clone(), needs), enforced, cant_tell('d', saw, needs)]
}
