//! What a piece of evidence is, by its content: a name says what its giver liked.

/// What content is, as far as it can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// UTF-8 without control characters but line ends, tabs and form feeds.
    Text,
    /// A PNG picture.
    Png,
    /// A JPEG picture.
    Jpeg,
    /// A PDF document.
    Pdf,
    /// Anything else: it is not shown.
    Other,
}

impl Media {
    /// What content is.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Self::Png;
        }
        if bytes.starts_with(b"\xff\xd8\xff") {
            return Self::Jpeg;
        }
        if bytes.starts_with(b"%PDF-") {
            return Self::Pdf;
        }

        let is_unfit = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}');
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains(is_unfit) => Self::Text,
            _ => Self::Other,
        }
    }

    /// Its media type. Text is plain, whatever language it is written in.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Pdf => "application/pdf",
            Self::Other => "application/octet-stream",
        }
    }

    /// The end of a file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Pdf => "pdf",
            Self::Other => "bin",
        }
    }

    /// Whether a browser can show it.
    pub const fn can_be_shown(self) -> bool {
        !matches!(self, Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_not_its_name_says_what_it_is() {
        for (content, media) in [
            (&b"<script>alert(1)</script>"[..], Media::Text),
            (b"=cmd|'/c calc'!A1\r\n\t", Media::Text),
            (b"\x89PNG\r\n\x1a\nrest", Media::Png),
            (b"\xff\xd8\xff\xe0", Media::Jpeg),
            (b"%PDF-1.7\n", Media::Pdf),
            (b" %PDF-1.7\n\0", Media::Other),
            (b"PK\x03\x04", Media::Other),
            (b"MZ\x90\0", Media::Other),
            (b"caf\xe9", Media::Other),
            (b"\x1b[2J", Media::Other),
        ] {
            assert_eq!(Media::of(content), media, "{content:?}");
        }
        assert_eq!(
            Media::of(b"<svg/>").media_type(),
            "text/plain; charset=utf-8"
        );
    }
}
