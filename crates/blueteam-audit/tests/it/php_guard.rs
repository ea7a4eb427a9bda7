//! SettingsGuard and JwtSecret, behind PHP's own web server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::door::nowhere;
use crate::php::{Page, command, file, php};

/// `php -S` in a folder that looks like EQMON's.
struct Server {
    child: Child,
    to: SocketAddr,
    _folders: [tempfile::TempDir; 2],
}

impl Server {
    fn start(env: &[(&'static str, String)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("lib")).unwrap();
        std::fs::create_dir_all(root.path().join("api/admin")).unwrap();
        for name in ["AuditLogger.php", "JwtSecret.php", "SettingsGuard.php"] {
            std::fs::copy(file(name), root.path().join("lib").join(name)).unwrap();
        }

        let settings = "<?php
            require_once __DIR__ . '/../../lib/SettingsGuard.php';
            $claims = SettingsGuard::requireAdmin();
            echo 'settings for ', $claims['sub'];";
        std::fs::write(root.path().join("api/admin/settings.php"), settings).unwrap();
        std::fs::write(
            root.path().join("env"),
            "EQMON_JWT_SECRET=inside-of-what-browsers-may-fetch-0123456789\n",
        )
        .unwrap();

        // A link that browsers can fetch, to a good file outside of what they can.
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("env");
        std::fs::write(&target, format!("EQMON_JWT_SECRET={SECRET}\n")).unwrap();
        std::fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        std::os::unix::fs::symlink(&target, root.path().join("link")).unwrap();

        let to = nowhere();
        let mut command = command(&[]);
        command.envs(env.iter().map(|(key, value)| {
            (
                *key,
                value.replace("ROOT", &root.path().display().to_string()),
            )
        }));

        let child = command
            .args(["-S", &to.to_string(), "-t"])
            .arg(root.path())
            .stderr(Stdio::null())
            .spawn();
        let child =
            child.unwrap_or_else(|error| panic!("php: {error}; scripts/setup --tests installs it"));

        let since = Instant::now();
        while TcpStream::connect(to).is_err() {
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "php -S does not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }

        Self {
            child,
            to,
            _folders: [root, outside],
        }
    }

    fn get(&self, head: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.to).unwrap();
        write!(
            stream,
            "GET /api/admin/settings.php HTTP/1.0\r\nHost: x\r\n{head}\r\n"
        )
        .unwrap();

        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();

        (head.get(9..12).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const SECRET: &str = "a-secret-of-the-tests-with-more-than-32-bytes";

/// A token made by PHP, as EQMON makes its own.
fn token(head: &str, claims: &str, secret: &str) -> String {
    let script = r"$b = fn($s) => rtrim(strtr(base64_encode($s), '+/', '-_'), '=');
        $t = $b($argv[1]) . '.' . $b($argv[2]); echo $t, '.', $b(hash_hmac('sha256', $t, $argv[3], true));";
    php(&["-r", script, "--", head, claims, secret], &[])
}

const HS256: &str = r#"{"typ":"JWT","alg":"HS256"}"#;
const ADMIN: &str =
    r#"{"sub":"019a0000-0000-7000-8000-000000000001","role":"admin","jti":"j1","exp":4102444800}"#;

#[tokio::test]
async fn settings_are_for_administrators_alone() {
    let page = Page::new().await;
    let server = Server::start(&page.env(&[("EQMON_JWT_SECRET", SECRET)]));
    let cookie = |head: &str, claims: &str, secret: &str| {
        format!("Cookie: token={}\r\n", token(head, claims, secret))
    };
    let good = cookie(HS256, ADMIN, SECRET);
    assert_eq!(
        server.get(&good),
        (
            200,
            "settings for 019a0000-0000-7000-8000-000000000001".to_owned()
        )
    );

    let bearer = good.replace("Cookie: token=", "Authorization: Bearer ");
    assert_eq!(server.get(&bearer).0, 200);
    assert_eq!(
        server.get(&format!("Cookie: token=stale\r\n{bearer}")).0,
        200,
        "a bad cookie bars no good header"
    );

    let expired = ADMIN.replace("4102444800", "1700000000");
    let none = token(r#"{"alg":"none"}"#, ADMIN, SECRET);
    let unsigned = none.rsplit_once('.').unwrap().0;
    let (signed, signature) = good.trim_end().rsplit_once('.').unwrap();
    let refused = [
        ("nothing", String::new()),
        (
            "another key",
            cookie(HS256, ADMIN, "the-secret-that-stood-in-the-source-code!"),
        ),
        ("expired", cookie(HS256, &expired, SECRET)),
        (
            "no end",
            cookie(HS256, r#"{"sub":"x","role":"admin"}"#, SECRET),
        ),
        (
            "not yet",
            cookie(
                HS256,
                &ADMIN.replace("\"exp\"", "\"nbf\":4102444000,\"exp\""),
                SECRET,
            ),
        ),
        ("alg none", format!("Cookie: token={none}\r\n")),
        (
            "alg none, unsigned",
            format!("Cookie: token={unsigned}.\r\n"),
        ),
        (
            "another algorithm",
            cookie(r#"{"alg":"HS512"}"#, ADMIN, SECRET),
        ),
        ("no signature", format!("{signed}.\r\n")),
        (
            "half a signature",
            format!("{signed}.{}\r\n", &signature[..20]),
        ),
        ("no token", "Cookie: token=x\r\n".to_owned()),
        ("an array", "Cookie: token[]=x\r\n".to_owned()),
        ("a list for claims", cookie(HS256, "[1]", SECRET)),
    ];

    for (what, head) in &refused {
        let (status, body) = server.get(head);
        assert_eq!(
            (status, &*body),
            (401, r#"{"error":"authentication required"}"#),
            "{what}"
        );
    }

    let analyst = cookie(HS256, &ADMIN.replace("\"admin\"", "\"analyst\""), SECRET);
    assert_eq!(
        server.get(&analyst),
        (403, r#"{"error":"administrators only"}"#.to_owned())
    );

    assert_eq!(
        server
            .get(&cookie(
                HS256,
                &ADMIN.replace("\"admin\"", "[\"admin\"]"),
                SECRET
            ))
            .0,
        403
    );

    let rows = page.db.rows("settings_change").await;
    assert_eq!(rows.len(), refused.len() + 2);
    assert!(rows.iter().all(|row| row["result"] == "denied" && row["resource_id"] == "/api/admin/settings.php"));
    let told = rows
        .iter()
        .find(|row| row["metadata"]["role"] == "analyst")
        .unwrap();
    assert_eq!(
        (&told["user_id"], &told["session_id"]),
        (&json!("019a0000-0000-7000-8000-000000000001"), &json!("j1"))
    );

    assert!(!format!("{rows:?}").contains(signature));
}

#[tokio::test]
async fn without_a_good_key_nobody_gets_in() {
    let page = Page::new().await;
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .unwrap();
        path.display().to_string()
    };

    let line = format!("# EQMON\nEQMON_DB=x\nexport EQMON_JWT_SECRET=\"{SECRET}\"\n");
    let good = write("good", &line, 0o640);
    let placeholder = "EQMON_JWT_SECRET=change-me-change-me-1234567890-abcdef\n";
    let placeholder = write("placeholder", placeholder, 0o600);
    let repeated = format!("EQMON_JWT_SECRET={}\n", "a".repeat(32));
    let repeated = write("repeated", &repeated, 0o600);
    for (file, expect) in [
        (good, 200),
        (write("open", &line, 0o644), 503),
        (write("short", "EQMON_JWT_SECRET=changeme\n", 0o600), 503),
        (write("empty", "", 0o600), 503),
        ("/nonexistent/env".to_owned(), 503),
        ("ROOT/env".to_owned(), 503),
        ("ROOT/link".to_owned(), 503),
        (placeholder, 503),
        (repeated, 503),
    ] {
        let server = Server::start(&page.env(&[("EQMON_ENV_FILE", &file)]));
        let secret = if file == "ROOT/env" {
            "inside-of-what-browsers-may-fetch-0123456789"
        } else {
            SECRET
        };

        assert_eq!(
            server
                .get(&format!(
                    "Cookie: token={}\r\n",
                    token(HS256, ADMIN, secret)
                ))
                .0,
            expect,
            "{file}"
        );
    }
}
