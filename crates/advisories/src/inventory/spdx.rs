//! An SPDX 2.x document in JSON (ISO/IEC 5962).

use super::Format;
use crate::json::{list, parse, text};
use crate::{Component, ReadError};

pub(super) const FORMAT: Format = Format {
    name: "spdx",
    description: "an SPDX 2.x document (JSON)",
    is: |text| text.contains("\"spdxVersion\""),
    read,
};

fn read(source: &str) -> Result<Vec<Component>, ReadError> {
    let document = parse(source)?;
    if !text(&document, "spdxVersion").starts_with("SPDX-2") {
        let reason = "`spdxVersion` is not SPDX-2".to_owned();
        return Err(ReadError::Shape {
            format: "SPDX document",
            reason,
        });
    }

    let packages = list(&document, "packages").iter().map(|package| {
        let mut refs = list(package, "externalRefs")
            .iter()
            .filter(|r| text(r, "referenceType") == "purl");
        let purl = refs.find_map(|r| Component::of_purl(text(r, "referenceLocator")));
        let version =
            Some(text(package, "versionInfo")).filter(|v| !matches!(*v, "NOASSERTION" | "NONE"));

        purl.unwrap_or_else(|| {
            Component::new("", text(package, "name"), version.unwrap_or_default())
        })
    });

    Ok(packages.filter(|c| !c.package.name.is_empty()).collect())
}
