//! The words of the design, in both clients.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use blueteam_audit::action;

/// The categories and their events as the design's table lists them; None when the documents are
/// not beside the checkout.
fn design() -> Option<BTreeMap<String, Vec<String>>> {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/spec/eqmon-blue-team-design.md");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("SKIPPED: {} is not there", file.display());
        return None;
    };

    let (_, table) = text.split_once("| Category | Events | NIST |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));

    let read = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        // "api_request (all endpoints)" has a word of explanation.
        let words = cells[2]
            .split(", ")
            .map(|w| w.split(' ').next().unwrap().to_owned());
        (cells[1].to_owned(), words.collect())
    };

    let found: BTreeMap<_, Vec<String>> = rows.map(read).collect();
    assert_eq!(found.len(), 6, "the table is read as it should be");
    Some(found)
}

#[test]
fn the_actions_are_those_of_the_design() {
    let ours = action::ALL.iter().map(|(category, actions)| {
        (
            category.as_str().to_owned(),
            actions.iter().map(|a| (*a).to_owned()).collect(),
        )
    });

    let ours: BTreeMap<String, Vec<String>> = ours.collect();
    assert_eq!(ours["system"].last().unwrap(), action::AUDIT_FAILURE);
    if let Some(design) = design() {
        assert_eq!(ours, design);
    }
}

/// The actions of each category, and the categories by their constants.
type Constants = (BTreeMap<String, Vec<String>>, BTreeMap<String, String>);

#[test]
fn the_php_class_has_the_same() {
    let script = "require $argv[1]; $c = (new ReflectionClass('AuditLogger'))->getConstants();
        echo json_encode([AuditLogger::ACTIONS, array_filter($c, fn($k) => str_starts_with($k, \
        'CAT_'), ARRAY_FILTER_USE_KEY)]);";
    let out = crate::php::php(
        &["-r", script, "--", &crate::php::file("AuditLogger.php")],
        &[],
    );
    let (actions, categories): Constants = serde_json::from_str(&out).unwrap();

    let rust: BTreeMap<String, Vec<String>> = action::ALL
        .iter()
        .map(|(c, a)| {
            (
                c.as_str().to_owned(),
                a.iter().map(|a| (*a).to_owned()).collect(),
            )
        })
        .collect();
    assert_eq!(actions, rust);

    let expect = action::ALL.iter().map(|(c, _)| {
        (
            format!("CAT_{}", c.as_str().to_uppercase()),
            c.as_str().to_owned(),
        )
    });

    assert_eq!(categories, expect.collect());
}

/// The words of a PHP declaration, without comments and spaces.
fn declaration(text: &str) -> String {
    let (_, rest) = text.split_once("public static function log(").unwrap();
    let (arguments, _) = rest.split_once("): void").unwrap();
    let lines = arguments
        .lines()
        .map(|line| line.split("//").next().unwrap());

    lines
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect()
}

#[test]
fn the_php_class_is_called_as_the_design_says() {
    let ours = declaration(&std::fs::read_to_string(crate::php::file("AuditLogger.php")).unwrap());
    assert!(
        ours.starts_with("string$category,string$action,string$result,?string$userId,"),
        "{ours}"
    );

    if design().is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared/spec/eqmon-blue-team-design.md");
        assert_eq!(ours, declaration(&std::fs::read_to_string(file).unwrap()));
    }
}
