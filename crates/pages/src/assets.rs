//! Style, script and icon: files of our own. Their names change with their content, so that a browser
//! may keep them.

/// A file.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its path, which holds a mark of its content.
    pub path: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// Its content.
    pub content: &'static str,
}

macro_rules! asset {
    ($file:literal, $kind:literal, $extension:literal) => {{
        const CONTENT: &str = include_str!(concat!("../assets/", $file, $extension));
        const MARK: [u8; 16] = mark(CONTENT.as_bytes());
        const PATH: &str = {
            const PARTS: [&[u8]; 5] = [
                b"/assets/",
                $file.as_bytes(),
                b"-",
                &MARK,
                $extension.as_bytes(),
            ];
            const LENGTH: usize = {
                let (mut length, mut part) = (0, 0);
                while part < PARTS.len() {
                    length += PARTS[part].len();
                    part += 1;
                }
                length
            };
            const BYTES: [u8; LENGTH] = {
                let (mut bytes, mut at, mut part) = ([0; LENGTH], 0, 0);
                while part < PARTS.len() {
                    let mut i = 0;
                    while i < PARTS[part].len() {
                        bytes[at] = PARTS[part][i];
                        at += 1;
                        i += 1;
                    }
                    part += 1;
                }
                bytes
            };
            match std::str::from_utf8(&BYTES) {
                Ok(path) => path,
                Err(_) => "/assets/unnamed",
            }
        };
        Asset {
            path: PATH,
            media_type: $kind,
            content: CONTENT,
        }
    }};
}

/// The style.
pub const STYLE: Asset = asset!("console", "text/css; charset=utf-8", ".css");
/// The script.
pub const SCRIPT: Asset = asset!("console", "text/javascript; charset=utf-8", ".js");
/// The script of the door, for passkeys.
pub const DOOR: Asset = asset!("door", "text/javascript; charset=utf-8", ".js");
/// The picture of the browser's tab.
pub const ICON: Asset = asset!("icon", "image/svg+xml", ".svg");
/// Every asset.
pub const ALL: [Asset; 4] = [STYLE, SCRIPT, DOOR, ICON];

/// A mark of content, in hexadecimal (FNV-1a, 64 bits). It tells versions apart and guards nothing.
const fn mark(content: &[u8]) -> [u8; 16] {
    let (mut hash, mut i) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while i < content.len() {
        hash = (hash ^ content[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }

    let (mut digits, mut place) = ([0; 16], 0);
    while place < 16 {
        digits[place] = b"0123456789abcdef"[(hash >> (60 - 4 * place)) as usize & 15];
        place += 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The budgets of the console.
    #[test]
    fn script_and_style_are_small() {
        let scripts = SCRIPT.content.len() + DOOR.content.len();
        assert!(scripts <= 12_000, "{scripts}");
        assert!(STYLE.content.len() <= 20_000, "{}", STYLE.content.len());
        assert!(STYLE.path.starts_with("/assets/console-") && STYLE.path.contains(".css"));
        assert_ne!(SCRIPT.path[..32], STYLE.path[..32]);
    }

    /// What the policy of the pages forbids, or would let text become code.
    #[test]
    fn the_script_runs_no_text() {
        for forbidden in [
            "eval(",
            "new Function",
            ".innerHTML",
            "document.write",
            "localStorage",
            "http://",
            "https://",
        ] {
            assert!(!SCRIPT.content.contains(forbidden), "{forbidden}");
            assert!(!DOOR.content.contains(forbidden), "{forbidden}");
            assert!(!STYLE.content.contains(forbidden), "{forbidden}");
        }
    }
}
