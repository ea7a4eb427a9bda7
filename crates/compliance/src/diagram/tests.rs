use flate2::{Compress, Compression, Crc, FlushCompress};
use proptest::prelude::*;

use super::*;

fn chunk(name: &[u8], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(name);
    crc.update(data);
    [
        &(data.len() as u32).to_be_bytes(),
        name,
        data,
        &crc.sum().to_be_bytes(),
    ]
    .concat()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 1_000);
    Compress::new(Compression::fast(), true)
        .compress_vec(bytes, &mut out, FlushCompress::Finish)
        .unwrap();
    out
}

fn header(width: u32, height: u32, rest: [u8; 5]) -> Vec<u8> {
    let data = [&width.to_be_bytes(), &height.to_be_bytes(), &rest[..]].concat();
    chunk(b"IHDR", &data)
}

/// A picture of gray pixels.
fn gray(width: u32, height: u32) -> Vec<Vec<u8>> {
    let rows = vec![0; (width as usize + 1) * height as usize];
    vec![
        png::SIGNATURE.to_vec(),
        header(width, height, [8, 0, 0, 0, 0]),
        chunk(b"IDAT", &deflated(&rows)),
        chunk(b"IEND", b""),
    ]
}

fn png_error(parts: &[Vec<u8>]) -> String {
    Image::read(&parts.concat()).unwrap_err().to_string()
}

#[test]
fn a_png_is_taken_without_what_no_pixel_needs() {
    let mut parts = gray(40, 20);
    parts.insert(2, chunk(b"tEXt", b"Comment\0made by alice"));
    let image = Image::read(&parts.concat()).unwrap();

    assert_eq!(image.description(), "PNG, 40 x 20");
    assert_eq!(image.form().media_type(), "image/png");
    assert!((image.ratio() - 2.0).abs() < 1e-9);
    assert_eq!(image.bytes(), gray(40, 20).concat());

    // Pixels in several parts, a palette, transparency.
    let rows = deflated(&[0, 0, 0, 0]);
    let palette = [
        png::SIGNATURE.to_vec(),
        header(1, 2, [8, 3, 0, 0, 0]),
        chunk(b"PLTE", &[0; 6]),
        chunk(b"tRNS", &[0]),
        chunk(b"IDAT", &rows[..4]),
        chunk(b"IDAT", &rows[4..]),
        chunk(b"IEND", b""),
    ];
    assert!(Image::read(&palette.concat()).is_ok());
}

#[test]
fn a_png_that_is_broken_or_a_bomb_is_refused() {
    let good = gray(40, 20);
    let whole = good.concat();
    for end in 8..whole.len() {
        assert!(Image::read(&whole[..end]).is_err(), "cut at {end}");
    }

    let mut damaged = whole.clone();
    damaged[60] ^= 1;
    assert!(Image::read(&damaged).is_err());

    let with = |n: usize, part: Vec<u8>| {
        let mut parts = gray(40, 20);
        parts[n] = part;
        png_error(&parts)
    };
    let too_large = |w, h| with(1, header(w, h, [8, 0, 0, 0, 0])).contains("is too large");
    assert!(too_large(u32::MAX, u32::MAX) && too_large(8_193, 1) && too_large(8_000, 8_000));
    assert!(with(1, header(0, 1, [8, 0, 0, 0, 0])).contains("is empty"));
    assert!(with(1, header(40, 20, [8, 0, 0, 0, 1])).contains("interlaced"));
    assert!(with(1, header(40, 20, [7, 0, 0, 0, 0])).contains("kind of color"));
    assert!(with(1, header(40, 20, [8, 3, 0, 0, 0])).contains("no palette"));

    // Fewer rows than the header says, more, and rows that no reader knows.
    let pixels = |rows: &[u8]| with(2, chunk(b"IDAT", &deflated(rows)));
    assert!(pixels(&[0; 41 * 19]).contains("too early"));
    assert!(pixels(&vec![0; 41 * 20 + 1]).contains("more pixels"));
    assert!(pixels(&[5; 41 * 20]).contains("unknown filter"));
    assert!(
        pixels(&vec![0; 10_000_000]).contains("more pixels"),
        "a bomb"
    );
    assert!(with(2, chunk(b"ABCD", b"")).contains("unknown part"));
    assert!(with(1, chunk(b"IDAT", b"")).contains("one header"));
}

fn svg(inner: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" \
            xmlns:xlink=\"http://www.w3.org/1999/xlink\" viewBox=\"0 0 400 300\">{inner}</svg>"
    )
}

fn svg_error(text: &str) -> String {
    match Image::read(text.as_bytes()) {
        Ok(image) => panic!("{image:?} was taken: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_svg_that_only_draws_is_taken() {
    let drawn = [
        "<title>Network</title><g id=\"a\"><rect width=\"4\" height=\"3\" fill=\"url(#b)\"/></g>\
            <defs><linearGradient id=\"b\"><stop offset=\"1\"/></linearGradient></defs>\
            <use xlink:href=\"#a\" x=\"3\"/><text x=\"1\">on: a &amp; b; c</text>",
        "<style>.a{fill:red;clip-path:url('#c')}</style><clipPath id=\"c\"><rect/></clipPath>\
            <path class=\"a\" d=\"M0 0L1 1\"/>",
        "<metadata><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"/></metadata>\
            <sodipodi:namedview xmlns:sodipodi=\"http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd\"/>",
    ];
    for inner in drawn {
        let image = Image::read(svg(inner).as_bytes()).unwrap();
        assert_eq!(image.description(), "SVG, 400 x 300");
    }

    // As Graphviz writes it.
    let graphviz = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n\
            <!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\"\n \
            \"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd\">\n<!-- Generated -->\n{}",
        svg("<g/>").replace("viewBox=\"0 0 400 300\"", "width=\"8pt\" height=\"44.5pt\"")
    );
    let image = Image::read(graphviz.as_bytes()).unwrap();
    assert_eq!(image.description(), "SVG, 8 x 44");
    assert!(!String::from_utf8_lossy(image.bytes()).contains("DOCTYPE"));
}

#[test]
fn an_svg_that_could_do_more_is_refused() {
    let cases = [
        ("<script>alert(1)</script>", "element `script`"),
        (
            "<foreignObject><b/></foreignObject>",
            "element `foreignObject`",
        ),
        (
            "<image href=\"data:image/png;base64,AA==\"/>",
            "element `image`",
        ),
        ("<a href=\"https://evil.example\"/>", "element `a`"),
        ("<filter/>", "element `filter`"),
        ("<animate attributeName=\"href\"/>", "element `animate`"),
        ("<set/>", "element `set`"),
        (
            "<x:script xmlns:x=\"http://www.w3.org/1999/xhtml\"/>",
            "element `script`",
        ),
        ("<x:g xmlns:x=\"urn:evil\"/>", "element `g`"),
        ("<g onload=\"x()\"/>", "script `onload`"),
        ("<g ONCLICK=\"x()\"/>", "script `ONCLICK`"),
        ("<use href=\"https://evil.example/#a\"/>", "outside itself"),
        (
            "<use xlink:href=\" data:image/svg+xml,x\"/>",
            "outside itself",
        ),
        ("<g xml:base=\"https://evil.example\"/>", "outside itself"),
        ("<g fill=\"url(https://evil.example)\"/>", "outside itself"),
        (
            "<g style=\"fill:url( 'https://evil.example')\"/>",
            "outside itself",
        ),
        ("<g style=\"fill:URL(#a)\"/>", "in capitals"),
        ("<g style=\"fill:u\\72l(//evil.example);\"/>", "an escape"),
        (
            "<style>@import 'https://evil.example';</style>",
            "loads something",
        ),
        ("<style>@IMPORT url(#a);</style>", "loads something"),
        ("<style>@im<![CDATA[port 'x';]]></style>", "loads something"),
        ("<style>@im/**/port 'x';</style>", "a comment"),
        (
            "<style>@font-face{src:url(//evil.example)}</style>",
            "loads something",
        ),
        (
            "<style>g{fill:url(//evil.example)}</style>",
            "outside itself",
        ),
        ("<g style=\"a:expression(x)\"/>", "a script in a style"),
        ("<?xml-stylesheet href=\"x\"?>", "processing instruction"),
        ("<g>&undefined;</g>", "not well-formed"),
        ("<g>", "not well-formed"),
        (
            "<use href=\"#a\"/><g id=\"a\"><use href=\"#a\"/></g>",
            "within itself",
        ),
        (
            "<g id=\"a\" clip-path=\"url(#b)\"/><clipPath id=\"b\"><g clip-path=\"url(#b)\"/></clipPath>",
            "within itself",
        ),
    ];
    for (inner, why) in cases {
        let error = svg_error(&svg(inner));
        assert!(error.contains(why), "{inner}: {error}");
    }

    let entities = "<!DOCTYPE svg [<!ENTITY a \"b\"><!ENTITY c SYSTEM \"file:///etc/passwd\">]>";
    assert!(svg_error(&format!("{entities}{}", svg("&c;"))).contains("defines entities"));
    assert!(svg_error("<svg viewBox='0 0 1 1'/>").contains("namespace"));
    let html = format!("<html>{}</html>", svg(""));
    assert!(svg_error(&html).contains("no `svg` element"));
    for wrong in [
        "",
        "viewBox=\"0 0 0 0\"",
        "viewBox=\"0 0 1e9 1\"",
        "width=\"NaN\" height=\"1\"",
    ] {
        let text = svg("").replace("viewBox=\"0 0 400 300\"", wrong);
        assert!(svg_error(&text).contains("no usable size"), "{wrong}");
    }
}

/// Setting a text takes time that grows with the square of its length.
#[test]
fn an_svg_with_long_texts_is_refused() {
    let text = |length: usize| format!("<text>{}</text>", "<tspan>ab</tspan>".repeat(length / 2));
    Image::read(svg(&text(2_000).repeat(25)).as_bytes()).unwrap();
    assert!(svg_error(&svg(&text(2_002))).contains("a text of 2002 characters"));
    assert!(svg_error(&svg(&text(2_000).repeat(26))).contains("texts of 52000"));
}

#[test]
fn an_svg_that_grows_without_bounds_is_refused() {
    let deep = format!("{}{}", "<g>".repeat(400_000), "</g>".repeat(400_000));
    assert!(
        svg_error(&svg(&deep)).contains("not well-formed"),
        "too many nodes"
    );
    let deep = format!("{}{}", "<g>".repeat(90_000), "</g>".repeat(90_000));
    assert!(svg_error(&svg(&deep)).contains("64 deep"));

    // Each draws the one before it ten times: a billion in all.
    let laughs: Vec<String> = (1..10)
        .map(|n| {
            let uses = format!("<use href=\"#a{}\"/>", n - 1).repeat(10);
            format!("<g id=\"a{n}\">{uses}</g>")
        })
        .collect();
    let laughs = laughs.concat();
    assert!(svg_error(&svg(&format!("<g id=\"a0\"/>{laughs}"))).contains("draws more than"));

    // A chain of uses is as deep as elements within elements.
    let chain: Vec<String> = (1..5_000)
        .map(|n| format!("<use id=\"u{n}\" href=\"#u{}\"/>", n + 1))
        .collect();
    let chain = chain.concat();
    assert!(Image::read(svg(&chain).as_bytes()).is_err());

    let marker = format!("<marker id=\"m\">{}</marker>", "<g/>".repeat(1_000));
    let line = format!(
        "<path marker-mid=\"url(#m)\" d=\"M0 0{}\"/>",
        "L1 1".repeat(1_000)
    );
    assert!(svg_error(&svg(&format!("{marker}{line}"))).contains("draws more than"));

    let clip = format!("<clipPath id=\"c\">{}</clipPath>", "<rect/>".repeat(1_000));
    let style = "<style>g{clip-path:url(#c)}</style>";
    let error = svg_error(&svg(&format!("{style}{clip}{}", "<g/>".repeat(1_000))));
    assert!(error.contains("draws more than"));
}

#[test]
fn other_files_are_refused() {
    for other in [
        &b"%PDF-1.7"[..],
        b"GIF89a",
        b"\xff\xd8\xff",
        b"",
        b"text",
        b"<html></html>",
    ] {
        assert_eq!(Image::read(other), Err(DiagramError::UnknownFormat));
    }
    assert!(matches!(
        Image::read(&vec![b' '; FILE_MAX + 1]),
        Err(DiagramError::TooLarge(_))
    ));
}

proptest! {
    /// Whatever the file is, reading it ends, and without a panic.
    #[test]
    fn any_file_is_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..400) {
        let _ = Image::read(&bytes);
        let _ = Image::read(&[png::SIGNATURE, &bytes].concat());
        let mut parts = gray(9, 9).concat();
        let n = cut % parts.len();
        parts.splice(n..n, bytes.iter().copied());
        let _ = Image::read(&parts);
        let _ = Image::read(svg(&String::from_utf8_lossy(&bytes)).as_bytes());
    }
}
