//! A CycloneDX bill of materials (ECMA-424) in JSON, including nested components and the product
//! that it describes.

use serde_json::Value;

use super::Format;
use crate::json::{items_of, parse_json, text_of};
use crate::package::{Distribution, PackageUrl, SourcePackage};
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

    let mut parts: Vec<&Value> = Vec::new();
    let described = bom.get("metadata").and_then(|m| m.get("component"));
    let mut open: Vec<&Value> = items_of(&bom, "components")
        .iter()
        .chain(described)
        .collect();
    while let Some(part) = open.pop() {
        parts.push(part);
        open.extend(items_of(part, "components"));
    }

    let distribution = find_distribution(&parts);
    Ok(parts
        .iter()
        .flat_map(|part| parse_part(part, distribution.as_ref()))
        .filter(|component| !component.package.name.is_empty())
        .collect())
}

/// Returns the distribution whose packages are listed, if there is exactly one.
fn find_distribution(parts: &[&Value]) -> Option<Distribution> {
    let mut systems = parts
        .iter()
        .filter(|part| text_of(part, "type") == "operating-system")
        .map(|part| Distribution::new(text_of(part, "name"), text_of(part, "version")));
    let first = systems.next()?;
    systems.all(|other| other == first).then_some(first)
}

fn parse_part(part: &Value, distribution: Option<&Distribution>) -> Vec<Component> {
    let version = text_of(part, "version");
    match PackageUrl::parse(text_of(part, "purl")) {
        Some(url) => url
            .or_version(version)
            .or_distribution(distribution)
            .or_source(source_of(part))
            .components(),
        None => vec![Component::new("", text_of(part, "name"), version)],
    }
}

/// Returns the source package as scanners note it beside the package URL.
fn source_of(part: &Value) -> Option<SourcePackage> {
    let property = |suffix: &str| {
        items_of(part, "properties")
            .iter()
            .find(|p| text_of(p, "name").ends_with(suffix))
            .map_or("", |p| text_of(p, "value"))
    };

    let name = [":SrcName", "metadata:source", "metadata:originPackage"]
        .map(property)
        .into_iter()
        .find(|name| !name.is_empty())?;
    let version = property(":SrcVersion");
    let epoch = property(":SrcEpoch");
    let release = property(":SrcRelease");

    let version = match (version, release) {
        ("", _) => property("metadata:sourceVersion").to_owned(),
        (version, "") => version.to_owned(),
        (version, release) => format!("{version}-{release}"),
    };
    let version = match epoch {
        "" | "0" => version,
        epoch => format!("{epoch}:{version}"),
    };

    Some(SourcePackage {
        name: name.to_owned(),
        version,
    })
}
