//! The formats of inventories (lists of components in use): one file each, and the list.

mod cargo_lock;
mod composer_lock;
mod cyclonedx;
mod dpkg;
mod spdx;

use crate::{Component, ReadError};

/// The longest parts of a component, in bytes.
const NAME_MAX: usize = 500;
const VERSION_MAX: usize = 200;
const ECOSYSTEM_MAX: usize = 50;

/// An inventory format.
#[derive(Debug)]
pub struct Format {
    /// Its name on the command line and in the configuration.
    pub name: &'static str,
    /// One phrase that says what it is.
    pub description: &'static str,
    /// Returns whether a text looks like this format.
    pub recognizes: fn(&str) -> bool,
    /// Reads the components of a text.
    pub read: fn(&str) -> Result<Vec<Component>, ReadError>,
}

/// All formats.
pub const ALL: &[Format] = &[
    cyclonedx::FORMAT,
    spdx::FORMAT,
    composer_lock::FORMAT,
    cargo_lock::FORMAT,
    dpkg::FORMAT,
];

/// Reads a text and returns its components in order, each once. `format` is a name in [`ALL`];
/// without one the format is recognized from the text.
pub fn read(text: &str, format: Option<&str>) -> Result<Vec<Component>, ReadError> {
    let format = match format {
        Some(name) => ALL.iter().find(|f| f.name == name),
        None => ALL.iter().find(|f| (f.recognizes)(text)),
    };

    let format = format.ok_or_else(|| {
        ReadError::Unknown(ALL.iter().map(|f| f.name).collect::<Vec<_>>().join(", "))
    })?;
    crate::reject_nul(text, format.name)?;
    let mut components = (format.read)(text)?;
    let shape = |reason: String| ReadError::Shape {
        format: format.name,
        reason,
    };

    if components.is_empty() {
        // An empty list would replace one with components.
        return Err(shape("it lists no components".to_owned()));
    }

    let fits = |c: &Component| {
        let text = [&c.package.name, &c.version, &c.package.ecosystem.0];
        !text.iter().any(|t| t.contains('\0'))
            && (1..=NAME_MAX).contains(&c.package.name.len())
            && c.version.len() <= VERSION_MAX
            && c.package.ecosystem.0.len() <= ECOSYSTEM_MAX
    };

    if let Some(wrong) = components.iter().find(|c| !fits(c)) {
        return Err(shape(format!(
            "the component `{}` has a name or version that is too long, empty or not text",
            crate::cut_text(&wrong.package.name, 40)
        )));
    }

    components.sort_unstable();
    components.dedup();
    Ok(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe_all(text: &str) -> Vec<String> {
        let read = read(text, None).unwrap();
        read.iter()
            .map(|c| format!("{} {} {}", c.package.ecosystem, c.package.name, c.version))
            .collect()
    }

    #[test]
    fn each_format_is_recognized_and_read() {
        let cargo = "version = 4\n[[package]]\nname = \"serde\"\nversion = \"1.0.2\"\nsource = \
            \"registry+x\"\n\n[[package]]\nname = \"ours\"\nversion = \"0.1.0\"\n";
        assert_eq!(describe_all(cargo), ["cargo serde 1.0.2"]);
        let composer = r#"{
            "content-hash":"x",
            "packages":[{"name":"symfony/yaml","version":"v6.4.0"}],
            "packages-dev":[{"name":"phpunit/phpunit","version":"10.0.0"}]
        }"#;
        assert_eq!(
            describe_all(composer),
            [
                "composer phpunit/phpunit 10.0.0",
                "composer symfony/yaml v6.4.0"
            ]
        );

        let dpkg = "Package: sudo\nStatus: install ok installed\nSource: sudo (1.9)\nVersion: \
            1.9.13p3-1\nDescription: x\n y\n\nPackage: gone\nStatus: deinstall ok \
            config-files\nVersion: 1\n\nPackage: libssl3\nStatus: install ok installed\nSource: \
            openssl\nVersion: 3.0.11-1\n";
        assert_eq!(
            describe_all(dpkg),
            [
                "deb libssl3 3.0.11-1",
                "deb openssl 3.0.11-1",
                "deb sudo 1.9"
            ]
        );

        let cyclone = r#"{
            "bomFormat":"CycloneDX",
            "components":[
                {
                    "type":"library",
                    "name":"core",
                    "group":"@angular",
                    "purl":"pkg:npm/%40angular/core@17.0.1",
                    "components":[{"name":"inner","version":"2"}]
                },
                {"name":"widget","version":"1.2"}
            ]
        }"#;
        assert_eq!(
            describe_all(cyclone),
            ["- inner 2", "- widget 1.2", "npm @angular/core 17.0.1"]
        );

        let spdx = r#"{
            "spdxVersion":"SPDX-2.3",
            "packages":[
                {
                    "name":"x",
                    "versionInfo":"1",
                    "externalRefs":[
                        {"referenceType":"purl","referenceLocator":"pkg:pypi/x@1.0"}
                    ]
                },
                {"name":"y","versionInfo":"NOASSERTION"}
            ]
        }"#;
        assert_eq!(describe_all(spdx), ["- y ", "pypi x 1.0"]);
    }

    #[test]
    fn unknown_formats_are_rejected_with_the_known_ones() {
        assert!(
            read("hello", None)
                .unwrap_err()
                .to_string()
                .contains("cyclonedx")
        );

        assert!(
            read("{\"packages\":3", Some("composer"))
                .unwrap_err()
                .to_string()
                .contains("JSON")
        );

        assert!(
            read("{}", Some("cyclonedx"))
                .unwrap_err()
                .to_string()
                .contains("bomFormat")
        );
    }
}
