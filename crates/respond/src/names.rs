//! Names of files that come from outside, made safe: for every file system, for a ZIP, for a
//! terminal, and for the person who reads them.

use unicode_normalization::UnicodeNormalization as _;

/// The longest name, in bytes: with a number before it, and `.age` after it, every file system
/// takes it.
pub const NAME_MAX: usize = 120;
/// The longest original name that is kept, in bytes.
pub const ORIGINAL_MAX: usize = 1024;
/// What a file is called whose name says nothing.
const NAMELESS: &str = "unnamed";
/// The longest extension that survives where a name is cut, in bytes, with its dot.
const EXTENSION_MAX: usize = 17;

/// Returns the last part of a path, made safe. The result is never empty, is what it is of itself,
/// and has no separator, control character, direction override or invisible character in it; it
/// begins with none of `.`, `-` and a space, and ends with none of a dot and a space.
pub fn sanitize(path: &str) -> String {
    let last = path
        .trim_end_matches(['/', '\\'])
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default();
    let kept: String = last
        .chars()
        .filter(|c| !acts(*c))
        .nfc()
        .filter(|c| !acts(*c))
        .map(|c| if is_reserved(c) { '_' } else { c })
        .collect();

    let mut name = trim(&cut(trim(&kept))).to_owned();
    if name.is_empty() {
        NAMELESS.clone_into(&mut name);
    }
    if is_device(&name) {
        name.insert(0, '_');
    }
    name
}

/// Returns the name as it was given, with what acts spelled out, in at most [`ORIGINAL_MAX`] bytes.
pub fn original(name: &str) -> String {
    let safe = model::text::sanitize(name);
    model::text::clip(&safe, ORIGINAL_MAX).into_owned()
}

/// Characters that move the cursor, reverse the text or hide in it.
fn acts(c: char) -> bool {
    matches!(model::text::sanitize(c.encode_utf8(&mut [0; 4])), std::borrow::Cow::Owned(_))
        // Variation selectors and other marks that nobody sees, fillers, and private characters.
        || matches!(c,
            '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}'
            | '\u{e000}'..='\u{f8ff}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// Characters that some file system or shell gives a meaning.
const fn is_reserved(c: char) -> bool {
    matches!(
        c,
        '/' | '\\'
            | ':'
            | '*'
            | '?'
            | '"'
            | '\''
            | '<'
            | '>'
            | '|'
            | '`'
            | '$'
            | ';'
            | '&'
            | '%'
            | '!'
    )
}

fn trim(name: &str) -> &str {
    name.trim_start_matches(|c: char| c == '.' || c == '-' || c == '~' || c.is_whitespace())
        .trim_end_matches(|c: char| c == '.' || c.is_whitespace())
}

/// Cuts a name that is too long, and keeps its extension.
fn cut(name: &str) -> String {
    if name.len() <= NAME_MAX {
        return name.to_owned();
    }
    let extension = name
        .rfind('.')
        .map(|dot| &name[dot..])
        .filter(|extension| extension.len() <= EXTENSION_MAX)
        .unwrap_or_default();
    let stem = &name[..name.len() - extension.len()];
    let end = stem.floor_char_boundary(NAME_MAX - extension.len());
    format!("{}{extension}", trim(&stem[..end]))
}

/// Whether Windows takes it for a device, with or without an extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_ascii_uppercase();
    let numbered = |kind: &str| {
        let mut rest = stem.strip_prefix(kind).unwrap_or_default().chars();
        matches!(rest.next(), Some('0'..='9' | '¹' | '²' | '³')) && rest.next().is_none()
    };
    matches!(
        stem.as_str(),
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$"
    ) || numbered("COM")
        || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_made_safe() {
        let long = "ż".repeat(200) + ".pcapng";
        for (given, safe) in [
            ("capture.pcap", "capture.pcap"),
            ("/home/dana/Screen Shot 1.png", "Screen Shot 1.png"),
            ("C:\\Users\\dana\\mail.eml", "mail.eml"),
            ("../../etc/passwd", "passwd"),
            ("..", "unnamed"),
            ("", "unnamed"),
            ("///", "unnamed"),
            (".ssh", "ssh"),
            ("-rf", "rf"),
            ("~root", "root"),
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
            ("a\u{200b}b\u{0}c\nd\u{1b}[2J.txt", "abcd[2J.txt"),
            ("a:b*c?.txt", "a_b_c_.txt"),
            ("$(reboot);`id`", "_(reboot)__id_"),
            ("nul", "_nul"),
            ("COM1.txt", "_COM1.txt"),
            ("Lpt².log", "_Lpt².log"),
            ("common.txt", "common.txt"),
            ("name. . ", "name"),
            ("Zażółć.log", "Zażółć.log"),
            ("e\u{301}.txt", "é.txt"),
        ] {
            assert_eq!(sanitize(given), safe, "{given:?}");
        }
        let cut = sanitize(&long);
        assert!(cut.len() <= NAME_MAX && cut.ends_with("ż.pcapng"), "{cut}");
        assert_eq!(original("a\u{202e}b\n"), "a<U+202E>b<U+000A>");
        assert!(original(&"x".repeat(5000)).len() <= ORIGINAL_MAX);
    }

    proptest! {
        #[test]
        fn every_name_is_safe(name in any::<String>()) {
            let safe = sanitize(&name);
            prop_assert!(!safe.is_empty());
            // A name of a device grows by one.
            prop_assert!(safe.len() <= NAME_MAX + 1, "{}", safe.len());
            prop_assert_eq!(sanitize(&safe), safe.clone());
            prop_assert!(!safe.contains(['/', '\\', ':', '\0', '\n']));
            prop_assert!(!safe.starts_with(['.', '-', ' ']) && !safe.ends_with(['.', ' ']));
            prop_assert_eq!(std::path::Path::new(&safe).file_name(), Some(safe.as_ref()));
            prop_assert!(!safe.chars().any(acts));
        }

        #[test]
        fn marks_and_paths_change_nothing(name in "[./\\\\\u{202e}\u{300}\u{301}a-cA-C0-9 ~-]{0,200}") {
            let safe = sanitize(&name);
            prop_assert_eq!(sanitize(&safe), safe.clone());
            prop_assert!(!safe.starts_with(['.', '-', ' ']) && !safe.ends_with(['.', ' ']));
        }
    }
}
