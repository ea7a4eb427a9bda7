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
fn the_configuration_is_documented_as_it_is() {
    holds("docs/configuration.md", &config::reference());
}
