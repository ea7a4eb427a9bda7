//! `[console]`: what would let strangers in, or send passwords in the clear, is refused.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use config::{load, parse};
use identity::Role;

const OIDC: &str = "[console.oidc]\nissuer = \"https://login.example.com/realms/soc\"\n\
    client_id = \"blueteam\"\nclient_secret_file = \"/etc/hostname\"\n\
    roles = [{ group = \"soc\", role = \"user\" }]\n";
const LDAP: &str = "[console.ldap]\nurl = \"ldaps://ldap.example.com\"\nbase = \"dc=example\"\n\
    bind_dn = \"cn=search\"\nbind_password_file = \"/etc/hostname\"\n\
    roles = [{ group = \"CN=SOC, dc=Example\", role = \"user\" }]\n";

fn check(text: &str) -> Result<config::Config, String> {
    parse("blueteam.toml", text, &BTreeMap::new()).map_err(|error| error.to_string())
}

/// The error of a section in which `from` is `to`.
fn error(section: &str, from: &str, to: &str) -> String {
    let text = section.replace(from, to);
    assert_ne!(text, section, "{from}");
    check(&text).unwrap_err()
}

#[test]
fn a_provider_is_refused_that_anybody_could_be() {
    let config = check(OIDC).unwrap();
    let roles = config.console.oidc.role_map();
    assert_eq!(roles.role_of(&["soc"]), Some(Role::User));
    assert_eq!(roles.role_of(&["SOC"]), None);

    let issuer = "https://login.example.com/realms/soc";
    for other in [
        "http://login.example.com",
        "login.example.com",
        "https://a.example/?x=1",
    ] {
        assert!(
            error(OIDC, issuer, other).contains("console.oidc.issuer"),
            "{other}"
        );
    }
    assert!(check(&OIDC.replace(issuer, "http://127.0.0.1:8080")).is_ok());
    for (from, to, key) in [
        ("client_id = \"blueteam\"", "client_id = \"\"", "client_id"),
        (
            "client_secret_file = \"/etc/hostname\"\n",
            "",
            "client_secret_file",
        ),
        ("role = \"user\"", "role = \"root\"", "roles[0].role"),
        ("group = \"soc\"", "group = \" \"", "roles[0].group"),
        ("roles = [", "scopes = [\"a b\"]\nroles = [", "scopes[0]"),
        // Whoever the provider knows would be one.
        (
            "roles = [",
            "default_role = \"admin\"\nroles = [",
            "default_role",
        ),
    ] {
        let text = error(OIDC, from, to);
        assert!(text.contains(&format!("console.oidc.{key}")), "{text}");
    }
    let nobody = error(OIDC, "roles = [{ group = \"soc\", role = \"user\" }]\n", "");
    assert!(nobody.contains("lets nobody in"), "{nobody}");
}

#[test]
fn a_directory_is_refused_that_would_get_passwords_in_the_clear() {
    let config = check(LDAP).unwrap();
    let roles = config.console.ldap.role_map();
    assert_eq!(roles.role_of(&["cn=soc,dc=example"]), Some(Role::User));

    let url = "ldaps://ldap.example.com";
    for other in [
        "ldap://ldap.example.com",
        "ldap://127.0.0.1.evil.example",
        "ldap://10.0.0.1:389",
        "http://127.0.0.1",
        "ldaps://",
        "ldap://127.0.0.1@ldap.example.com",
    ] {
        assert!(
            error(LDAP, url, other).contains("console.ldap.url"),
            "{other}"
        );
    }
    for other in [
        "ldap://127.0.0.1",
        "ldap://localhost:3389/",
        "ldap://[::1]:389",
    ] {
        assert!(check(&LDAP.replace(url, other)).is_ok(), "{other}");
    }
    let tls = LDAP
        .replace(url, "ldap://ldap.example.com")
        .replace("base", "start_tls = true\nbase");
    assert!(check(&tls).is_ok());
    for (to, key) in [
        ("user_filter = \"(uid=*)\"", "user_filter"),
        ("sync_interval = \"2h\"", "sync_interval"),
        ("sync_interval = \"0s\"", "sync_interval"),
        ("id_attribute = \"\"", "id_attribute"),
        ("default_role = \"system_admin\"", "default_role"),
    ] {
        let text = error(LDAP, "roles = [", &format!("{to}\nroles = ["));
        assert!(text.contains(&format!("console.ldap.{key}")), "{text}");
    }
}

#[test]
fn their_secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "hidden-in-a-file\n").unwrap();
    let text = format!("{OIDC}{LDAP}").replace("/etc/hostname", secret.to_str().unwrap());
    let file = dir.path().join("blueteam.toml");
    std::fs::write(&file, text).unwrap();
    let loaded = load(Some(&file), []).unwrap();
    assert!(loaded.secrets.oidc_client_secret.is_some());
    assert!(loaded.secrets.ldap_bind_password.is_some());
    assert!(!format!("{loaded:?}").contains("hidden"));

    let inline = error(OIDC, "client_secret_file = ", "client_secret = ");
    assert!(inline.contains("client_secret_file"), "{inline}");
}
