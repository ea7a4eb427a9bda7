//! The references in `docs/` are what the code says. `WRITE_DOCS=1` writes them anew.

use std::path::Path;

fn holds(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&file, made).unwrap();
    }

    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == made,
        "{path} is not what the code says; write it with \
            `WRITE_DOCS=1 cargo nextest run -p blueteam reference`"
    );
}

#[test]
fn the_command_line_is_documented_as_it_is() {
    holds("docs/cli.md", &blueteam::cli::reference());
}

#[test]
fn the_reference_of_the_api_is_what_the_routes_say() {
    let mut document = serde_json::to_string_pretty(&web::openapi_document()).unwrap();
    document.push('\n');
    holds("docs/openapi.json", &document);

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (begin, end) = ("<!-- routes -->\n", "<!-- end of routes -->\n");
    let (head, rest) = text.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let made = format!("{head}{begin}\n{}\n{end}{tail}", web::route_table());
    holds("docs/api.md", &made);
}

#[test]
fn the_configuration_is_documented_as_it_is() {
    holds("docs/configuration.md", &config::reference());
}
