//! Code of other interpreters: templates, PHP's serialized objects, LDAP filters.

/// Returns whether a decoded and normalized value is such code.
pub(super) fn is_code(text: &str) -> bool {
    is_template_call(text) || is_serialized(text) || is_ldap_filter(text)
}

/// `{{config.items()}}`: a template that calls something.
fn is_template_call(text: &str) -> bool {
    text.split("{{").skip(1).any(|rest| {
        let inside = rest.split("}}").next().unwrap_or_default();
        let is_closed = inside.len() < rest.len();
        let name = inside.split('(').next().unwrap_or_default().trim();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '[' | ']');
        is_closed
            && name.len() < inside.trim_end().len()
            && name.contains('.')
            && name.chars().all(is_name)
    })
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
    text.match_indices(")(").any(|(at, mark)| {
        let rest = text[at + mark.len()..].trim_start_matches(['|', '&', '!', '(']);
        let name = rest.split('=').next().unwrap_or_default();
        name.len() < rest.len()
            && !name.is_empty()
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && rest[name.len()..].starts_with("=*")
    })
}
