//! People who sign in by a directory: a real OpenLDAP (`slapd`), which is stopped in the middle, and
//! which lies.

#![expect(clippy::expect_used, reason = "a step that fails is a failed test")]

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use sqlx::Row as _;

use super::daemon::{Daemon, PATIENCE};
use super::people::{self, Answer, Browser, json_of, run};

const ADMIN: &str = "cn=admin,dc=example,dc=com";
const ADMIN_PASSWORD: &str = "admin of the directory";
const SEARCH_PASSWORD: &str = "search of the directory";

/// A directory of its own, with TLS.
struct Directory {
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env(
        "PATH",
        format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()),
    );
    command
}

impl Directory {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(path("data")).unwrap();

        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(path("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let own = own.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        std::fs::write(path("cert.pem"), own.pem()).unwrap();
        std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(path("search.password"), SEARCH_PASSWORD).unwrap();

        let conf = format!(
            "include /etc/ldap/schema/core.schema\n\
             include /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\n\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload memberof\n\
             TLSCACertificateFile {ca}\nTLSCertificateFile {cert}\nTLSCertificateKeyFile {key}\n\
             database mdb\nmaxsize 67108864\nsuffix \"dc=example,dc=com\"\n\
             rootdn \"{ADMIN}\"\nrootpw \"{ADMIN_PASSWORD}\"\ndirectory {data}\n\
             overlay memberof\nmemberof-group-oc groupOfNames\nmemberof-refint TRUE\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn=\"cn=search,dc=example,dc=com\" read by * none\n",
            ca = path("ca.pem"),
            cert = path("cert.pem"),
            key = path("key.pem"),
            data = path("data"),
        );
        std::fs::write(path("slapd.conf"), conf).unwrap();
        let mut directory = Self {
            dir,
            port,
            child: None,
        };
        directory.start();
        directory.modify(&format!(
            "dn: dc=example,dc=com\nchangetype: add\nobjectClass: dcObject\n\
             objectClass: organization\no: Example\n\n\
             dn: ou=people,dc=example,dc=com\nchangetype: add\nobjectClass: organizationalUnit\n\n\
             dn: ou=groups,dc=example,dc=com\nchangetype: add\nobjectClass: organizationalUnit\n\n\
             dn: cn=search,dc=example,dc=com\nchangetype: add\nobjectClass: organizationalRole\n\
             objectClass: simpleSecurityObject\nuserPassword: {SEARCH_PASSWORD}\n\n"
        ));
        directory
    }

    fn start(&mut self) {
        let slapd = program("slapd")
            .args(["-d", "0", "-h", &format!("ldap://127.0.0.1:{}/", self.port)])
            .arg("-f")
            .arg(self.dir.path().join("slapd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(slapd.expect("slapd; scripts/setup --tests installs it"));
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "slapd does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn modify(&self, ldif: &str) {
        let mut ldapmodify = program("ldapmodify")
            .args(["-x", "-D", ADMIN, "-w", ADMIN_PASSWORD])
            .args(["-H", &format!("ldap://127.0.0.1:{}", self.port)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ldapmodify; scripts/setup --tests installs it");
        let mut stdin = ldapmodify.stdin.take().unwrap();
        stdin.write_all(ldif.as_bytes()).unwrap();
        drop(stdin);
        let out = ldapmodify.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}\n{ldif}");
    }

    fn add(&self, name: &str) {
        self.modify(&format!(
            "dn: uid={name},ou=people,dc=example,dc=com\nchangetype: add\n\
             objectClass: inetOrgPerson\ncn: {name}\nsn: {name}\nmail: {name}@example.com\n\
             userPassword: {}\n\n",
            password(name)
        ));
    }

    fn delete(&self, name: &str) {
        self.modify(&format!(
            "dn: uid={name},ou=people,dc=example,dc=com\nchangetype: delete\n\n"
        ));
    }

    /// A group of these people; one that is there is replaced.
    fn group(&self, group: &str, names: &[&str], is_new: bool) {
        let members: Vec<String> = names
            .iter()
            .map(|name| format!("member: uid={name},ou=people,dc=example,dc=com\n"))
            .collect();
        let change = if is_new {
            "changetype: add\nobjectClass: groupOfNames\n"
        } else {
            "changetype: modify\nreplace: member\n"
        };
        self.modify(&format!(
            "dn: cn={group},ou=groups,dc=example,dc=com\n{change}{}\n",
            members.concat()
        ));
    }

    fn config(&self, more: &str) -> String {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        format!(
            "[console.ldap]\nurl = \"ldap://localhost:{}\"\nstart_tls = true\nca_file = \"{}\"\n\
             base = \"ou=people,dc=example,dc=com\"\nbind_dn = \"cn=search,dc=example,dc=com\"\n\
             bind_password_file = \"{}\"\nsync_interval = \"1s\"\ntimeout = \"3s\"\n{more}\
             roles = [{{ group = \"CN=soc-leads, ou=groups,dc=example,dc=com\", role = \"admin\" }},\n\
                      {{ group = \"cn=soc,ou=groups,dc=example,dc=com\", role = \"user\" }}]\n",
            self.port,
            path("ca.pem"),
            path("search.password"),
        )
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.stop();
    }
}

fn password(name: &str) -> String {
    format!("{name}'s in the directory")
}

async fn attempt(
    daemon: &Daemon,
    name: &str,
    password: &str,
    code: Option<&Value>,
) -> (Browser, Answer) {
    let mut browser = Browser::of(daemon);
    let mut body = json!({ "username": name, "password": password });
    if let Some(code) = code {
        body["code"] = code.clone();
    }
    let answer = browser.post("/api/v1/sign-in", body).await;
    (browser, answer)
}

async fn refused(daemon: &Daemon, name: &str, password: &str) -> (u16, String) {
    let (_, answer) = attempt(daemon, name, password, None).await;
    let kind = answer.body["type"].as_str().unwrap_or_default();
    (
        answer.status,
        kind.trim_start_matches("urn:blueteam:problem:").to_owned(),
    )
}

/// Sets up the second factor of somebody who is known to the directory; returns recovery codes.
async fn enroll(daemon: &Daemon, name: &str) -> Vec<Value> {
    let made = json_of(daemon, &["users", "enroll-link", name, "--json"]);
    let mut browser = Browser::of(daemon);
    let body = json!({ "enrollment_code": made["code"] });
    let begun = browser.post("/api/v1/enrollment", body).await;
    let totp = people::secret(begun.body["totp_secret"].as_str().unwrap());
    let code = people::code(&totp, None).0;
    let body = json!({ "enrollment_code": made["code"], "code": code });
    let done = browser.post("/api/v1/enrollment/complete", body).await;
    assert_eq!(done.status, 200, "{}", done.body);
    serde_json::from_value(done.body["recovery_codes"].clone()).unwrap()
}

fn account(daemon: &Daemon, name: &str) -> Value {
    json_of(daemon, &["users", "show", name, "--json"])
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one directory and one daemon, which take longest, for all that is asked of them"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_sign_in_by_a_directory_that_is_followed_and_stopped() {
    let mut directory = Directory::new();
    for name in ["lee", "kim", "ann", "bob", "system-admin"] {
        directory.add(name);
    }
    directory.group("soc", &["lee", "ann", "bob"], true);
    directory.group("soc-leads", &["system-admin"], true);
    let daemon = Daemon::new(&directory.config("")).await;
    let mut local = people::signed_in(&daemon, "system_admin").await;

    // Nobody is let in without a password, by another one, or by a name that is a filter.
    let wrong = (401, "wrong".to_owned());
    assert_eq!(refused(&daemon, "lee", "").await, wrong);
    assert_eq!(refused(&daemon, "lee", &password("kim")).await, wrong);
    for name in [
        "*)(uid=*",
        "l*",
        "lee)(objectClass=*",
        "",
        "lee\0",
        "uid=lee,ou=people,dc=example,dc=com",
    ] {
        assert_eq!(
            refused(&daemon, name, &password("lee")).await,
            wrong,
            "{name}"
        );
    }
    // The account of blueteam's own of that name is not the directory's.
    assert_eq!(
        refused(&daemon, "system-admin", &password("system-admin")).await,
        wrong
    );
    assert_eq!(
        refused(&daemon, "kim", &password("kim")).await,
        (403, "not-mapped".to_owned())
    );
    assert_eq!(
        run(&daemon, &["users", "show", "kim"]).0,
        1,
        "kim has no account"
    );

    // Right, and a second factor is missing; the account has no password of its own.
    let missing = (403, "not-enrolled".to_owned());
    assert_eq!(refused(&daemon, "Lee", &password("lee")).await, missing);
    let lee = account(&daemon, "lee");
    assert_eq!(
        (&lee["role"], &lee["has_password"]),
        (&json!("user"), &json!(false))
    );
    let codes = enroll(&daemon, "lee").await;
    assert_eq!(
        refused(&daemon, "lee", &password("lee")).await,
        (401, "code-needed".to_owned())
    );
    let (mut browser, answer) = attempt(&daemon, "lee", &password("lee"), Some(&codes[0])).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = json!({
        "username": "lee", "password": password("lee"), "code": codes[1],
        "new_password": people::PASSWORD,
    });
    let changed = browser.post("/api/v1/password", body).await;
    assert_eq!(
        changed.body["type"],
        "urn:blueteam:problem:password-elsewhere"
    );

    // Another group, another role: the session ends.
    directory.group("soc-leads", &["system-admin", "lee"], false);
    until("lee is admin", || {
        account(&daemon, "lee")["role"] == "admin"
    })
    .await;
    assert_eq!(browser.me().await.status, 401);

    // Stopped: others are told so, local administrators get in, and nobody is disabled.
    directory.stop();
    let away = (503, "directory-away".to_owned());
    assert_eq!(refused(&daemon, "lee", &password("lee")).await, away);
    let (_, answer) = attempt(&daemon, "system-admin", people::PASSWORD, None).await;
    assert_eq!(answer.body["type"], "urn:blueteam:problem:code-needed");
    assert_eq!(local.me().await.status, 200);
    let log = || std::fs::read_to_string(daemon.path("daemon.log")).unwrap();
    until("it cannot be asked", || {
        log().contains("the directory cannot be asked")
    })
    .await;
    assert_eq!(account(&daemon, "lee")["is_active"], true);
    directory.start();
    let (mut browser, answer) = attempt(&daemon, "lee", &password("lee"), Some(&codes[2])).await;
    assert_eq!(
        (answer.status, &answer.body["person"]["role"]),
        (200, &json!("admin"))
    );

    // It lies: most of the people are gone at once.
    for name in ["ann", "bob"] {
        assert_eq!(refused(&daemon, name, &password(name)).await, missing);
    }
    // At once for whoever looks: between two of them a daemon would see one person leave.
    daemon.while_suspended(|| {
        for name in ["lee", "ann", "bob"] {
            directory.delete(name);
        }
    });
    until("it is doubted", || log().contains("more than half")).await;
    for name in ["lee", "ann", "bob"] {
        assert_eq!(account(&daemon, name)["is_active"], true, "{name}");
    }
    // Somebody else has the name now, and is not the person who had it.
    directory.add("lee");
    directory.group("soc", &["lee", "kim"], false);
    assert_eq!(
        refused(&daemon, "lee", &password("lee")).await,
        (409, "name-taken".to_owned())
    );
    assert_eq!(browser.me().await.status, 200, "nobody was disabled");

    // Whom an administrator has looked at may leave, one by one.
    for name in ["ann", "bob"] {
        let (status, _, err) = run(&daemon, &["users", "disable", name, "--reason", "left"]);
        assert_eq!(status, 0, "{err}");
    }
    until("lee is disabled", || {
        account(&daemon, "lee")["is_active"] == false
    })
    .await;
    assert_eq!(
        account(&daemon, "lee")["disabled_reason"],
        "no longer in the directory"
    );
    assert_eq!(browser.me().await.status, 401);

    let mut conn = daemon.connect().await;
    let rows = sqlx::query(
        "SELECT action::text AS action, actor, new_value FROM audit.audit_log
         WHERE resource_type = 'USER' AND new_value ->> 'username' = 'lee'
         ORDER BY created_at, id",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let of = |wanted: &str| {
        let found = rows
            .iter()
            .filter(|row| row.get::<String, _>("action") == wanted);
        let pair = |row: &sqlx::postgres::PgRow| {
            (
                row.get::<String, _>("actor"),
                row.get::<Value, _>("new_value"),
            )
        };
        found.map(pair).collect::<Vec<_>>()
    };
    let by_directory = of("LOGIN")
        .iter()
        .filter(|(_, new)| new["method"] == "ldap")
        .count();
    assert_eq!(by_directory, 2, "{:?}", of("LOGIN"));
    let roles = of("ROLE_CHANGE");
    assert!(roles.len() == 1 && roles[0].0 == "directory", "{roles:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_a_directory_does_not_list_at_its_people_are_asked_for() {
    let directory = Directory::new();
    for name in ["lee", "ann"] {
        directory.add(name);
    }
    directory.group("soc", &["lee"], true);
    directory.group("soc-leads", &["ann"], true);
    let daemon = Daemon::new(&directory.config("group_attribute = \"\"\n")).await;
    for (name, role) in [("lee", "user"), ("ann", "admin")] {
        let missing = (403, "not-enrolled".to_owned());
        assert_eq!(refused(&daemon, name, &password(name)).await, missing);
        assert_eq!(account(&daemon, name)["role"], role);
    }
    directory.group("soc-leads", &["lee", "ann"], false);
    until("lee is admin", || {
        account(&daemon, "lee")["role"] == "admin"
    })
    .await;
    directory.group("soc-leads", &["lee"], false);
    until("ann has left", || {
        account(&daemon, "ann")["is_active"] == false
    })
    .await;
    assert_eq!(account(&daemon, "lee")["is_active"], true);
}
