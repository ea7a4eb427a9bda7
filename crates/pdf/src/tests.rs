use compliance::diagram::Image;
use compliance::document::{Bar, Field, Figure, Point, Trend};

use super::*;

fn sample_document() -> Document {
    let mut doc = Document {
        title: "A #title $with$ *marks*".to_owned(),
        subtitle: vec!["of #panic(\"nobody\")".to_owned()],
        marking: "CUI".to_owned(),
        date: "2026-11-24".to_owned(),
        ..Document::default()
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
        date: text.to_owned(),
        cover: vec![Field::new(text, text)],
        designation: vec![Field::new(text, text)],
        ..Document::default()
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
        .add(Block::Gaps(vec![text.to_owned()]))
        .add(Block::Figure(Figure {
            title: text.to_owned(),
            caption: text.to_owned(),
            image: small_picture(),
        }))
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

fn small_picture() -> Image {
    let svg = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 40 20'>\
        <rect width='40' height='20'/></svg>";
    Image::read(svg.as_bytes()).unwrap()
}

/// Typesets a text without the second attempt, which would hide errors of the first.
fn typeset_without_retry(text: &str) -> Vec<u8> {
    typeset_document(&document_showing(text), &Fonts::bundled(), Allowed::Covered)
        .unwrap_or_else(|e| panic!("{}: {e}", text.escape_unicode()))
}

fn with_prose_stand_ins(text: &str) -> String {
    let fonts = Fonts::bundled();
    StandIns::new(&fonts.fonts, &fonts.book, Allowed::Covered)
        .apply(text, Face::Prose)
        .into_owned()
}

#[test]
fn characters_without_a_glyph_are_shown_by_code_point() {
    let cases = [
        ("\u{f0b7} order keys", "[U+F0B7] order keys"),
        // Emoji are set, alone, with a color of skin, joined, and as flags.
        ("done \u{1f680}", "done \u{1f680}"),
        ("\u{1f44d}\u{1f3fd}", "\u{1f44d}\u{1f3fd}"),
        ("\u{1f1fa}\u{1f1f8}", "\u{1f1fa}\u{1f1f8}"),
        ("\u{1f469}\u{200d}\u{1f680}", "\u{1f469}\u{200d}\u{1f680}"),
        (
            "\u{2714}\u{fe0f} \u{2192} \u{2265}",
            "\u{2714}\u{fe0f} \u{2192} \u{2265}",
        ),
        (
            "ask \u{738b}\u{5c0f}\u{660e}",
            "ask [U+738B][U+5C0F][U+660E]",
        ),
        (
            "caf\u{e9}, na\u{ef}ve, \u{3b1}\u{3b2}, \u{416}, \u{201c}q\u{201d} \u{2026} \u{20ac}",
            "café, naïve, αβ, Ж, “q” … €",
        ),
        ("e\u{301}", "e\u{301}"),
        ("a\u{1ab0}", "a\u{1ab0}"),
        // A mark that no font has is named, and the letter before it stays.
        ("a\u{1e2ae}", "a[U+1E2AE]"),
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
/// Checks one in thirty-six; `BLUETEAM_TEST_PDF_EVERY=1` checks all of them.
#[test]
fn every_character_that_is_not_replaced_can_be_typeset() {
    let fonts = Fonts::bundled();
    let stand_ins = StandIns::new(&fonts.fonts, &fonts.book, Allowed::Covered);
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

    let every = scale_from_env("BLUETEAM_TEST_PDF_EVERY", 36);
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

    typeset_document(&doc, &fonts, Allowed::Covered).unwrap();
}

/// Copies a font of the repository to a folder, as an administrator installs one.
fn installed_fonts(folder: &std::path::Path) -> SystemFonts {
    let hangul = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/hangul-and-kanji.ttf"
    );
    std::fs::create_dir_all(folder.join("truetype")).unwrap();
    std::fs::copy(hangul, folder.join("truetype/a.TTF")).unwrap();
    std::fs::write(folder.join("broken.ttf"), "no font").unwrap();
    std::fs::write(folder.join("notes.txt"), "no font").unwrap();
    std::os::unix::fs::symlink(folder, folder.join("truetype/again")).unwrap();
    SystemFonts::in_folders(vec![folder.to_owned(), folder.join("absent")])
}

#[test]
fn characters_without_a_bundled_font_come_from_the_system() {
    let folder = tempfile::tempdir().unwrap();
    let system = installed_fonts(folder.path());
    let missing = |text: &str| text.chars().collect::<BTreeSet<char>>();

    assert_eq!(system.covering(&missing("")).len(), 0);
    assert_eq!(system.covering(&missing("\u{12000}")).len(), 0);
    let found = system.covering(&missing("\u{738b}\u{ac00}\u{12000}"));
    assert_eq!(found.len(), 1, "one font has both");

    let fonts = Arc::new(Fonts::bundled().with(found));
    let mut doc = document_showing("\u{738b}\u{5c0f} \u{ac00}");
    assert_eq!(
        Shown::with(&doc, &fonts, Allowed::Covered).replaced,
        missing("\u{5c0f}")
    );

    let pdf = typeset_document(&doc, &fonts, Allowed::Covered).unwrap();
    assert!(pdf == render_with(&doc, &system).unwrap());
    assert!(
        pdf == render_with(&doc, &system).unwrap(),
        "the same bytes each time"
    );
    assert!(pdf != render_with(&doc, &SystemFonts::none()).unwrap());

    // What no font of the system adds to is as it is without them.
    doc = document_showing("\u{5c0f}");
    assert!(
        render_with(&doc, &system).unwrap() == render_with(&doc, &SystemFonts::none()).unwrap()
    );
}

#[test]
fn stand_ins_are_listed_among_the_gaps() {
    let gaps = |text: &str| {
        let fonts = Fonts::bundled();
        let doc = Shown::with(&document_showing(text), &fonts, Allowed::Covered).with_gap();
        let gaps = doc.blocks.into_iter().find_map(|block| match block {
            Block::Gaps(gaps) => Some(gaps),
            _ => None,
        });
        gaps.unwrap()[1..].to_vec()
    };

    assert_eq!(gaps("plain"), Vec::<String>::new());
    assert_eq!(
        gaps("\u{738b}"),
        [
            "1 character has no glyph in any installed font and can be read by code point only, as in \
            [U+738B]"
        ]
    );
    assert!(gaps("\u{738b}\u{5c0f}\u{7}")[0].starts_with("3 characters have no glyph"));
}

#[test]
fn a_text_that_is_no_date_is_shown_as_it_is() {
    assert_eq!(calendar_day("2026-11-24"), Some([2026, 11, 24]));
    for other in [
        "2026-02-30",
        "2026-11",
        "",
        "today",
        "99999-01-01",
        "2026-1-1-1",
        "-1-1-1",
    ] {
        assert_eq!(calendar_day(other), None, "{other}");
    }
}

#[test]
fn a_picture_that_cannot_be_typeset_is_named_instead() {
    let (text, figures) = without_figures(&document_showing("x"));
    assert_eq!(figures, 1);
    assert!(!text.blocks.iter().any(|b| matches!(b, Block::Figure(_))));
    assert!(text.blocks.contains(&Block::Gaps(vec![
        "x".to_owned(),
        "the figure \"x\" cannot be shown in a PDF".to_owned()
    ])));
}

/// A mark that no font sets on a bracket is named too: the cluster in front of it is ours.
#[test]
fn marks_behind_a_stand_in_can_be_typeset() {
    let text = "\u{feff}\u{1ac2}\u{1c16}\u{96c}\u{fc28}\u{1b5}\u{ffd9}";
    typeset_without_retry(text);
    assert!(with_prose_stand_ins(text).starts_with("[U+FEFF][U+1AC2]"));
}

#[test]
fn stand_ins_are_not_broken_across_lines() {
    let text = "\u{1fc00}".repeat(6);
    let cell = with_break_points(&with_prose_stand_ins(&text));
    assert_eq!(cell.matches("[U+1FC00]").count(), 6, "{cell}");
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
