//! Script and markup that a page would run if it repeated a value.

/// Elements that run or load something by an attribute.
const ELEMENTS: [&str; 34] = [
    "script", "iframe", "frame", "object", "embed", "applet", "svg", "math", "base", "link",
    "meta", "style", "form", "body", "input", "button", "details", "video", "audio", "source",
    "marquee", "isindex", "img", "image", "table", "td", "layer", "xml", "bgsound", "div", "a",
    "html", "textarea", "select",
];

/// Attributes that load something or run it.
const ATTRIBUTES: [&str; 18] = [
    "src",
    "href",
    "data",
    "action",
    "formaction",
    "code",
    "codebase",
    "srcdoc",
    "style",
    "http-equiv",
    "xlink:href",
    "background",
    "dynsrc",
    "lowsrc",
    "srcset",
    "classid",
    "datasrc",
    "poster",
];

/// Elements of text, whose ordinary attributes prove nothing.
const TEXT_ELEMENTS: [&str; 4] = ["a", "div", "table", "td"];

/// Functions that proofs of concept call.
const CALLS: [&str; 17] = [
    "alert",
    "prompt",
    "confirm",
    "eval",
    "document.write",
    "document.writeln",
    "string.fromcharcode",
    "fromcharcode",
    "settimeout",
    "setinterval",
    "fetch",
    "atob",
    "netsparker",
    "window.open",
    "import",
    "expression",
    "print",
];

/// Properties that proofs of concept read or set.
const PROPERTIES: [&str; 7] = [
    "document.cookie",
    "document.location",
    "document.domain",
    "window.location",
    "location.href",
    "location=",
    "top.location",
];

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Removes comments of style sheets and HTML, which may stand within a name.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("/*") {
        let Some(length) = rest[at + 2..].find("*/") else {
            break;
        };
        out.push_str(&rest[..at]);
        rest = &rest[at + length + 4..];
    }
    out.push_str(rest);

    out
}

/// Returns whether `text` holds an event handler: `on` and letters, then `=`, after a blank, a
/// slash or a quotation mark.
fn find_handler(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    text.match_indices("on").map(|(at, _)| at).find(|at| {
        let begins = *at > 0
            && matches!(
                bytes[at - 1],
                b' ' | b'\n' | b'/' | b'"' | b'\'' | b'`' | b'\0' | b','
            );
        let name = bytes[at + 2..].iter().take_while(|c| is_word(**c)).count();
        let rest = text[at + 2 + name..].trim_start_matches([' ', '\n', '\0', '\u{b}']);
        begins && (3..=30).contains(&name) && rest.starts_with('=')
    })
}

/// Returns whether attributes name one that loads something.
fn loads(attributes: &str) -> bool {
    ATTRIBUTES.iter().any(|name| {
        attributes.match_indices(name).any(|(at, _)| {
            let begins = at > 0 && !is_word(attributes.as_bytes()[at - 1]);
            let rest = attributes[at + name.len()..].trim_start_matches([' ', '\n']);
            begins && rest.starts_with('=')
        })
    })
}

/// Returns whether a scheme that runs script begins `value`; blanks and control characters within
/// it do not count.
fn script_scheme(value: &str) -> Option<String> {
    let mut plain = value
        .chars()
        .filter(|c| *c > ' ')
        .take(80)
        .collect::<String>();
    while plain.starts_with(['"', '\'', '`', '\\']) {
        plain.remove(0);
    }

    [
        "javascript:",
        "vbscript:",
        "livescript:",
        "mocha:",
        "jscript:",
    ]
    .iter()
    .find_map(|scheme| plain.strip_prefix(scheme))
    .map(str::to_owned)
}

/// Returns whether a value or attribute runs script by its scheme. Links that do nothing are
/// ordinary, and `javascript: the good parts` is a book.
fn runs_by_scheme(value: &str) -> bool {
    if value.trim_start().starts_with("data:text/html") {
        return true;
    }
    let Some(code) = script_scheme(value) else {
        return false;
    };

    let harmless = [
        "void(0",
        "void0",
        ";",
        "history.back",
        "window.print()",
        "%20",
    ];
    !harmless.iter().any(|start| code.starts_with(start))
        && code.contains(['(', '=', '/', '`', '\'', '"', '%', '[', '{', '&', '\\'])
}

/// Returns whether an attribute's value runs script.
fn has_script_attribute(text: &str) -> bool {
    text.match_indices('=').any(|(at, _)| {
        let value = &text[at + 1..];
        runs_by_scheme(value)
    }) || text
        .match_indices("url(")
        .any(|(at, _)| runs_by_scheme(&text[at + 4..]))
        || text
            .match_indices("url=")
            .any(|(at, _)| runs_by_scheme(&text[at + 4..]))
}

/// Returns whether what stands before an element closes a value or an element: `">`, `'>`, `-->`,
/// or `</`.
fn breaks_out(before: &str) -> bool {
    let before = before.trim_end_matches([' ', '\n', '\0']);
    before.ends_with("\">")
        || before.ends_with("'>")
        || before.ends_with("-->")
        || before.ends_with("/>")
        || before.ends_with('"')
        || before.ends_with('\'')
        || before.ends_with("%>")
        || before.rsplit_once("</").is_some_and(|(_, name)| {
            name.strip_suffix('>')
                .is_some_and(|name| name.bytes().all(|c| is_word(c) || c == b' '))
        })
}

/// Returns whether text after a `<script>` is code rather than prose.
fn is_code(text: &str) -> bool {
    let text = text.split("</script").next().unwrap_or_default();
    text.contains(['(', '=', ';', '`', '[', '{']) || text.starts_with("//")
}

/// Returns whether the element whose name begins at `at` runs or loads something.
fn is_active_element(text: &str, at: usize) -> bool {
    let name_length = text.as_bytes()[at..]
        .iter()
        .take_while(|c| is_word(**c) || **c == b':' || **c == b'-')
        .count();
    let (name, rest) = text[at..].split_at(name_length);
    let end = rest.find('>').unwrap_or(rest.len());
    let (attributes, after) = rest.split_at(end);
    let before = &text[..at - 1];

    // A value may hold `>`, so handlers are looked for in all that follows.
    if find_handler(rest).is_some() || has_script_attribute(attributes) {
        return true;
    }
    // Whatever the element, a browser loads or runs what these name.
    let always = ["xlink:href=", "datasrc=", "attributename=", "handler=\"#"];
    let is_meta = name == "meta" && (attributes.contains("utf7") || attributes.contains("utf-7"));
    if is_meta
        || always
            .iter()
            .any(|attribute| attributes.contains(attribute))
    {
        return true;
    }
    let styles = [
        "expression(",
        "behavior:",
        "behavior:",
        "binding:",
        "-o-link",
    ];
    let is_active_style =
        attributes.contains("style") && styles.iter().any(|s| attributes.contains(s));
    if breaks_out(before) || is_active_style {
        return true;
    }

    match name.rsplit(':').next().unwrap_or_default() {
        "script" => {
            let after = after.strip_prefix('>').unwrap_or(after);
            loads(attributes) || is_code(after) || after.contains("</script")
        }
        name if TEXT_ELEMENTS.contains(&name) => false,
        name if ELEMENTS.contains(&name) => {
            loads(attributes) || name == "style" && after.contains([':', '@'])
        }
        _ => false,
    }
}

/// Returns whether an element runs or loads something.
fn has_active_element(text: &str) -> bool {
    text.match_indices('<').any(|(at, _)| {
        let mut name = at + 1;
        // `</`, `<%` and blanks before the name are mistakes that browsers and filters forgive.
        while matches!(
            text.as_bytes().get(name),
            Some(b'/' | b'%' | b' ' | b'\0' | b'<' | b'\n')
        ) {
            name += 1;
        }
        let is_closing = text.as_bytes().get(at + 1) == Some(&b'/');
        let begins = text
            .as_bytes()
            .get(name)
            .is_some_and(u8::is_ascii_alphabetic);
        let has_gap = name > at + 1 && !is_closing;
        let is_element = (!has_gap || text[name..].starts_with("script"))
            && (!is_closing || breaks_out(&text[..at]));

        begins && is_element && is_active_element(text, name)
    })
}

/// Returns whether a quotation mark in `text` is followed by an event handler with code.
fn breaks_into_attribute(text: &str) -> bool {
    // A value may stand in an attribute without quotation marks.
    let start = match text.find(['"', '\'', '`']) {
        _ if text.starts_with([' ', '\n']) => 0,
        Some(quote) => quote,
        None => return false,
    };
    let Some(at) = find_handler(&text[start..]) else {
        return false;
    };
    let code = &text[start + at..];
    code.contains(['(', '`']) || PROPERTIES.iter().any(|p| code.contains(p))
}

/// Returns whether a call stands where code would: after punctuation, not after a word.
fn has_call(text: &str) -> bool {
    let bytes = text.as_bytes();
    CALLS.iter().any(|name| {
        text.match_indices(name).any(|(at, _)| {
            let rest = text[at + name.len()..].trim_start_matches([' ', ')', ']', '.']);
            let called = rest.starts_with('(') && !rest.starts_with("()") || rest.starts_with('`');
            let before = text[..at].trim_end_matches([' ', '\n', '(']);
            let punctuation = before.as_bytes().last().is_some_and(|c| {
                matches!(
                    c,
                    b';' | b'\''
                        | b'"'
                        | b'+'
                        | b'-'
                        | b'*'
                        | b'{'
                        | b'='
                        | b':'
                        | b'|'
                        | b'&'
                        | b'}'
                        | b'>'
                        | b'/'
                        | b'`'
                        | b'%'
                        | b'\\'
                        | b'^'
                        | b'?'
                        | b'!'
                        | b','
                )
            });
            let quoted = text.contains(['"', '\'', '<', ';', '`', '{', '\\']);
            called && punctuation && quoted && (at == 0 || !is_word(bytes[at - 1]))
        })
    })
}

/// `eval(location.hash.slice(1))`, `top["al"+"ert"](1)`: code that the address carries, and a function
/// that is named in pieces.
fn runs_own_address(text: &str) -> bool {
    let runners = ["eval(", "settimeout(", "setinterval(", "function("];
    let sources = ["location", "document.", "url.", "window.name", "name)"];
    let runs = runners.iter().any(|runner| {
        text.match_indices(runner).any(|(at, _)| {
            let argument = &text[at + runner.len()..];
            sources.iter().any(|source| argument.starts_with(source))
        })
    });

    let globals = [
        "top[",
        "window[",
        "self[",
        "parent[",
        "frames[",
        "globalthis[",
    ];
    runs || globals.iter().any(|global| {
        text.match_indices(global).any(|(at, _)| {
            let begins = at == 0 || !is_word(text.as_bytes()[at - 1]);
            let inside = text[at + global.len()..]
                .split(']')
                .next()
                .unwrap_or_default();
            let rest = &text[(at + global.len() + inside.len()).min(text.len())..];
            begins && inside.contains(['"', '\'', '/']) && rest.starts_with("](")
        })
    })
}

/// Returns whether a property is used within code.
fn has_property(text: &str) -> bool {
    PROPERTIES.iter().any(|name| {
        text.find(name).is_some_and(|at| {
            let before = text[..at].trim_end_matches([' ', '\n']);
            let after = text[at + name.len()..].trim_start_matches([' ', '\n']);
            let in_call = before.ends_with(['(', '+', '\'', '"', ';', '=', '`']);
            in_call
                && !before.is_empty()
                && (after.starts_with([')', '+', ';', '=', '\'', '"', '.']) || after.is_empty())
        })
    })
}

/// Returns whether a text, decoded and normalized, holds script that a page would run.
pub(super) fn is_script(text: &str, is_path: bool) -> bool {
    if !text.contains(['<', '"', '\'', ':', '(', '`', '\u{bc}']) {
        return false;
    }
    let text = &without_comments(text);
    if text.contains('<') && has_active_element(text) || breaks_into_attribute(text) {
        return true;
    }
    let instructions = ["<?import ", "<?xml-stylesheet ", "<?xml:namespace"];
    if instructions.iter().any(|start| text.contains(start)) || runs_own_address(text) {
        return true;
    }
    if text.contains(":expression(") || text.contains("=expression(") {
        return true;
    }
    // Crawlers follow `javascript:` links as if they were paths.
    if !is_path && (runs_by_scheme(text) || has_script_attribute(text)) {
        return true;
    }

    has_call(text) || has_property(text)
}
