//! Code of other interpreters: templates, PHP's serialized objects, filters of LDAP and of document
//! databases.

/// Returns whether a decoded and normalized value is such code.
pub(super) fn is_code(text: &str) -> bool {
    is_template_call(text) || is_serialized(text) || is_ldap_filter(text) || is_document_query(text)
}

/// `{{config.items()}}`: a template that calls something.
fn is_template_call(text: &str) -> bool {
    if reaches_interpreter(text) {
        return true;
    }
    text.split("{{").skip(1).any(|rest| {
        let inside = rest.split("}}").next().unwrap_or_default();
        let is_closed = inside.len() < rest.len();
        let name = inside.split('(').next().unwrap_or_default().trim();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '[' | ']');
        is_closed
            && name.len() < inside.trim().len()
            && name.contains('.')
            && name.chars().all(is_name)
    })
}

/// What a template asks for to get at the interpreter, its server or its files.
const REACHES: [&str; 26] = [
    "__class__",
    "__globals__",
    "__builtins__",
    "__subclasses__",
    "__init__",
    "__mro__",
    "__import__",
    ".class.mro",
    ".subclasses(",
    "|attr(",
    "|filter('",
    "|filter(\"",
    "|map('system",
    "|sort('system",
    "_self.env",
    "os.system",
    "os.popen",
    "dump(app)",
    "request.server",
    "getclass()",
    ".getclass",
    "forname(",
    "newinstance(",
    "get_user_file(",
    "file.open(",
    "io.popen",
];

/// Returns whether a template in one of the usual delimiters reaches for the interpreter. Text that
/// an unfinished page left, such as `{{item.url}}`, does not.
fn reaches_interpreter(text: &str) -> bool {
    [
        ("{{", "}}"),
        ("${", "}"),
        ("{%", "%}"),
        ("<%", "%>"),
        ("#{", "}"),
    ]
    .iter()
    .any(|(open, close)| {
        text.match_indices(open).any(|(at, _)| {
            let inside = &text[at + open.len()..];
            let end = inside.rfind(close).unwrap_or(0);
            let inside = inside[..end].replace(' ', "");
            REACHES.iter().any(|reach| inside.contains(reach))
        })
    })
}

/// Operators of document databases.
const OPERATORS: [&str; 14] = [
    "$and", "$comment", "$eq", "$exists", "$gt", "$gte", "$in", "$lt", "$lte", "$ne", "$nin",
    "$or", "$regex", "$where",
];

/// `{$gt: ''}`, `', $where: '1 == 1'`, `[$ne]=1`: an operator where a value belongs; or JavaScript
/// that such a database runs for each document.
fn is_document_query(text: &str) -> bool {
    let has_operator = OPERATORS.iter().any(|operator| {
        text.match_indices(operator).any(|(at, _)| {
            let before = text[..at].trim_end_matches([' ', '\'', '"']);
            let begins = before.is_empty() || before.ends_with(['{', ',', '[', '}']);
            let after = text[at + operator.len()..].trim_start_matches(['\'', '"', ' ']);
            begins && (after.starts_with(':') || after.starts_with("]="))
        })
    });

    let closes_string = text.starts_with(['\'', '"']) || text.contains(";return");
    let runs = ["this.", ";return", "}while("];
    let has_script = closes_string
        && runs.iter().any(|mark| text.contains(mark))
        && (text.contains(".match(/")
            || text.contains("==")
            || text.contains("return")
            || text.contains("do{"));
    has_operator || has_script || text.contains("db.injection.")
}

/// `O:8:"stdClass":1:{`: an object, whose methods PHP runs when it reads it.
fn is_serialized(text: &str) -> bool {
    text.match_indices("o:").any(|(at, mark)| {
        let is_start = !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let rest = &text[at + mark.len()..];
        let rest = rest.strip_prefix('+').unwrap_or(rest);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        is_start
            && digits > 0
            && rest[digits..]
                .strip_prefix(":\"")
                .is_some_and(|name| name.contains(":{"))
    })
}

/// `*)(uid=*`: a filter that ends, and another that matches all.
fn is_ldap_filter(text: &str) -> bool {
    let joins = ["*(|(", "*(&(", "*)(", ")("];
    let mut places = joins
        .iter()
        .flat_map(|join| text.match_indices(join).map(|(at, _)| (at, *join)));
    places.any(|(at, mark)| {
        let rest = text[at + mark.len()..].trim_start_matches(['|', '&', '!', '(']);
        let name = rest.split('=').next().unwrap_or_default();
        name.len() < rest.len()
            && !name.is_empty()
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && rest[name.len()..].starts_with("=*")
    })
}
