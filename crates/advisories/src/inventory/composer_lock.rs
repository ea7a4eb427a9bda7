//! `composer.lock`, including development packages, which run on machines too.

use super::Format;
use crate::json::{items_of, parse_json, text_of};
use crate::{Component, ReadError};

pub(super) const FORMAT: Format = Format {
    name: "composer",
    description: "composer.lock",
    recognizes: |text| text.contains("\"packages-dev\"") && text.contains("\"content-hash\""),
    read: parse_lock,
};

fn parse_lock(source: &str) -> Result<Vec<Component>, ReadError> {
    let lock = parse_json(source)?;
    let packages = ["packages", "packages-dev"]
        .into_iter()
        .flat_map(|key| items_of(&lock, key));
    Ok(packages
        .map(|p| Component::new("composer", text_of(p, "name"), text_of(p, "version")))
        .collect())
}
