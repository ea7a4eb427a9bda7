use compliance::document::{Bar, Point, Trend};

use super::*;

fn sample_document() -> Document {
    let mut doc = Document {
        title: "A #title $with$ *marks*".to_owned(),
        subtitle: vec!["of #panic(\"nobody\")".to_owned()],
        marking: "CUI".to_owned(),
        date: "2026-11-24".to_owned(),
        blocks: Vec::new(),
    };

    doc.heading(1, "One")
        .text("#read(\"/etc/passwd\") <label> @ref")
        .list(vec!["a".to_owned()]);
    doc.table(
        &["id", "hash"],
        vec![vec!["1".to_owned(), "0123456789abcdef".repeat(4)]; 200],
    );

    doc.add(Block::Bars(vec![Bar {
        label: "b".to_owned(),
        part: 1,
        whole: 3,
    }]))
    .add(Block::Code("x = 1".to_owned()));

    let point = |at, value| Point {
        at,
        day: format!("#day {at}"),
        value,
    };

    let points = vec![
        point(0, Some(-203)),
        point(5, None),
        point(7, Some(90)),
        point(9, Some(110)),
    ];
    doc.add(Block::Trend(Trend::new(
        "#score".to_owned(),
        points,
        110,
        88,
        "#mark".to_owned(),
    )));

    doc
}

#[test]
fn text_is_not_run_as_code_and_output_is_deterministic() {
    let first = render(&sample_document()).unwrap();
    assert!(first.starts_with(b"%PDF-"));
    assert!(
        first == render(&sample_document()).unwrap(),
        "the same document gives the same bytes"
    );
}

#[test]
fn only_long_words_get_break_points() {
    assert_eq!(with_break_points("short words only"), "short words only");
    assert_eq!(
        with_break_points(&"a".repeat(40))
            .matches('\u{200b}')
            .count(),
        4
    );
}

/// Returns a document that shows a text in each kind of block.
fn document_showing(text: &str) -> Document {
    let mut doc = Document {
        title: text.to_owned(),
        subtitle: vec![text.to_owned()],
        marking: text.to_owned(),
        date: "2026-11-24".to_owned(),
        blocks: Vec::new(),
    };

    let long = format!("{text}{}", text.replace(char::is_whitespace, "").repeat(2));
    let points = vec![Point {
        at: 0,
        day: text.to_owned(),
        value: Some(1),
    }];
    doc.heading(1, format!("h {text}"))
        .heading(2, format!("h {text}"))
        .text(text)
        .list(vec![text.to_owned()])
        .table(&["a", text], vec![vec![text.to_owned(), long]])
        .add(Block::Bars(vec![Bar {
            label: text.to_owned(),
            part: 1,
            whole: 3,
        }]))
        .add(Block::Trend(Trend::new(
            text.to_owned(),
            points,
            110,
            88,
            text.to_owned(),
        )))
        .add(Block::Code(text.to_owned()));

    doc
}

/// Typesets a text without the second attempt, which would hide errors of the first.
fn typeset_without_retry(text: &str) -> Vec<u8> {
    typeset_document(&document_showing(text), Allowed::Covered)
        .unwrap_or_else(|e| panic!("{}: {e}", text.escape_unicode()))
}

fn with_prose_stand_ins(text: &str) -> String {
    let Fonts { fonts, book } = bundled_fonts();
    StandIns::new(fonts, book, Allowed::Covered)
        .apply(text, Face::Prose)
        .into_owned()
}

#[test]
fn characters_without_a_glyph_are_shown_by_code_point() {
    let cases = [
        ("\u{f0b7} order keys", "[U+F0B7] order keys"),
        ("done \u{1f680}", "done [U+1F680]"),
        (
            "ask \u{738b}\u{5c0f}\u{660e}",
            "ask [U+738B][U+5C0F][U+660E]",
        ),
        (
            "caf\u{e9}, na\u{ef}ve, \u{3b1}\u{3b2}, \u{416}, \u{201c}q\u{201d} \u{2026} \u{20ac}",
            "café, naïve, αβ, Ж, “q” … €",
        ),
        ("e\u{301}", "e\u{301}"),
        ("a\u{1ab0}", "a[U+1AB0]"),
        (
            "bell \u{7}, escape \u{1b}[2J",
            "bell [U+0007], escape [U+001B][2J",
        ),
        ("safe\u{202e}cod.exe", "safe[U+202E]cod.exe"),
        ("two\r\nlines\rand\u{2028}more", "two\nlines\nand\nmore"),
        ("a\tb", "a b"),
        ("\u{feff}mark", "[U+FEFF]mark"),
        (
            "\u{378} \u{ffff} \u{10ffff} \u{e0001}",
            "[U+0378] [U+FFFF] [U+10FFFF] [U+E0001]",
        ),
        ("\u{1f469}\u{200d}\u{1f680}", "[U+1F469][U+200D][U+1F680]"),
        ("plain #text $1$ [U+1F680]", "plain #text $1$ [U+1F680]"),
    ];

    for (text, shown) in cases {
        assert_eq!(with_prose_stand_ins(text), shown);
        let pdf = typeset_without_retry(text);
        assert!(
            pdf == typeset_without_retry(text),
            "the same text gives the same bytes: {}",
            text.escape_unicode()
        );
    }
}

/// Typesets the characters that are not replaced in every face that they may appear in.
///
/// Checks one in twelve; `BLUETEAM_TEST_PDF_EVERY=1` checks all of them.
#[test]
fn every_character_that_is_not_replaced_can_be_typeset() {
    let Fonts { fonts, book } = bundled_fonts();
    let stand_ins = StandIns::new(fonts, book, Allowed::Covered);
    let kept = |face: Face| {
        let alone = |c: &char| {
            stand_ins
                .apply(c.encode_utf8(&mut [0; 4]), face)
                .chars()
                .eq([*c])
        };

        ('\0'..='\u{ffff}')
            .chain('\u{1d400}'..='\u{1faff}')
            .filter(alone)
            .collect::<Vec<char>>()
    };

    let in_prose = kept(Face::Prose);
    let in_code = kept(Face::Code);
    assert!(
        in_prose.len() > 2_000 && in_code.len() > 2_000,
        "{} {}",
        in_prose.len(),
        in_code.len()
    );

    let every = scale_from_env("BLUETEAM_TEST_PDF_EVERY", 12);
    let apart = |chars: &[char]| {
        chars
            .iter()
            .step_by(every)
            .flat_map(|c| [*c, ' '])
            .collect::<String>()
    };

    let mut doc = Document {
        title: "All".to_owned(),
        date: "2026-11-24".to_owned(),
        ..Document::default()
    };

    doc.heading(1, "All");
    for some in in_prose.chunks(1200) {
        // The header of a table is bold.
        doc.table(&[&apart(some)], vec![vec![apart(some)]]);
    }

    for some in in_code.chunks(1200) {
        doc.add(Block::Code(apart(some)));
    }

    typeset_document(&doc, Allowed::Covered).unwrap();
}

#[test]
fn stand_ins_are_not_broken_across_lines() {
    let text = "\u{1f680}".repeat(6);
    let cell = with_break_points(&with_prose_stand_ins(&text));
    assert_eq!(cell.matches("[U+1F680]").count(), 6, "{cell}");
    assert!(cell.contains('\u{200b}'), "a line may break between them");
    assert_eq!(leading_stand_in("[U+1F680]x"), 9);
    for other in ["[U+1F68", "[U+12]", "[U+1234567]", "[u+1F680]", ""] {
        assert_eq!(leading_stand_in(other), 0, "{other}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(
        scale_from_env("BLUETEAM_TEST_PDF_CASES", 8) as u32
    ))]

    /// Any text can be typeset without the second attempt.
    #[test]
    fn any_text_can_be_typeset(text in proptest::collection::vec(hostile_char(), 1..40)) {
        typeset_without_retry(&text.into_iter().collect::<String>());
    }
}

/// Returns how much a test does: the value of an environment variable, or the default.
fn scale_from_env(variable: &str, default: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

/// Generates characters that are hard to shape: marks, joiners, right-to-left, scripts that change
/// shape, private use.
fn hostile_char() -> impl proptest::strategy::Strategy<Value = char> {
    use proptest::char::range;
    proptest::prop_oneof![
        range(' ', '~'),
        range('\0', '\u{ff}'),
        range('\u{100}', '\u{24f}'),
        range('\u{300}', '\u{36f}'),
        range('\u{590}', '\u{6ff}'),
        range('\u{900}', '\u{97f}'),
        range('\u{e00}', '\u{fff}'),
        range('\u{1100}', '\u{11ff}'),
        range('\u{1ab0}', '\u{1cff}'),
        range('\u{2000}', '\u{2bff}'),
        range('\u{a640}', '\u{abff}'),
        range('\u{e000}', '\u{f8ff}'),
        range('\u{fb00}', '\u{ffff}'),
        range('\u{1d400}', '\u{1faff}'),
        proptest::char::any(),
    ]
}
