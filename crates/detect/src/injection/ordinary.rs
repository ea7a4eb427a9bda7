//! Bytes that are harmless in a request as long as no others stand beside them.

const fn ordinary_bytes(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }

    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }

    table
}

/// Bytes without which there is neither an encoding nor code, except for certain words.
pub(super) const ORDINARY: [bool; 256] = ordinary_bytes(b"/-_.?=&,~@!^[]");
/// The same for user agents, where blanks, parentheses and semicolons are ordinary.
pub(super) const ORDINARY_AGENT: [bool; 256] = ordinary_bytes(b"/-_.?&,~@!^[] ();:+");

/// Returns whether a text consists of bytes that are harmless without others.
pub(super) fn is_ordinary(text: &str) -> bool {
    text.bytes().all(|byte| ORDINARY[byte as usize])
}
