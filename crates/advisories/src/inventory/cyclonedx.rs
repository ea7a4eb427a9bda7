//! A CycloneDX bill of materials (ECMA-424) in JSON, parts within parts included.

use serde_json::Value;

use super::Format;
use crate::json::{list, parse, text};
use crate::{Component, ReadError};

pub(super) const FORMAT: Format = Format {
    name: "cyclonedx",
    description: "a CycloneDX bill of materials (JSON)",
    is: |text| text.contains("\"bomFormat\""),
    read,
};

fn read(source: &str) -> Result<Vec<Component>, ReadError> {
    let bom = parse(source)?;
    if text(&bom, "bomFormat") != "CycloneDX" {
        return Err(ReadError::Shape {
            format: "CycloneDX",
            reason: "`bomFormat` is not CycloneDX".to_owned(),
        });
    }

    let mut found = Vec::new();
    let mut open: Vec<&Value> = list(&bom, "components").iter().collect();
    while let Some(part) = open.pop() {
        let vendor = || Component::new("", text(part, "name"), text(part, "version"));
        let component = Component::of_purl(text(part, "purl")).unwrap_or_else(vendor);
        if !component.package.name.is_empty() {
            found.push(component);
        }
        open.extend(list(part, "components"));
    }

    Ok(found)
}
