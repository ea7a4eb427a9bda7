//! The ways on which messages leave this machine, and whether they are encrypted.

use model::facts::Way;

use crate::tls::is_loopback;

/// The way to a URL.
pub(crate) fn to_url(name: &str, url: &str) -> Way {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    Way {
        name: name.to_owned(),
        local: is_here(rest),
        encrypted: scheme == "https",
    }
}

/// The way to a URL that is a secret in a file. What is read from there is refused unless it is
/// https, but for this machine. What cannot be read sends nothing, and says nothing.
pub(crate) fn to_url_in_file(name: &str, file: &str) -> Option<Way> {
    let url = std::fs::read_to_string(file).ok()?;
    let url = url.trim();
    url.contains("://").then(|| to_url(name, url))
}

/// The way to a syslog receiver.
pub(crate) fn to_syslog(name: &str, target: &str) -> Option<Way> {
    let (kind, rest) = target.split_once(':')?;
    Some(Way {
        name: format!("{name} to {target}"),
        local: kind == "unix" || is_here(rest),
        encrypted: kind == "tls",
    })
}

/// Whether a host, with a port or a path behind it, is this machine.
pub(crate) fn is_here(host: &str) -> bool {
    let name = host.split(['/', '?']).next().unwrap_or_default();
    let bare = if let Some(rest) = name.strip_prefix('[') {
        rest.split(']').next().unwrap_or_default()
    } else {
        name.rsplit_once(':').map_or(name, |(host, _)| host)
    };

    is_loopback(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_local_or_encrypted_or_neither() {
        let url = |url: &str| {
            let way = to_url("a", url);
            (way.local, way.encrypted)
        };
        assert_eq!(url("https://hooks.example/x"), (false, true));
        assert_eq!(url("http://[::1]:80/x"), (true, false));
        assert_eq!(url("http://localhost.evil.example/x"), (false, false));
        assert_eq!(url("hooks.example"), (false, false));

        let syslog = |target: &str| {
            let way = to_syslog("a", target).unwrap();
            (way.local, way.encrypted)
        };
        assert_eq!(syslog("udp:10.0.0.5:514"), (false, false));
        assert_eq!(syslog("udp:127.0.0.1:514"), (true, false));
        assert_eq!(syslog("unix:/dev/log"), (true, false));
        assert_eq!(syslog("tls:10.0.0.5:6514"), (false, true));
        assert_eq!(to_syslog("a", ""), None);
    }

    #[test]
    fn a_file_without_a_url_is_no_way() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let name = file.path().display().to_string();
        assert_eq!(to_url_in_file("a", &name), None);
        std::fs::write(file.path(), "https://hooks.example/token\n").unwrap();
        assert!(to_url_in_file("a", &name).unwrap().encrypted);
        assert_eq!(to_url_in_file("a", "/nonexistent"), None);
    }
}
