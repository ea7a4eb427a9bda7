//! Paths out of the web root, files that no client may read, and streams that read files.

/// Where a text stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The path of the target.
    Path,
    /// A parameter or its value.
    Value,
}

/// Beginnings of the secrets that count without any special character; the pre-filter looks for
/// them.
pub(super) const WORDS: [&str; 27] = [
    "0x2e",
    "access_log",
    "apache2.conf",
    "autoexec.bat",
    "bash_history",
    "bin/",
    "boot.ini",
    "cmd.exe",
    "command.com",
    "error_log",
    "etc/",
    "httpd.conf",
    "li4vli4v",
    "my.cnf",
    "my.ini",
    "nginx.conf",
    "opt/",
    "php.ini",
    "private/",
    "proc/",
    "root/",
    "usr/",
    "var/",
    "web-inf",
    "win.ini",
    "windows",
    "winnt",
];

/// Files and folders of systems, without the leading slash.
const SECRETS: [&str; 32] = [
    "etc/passwd",
    "etc/shadow",
    "etc/group",
    "etc/hosts",
    "etc/hostname",
    "etc/issue",
    "etc/motd",
    "etc/fstab",
    "etc/crontab",
    "etc/sudoers",
    "etc/security/",
    "etc/ssh/",
    "etc/ssl/private",
    "etc/my.cnf",
    "etc/mysql/",
    "etc/php",
    "etc/apache2/",
    "etc/httpd/",
    "etc/nginx/",
    "etc/config/",
    "proc/self/",
    "proc/version",
    "proc/cmdline",
    "windows/win.ini",
    "windows/system.ini",
    "windows/system/",
    "windows/system32/",
    "windows/repair",
    "winnt/",
    "windows/php.ini",
    "var/log/",
    "usr/local/apache",
];

/// Files that count alone, in the root of a drive or as a whole value.
const ROOT_FILES: [&str; 3] = ["boot.ini", "win.ini", "autoexec.bat"];

/// Streams of PHP and URLs that read local files or speak other protocols.
const STREAMS: [&str; 17] = [
    "php://",
    "file:/",
    "expect://",
    "zip://",
    "phar://",
    "glob://",
    "ogg://",
    "ssh2://",
    "data://",
    "data:;base64",
    "data:text/plain",
    "gopher://",
    "dict://",
    "ldap://",
    "netdoc:",
    "jar:http",
    "compress.zlib://",
];

/// Unifies a path: backslashes and their like are slashes, `/./` and `//` are one slash, and bytes
/// that readers of paths skip are removed.
fn unify(text: &str) -> String {
    let text = text
        .replace('\\', "/")
        .replace("0x2e", ".")
        .replace("0x2f", "/")
        .replace("0x5c", "/")
        .replace("..2f", "../")
        .replace("..5c", "../");
    let mut out = String::with_capacity(text.len());
    for segment in text.split('/') {
        if segment == "." || (segment.is_empty() && !out.is_empty()) {
            continue;
        }
        out.push_str(segment);
        out.push('/');
    }
    if !text.ends_with('/') {
        out.pop();
    }

    out
}

/// Returns whether a segment leads up: `..`, and what filters and servers make of it, `....` and
/// `..;`.
fn leads_up(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    let name = name.trim_matches(|c| matches!(c, '\0' | ' ' | '\n' | '"' | '\'' | '<' | '>' | '%'));
    // Windows takes a question mark for the dot in some of its calls.
    name.len() >= 2 && name.bytes().all(|c| c == b'.')
        || name.len() == 2 && name.bytes().all(|c| matches!(c, b'.' | b'?'))
}

/// How a path climbs.
#[derive(Default)]
struct Climb {
    /// Segments that lead up, if at least two follow each other; else 0.
    run: usize,
    /// Whether any segment leads up.
    any: bool,
    /// Whether it leaves the folder in which it began.
    leaves: bool,
    /// Whether a segment has the form `..;`, which no client but an attacker's sends.
    has_parameter: bool,
}

impl Climb {
    fn of(path: &str) -> Self {
        let (mut climb, mut run, mut depth) = (Self::default(), 0, 0_i32);
        for segment in path.split('/') {
            // A parameter may begin before the path: `file=..`.
            let up = leads_up(segment.rsplit(['=', ':', ',']).next().unwrap_or_default());
            if up {
                run += 1;
                depth -= 1;
                climb.any = true;
                climb.has_parameter |= segment.starts_with("..;");
                climb.leaves |= depth < 0;
            } else {
                run = 0;
                depth += i32::from(!segment.is_empty());
            }
            if run >= 2 {
                climb.run = climb.run.max(run);
            }
        }

        climb
    }
}

/// Returns the position at which a secret stands as whole segments of a path.
fn find_secret(path: &str) -> Option<usize> {
    SECRETS.iter().find_map(|secret| {
        path.match_indices(secret)
            .map(|(at, _)| at)
            .find(|at| *at == 0 || path.as_bytes()[at - 1] == b'/')
    })
}

/// Returns whether what precedes a secret in a value makes it absolute: nothing, a drive, or a
/// scheme.
fn is_absolute(before: &str) -> bool {
    let before = before.trim_end_matches('/');
    before.is_empty() || before.ends_with(':') || before.len() == 2 && before.ends_with('|')
}

/// Returns whether a folder of a path is the one that Java's servers show to nobody.
fn names_web_inf(path: &str) -> bool {
    path.split('/').any(|segment| segment == "web-inf")
}

/// Returns whether a value or path names a secret of the system as a whole.
fn names_secret(path: &str, place: Place) -> bool {
    // What follows a NUL is cut off by the reader of the path.
    let path = path.split(['\0', '?', '#']).next().unwrap_or_default();
    let path = path.trim_matches(|c| matches!(c, ' ' | '\n' | '\'' | '"'));
    let spaced = ["program files/", "apache group/", "filezilla server"];
    let joined = path.replace(' ', "");
    let has_spaced_name = spaced.iter().any(|name| path.contains(name));
    let path = if has_spaced_name { &joined } else { path };
    if path.contains([' ', '\n']) {
        return false;
    }
    if names_web_inf(path) && !path.contains("/docs/") {
        return true;
    }

    let last = path.rsplit('/').next().unwrap_or_default();
    if ROOT_FILES.contains(&last) {
        let folder = path[..path.len() - last.len()].trim_matches('/');
        let on_drive =
            folder.is_empty() || folder.ends_with(':') || matches!(folder, "windows" | "winnt");
        return on_drive || folder.ends_with("/windows") || folder.ends_with("/winnt");
    }

    if place == Place::Value && is_system_folder(path) {
        return true;
    }
    let Some(at) = find_secret(path) else {
        return false;
    };
    let ends_with_secret = ["etc/passwd", "etc/shadow"]
        .iter()
        .any(|s| path.ends_with(s));
    is_absolute(&path[..at])
        || place == Place::Path && ends_with_secret
        || Climb::of(&path[..at]).any
}

/// Folders of systems in which no application keeps what it serves.
const SYSTEM_FOLDERS: [&str; 24] = [
    "/etc/",
    "/proc/",
    "/var/log/",
    "/var/www/log",
    "/var/adm/",
    "/usr/local/apache",
    "/usr/local/etc/",
    "/usr/local/php",
    "/usr/local/cpanel/",
    "/usr/local/www/logs/",
    "/usr/local/pgsql/",
    "/usr/pkg/",
    "/usr/ports/",
    "/var/cpanel/",
    "/boot/grub/",
    "/opt/lampp/",
    "/opt/xampp/",
    "/private/etc/",
    "/root/",
    "c:/windows/",
    "c:/winnt/",
    "c:/xampp/",
    "c:/wamp/",
    "c:/inetpub/",
];

/// Files of servers that say where they keep things, or what was asked of them.
const SERVER_FILES: [&str; 22] = [
    "access.log",
    "error.log",
    "config.inc.php",
    "filezillaserver.xml",
    "global.asa",
    "httpd.conf.php",
    "mysql.err",
    "hostname.err",
    "proftpd.conf",
    "proftpd.system.log",
    "pure-ftpd.conf",
    "pure-ftpd.log",
    "vsftpd.conf",
    "httpd.conf",
    "apache2.conf",
    "nginx.conf",
    "php.ini",
    "my.cnf",
    "my.ini",
    "access_log",
    "error_log",
    ".bash_history",
];

/// Returns whether an absolute path leads into a folder of the system, or to a server's file.
fn is_system_folder(path: &str) -> bool {
    let path = path.strip_prefix("file:/").unwrap_or(path);
    let is_absolute = path.starts_with('/') || path.get(1..3) == Some(":/");
    let name = path.rsplit('/').next().unwrap_or_default();
    // `C:\Windows\System32` is where help pages send people; what is in it is for no client.
    let in_folder = |folder: &&str| {
        path.strip_prefix(*folder)
            .is_some_and(|rest| !folder.starts_with("c:/win") || rest.contains(['/', '.']))
    };
    is_absolute && (SYSTEM_FOLDERS.iter().any(in_folder) || SERVER_FILES.contains(&name))
}

/// Returns whether a value is a stream.
fn is_stream(value: &str) -> bool {
    let value = value.trim_start_matches([' ', '\n', '"', '\'']);
    STREAMS.iter().any(|stream| value.starts_with(stream)) && !value.contains(' ')
}

/// Returns what follows the last step up.
fn behind_climb(path: &str) -> &str {
    let steps = ["../", "?./", ".?/", "??/"];
    let end = steps.iter().filter_map(|step| path.rfind(step)).max();
    end.map_or(path, |at| &path[at + 3..])
}

/// Returns whether a text of prose mentions a path rather than being one: a blank before the first
/// step up, and no more than one step.
fn is_prose(text: &str) -> bool {
    let start = text.find("..").unwrap_or(0);
    text[..start].contains(' ')
}

/// Returns whether a text, decoded and normalized, is a path out of the web root. `encoded` is
/// whether it was encoded, which browsers never do with dots in a path.
pub(super) fn is_traversal(text: &str, place: Place, encoded: bool) -> bool {
    let path = unify(text);
    let climb = Climb::of(&path);
    // `.\0./`, `..\x01/`: what readers of paths skip.
    let is_skipped = |c: char| c < ' ' && c != '\n';
    if text.contains(is_skipped) && text.contains('.') {
        let path = unify(&text.replace(is_skipped, ""));
        let target = path.rsplit("../").next().unwrap_or_default();
        let to_secret = find_secret(target) == Some(0)
            || ROOT_FILES.iter().any(|file| target.starts_with(file));
        let climb = Climb::of(&path);
        if climb.run >= 2 || climb.any && to_secret {
            return true;
        }
    }
    if climb.any && !is_prose(&path) {
        let target = behind_climb(&path);
        // A person who writes about `../../` puts a blank behind it; no path has one there.
        let suspect = climb.run >= 2
            && (place == Place::Value || climb.leaves || climb.run > 3)
            && !target.starts_with(' ');
        let disguised = encoded && place == Place::Path && text.contains("..");
        let to_secret = find_secret(target) == Some(0)
            || ROOT_FILES.iter().any(|file| target.starts_with(file))
            || names_web_inf(target)
            || SOURCES.iter().any(|file| target.contains(file));
        if suspect || disguised || climb.has_parameter || to_secret && climb.leaves {
            return true;
        }
    }

    if place == Place::Value && (is_stream(text) || is_pattern_of_secret(&path)) {
        return true;
    }
    names_secret(&path, place) || climbs_in_base64(text) || is_behind_junk(text)
}

/// Returns whether `../../` in base64 begins a word of a text.
fn climbs_in_base64(text: &str) -> bool {
    text.match_indices("li4vli4v")
        .any(|(at, _)| at == 0 || !text.as_bytes()[at - 1].is_ascii_alphanumeric())
}

/// Files that commands are made to read by a pattern, such as `/???/passwd`.
const PATTERN_TARGETS: [&str; 12] = [
    "/etc/passwd",
    "/etc/shadow",
    "/etc/hosts",
    "/etc/group",
    "/proc/self/environ",
    "/bin/sh",
    "/bin/bash",
    "/bin/cat",
    "/bin/nc",
    "/usr/bin/id",
    "/usr/bin/cat",
    "/windows/win.ini",
];

/// Returns whether a value is a pattern of a shell that a secret matches, with some letters of it:
/// `/*/*` matches everything and means nothing.
fn is_pattern_of_secret(path: &str) -> bool {
    let letters = path.bytes().filter(u8::is_ascii_alphanumeric).count();
    let has_wildcard = path.contains(['?', '*']);
    path.starts_with('/')
        && has_wildcard
        && letters >= 2
        && path.len() <= 40
        && PATTERN_TARGETS
            .iter()
            .any(|target| matches_pattern(target, path))
}

/// Returns whether a pattern matches a path segment by segment.
fn matches_pattern(path: &str, pattern: &str) -> bool {
    path.split('/').count() == pattern.split('/').count()
        && path
            .split('/')
            .zip(pattern.split('/'))
            .all(|(name, pattern)| matches_segment(name.as_bytes(), pattern.as_bytes()))
}

/// Stars in a row are one: each of them would be tried with each length, and whoever sends the pattern
/// would choose how long that takes.
fn matches_segment(name: &[u8], pattern: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', b'*', ..] => matches_segment(name, &pattern[1..]),
        [b'*', rest @ ..] => (0..=name.len()).any(|skip| matches_segment(&name[skip..], rest)),
        [first, rest @ ..] => {
            name.first().is_some_and(|c| *first == b'?' || first == c)
                && matches_segment(&name[1..], rest)
        }
    }
}

/// Returns whether a path out of the web root stands behind what no decoder knows: halves of UTF-8,
/// characters for private use, escapes without digits. Scanners try them in place of dots and
/// slashes, so each may be a slash.
fn is_behind_junk(text: &str) -> bool {
    let (mut out, mut rest, mut junk) = (String::with_capacity(text.len()), text, 0_usize);
    while let Some(c) = rest.chars().next() {
        let is_torn = c == '\u{fffd}' || ('\u{e000}'..='\u{f8ff}').contains(&c);
        let bytes = rest.as_bytes();
        let is_no_escape = c == '%'
            && bytes.len() >= 3
            && bytes[1..3].iter().all(u8::is_ascii_alphanumeric)
            && !bytes[1..3].iter().all(u8::is_ascii_hexdigit);
        let length = if is_no_escape { 3 } else { c.len_utf8() };
        if is_torn || is_no_escape {
            junk += 1;
            out.push('/');
            // `%c0%5e`: what the first half was to change.
            rest = rest[length..].trim_start_matches('^');
        } else {
            out.push(c);
            rest = &rest[length..];
        }
    }
    if junk == 0 {
        return false;
    }

    let path = unify(
        &out.replace("??", "..")
            .replace("?.", "..")
            .replace(".?", ".."),
    );
    let target = path.rsplit("../").next().unwrap_or_default();
    let ends_with = |list: &[&str]| {
        list.iter().any(|secret| {
            let before = target.strip_suffix(secret);
            before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
        })
    };
    !path.contains(' ')
        && (Climb::of(&path).run >= 2
            || ends_with(&SECRETS)
            || ends_with(&ROOT_FILES)
            || path.ends_with("windows/system32/drivers/etc/hosts"))
}

/// Files of an application that hold its secrets, one step up from where pages are included.
const SOURCES: [&str; 8] = [
    ".env",
    ".htaccess",
    ".htpasswd",
    ".git/",
    "wp-config",
    "config.php",
    "configuration.php",
    "web.config",
];

/// Returns whether a text climbs several folders in a row, or names a stream.
pub(super) fn is_climbing(text: &str) -> bool {
    Climb::of(&unify(text)).run >= 2 || is_stream(text)
}
