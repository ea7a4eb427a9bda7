//! An SPDX 2.x document in JSON (ISO/IEC 5962).

use serde_json::Value;

use super::Format;
use crate::json::{items_of, parse_json, text_of};
use crate::package::PackageUrl;
use crate::{Component, ReadError};

pub(super) const FORMAT: Format = Format {
    name: "spdx",
    description: "an SPDX 2.x document (JSON)",
    recognizes: |text| text.contains("\"spdxVersion\""),
    read: parse_document,
};

fn parse_document(source: &str) -> Result<Vec<Component>, ReadError> {
    let document = parse_json(source)?;
    if !text_of(&document, "spdxVersion").starts_with("SPDX-2") {
        let reason = "`spdxVersion` is not SPDX-2".to_owned();
        return Err(ReadError::Shape {
            format: "SPDX document",
            reason,
        });
    }

    Ok(items_of(&document, "packages")
        .iter()
        .flat_map(parse_package)
        .filter(|component| !component.package.name.is_empty())
        .collect())
}

fn parse_package(package: &Value) -> Vec<Component> {
    let version = match text_of(package, "versionInfo") {
        "NOASSERTION" | "NONE" => "",
        version => version,
    };

    // The type is `purl` or its address: `http://spdx.org/rdf/references/purl`.
    let url = items_of(package, "externalRefs")
        .iter()
        .filter(|r| text_of(r, "referenceType").rsplit('/').next() == Some("purl"))
        .find_map(|r| PackageUrl::parse(text_of(r, "referenceLocator")));
    match url {
        Some(url) => url.or_version(version).components(),
        None => vec![Component::new("", text_of(package, "name"), version)],
    }
}
