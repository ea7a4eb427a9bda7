//! SVG: what only draws is accepted, by a list of elements. Everything that runs, loads, refers to
//! another document, or multiplies without end is refused, also where one program would ignore it:
//! a browser, the typesetter and an assessor's viewer read the same file.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use roxmltree::{Document, Node, ParsingOptions};

use super::{Image, ImageForm};

const SVG: &str = "http://www.w3.org/2000/svg";

/// Notes of drawing programs and licenses, which draw nothing.
const INERT: [&str; 8] = [
    "http://www.inkscape.org/namespaces/inkscape",
    "http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "http://creativecommons.org/ns#",
    "http://web.resource.org/cc/",
    "http://purl.org/dc/elements/1.1/",
    "http://schemas.microsoft.com/visio/2003/SVGExtensions/",
    "http://www.serif.com/",
];

/// The elements of SVG that are accepted.
const ELEMENTS: [&str; 23] = [
    "svg",
    "g",
    "defs",
    "symbol",
    "use",
    "path",
    "rect",
    "circle",
    "ellipse",
    "line",
    "polyline",
    "polygon",
    "text",
    "tspan",
    "title",
    "desc",
    "metadata",
    "style",
    "linearGradient",
    "radialGradient",
    "stop",
    "clipPath",
    "marker",
];

/// Elements may stand this deep within each other: programs that draw them call themselves.
const DEPTH_MAX: usize = 64;
/// Elements and texts in the file.
const NODES_MAX: u32 = 100_000;
/// Elements that are drawn, with each use of a symbol or marker counted.
const DRAWN_MAX: u64 = 200_000;

/// Characters of one text, whose setting takes time that grows with their square.
const TEXT_MAX: usize = 2_000;
/// Characters of all texts.
const TEXTS_MAX: usize = 50_000;

/// Checks a file and returns its picture.
pub(super) fn read(text: &str) -> Result<Image, String> {
    let text = without_doctype(text)?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODES_MAX,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(&text, options)
        .map_err(|error| format!("is not well-formed: {error}"))?;

    let root = document.root_element();
    if root.tag_name().name() != "svg" || root.tag_name().namespace() != Some(SVG) {
        return Err(format!("has no `svg` element of the namespace {SVG}"));
    }

    for node in document.descendants() {
        check_node(&node)?;
    }

    check_texts(&root)?;
    check_growth(&document)?;
    let (width, height) = size(&root)?;
    Ok(Image {
        form: ImageForm::Svg,
        width,
        height,
        bytes: Arc::from(text.as_bytes()),
    })
}

/// Refuses texts that take minutes to set.
fn check_texts(root: &Node<'_, '_>) -> Result<(), String> {
    let is_text = |node: &Node<'_, '_>| node.tag_name().name() == "text";
    let mut all = 0;
    for text in root.descendants().filter(is_text) {
        let parts = text.descendants().filter(Node::is_text);
        let length = parts
            .map(|part| part.text().unwrap_or_default().chars().count())
            .sum::<usize>();
        all += length;
        if length > TEXT_MAX {
            return Err(format!(
                "has a text of {length} characters; at most {TEXT_MAX} are accepted"
            ));
        }
    }

    if all > TEXTS_MAX {
        return Err(format!(
            "has texts of {all} characters; at most {TEXTS_MAX} are accepted"
        ));
    }
    Ok(())
}

/// Removes the document type that Graphviz and others write. One that defines entities is refused.
fn without_doctype(text: &str) -> Result<String, String> {
    let Some(start) = text.find("<!DOCTYPE") else {
        return Ok(text.to_owned());
    };
    let length = text[start..]
        .find('>')
        .ok_or("is not well-formed: its document type does not end")?;
    let doctype = &text[start..=start + length];
    if doctype.contains(['[', '\'']) || doctype.contains("ENTITY") {
        return Err("defines entities".to_owned());
    }

    Ok([&text[..start], &text[start + length + 1..]].concat())
}

fn check_node(node: &Node<'_, '_>) -> Result<(), String> {
    if node.is_pi() {
        return Err("has a processing instruction".to_owned());
    }

    if !node.is_element() {
        return Ok(());
    }

    if node.ancestors().nth(DEPTH_MAX).is_some() {
        return Err(format!("has elements more than {DEPTH_MAX} deep"));
    }

    let name = node.tag_name().name();
    match node.tag_name().namespace() {
        Some(SVG) if ELEMENTS.contains(&name) => {}
        Some(namespace) if INERT.contains(&namespace) => {}
        _ => return Err(format!("has the element `{}`", short(name))),
    }

    for attribute in node.attributes() {
        check_attribute(attribute.name(), attribute.value())?;
    }

    // The content of a style may be in several texts and CDATA sections.
    if name == "style" {
        let css: String = node.descendants().filter_map(|n| n.text()).collect();
        check_css(&css)?;
    }

    Ok(())
}

fn check_attribute(name: &str, value: &str) -> Result<(), String> {
    if name.len() > 2 && name[..2].eq_ignore_ascii_case("on") {
        return Err(format!("has the script `{}`", short(name)));
    }

    let refers = ["href", "src", "base"].contains(&name);
    if refers && !value.trim_start().starts_with('#') {
        return Err(format!("refers to `{}`, outside itself", short(value)));
    }

    check_css(value)
}

/// Checks a style, or an attribute, which may hold one: `fill="url(…)"`. Escapes are refused,
/// because they spell what is looked for here in another way.
fn check_css(text: &str) -> Result<(), String> {
    let lower = text.to_ascii_lowercase();
    let names_script = ["javascript:", "vbscript:", "expression(", "-moz-binding"];
    if names_script.iter().any(|word| lower.contains(word)) {
        return Err("has a script in a style or link".to_owned());
    }

    let loads = [
        "@import",
        "@font-face",
        "@namespace",
        "image-set(",
        "image(",
    ];
    if loads.iter().any(|word| lower.contains(word)) {
        return Err("loads something in a style".to_owned());
    }

    let styled = lower.contains("url(") || lower.contains('{') || lower.contains(';');
    if styled && (lower.contains('\\') || lower.contains("/*")) {
        return Err("has an escape or a comment in a style".to_owned());
    }

    // What is drawn is counted by this spelling.
    if lower.matches("url(").count() != text.matches("url(").count() {
        return Err("spells `url(` in capitals".to_owned());
    }

    for target in lower.split("url(").skip(1) {
        let target = target.trim_start().trim_start_matches(['"', '\'']);
        if !target.starts_with('#') {
            return Err(format!("refers to `{}`, outside itself", short(target)));
        }
    }

    Ok(())
}

/// Counts what is drawn: a symbol that uses a symbol that uses a symbol grows without bounds, and
/// one that uses itself never ends.
fn check_growth(document: &Document<'_>) -> Result<(), String> {
    let mut by_id = HashMap::new();
    for node in document.descendants().filter(Node::is_element) {
        if let Some(id) = node.attribute("id") {
            by_id.entry(id).or_insert(node);
        }
    }

    let mut count = Growth {
        by_id,
        known: HashMap::new(),
        open: HashSet::new(),
    };
    let drawn = count.of(document.root_element(), 0)?;

    let drawn = drawn
        .saturating_add(markers_drawn(document, &mut count)?)
        .saturating_add(styles_drawn(document, &mut count)?);
    if drawn > DRAWN_MAX {
        return Err(format!("draws more than {DRAWN_MAX} elements"));
    }

    Ok(())
}

/// Counts what markers draw: one at each corner of a line, of which there is at most one for each
/// two characters.
fn markers_drawn<'a, 'input>(
    document: &'a Document<'input>,
    count: &mut Growth<'a, 'input>,
) -> Result<u64, String> {
    let mut largest = 0;
    for node in document.descendants() {
        if node.tag_name().name() == "marker" {
            largest = count.of(node, 0)?.max(largest);
        }
    }

    let corners: u64 = document
        .descendants()
        .flat_map(|n| [n.attribute("d"), n.attribute("points")])
        .flatten()
        .map(|path| path.len() as u64 / 2)
        .sum();
    Ok(corners.saturating_mul(largest))
}

/// Counts what style sheets draw: whatever they refer to may apply to every element.
fn styles_drawn<'a, 'input>(
    document: &'a Document<'input>,
    count: &mut Growth<'a, 'input>,
) -> Result<u64, String> {
    let mut largest = 0;
    for node in document.descendants() {
        if node.tag_name().name() != "style" {
            continue;
        }

        let css: String = node.descendants().filter_map(|n| n.text()).collect();
        for id in url_targets(&css) {
            if let Some(used) = count.by_id.get(id.as_str()).copied() {
                largest = count.of(used, 0)?.max(largest);
            }
        }
    }

    let elements = document.descendants().filter(Node::is_element).count() as u64;
    Ok(elements.saturating_mul(largest))
}

struct Growth<'a, 'input> {
    by_id: HashMap<&'a str, Node<'a, 'input>>,
    known: HashMap<roxmltree::NodeId, u64>,
    open: HashSet<roxmltree::NodeId>,
}

impl<'a, 'input> Growth<'a, 'input> {
    /// Returns how many elements one element draws.
    fn of(&mut self, node: Node<'a, 'input>, depth: usize) -> Result<u64, String> {
        if let Some(known) = self.known.get(&node.id()) {
            return Ok(*known);
        }

        if depth > DEPTH_MAX * 2 || !self.open.insert(node.id()) {
            return Err("uses an element within itself".to_owned());
        }

        let mut sum: u64 = 1;
        for child in node.children().filter(Node::is_element) {
            sum = sum.saturating_add(self.of(child, depth + 1)?);
        }

        for target in targets(&node) {
            if let Some(used) = self.by_id.get(target.as_str()).copied() {
                sum = sum.saturating_add(self.of(used, depth + 1)?);
            }
        }

        self.open.remove(&node.id());
        self.known.insert(node.id(), sum);
        Ok(sum)
    }
}

/// Returns the ids that an element refers to.
fn targets(node: &Node<'_, '_>) -> Vec<String> {
    let mut ids = Vec::new();
    for attribute in node.attributes() {
        let value = attribute.value();
        if attribute.name() == "href" {
            ids.extend(value.trim_start().strip_prefix('#').map(str::to_owned));
        }

        ids.extend(url_targets(value));
    }

    ids
}

/// Returns the ids in `url(#id)`.
fn url_targets(text: &str) -> Vec<String> {
    let id = |target: &str| {
        let target = target.trim_start().trim_start_matches(['"', '\'']);
        let id = target.strip_prefix('#').unwrap_or_default();
        let end = id.find([')', '"', '\'', ' ']).unwrap_or(id.len());
        id[..end].to_owned()
    };
    text.split("url(").skip(1).map(id).collect()
}

/// Returns width and height, from the view box or from the attributes.
fn size(root: &Node<'_, '_>) -> Result<(u32, u32), String> {
    let numbers: Vec<f64> = root
        .attribute("viewBox")
        .unwrap_or_default()
        .split([' ', ',', '\n', '\t'])
        .filter_map(|n| n.parse().ok())
        .collect();
    let length = |name: &str| {
        let text = root.attribute(name)?.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        digits.parse::<f64>().ok()
    };

    let size = match numbers[..] {
        [_, _, width, height] => Some((width, height)),
        _ => length("width").zip(length("height")),
    };
    let fits = |n: f64| (1.0..=100_000.0).contains(&n);
    match size {
        Some((width, height))
            if fits(width) && fits(height) && (0.02..=50.0).contains(&(width / height)) =>
        {
            Ok((width as u32, height as u32))
        }
        _ => Err("has no usable size: set its viewBox, or its width and height".to_owned()),
    }
}

/// Returns the beginning of a text for an error.
fn short(text: &str) -> String {
    model::text::sanitize(&text.chars().take(60).collect::<String>()).into_owned()
}
