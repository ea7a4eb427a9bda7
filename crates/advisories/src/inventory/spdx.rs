//! An SPDX 2.x document in JSON (ISO/IEC 5962).

use super::Format;
use crate::json::{items_of, parse_json, text_of};
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

    let packages = items_of(&document, "packages").iter().map(|package| {
        let mut refs = items_of(package, "externalRefs")
            .iter()
            .filter(|r| text_of(r, "referenceType") == "purl");
        let purl = refs.find_map(|r| Component::of_purl(text_of(r, "referenceLocator")));
        let version =
            Some(text_of(package, "versionInfo")).filter(|v| !matches!(*v, "NOASSERTION" | "NONE"));

        purl.unwrap_or_else(|| {
            Component::new("", text_of(package, "name"), version.unwrap_or_default())
        })
    });

    Ok(packages.filter(|c| !c.package.name.is_empty()).collect())
}
