//! Commands of shells, code of interpreters, and the requests by which known flaws run them.

use super::ordinary::is_ordinary;

/// Parts of paths that only exploits request, each with the flaw it is for. The pre-filter looks
/// for them where a word begins, as it does for the words below.
pub(super) const EXPLOITS: [&str; 52] = [
    "_ignition/execute-solution",
    "actuator/gateway/routes/",
    "api/jsonws/invoke",
    "apply_sec.cgi",
    "backupmgt/localjob.php",
    "board.cgi",
    "boaform/",
    "cgi-bin/;",
    "cgi-bin/config.exp",
    "cgi-bin/diagnostic",
    "cgi-bin/downloadmgr.cgi",
    "cgi-bin/kerbynet",
    "cgi-bin/luci/;",
    "cgi-bin/mainfunction.cgi",
    "cgi-bin/nas_sharing.cgi",
    "cgi-bin/nobody/",
    "cgi-bin/php4",
    "cgi-bin/php5",
    "cgi-bin/php?",
    "cgi-bin/php-cgi",
    "cgi-bin/supervisor/",
    "cgi-bin/user/config.cgi",
    "cgi-bin/viewlog.asp",
    "command.php?cmd",
    "ctrlt/deviceupgrade",
    "device.rsp?opt=sys",
    "diagnostic.php?act=ping",
    "dnscfg.cgi",
    "eval-stdin.php",
    "gponform/",
    "goform/",
    "hndunblock.cgi",
    "hnap1",
    "hudson/script",
    "invokefunction",
    "level/15/exec",
    "login.cgi?cli",
    "manager/text/deploy",
    "picdesc.xml",
    "picsdesc.xml",
    "service/extdirect",
    "set_ftp.cgi",
    "setup.cgi?",
    "shell?cd",
    "shell?/bin/",
    "soap.cgi?service",
    "struts2-showcase",
    "system.ini?loginuse",
    "tmunblock.cgi",
    "ud/act?",
    "wanipcn.xml",
    "web_shell_cmd.gch",
];

/// Words of code that no text without special characters has by chance.
pub(super) const CODE_WORDS: [&str; 12] = [
    "allow_url_include",
    "auto_append_file",
    "auto_prepend_file",
    "call_user_func",
    "class.module.classloader",
    "file_put_contents",
    "fgt_lang",
    "hellothinkphp",
    "processbuilder",
    "think/app/",
    "think/container",
    "think/request/",
];

/// Names of parameters that web shells take commands by.
pub(super) const COMMAND_PARAMETERS: [&str; 8] = [
    "cmd",
    "command",
    "exec",
    "execute",
    "shell",
    "syscmd",
    "cmdline",
    "shell_exec",
];

/// Commands that are no words of a language.
const COMMANDS: [&str; 40] = [
    "whoami",
    "uname",
    "wget",
    "ifconfig",
    "ipconfig",
    "netstat",
    "nslookup",
    "chmod",
    "tftp",
    "ftpget",
    "systeminfo",
    "busybox",
    "tasklist",
    "certutil",
    "bitsadmin",
    "printenv",
    "lwp-download",
    "gethostbyname",
    "xterm",
    "mkfifo",
    "phpinfo",
    "chown",
    "lsb_release",
    "getent",
    "wmic",
    "rundll32",
    "netsh",
    "sysinfo",
    "regsvr32",
    "mshta",
    "cscript",
    "wscript",
    "powershell",
    "cmd.exe",
    "/bin/sh",
    "/bin/bash",
    "/bin/cat",
    "/usr/bin/id",
    "/bin/ls",
    "/bin/uname",
];

/// Commands that are words as well, so that an argument must follow them.
const WORDS: [&str; 54] = [
    "awk", "base64", "bash", "cat", "cd", "cmd", "cp", "curl", "date", "dig", "dir", "echo", "env",
    "expr", "find", "ftp", "gcc", "grep", "head", "host", "id", "kill", "less", "ln", "ls", "lua",
    "mkdir", "more", "mv", "nc", "ncat", "net", "node", "perl", "php", "ping", "printf", "ps",
    "pwd", "python", "python2", "python3", "rm", "ruby", "sed", "set", "sh", "sleep", "ssh",
    "sort", "tail", "telnet", "touch", "type",
];

/// Words that are commands without an argument where the separator touches them.
const BARE: [&str; 9] = ["dir", "env", "id", "ls", "ps", "pwd", "sh", "bash", "set"];

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Returns whether what follows a command is an argument rather than prose.
fn is_argument(rest: &str) -> bool {
    let is_ifs = rest.starts_with("$ifs") || rest.starts_with("${ifs");
    let argument = rest.trim_start_matches([' ', '\n']);
    if is_ifs || argument.is_empty() {
        return is_ifs;
    }
    let gap = argument.len() < rest.len();
    let first = argument.as_bytes()[0];
    let redirects = matches!(first, b'>' | b'<' | b'|' | b';' | b'`' | b'&');
    let second = argument.as_bytes().get(1).copied().unwrap_or_default();

    redirects
        || gap
            && (matches!(
                first,
                b'/' | b'$' | b'\'' | b'"' | b'*' | b'~' | b'\\' | b'%'
            ) || first == b'.' && matches!(second, b'.' | b'/')
                || first == b'-' && second.is_ascii_alphanumeric()
                || first.is_ascii_digit()
                    && !argument.starts_with("18")
                    && !argument.starts_with("20")
                || argument.starts_with("http")
                || argument.starts_with("c:")
                || argument.starts_with("index.")
                || argument.starts_with("config.")
                || argument.starts_with("tmp"))
}

/// Returns the first word of a text and what follows it; a path or quotation marks around its parts
/// do not hide it.
fn first_word(text: &str) -> (String, &str) {
    let text = text.trim_start_matches([' ', '\n', '(', '{', '@', '!']);
    let length = text
        .bytes()
        .take_while(|c| is_word(*c) || matches!(c, b'/' | b'\'' | b'"' | b'\\' | b'^'))
        .count();
    let word: String = text[..length]
        .chars()
        .filter(|c| !matches!(c, '\'' | '"' | '\\' | '^'))
        .collect();

    (word, &text[length..])
}

/// Returns whether a command begins `text`. `touching` is whether it follows its separator without
/// a blank.
fn is_command(text: &str, touching: bool) -> bool {
    let (word, rest) = first_word(text);
    let name = word.rsplit('/').next().unwrap_or_default();
    let in_folder = word.starts_with('/') && word.contains("bin/");
    // `;id=5` is a parameter.
    if rest.starts_with(['=', ':', '[']) || word.is_empty() {
        return false;
    }

    COMMANDS.contains(&word.as_str())
        || is_windows_command(name, rest)
        || (COMMANDS.contains(&name) || WORDS.contains(&name)) && in_folder
        || WORDS.contains(&name) && is_argument(rest)
        || touching && BARE.contains(&name) && is_end_of_command(rest)
}

/// `net user eve Secret1 /add`, `reg add …`: commands whose first argument is a verb of theirs.
fn is_windows_command(name: &str, rest: &str) -> bool {
    let verb = rest.split_whitespace().next().unwrap_or_default();
    match name {
        "net" | "net1" => matches!(
            verb,
            "user" | "localgroup" | "group" | "view" | "share" | "use" | "accounts" | "stop"
        ),
        "reg" => matches!(verb, "add" | "query" | "delete" | "save" | "export"),
        _ => false,
    }
}

/// Returns whether a text as a whole is a command that gives a stranger the machine: nobody looks
/// for its meaning with the names filled in.
fn takes_machine(text: &str) -> bool {
    let text = text.trim_matches([' ', '\n', '\'', '"', ';', '|', '&']);
    let (word, rest) = first_word(text);
    match word.rsplit('/').next().unwrap_or_default() {
        "nc" | "ncat" | "netcat" => {
            rest.contains(" -") && (rest.contains("e /bin/") || rest.contains("e cmd"))
        }
        "net" => is_windows_command("net", rest) && rest.ends_with("/add"),
        "reg" => is_windows_command("reg", rest) && rest.contains("\"hk"),
        "type" => rest.contains("/repair/") || rest.contains("\\repair\\"),
        _ => false,
    }
}

fn is_end_of_command(rest: &str) -> bool {
    rest.is_empty()
        || rest.starts_with("\\n")
        || rest.starts_with([
            ';', '|', '&', '`', ')', '\'', '"', '\n', '#', '\0', '>', '<', '}',
        ])
}

/// Returns whether a value is a list of codes like `en|id|fr`, in which `id` is a language.
fn is_code_list(text: &str) -> bool {
    let text = text.rsplit('=').next().unwrap_or_default();
    text.split(['|', ';'])
        .all(|part| matches!(part.len(), 2 | 3) && part.bytes().all(|c| c.is_ascii_alphabetic()))
}

/// Returns whether a separator of commands is followed by one.
fn has_separated_command(text: &str) -> bool {
    if is_code_list(text) {
        return false;
    }

    // A line feed as it is written in a string, at the beginning.
    let unquoted = text.trim_start_matches(['\'', '"']);
    let text = match unquoted.strip_prefix("\\n") {
        Some(rest) => &format!("\n{}", rest.replace("\\n", "\n")),
        None => text.trim_end_matches("\\n"),
    };
    let text = &text
        .replace("${ifs}", " ")
        .replace("$ifs$9", " ")
        .replace("$ifs", " ");
    text.bytes().enumerate().any(|(at, byte)| {
        if !matches!(byte, b';' | b'|' | b'&' | b'\n' | b'`') {
            return false;
        }
        let rest = &text[at + 1..];
        // In `a & b` both are words more often than commands.
        let leads = text[..at]
            .trim_end_matches([';', '|', '&', ' ', '\'', '"'])
            .is_empty();
        let touching = leads || !rest.starts_with([' ', '\n']) && byte != b'&';
        is_command(rest, touching)
    })
}

/// Returns whether `$(…)` or backticks hold a command.
fn has_substitution(text: &str) -> bool {
    ["$(", "<(", "`", "$((", "$'"].iter().any(|open| {
        text.match_indices(open)
            .any(|(at, _)| is_command(&text[at + open.len()..], true))
    })
}

/// Calls of interpreters that run code or commands, or that proofs of concept print with.
const CALLS: [&str; 29] = [
    "system",
    "exec",
    "passthru",
    "shell_exec",
    "popen",
    "proc_open",
    "pcntl_exec",
    "eval",
    "assert",
    "create_function",
    "base64_decode",
    "phpinfo",
    "md5",
    "call_user_func_array",
    "file_get_contents",
    "gethostbyname",
    "response.write",
    "os.system",
    "os.popen",
    "subprocess.popen",
    "subprocess.call",
    "__import__",
    "getruntime",
    "child_process",
    "runtime.exec",
    "include",
    "require",
    "print_r",
    "var_dump",
];

/// Returns whether a call stands where code would: with an argument in quotation marks or a
/// variable, or after punctuation.
fn has_code_call(text: &str) -> bool {
    CALLS.iter().any(|name| {
        text.match_indices(name).any(|(at, _)| {
            let before = at.checked_sub(1).map(|at| text.as_bytes()[at]);
            let begins = before.is_none_or(|c| !is_word(c))
                || name.len() > 12
                || before == Some(b'.') && name.starts_with("os.");
            let rest = text[at + name.len()..].trim_start_matches(' ');
            let Some(argument) = rest.strip_prefix('(').filter(|_| begins) else {
                return false;
            };
            let argument = argument.trim_start_matches(' ');
            let before = text[..at].trim_end_matches([' ', '\n']);
            let is_code = argument.starts_with(['\'', '"', '$', '@', '`', '\\'])
                || argument.starts_with("base64")
                || argument.starts_with("chr(")
                || argument.starts_with("md5(");
            let in_code = before.ends_with([
                ';', '{', '(', '\'', '"', '.', '$', '@', '>', '}', '|', '`', '?',
            ]) && !before.ends_with("://");
            let ends = text
                .trim_end()
                .ends_with([';', '}', '>', '/', '\'', '#', '"']);

            is_code && (in_code || ends || before.is_empty())
                || in_code && ends
                || in_code && before.contains(['@', '{'])
        })
    })
}

/// Beginnings of code in templates, expression languages and pages.
const CODE: [&str; 33] = [
    "<?php",
    "<?=",
    "<php>",
    "<!--#",
    "{$smarty.",
    "<!entity",
    "<!doctype",
    "%{(",
    "${(#",
    "${#",
    "#{%",
    "#_memberaccess",
    "@java.lang",
    "java.lang.runtime",
    "java.lang.processbuilder",
    "java.lang.system",
    "ognl.ognlcontext",
    "getruntime()",
    "t(java.lang",
    "xwork2.dispatcher",
    "redirect:${",
    "redirect:%{",
    "action:%{",
    "action:${",
    "${@print(",
    "${print(",
    "constructor.constructor",
    "process.mainmodule",
    "require('child_process')",
    "__class__.__",
    "self.__init__",
    "freemarker.template",
    "thinkphp",
];

/// Returns whether a template computes: `{{7*7}}`, `${9999*9999}`, `#{…}`, `<%= … %>`.
fn has_template(text: &str) -> bool {
    ["{{", "${", "#{", "<%=", "{%", "%{", "*{", "@("]
        .iter()
        .any(|open| {
            text.match_indices(open).any(|(at, _)| {
                let inner = &text[at + open.len()..];
                let inner = inner.trim_start_matches([' ', '\'', '"', '=', '{', '(']);
                let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
                let operator = inner[digits..].trim_start_matches([' ', '\'', '"']);
                digits > 0
                    && operator.starts_with(['*', '+', '-'])
                    && operator[1..]
                        .trim_start_matches([' ', '\'', '"', '*'])
                        .starts_with(|c: char| c.is_ascii_digit())
            })
        })
}

/// Maximum number of lookups of Log4j that are resolved in a text.
const LOOKUPS_MAX: usize = 64;

/// Resolves the innermost lookups by which attackers hide `jndi`: `${lower:j}`, `${::-j}`,
/// `${env:X:-j}`, `${date:'j'}`.
fn resolve_lookups(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..LOOKUPS_MAX {
        let innermost = text.match_indices("${").find_map(|(open, _)| {
            let rest = &text[open + 2..];
            let close = rest.find('}')?;
            let inner = &rest[..close];
            (!inner.contains("${") && !inner.starts_with("jndi")).then_some((open, close, inner))
        });
        let Some((open, close, inner)) = innermost else {
            break;
        };

        let value = match inner.rsplit_once(":-") {
            Some((_, default)) => default,
            None => inner.rsplit_once(':').map_or("", |(_, value)| value),
        };
        let value = value.trim_matches('\'').to_owned();
        text.replace_range(open..open + 3 + close, &value);
    }

    text
}

/// Returns whether a text makes Log4j look something up.
fn is_log4shell(text: &str) -> bool {
    if !text.contains("${") {
        return false;
    }
    let lookups = [
        "${jndi", "${env:", "${sys:", "${java:", "${ctx:", "${lower:", "${upper:", "${::-",
    ];
    if lookups.iter().any(|lookup| text.contains(lookup)) {
        return true;
    }
    let nested = text
        .match_indices("${")
        .any(|(at, _)| text[at + 2..].starts_with("${"));

    nested || resolve_lookups(text).contains("${jndi")
}

/// Returns whether a text defines a function of bash, as Shellshock does.
fn is_shellshock(text: &str) -> bool {
    text.match_indices("()").any(|(at, _)| {
        let rest = text[at + 2..].trim_start_matches([' ', '\n', '\t']);
        let Some(body) = rest.strip_prefix('{') else {
            return false;
        };
        let body = body.trim_start_matches(' ');
        body.starts_with([':', '_', ';'])
            || text[..at].trim().is_empty() && body.contains("};")
            || body.starts_with("ignored")
            || body.starts_with('}') && text[..at].trim().is_empty()
    })
}

/// Returns whether a path or value runs a known flaw's code.
pub(super) fn is_exploit(text: &str) -> bool {
    let text = text.replace('\\', "/");
    let begins = |at: usize| at == 0 || !text.as_bytes()[at - 1].is_ascii_alphanumeric();
    EXPLOITS
        .iter()
        .chain(&CODE_WORDS)
        .any(|part| text.match_indices(part).any(|(at, _)| begins(at)))
}

/// Returns whether a value is the path of a shell, or begins with one and its switch.
fn is_shell_path(text: &str) -> bool {
    let text = text.replace('\\', "/");
    let text = text.trim_matches([' ', '\n', '"', '\'', '\0', '/']);
    let command = text.split(['?', ' ', '\0']).next().unwrap_or_default();
    let rest = &text[command.len()..];
    let name = command.rsplit('/').next().unwrap_or_default();
    let is_windows = matches!(name, "cmd.exe" | "command.com" | "powershell.exe");
    let is_unix =
        matches!(name, "sh" | "bash" | "zsh" | "ash") && command.ends_with(&format!("bin/{name}"));

    (is_windows || is_unix)
        && (rest.is_empty()
            || rest.starts_with('?')
            || rest.trim_start().starts_with(['/', '-', '\0']))
}

/// Returns whether a parameter gives a web shell a command.
pub(super) fn is_web_shell(name: &str, value: &str) -> bool {
    let name = name.rsplit(['?', '/', '[']).next().unwrap_or_default();
    if !COMMAND_PARAMETERS.contains(&name) {
        return false;
    }
    let (word, rest) = first_word(value);

    is_command(value, true)
        || matches!(
            word.as_str(),
            "cat" | "echo" | "curl" | "ping" | "cd" | "rm" | "type"
        ) && rest.starts_with(' ')
}

/// Returns whether a decoded and normalized text is a command or code.
pub(super) fn is_command_or_code(text: &str) -> bool {
    if is_exploit(text) || is_shell_path(text) {
        return true;
    }

    (!is_ordinary(text) || text.contains('&'))
        && (is_code_beginning(text)
            || is_header_code(text)
            || has_separated_command(text)
            || takes_machine(text)
            || has_code_call(text)
            || has_template(text))
}

/// Returns whether a text that a logger, a shell or a page may evaluate holds code, whatever else
/// it holds.
pub(super) fn is_header_code(text: &str) -> bool {
    is_log4shell(text) || is_shellshock(text) || text.contains("<?php") || has_substitution(text)
}

/// Returns whether a text holds the beginning of code in a template, an expression language or a
/// page.
pub(super) fn is_code_beginning(text: &str) -> bool {
    CODE.iter().any(|code| text.contains(code))
}
