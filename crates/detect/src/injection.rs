//! Finds code in a request: SQL, script, paths out of the web root, commands. Each field is decoded
//! layer by layer, normalized, and judged by its tokens, not by literal payloads.

mod decode;
mod interpreters;
mod ordinary;
mod path;
mod prefilter;
mod script;
mod shell;
mod sql;
#[cfg(test)]
mod tests;
mod tokens;

use std::borrow::Cow;

use model::SecurityEvent;

use decode::{in_each_layer, unescape_log};
use path::Place;

/// Maximum number of examined bytes of a field.
const FIELD_BYTES_MAX: usize = 8192;
/// A field of this length may have been cut, within a character, where logs are read: nobody knows
/// what stands behind it.
const FIELD_BYTES_FULL: usize = FIELD_BYTES_MAX - 3;
/// The details hold all of a user agent of this length or longer.
const AGENT_BYTES_FULL: usize = 500 - 3;

/// A kind of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Sql,
    Script,
    Traversal,
    Command,
    /// A text so long that code may stand behind what was judged.
    TooLong,
}

impl Code {
    /// Returns the word for messages.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Sql => "SQL",
            Self::Script => "script",
            Self::Traversal => "path out of the web root",
            Self::Command => "shell command",
            Self::TooLong => "text too long to be judged",
        }
    }
}

/// The field of a request that holds code, as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Target,
    UserAgent,
    Referer,
    Body,
}

impl Field {
    /// Returns the words for messages.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::UserAgent => "user agent",
            Self::Referer => "referer",
            Self::Body => "body",
        }
    }
}

fn examined(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(FIELD_BYTES_MAX)]
}

/// Returns the kind of code in a decoded and normalized value.
fn code_in_text(text: &str) -> Option<Code> {
    if sql::is_sql(text) {
        Some(Code::Sql)
    } else if script::is_script(text, false) {
        Some(Code::Script)
    } else if path::is_traversal(text, Place::Value, false) {
        Some(Code::Traversal)
    } else {
        let is_command = shell::is_command_or_code(text) || interpreters::is_code(text);
        is_command.then_some(Code::Command)
    }
}

/// Returns the part of a path in which SQL may stand: the segment with the first character that
/// separates tokens, and all that follows.
fn sql_in_path(path: &str) -> &str {
    let special = path.find([' ', '\n', '\'', '"', '(', ';', '*', '`']);
    let start = special.and_then(|at| path[..at].rfind('/'));
    special.map_or("", |_| &path[start.map_or(0, |at| at + 1)..])
}

fn code_in_path(path: &[u8]) -> Option<Code> {
    let climbs = |text: &str| text.contains("../") || text.ends_with("..");
    let mut climbs_plainly = None;

    in_each_layer(path, false, |text| {
        let was_plain = *climbs_plainly.get_or_insert_with(|| climbs(text));
        if sql::is_sql(sql_in_path(text)) {
            Some(Code::Sql)
        } else if script::is_script(text, true) {
            Some(Code::Script)
        } else if path::is_traversal(text, Place::Path, !was_plain) {
            Some(Code::Traversal)
        } else {
            shell::is_command_or_code(text).then_some(Code::Command)
        }
    })
}

/// Returns whether the name of a parameter is only a name.
fn is_plain_name(name: &[u8]) -> bool {
    name.iter()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.' | b'[' | b']' | b'$'))
}

/// Returns the kind of code in a parameter.
fn code_in_parameter(parameter: &[u8]) -> Option<Code> {
    let equals = parameter.iter().position(|c| *c == b'=');
    let (name, value) = match equals {
        Some(at) => (&parameter[..at], &parameter[at + 1..]),
        None => (&parameter[..0], parameter),
    };

    let mut plain_name = String::new();
    let _: Option<()> = in_each_layer(name, true, |text| {
        text.clone_into(&mut plain_name);
        None
    });
    if sql::is_operator_name(&plain_name) {
        return Some(Code::Sql);
    }

    in_each_layer(value, true, |text| {
        let by_name = shell::is_web_shell(&plain_name, text).then_some(Code::Command);
        by_name.or_else(|| code_in_text(text))
    })
    .or_else(|| {
        // A payload may hold `=` itself, or stand in the name.
        (!is_plain_name(plain_name.as_bytes()))
            .then(|| in_each_layer(parameter, true, code_in_text))
            .flatten()
    })
}

/// Returns the kind of code in parameters.
fn code_in_query(query: &[u8]) -> Option<Code> {
    query
        .split(|c| *c == b'&')
        .find_map(code_in_parameter)
        .or_else(|| {
            // `&&` separates commands as well as parameters.
            let is_ordinary = std::str::from_utf8(query).is_ok_and(ordinary::is_ordinary);
            let judge = |text: &str| shell::is_command_or_code(text).then_some(Code::Command);
            in_each_layer(query, true, judge).filter(|_| !is_ordinary)
        })
}

/// Returns the kind of code in a request target.
pub(crate) fn code_in_target(target: &str) -> Option<Code> {
    let target = unescape_log(examined(target));
    let mark = target.iter().position(|c| *c == b'?');
    let (path, query) = match mark {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (&target[..], &target[..0]),
    };

    code_in_path(path)
        .or_else(|| code_in_query(query))
        .or_else(|| {
            // Exploits are known by path and parameter together.
            in_each_layer(&target, false, |text| {
                shell::is_exploit(text).then_some(Code::Command)
            })
        })
}

/// Returns the kind of code in a user agent. Blanks, semicolons and parentheses are ordinary there.
fn code_in_agent(agent: &str) -> Option<Code> {
    if !prefilter::is_suspicious_agent(examined(agent)) {
        return None;
    }

    in_each_layer(&unescape_log(examined(agent)), false, |text| {
        if shell::is_header_code(text) || shell::is_code_beginning(text) {
            Some(Code::Command)
        } else if sql::is_sql(text) {
            Some(Code::Sql)
        } else if script::is_script(text, true) {
            Some(Code::Script)
        } else {
            path::is_climbing(text).then_some(Code::Traversal)
        }
    })
}

/// Returns what follows scheme and host of a URL; all of a text that is none.
fn behind_host(url: &str) -> &str {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    match rest {
        Some(rest) => rest
            .find(['/', '?', '#', '\\'])
            .map_or(rest, |at| &rest[at..]),
        None => url,
    }
}

/// Returns a field of details as it stands in their JSON, without parsing it.
fn raw_field<'a>(event: &'a SecurityEvent<'_>, key: &str) -> Option<&'a str> {
    let json = event.details.as_json();
    let value = json.match_indices(key).find_map(|(at, _)| {
        let after = json[at + key.len()..].strip_prefix('"')?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        value
            .strip_prefix('"')
            .filter(|_| json[..at].ends_with('"'))
    })?;

    let mut escaped = false;
    let end = value.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    Some(&value[..end.unwrap_or(value.len())])
}

/// Returns whether a request may hold code, without allocating: false for nearly all requests.
pub(crate) fn is_suspicious(event: &SecurityEvent<'_>) -> bool {
    let target = event.resource_id.as_deref().unwrap_or_default();
    let agent = event.user_agent.as_deref().unwrap_or_default();
    let may_hold_code = |text: &str| {
        text.len() >= FIELD_BYTES_FULL || prefilter::is_suspicious_target(text.as_bytes())
    };

    may_hold_code(target)
        || agent.len() >= AGENT_BYTES_FULL
        || prefilter::is_suspicious_agent(agent.as_bytes())
        || raw_field(event, "referer").is_some_and(|referer| {
            referer.len() >= FIELD_BYTES_FULL || may_hold_code(behind_host(referer))
        })
        || raw_field(event, "body").is_some_and(may_hold_code)
}

/// Returns the user agent of a request, all of it where the details have it.
fn whole_agent<'a>(event: &'a SecurityEvent<'_>) -> Option<Cow<'a, str>> {
    let agent = event.user_agent.as_deref()?;
    if agent.len() >= AGENT_BYTES_FULL && raw_field(event, "user_agent").is_some() {
        return event.details.text("user_agent").map(Cow::Owned);
    }
    Some(Cow::Borrowed(agent))
}

/// Returns the field of a request that is too long to be judged.
fn find_too_long(event: &SecurityEvent<'_>) -> Option<Field> {
    let is_full = |text: &str| text.len() >= FIELD_BYTES_FULL;
    let detail = |key| raw_field(event, key).is_some_and(is_full);
    let target = event.resource_id.as_deref().is_some_and(is_full);
    let agent = whole_agent(event).is_some_and(|agent| is_full(&agent));

    [
        (target, Field::Target),
        (agent, Field::UserAgent),
        (detail("referer"), Field::Referer),
        (detail("body"), Field::Body),
    ]
    .into_iter()
    .find_map(|(full, field)| full.then_some(field))
}

/// Returns the kind of code that a request holds, and in which field.
pub(crate) fn find_code(event: &SecurityEvent<'_>) -> Option<(Code, Field)> {
    let in_target = || {
        let target = event.resource_id.as_deref()?;
        code_in_target(target).map(|code| (code, Field::Target))
    };
    let in_agent = || {
        let agent = whole_agent(event)?;
        code_in_agent(&agent).map(|code| (code, Field::UserAgent))
    };
    let in_referer = || {
        raw_field(event, "referer")?;
        let referer = event.details.text("referer")?;
        code_in_target(behind_host(&referer)).map(|code| (code, Field::Referer))
    };
    let in_body = || {
        raw_field(event, "body")?;
        let body = unescape_log(examined(&event.details.text("body")?));
        code_in_query(&body).map(|code| (code, Field::Body))
    };

    in_target()
        .or_else(in_agent)
        .or_else(in_referer)
        .or_else(in_body)
        .or_else(|| find_too_long(event).map(|field| (Code::TooLong, field)))
}
