//! XML of strangers: no entities of its own, not too deep, not too many elements. Nothing that it
//! points to is ever opened.

use std::ops::Range;

use roxmltree::{Document, Node, ParsingOptions};

use crate::ReadError;
use crate::text::STRING_MAX;

/// The most elements, attributes not counted.
const NODES_MAX: u32 = 2_000_000;
/// The most elements within each other; a report has ten.
const DEPTH_MAX: u16 = 128;

/// The most attributes of an element: the parser compares each with all before it.
const ATTRIBUTES_MAX: usize = 512;
/// The most attributes in all.
const ATTRIBUTES_IN_ALL_MAX: usize = 2_000_000;
/// The most elements that declare a namespace: the parser gives each a list of all that are in
/// force. A report has none.
const NAMESPACES_MAX: usize = 64;

/// Returns a text as the parser takes it: without the declaration, whose encoding is decoded
/// already and whose version 1.1 Burp writes, without a DOCTYPE, and without characters that XML
/// forbids, which Burp leaves in what servers answered.
///
/// A DOCTYPE is no attack, as nmap, Nikto and Burp write one; entities are. The parser never sees
/// either, so that it does not matter whether both agree on where a DOCTYPE ends: what is left of one
/// is no XML.
pub(crate) fn prepare(text: &str) -> Result<String, ReadError> {
    let text = text.trim_start();
    let text = match text
        .strip_prefix("<?xml ")
        .map(|rest| rest.split_once("?>"))
    {
        Some(Some((_, rest))) => rest,
        _ => text,
    };
    let is_forbidden = |c: char| {
        (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    let mut text = text.replace(is_forbidden, "\u{fffd}");
    if let Some(doctype) = doctype(&text) {
        if let Some(at) = text[doctype.clone()].find("<!ENTITY") {
            let before = &text[..doctype.start + at];
            return Err(ReadError::Entities(before.matches('\n').count() + 1));
        }
        // The lines stay, so that errors name the right one.
        let lines = text[doctype.clone()].matches('\n').count();
        text.replace_range(doctype, &"\n".repeat(lines));
    }
    Ok(text)
}

/// Parses a text that [`prepare`] has returned.
pub(crate) fn parse(text: &str) -> Result<Document<'_>, ReadError> {
    check_attributes(text)?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODES_MAX,
        ..ParsingOptions::default()
    };
    let document =
        Document::parse_with_options(text, options).map_err(|error| ReadError::Syntax {
            syntax: "XML",
            reason: crate::text::clean(&error.to_string(), 300),
        })?;
    check_depth(&document)?;
    Ok(document)
}

/// Counts attributes before the parser sees them. Where it would stop at a mistake this may count
/// something else, which nobody reads then.
fn check_attributes(text: &str) -> Result<(), ReadError> {
    let (mut in_all, mut namespaces) = (0, 0);
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        let end = if after.starts_with("![CDATA[") {
            Some("]]>")
        } else if after.starts_with("!--") {
            Some("-->")
        } else {
            None
        };
        if let Some(end) = end {
            rest = after.split_once(end).map_or("", |(_, after)| after);
            continue;
        }

        let (attributes, length) = tag(after);
        in_all += attributes;
        namespaces += usize::from(after[..length].contains("xmlns"));
        for (count, most, what) in [
            (attributes, ATTRIBUTES_MAX, "attributes in one element"),
            (in_all, ATTRIBUTES_IN_ALL_MAX, "attributes"),
            (namespaces, NAMESPACES_MAX, "elements with namespaces"),
        ] {
            if count > most {
                return Err(ReadError::TooMany(most, what));
            }
        }
        rest = &after[length..];
    }
    Ok(())
}

/// Returns how many attributes a tag has, and how long it is.
fn tag(text: &str) -> (usize, usize) {
    let mut attributes = 0;
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            // No value may hold one, so that another tag begins.
            (_, b'<') => return (attributes, at),
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'=') => attributes += 1,
            (None, b'>') => return (attributes, at),
            (None, _) => {}
        }
    }
    (attributes, text.len())
}

fn check_depth(document: &Document<'_>) -> Result<(), ReadError> {
    let mut depths = vec![0_u16];
    for node in document.descendants() {
        let above = node.parent_element().or_else(|| node.parent());
        let depth = above
            .and_then(|parent| depths.get(parent.id().get_usize()))
            .map_or(0, |depth| depth + 1);
        if depth > DEPTH_MAX {
            return Err(ReadError::Syntax {
                syntax: "XML",
                reason: format!("elements are nested more than {DEPTH_MAX} deep"),
            });
        }
        let at = node.id().get_usize();
        if depths.len() <= at {
            depths.resize(at + 1, 0);
        }
        depths[at] = depth;
    }
    Ok(())
}

/// Returns where the DOCTYPE is, if there is one. All of it must be before the first element.
fn doctype(text: &str) -> Option<Range<usize>> {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("<!--") {
            rest = after.split_once("-->")?.1;
        } else if let Some(after) = rest.strip_prefix("<?") {
            rest = after.split_once("?>")?.1;
        } else if rest.starts_with("<!DOCTYPE") {
            let start = text.len() - rest.len();
            return Some(start..start + length(rest));
        } else {
            return None;
        }
    }
}

/// Returns how long a DOCTYPE is; to the end of the text where it has no end.
fn length(text: &str) -> usize {
    let mut quote = None;
    let mut is_inside = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if !is_inside => quote = Some(c),
            (None, '[') => is_inside = true,
            (None, ']') => is_inside = false,
            (None, '>') if !is_inside => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns the elements of a name within an element.
pub(crate) fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children()
        .filter(move |child| child.has_tag_name(name))
}

/// Returns all text of the first element of a name within an element; empty without one.
pub(crate) fn text_in(node: Node<'_, '_>, name: &'static str) -> String {
    children(node, name)
        .next()
        .map(all_text)
        .unwrap_or_default()
}

/// Returns all text of an element, as far as a text goes. A CDATA section may cut it into several.
pub(crate) fn all_text(node: Node<'_, '_>) -> String {
    let mut all = String::new();
    for text in node.descendants().filter(Node::is_text) {
        all.push_str(within_limit(text.text().unwrap_or_default()));
        if all.len() > STRING_MAX {
            all.truncate(within_limit(&all).len());
            break;
        }
    }
    all
}

/// Returns an attribute, as far as a text goes; empty without it.
pub(crate) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> &'a str {
    within_limit(node.attribute(name).unwrap_or_default())
}

/// The name of a host may stand in each of its ten thousand findings.
fn within_limit(text: &str) -> &str {
    &text[..text.floor_char_boundary(STRING_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_refused_and_a_doctype_is_not() {
        let entity = "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>";
        let harmless = "<!-- c --><!DOCTYPE a SYSTEM \"a>b.dtd\" [<!ELEMENT a ANY>]><a/>";
        let quoted = "<!DOCTYPE a><a><![CDATA[<!ENTITY]]></a>";

        let is_read = |text: &str| prepare(text).and_then(|text| parse(&text).map(|_| ()));
        assert_eq!(is_read(entity).err(), Some(ReadError::Entities(1)));
        assert!(is_read(harmless).is_ok());
        assert!(is_read(quoted).is_ok());
    }

    #[test]
    fn what_hides_an_entity_is_no_xml() {
        for text in [
            "<!DOCTYPE a [<!ELEMENT b \"]>\"><!ENTITY x 'y'>]><a>&x;</a>",
            "<!DOCTYPE a [<!--]>--><!ENTITY x 'y'>]><a>&x;</a>",
            "<!DOCTYPE a [<?p ]>?><!ENTITY x 'y'>]><a>&x;</a>",
            "<!DOCTYPE a><!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
            "<a>&x;</a>",
        ] {
            let text = prepare(text);
            assert!(text.is_err() || text.is_ok_and(|text| parse(&text).is_err()));
        }
    }

    #[test]
    fn errors_name_the_line_of_the_file() {
        let text = prepare("<!DOCTYPE a [\n\n]>\n<a>\n</b>").unwrap();
        let error = parse(&text).unwrap_err().to_string();

        assert!(error.contains("at 5:"), "{error}");
    }

    #[test]
    fn what_the_parser_compares_with_all_others_has_an_end() {
        let attributes: Vec<String> = (0..100_000).map(|n| format!("a{n}='' ")).collect();
        let attributes = attributes.concat();
        let many = format!("<a {attributes}/>");
        let spaces = format!("<a>{}</a>", "<b xmlns:c='d'/>".repeat(1_000));
        let text = format!("<a b='c'><![CDATA[<svg {attributes}{spaces}>]]></a>");

        assert!(matches!(parse(&many), Err(ReadError::TooMany(..))));
        assert!(matches!(parse(&spaces), Err(ReadError::TooMany(..))));
        assert!(parse("<a b='<c d=1/>'/>").is_err());
        assert!(parse(&text).is_ok());
    }

    #[test]
    fn depth_has_an_end() {
        let deep = format!("{}{}", "<a>".repeat(60_000), "</a>".repeat(60_000));

        assert!(parse(&deep).is_err());
    }
}
