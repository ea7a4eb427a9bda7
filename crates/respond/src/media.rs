//! What a file is, by how it begins: a name says what its giver liked.

/// How much of a file is looked at, in bytes.
pub const HEAD: usize = 4096;

/// How files of a media type begin.
const MAGIC: &[(&[u8], &str)] = &[
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\xa1\xb2\xc3\xd4", "application/vnd.tcpdump.pcap"),
    (b"\xd4\xc3\xb2\xa1", "application/vnd.tcpdump.pcap"),
    (b"\xa1\xb2\x3c\x4d", "application/vnd.tcpdump.pcap"),
    (b"\x4d\x3c\xb2\xa1", "application/vnd.tcpdump.pcap"),
    (b"\x0a\x0d\x0d\x0a", "application/x-pcapng"),
    (b"\x7fELF", "application/x-executable"),
    (b"MZ", "application/vnd.microsoft.portable-executable"),
    (b"ElfFile\0", "application/x-ms-evtx"),
    (b"age-encryption.org/v1\n", "application/vnd.age"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
];

/// What text is called, whatever language it is written in.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// What is called nothing else.
pub const OTHER: &str = "application/octet-stream";

/// Returns the media type of a file that begins like this; of a longer one, with its first
/// [`HEAD`] bytes.
pub fn of(head: &[u8]) -> &'static str {
    let known = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    if let Some((_, media)) = known {
        return media;
    }

    let is_unfit = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}');
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The beginning may end within a character.
        Err(error) if error.error_len().is_none() && head.len() >= HEAD => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or("\0")
        }
        Err(_) => return OTHER,
    };
    if text.contains(is_unfit) { OTHER } else { TEXT }
}

/// Whether content of a media type can be shown as text.
pub fn is_text(media: &str) -> bool {
    media == TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_not_its_name_says_what_it_is() {
        let mut cut = vec![b'a'; HEAD - 1];
        cut.push("ż".as_bytes()[0]);
        for (content, media) in [
            (&b""[..], TEXT),
            (b"<script>alert(1)</script>", TEXT),
            (b"\xd4\xc3\xb2\xa1\x02\0", "application/vnd.tcpdump.pcap"),
            (b"MZ\x90\0", "application/vnd.microsoft.portable-executable"),
            (b"\x89PNG\r\n\x1a\nrest", "image/png"),
            (b"caf\xe9", OTHER),
            (b"caf\xc5", OTHER),
            (b"\x1b[2J", OTHER),
            (b"a\0b", OTHER),
            (&cut, TEXT),
        ] {
            assert_eq!(of(content), media, "{content:?}");
        }
    }
}
