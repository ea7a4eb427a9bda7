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
pub(super) const WORDS: [&str; 26] = [
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
const SECRETS: [&str; 30] = [
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
    "windows/system",
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
    name.len() >= 2 && name.bytes().all(|c| c == b'.')
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

/// Returns whether a value or path names a secret of the system as a whole.
fn names_secret(path: &str, place: Place) -> bool {
    // What follows a NUL is cut off by the reader of the path.
    let path = path.split(['\0', '?', '#']).next().unwrap_or_default();
    let path = path.trim_matches(|c| matches!(c, ' ' | '\n' | '\'' | '"'));
    if path.contains([' ', '\n']) {
        return false;
    }
    if path.contains("web-inf/") && !path.contains("/docs/") {
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
const SYSTEM_FOLDERS: [&str; 17] = [
    "/etc/",
    "/proc/",
    "/var/log/",
    "/var/www/log",
    "/var/adm/",
    "/usr/local/apache",
    "/usr/local/etc/",
    "/usr/local/php",
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
const SERVER_FILES: [&str; 9] = [
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
    is_absolute
        && (SYSTEM_FOLDERS.iter().any(|folder| path.starts_with(folder))
            || SERVER_FILES.contains(&name))
}

/// Returns whether a value is a stream.
fn is_stream(value: &str) -> bool {
    let value = value.trim_start_matches([' ', '\n', '"', '\'']);
    STREAMS.iter().any(|stream| value.starts_with(stream)) && !value.contains(' ')
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
    if climb.any && !is_prose(&path) {
        let target = path.rsplit("../").next().unwrap_or_default();
        // A person who writes about `../../` puts a blank behind it; no path has one there.
        let suspect = climb.run >= 2
            && (place == Place::Value || climb.leaves || climb.run > 3)
            && !target.starts_with(' ');
        let disguised = encoded && place == Place::Path && text.contains("..");
        let to_secret = find_secret(target) == Some(0)
            || ROOT_FILES.iter().any(|file| target.starts_with(file))
            || target.contains("web-inf")
            || SOURCES.iter().any(|file| target.contains(file));
        if suspect || disguised || climb.has_parameter || to_secret && climb.leaves {
            return true;
        }
    }

    names_secret(&path, place) || place == Place::Value && is_stream(text)
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
