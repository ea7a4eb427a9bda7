//! `composer.lock`, development packages too: they run on machines as well.

use super::Format;
use crate::json::{list, parse, text};
use crate::{Component, ReadError};

pub(super) const FORMAT: Format = Format {
    name: "composer",
    description: "composer.lock",
    is: |text| text.contains("\"packages-dev\"") && text.contains("\"content-hash\""),
    read,
};

fn read(source: &str) -> Result<Vec<Component>, ReadError> {
    let lock = parse(source)?;
    let packages = ["packages", "packages-dev"]
        .into_iter()
        .flat_map(|key| list(&lock, key));
    Ok(packages
        .map(|p| Component::new("composer", text(p, "name"), text(p, "version")))
        .collect())
}
