//! `Cargo.lock`. Packages without a source are the project's own.

use serde::Deserialize;

use super::Format;
use crate::{Component, ReadError};

pub(super) const FORMAT: Format = Format {
    name: "cargo",
    description: "Cargo.lock",
    recognizes: |text| text.contains("[[package]]"),
    read: parse_lock,
};

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
}

fn parse_lock(text: &str) -> Result<Vec<Component>, ReadError> {
    let lock: Lock = toml::from_str(text)
        .map_err(|error| ReadError::Syntax("TOML", error.message().to_owned()))?;
    let registry = lock.package.iter().filter(|p| p.source.is_some());
    Ok(registry
        .map(|p| Component::new("cargo", &p.name, &p.version))
        .collect())
}
