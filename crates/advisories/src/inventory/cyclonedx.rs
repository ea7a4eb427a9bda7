//! A CycloneDX bill of materials (ECMA-424) in JSON, including nested components.

use serde_json::Value;

use super::Format;
use crate::json::{items_of, parse_json, text_of};
use crate::{Component, ReadError};

pub(super) const FORMAT: Format = Format {
    name: "cyclonedx",
    description: "a CycloneDX bill of materials (JSON)",
    recognizes: |text| text.contains("\"bomFormat\""),
    read: parse_bom,
};

fn parse_bom(source: &str) -> Result<Vec<Component>, ReadError> {
    let bom = parse_json(source)?;
    if text_of(&bom, "bomFormat") != "CycloneDX" {
        return Err(ReadError::Shape {
            format: "CycloneDX",
            reason: "`bomFormat` is not CycloneDX".to_owned(),
        });
    }

    let mut found = Vec::new();
    let mut open: Vec<&Value> = items_of(&bom, "components").iter().collect();
    while let Some(part) = open.pop() {
        let vendor = || Component::new("", text_of(part, "name"), text_of(part, "version"));
        let component = Component::of_purl(text_of(part, "purl")).unwrap_or_else(vendor);
        if !component.package.name.is_empty() {
            found.push(component);
        }
        open.extend(items_of(part, "components"));
    }

    Ok(found)
}
