//! What a name looks like: two names that people take for the same have the same skeleton.
//!
//! After Unicode's UTS #39, for what may pass for the letters, digits, dashes and dots of a
//! service's name, and stricter: neither case nor anything invisible tells two names apart.

/// The name as it looks.
pub(crate) fn skeleton(name: &str) -> String {
    name.chars()
        .filter(|c| !is_invisible(*c))
        .map(look)
        .collect()
}

/// Whether a character leaves no mark: white space, controls, and what only joins, marks a
/// direction, or accents another letter.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
            | '\u{300}'..='\u{36f}')
}

/// The plain character that this one can be taken for.
fn look(c: char) -> char {
    let plain = match c {
        // Full width, and mathematical letters of every style.
        '\u{ff01}'..='\u{ff5e}' => from_run(c, '\u{ff01}', "!", 94),
        '\u{1d400}'..='\u{1d6a3}' => mathematical(c),
        '\u{1d7ce}'..='\u{1d7ff}' => from_run(c, '\u{1d7ce}', "0", 10),
        '\u{24b6}'..='\u{24cf}' => from_run(c, '\u{24b6}', "a", 26),
        '\u{24d0}'..='\u{24e9}' => from_run(c, '\u{24d0}', "a", 26),
        _ => lookalike(c),
    };

    let lower = plain.to_lowercase().next().unwrap_or(plain);
    match lookalike(lower) {
        '0' => 'o',
        '1' | 'i' | '|' | '!' => 'l',
        same => same,
    }
}

/// The character at the same place of a run of plain ones, which repeats after `length`.
fn from_run(c: char, first: char, plain: &str, length: u32) -> char {
    let offset = (u32::from(c) - u32::from(first)) % length;
    let begin = plain.chars().next().map_or(0, u32::from);
    char::from_u32(begin + offset).unwrap_or(c)
}

/// Styles of 26 capital and 26 small letters, one after the other.
fn mathematical(c: char) -> char {
    let place = (u32::from(c) - 0x1d400) % 26;
    char::from_u32(u32::from('a') + place).unwrap_or(c)
}

/// Letters of other scripts, and marks, that look like a plain one.
fn lookalike(c: char) -> char {
    const ALIKE: [(char, &str); 36] = [
        ('a', "аαɑàáâãäåāăąǎАΑ"),
        ('b', "ЬвВΒƄь"),
        ('c', "сςϲçćĉċčСϹ"),
        ('d', "ԁđďɗ"),
        ('e', "еєèéêëēĕėęěΕЕ℮"),
        ('f', "ƒſϝ"),
        ('g', "ɡցĝğġģ"),
        ('h', "һнհĥħΗН"),
        ('i', "іїıìíîïĩīĭįɩιІΙ"),
        ('j', "јϳĵЈ"),
        ('k', "кκķĸΚК"),
        ('l', "ӏǀļľŀłⅼ"),
        ('m', "мΜМⅿ"),
        ('n', "пոñńņňηΝ"),
        ('o', "оοσօòóôõöøōŏőОΟ"),
        ('p', "рρΡР"),
        ('q', "ԛզɋ"),
        ('r', "гŕŗřґ"),
        ('s', "ѕśŝşšșЅ"),
        ('t', "тτţťțŧΤТ"),
        ('u', "υսùúûüũūŭůűų"),
        ('v', "νѵⅴ"),
        ('w', "ԝωŵѡ"),
        ('x', "хχ×ХΧⅹ"),
        ('y', "уүγýÿŷУΥ"),
        ('z', "źżžΖ"),
        ('0', "٠۰०০"),
        ('1', "١۱"),
        ('3', "зӡЗʒ"),
        ('4', "чЧ"),
        ('6', "б"),
        ('8', "ȣ"),
        ('-', "‐‑‒–—―−﹘﹣－ー"),
        ('.', "․。．·"),
        ('_', "ˍ＿"),
        ('|', "∣│"),
    ];

    ALIKE
        .iter()
        .find(|(_, alike)| alike.contains(c))
        .map_or(c, |(plain, _)| *plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_has_one_skeleton() {
        for name in [
            "EQMON",
            "eqmon ",
            " eqmon",
            "eqmon\u{200b}",
            "eq\u{2060}mon",
            "\u{202e}eqmon",
            "\u{435}qmon",
            "eqm\u{43e}n",
            "ｅｑｍｏｎ",
            "𝐞𝐪𝐦𝐨𝐧",
            "𝙴𝚀𝙼𝙾𝙽",
            "ⓔⓠⓜⓞⓝ",
            "eqm0n",
            "éqmon",
            "e\u{301}qmon",
            "eqmon\u{fe0f}",
            "eqmon\t",
            "ΕQMΟN",
        ] {
            assert_eq!(skeleton(name), "eqmon", "{name:?}");
        }
        assert_eq!(skeleton("mqtt–1"), skeleton("MQTT-l"));
    }

    #[test]
    fn other_names_stay_apart() {
        let names = [
            "eqmon", "eq-mon", "eqmon2", "artemis", "eq.mon", "eq_mon", "egmon", "апп",
        ];
        for (i, one) in names.iter().enumerate() {
            for other in &names[i + 1..] {
                assert_ne!(skeleton(one), skeleton(other), "{one} {other}");
            }
        }
    }
}
