//! The first five things to do, by the rule that found an incident. The texts are files in
//! `playbooks/`; an operator's folder may hold others, of the same names or of rules' names.

/// The most tasks of a playbook.
const TASKS_MAX: usize = 20;
/// The longest task, in characters.
pub const TASK_MAX: usize = 500;

/// What is done where nothing is known of the kind.
pub const DEFAULT: &str = "default";

/// The texts by kind.
const TEXTS: &[(&str, &str)] = &[
    ("ai", include_str!("../playbooks/ai.txt")),
    ("data", include_str!("../playbooks/data.txt")),
    (DEFAULT, include_str!("../playbooks/default.txt")),
    ("guessing", include_str!("../playbooks/guessing.txt")),
    ("injection", include_str!("../playbooks/injection.txt")),
    ("privilege", include_str!("../playbooks/privilege.txt")),
    ("session", include_str!("../playbooks/session.txt")),
    ("takeover", include_str!("../playbooks/takeover.txt")),
    ("tampering", include_str!("../playbooks/tampering.txt")),
];

/// The kind of incident that each built-in rule finds.
pub const KINDS: &[(&str, &str)] = &[
    ("account_created", "privilege"),
    ("account_takeover", "takeover"),
    ("after_hours", "session"),
    ("ai_abuse", "ai"),
    ("anomalous_access", "data"),
    ("audit_log_gap", "tampering"),
    ("audit_tampering", "tampering"),
    ("brute_force", "guessing"),
    ("console_account", "privilege"),
    ("credential_stuffing", "guessing"),
    ("cross_source_attack", "takeover"),
    ("cross_tenant", "data"),
    ("data_exfiltration", "data"),
    ("database_superuser_made", "privilege"),
    ("distributed_guessing", "guessing"),
    ("injection_attempt", "injection"),
    ("logging_stopped", "tampering"),
    ("privilege_escalation", "privilege"),
    ("privileged_group_added", "privilege"),
    ("rate_limit_surge", "guessing"),
    ("session_anomaly", "session"),
    ("slow_spray", "guessing"),
    ("success_after_brute_force", "takeover"),
    ("sudo_refused", "privilege"),
    ("web_scanner", "injection"),
];

/// The names under which a rule's playbook is looked for, the closest first: of files without
/// their ending.
pub fn names(rule: Option<&str>) -> Vec<&str> {
    let kind = KINDS.iter().find(|(of, _)| Some(*of) == rule);
    let rule = rule.filter(|rule| is_name(rule));
    rule.into_iter()
        .chain(kind.map(|(_, kind)| *kind))
        .chain([DEFAULT])
        .collect()
}

/// Whether a rule's id is fit to be a file's name. Rules of others have ids that others chose.
fn is_name(rule: &str) -> bool {
    !rule.is_empty()
        && rule.len() <= 100
        && rule
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// The tasks of the built-in playbook of that name.
pub fn built_in(name: &str) -> Option<Vec<String>> {
    let (_, text) = TEXTS.iter().find(|(of, _)| *of == name)?;
    Some(parse(text))
}

/// Reads a playbook: a task a line; `#` begins a remark. What is too long or too much is cut.
pub fn parse(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.trim().trim_start_matches("- ").trim())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .take(TASKS_MAX)
        .map(|line| {
            let cut: String = line.chars().take(TASK_MAX).collect();
            model::text::sanitize(&cut).into_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_says_the_first_five_things() {
        for (name, _) in TEXTS {
            let tasks = built_in(name).unwrap();
            assert_eq!(tasks.len(), 5, "{name}");
            assert!(tasks.iter().all(|task| task.ends_with('.')), "{name}");
        }
        for (rule, kind) in KINDS {
            assert!(built_in(kind).is_some(), "{rule}: {kind}");
        }
        let mut sorted = KINDS.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, KINDS);
    }

    #[test]
    fn the_closest_playbook_is_looked_for_first() {
        assert_eq!(
            names(Some("brute_force")),
            ["brute_force", "guessing", "default"]
        );
        assert_eq!(names(None), ["default"]);
        // The id of someone's own rule leads out of no folder.
        for bad in ["../../etc/passwd", "a/b", "", "a.b", &"x".repeat(101)] {
            assert_eq!(names(Some(bad)), ["default"], "{bad}");
        }
    }

    #[test]
    fn a_playbook_of_an_operator_is_read_within_bounds() {
        let text = format!(
            "# ours\n- call the \u{1b}[31mprime\n\n  lock it  \n{}\n",
            "x".repeat(600)
        );
        let tasks = parse(&text);
        assert_eq!(tasks.len(), 3);
        assert!(!tasks[0].contains('\u{1b}') && tasks[0].starts_with("call the"));
        assert_eq!(tasks[1], "lock it");
        assert_eq!(tasks[2].chars().count(), 500);
        assert_eq!(parse(&"a\n".repeat(100)).len(), 20);
    }
}
