//! Diagrams of the system security plan: network topology and flow of CUI, as PNG or SVG.
//!
//! A picture comes from a person's file, which may be hostile or broken. What is accepted here can
//! be shown in every format: it is complete, small enough to be decoded, and neither runs anything
//! nor refers to anything outside.

mod png;
mod svg;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The largest file, in bytes.
pub const FILE_MAX: usize = 5_000_000;

/// The kinds of diagrams that an assessor asks for.
pub const KINDS: [&str; 2] = ["network topology", "data flow"];

/// A diagram as the description of the system names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Diagram {
    /// One of [`KINDS`], or another in the organization's own words.
    pub kind: String,
    /// The file, below the folder of the description.
    pub file: String,
    /// Title; the kind if empty.
    pub title: String,
    /// What the picture shows, for those who cannot see it.
    pub caption: String,
    /// SHA-256 of the file, set when the description is imported: the copy that counts from then
    /// on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sha256: String,
}

impl Diagram {
    /// Returns the title.
    pub fn title(&self) -> &str {
        [&self.title, &self.kind]
            .into_iter()
            .find(|text| !text.trim().is_empty())
            .map_or("Diagram", String::as_str)
    }
}

/// A diagram with its picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its entry in the description.
    pub diagram: Diagram,
    /// The picture.
    pub image: Image,
    /// The file as it was read.
    pub original: Arc<[u8]>,
}

/// The form of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageForm {
    /// Portable Network Graphics.
    Png,
    /// Scalable Vector Graphics.
    Svg,
}

impl ImageForm {
    /// Returns the ending of a file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Svg => "svg",
        }
    }

    /// Returns the media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Svg => "image/svg+xml",
        }
    }
}

/// A picture that was checked.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    form: ImageForm,
    width: u32,
    height: u32,
    /// What documents show: without what they do not need, such as comments and color profiles.
    #[serde(skip)]
    bytes: Arc<[u8]>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description())
    }
}

/// Why a file is not accepted as a diagram.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiagramError {
    /// Too many bytes.
    #[error("it has {0} bytes, more than the {FILE_MAX} that are allowed")]
    TooLarge(usize),
    /// Another format.
    #[error("it is neither a PNG nor an SVG picture")]
    UnknownFormat,
    /// A PNG that is broken or too large.
    #[error("the PNG {0}; save it again, without interlacing and with at most 16 megapixels")]
    Png(&'static str),
    /// An SVG that is broken or could do more than show something.
    #[error("the SVG {0}; export it as plain SVG or as PNG")]
    Svg(String),
}

impl Image {
    /// Checks a file. Its content decides what it is, not its name.
    pub fn read(data: &[u8]) -> Result<Self, DiagramError> {
        if data.len() > FILE_MAX {
            return Err(DiagramError::TooLarge(data.len()));
        }

        if data.starts_with(png::SIGNATURE) {
            return png::read(data).map_err(DiagramError::Png);
        }

        let text = std::str::from_utf8(data).map_err(|_| DiagramError::UnknownFormat)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if !text.trim_start().starts_with('<') || !text.contains("<svg") && !text.contains(":svg") {
            return Err(DiagramError::UnknownFormat);
        }

        svg::read(text).map_err(DiagramError::Svg)
    }

    /// The form.
    pub const fn form(&self) -> ImageForm {
        self.form
    }

    /// The bytes that documents show.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Width divided by height.
    pub fn ratio(&self) -> f64 {
        f64::from(self.width) / f64::from(self.height.max(1))
    }

    /// Returns form and size, such as `PNG, 800 x 600`.
    pub fn description(&self) -> String {
        let form = self.form.extension().to_ascii_uppercase();
        format!("{form}, {} x {}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests;
