//! Administration in the console: accounts, keys, sessions, the policy and the audit log.

use sqlx::PgConnection;

use super::console::{Person, Shown};
use super::daemon::Daemon;
use super::people::{Browser, PASSWORD, set_up, signed_in, with_recovery_codes};

/// The value of the field of that name in a page.
pub(super) fn field(page: &str, name: &str) -> String {
    let found = page.split_once(&format!("name=\"{name}\" value=\""));
    assert!(found.is_some(), "no field {name}: {page}");
    let (_, rest) = found.unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// The secret that a page shows once.
fn secret_of(shown: &Shown) -> String {
    assert_eq!(shown.status, 200, "{}", shown.text);
    let (_, rest) = shown
        .text
        .split_once("class=\"secret\" value=\"")
        .unwrap_or(("", ""));
    rest.split('"').next().unwrap().to_owned()
}

async fn role_of(conn: &mut PgConnection, name: &str) -> String {
    sqlx::query_scalar("SELECT role FROM users.users WHERE username = $1")
        .bind(name)
        .fetch_one(conn)
        .await
        .unwrap()
}

/// Sends a form of this person's own page.
pub(super) async fn press(person: &Person, path: &str, fields: &[(&str, &str)]) -> Shown {
    let token = person.token().await;
    let mut form = vec![("form_token", token.as_str())];
    form.extend_from_slice(fields);
    person.ask(path, Some(&form)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_makes_changes_and_disables_accounts() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let admin = Person::of(&signed_in(&daemon, "system_admin").await);
    let lesser = Person::of(&signed_in(&daemon, "admin").await);

    let new = [
        ("username", "kim"),
        ("email", "kim@example.com"),
        ("full_name", "<b>Kim</b>"),
        ("role", "user"),
    ];
    let made = press(&admin, "/admin/users", &new).await;
    let link = secret_of(&made);
    assert!(link.starts_with("bt_enroll_"), "{link}");
    // Once, and never again.
    for path in ["/admin", "/admin/users/kim", "/admin/log"] {
        let page = admin.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text.contains(&link), "{path}");
        assert!(!page.text.contains("<b>Kim"), "{path}");
    }
    let mut kim = Browser::of(&daemon);
    set_up(&mut kim, &link).await;

    // A name is given once; what was typed stays.
    let again = [
        ("username", "KIM"),
        ("email", "other@example.com"),
        ("role", "user"),
    ];
    let refused = press(&admin, "/admin/users", &again).await;
    assert_eq!(refused.status, 422);
    for part in ["belongs to the account kim", "value=\"other@example.com\""] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }

    // Who would change what they have not seen is told, and nothing is done.
    let before = field(&admin.get("/admin/users/kim").await.text, "version");
    let role = [("version", before.as_str()), ("role", "manager")];
    let done = press(&admin, "/admin/users/kim/role", &role).await;
    assert_eq!(done.location, "/admin/users/kim?done=changed");
    assert_eq!(role_of(&mut conn, "kim").await, "manager");
    let stale = [("version", before.as_str()), ("role", "assessor")];
    let refused = press(&lesser, "/admin/users/kim/role", &stale).await;
    assert_eq!(refused.status, 409);
    assert!(
        refused
            .text
            .contains("Someone else has changed this account")
    );
    assert_eq!(role_of(&mut conn, "kim").await, "manager");

    // Nobody looks after an account of a higher rank, or gives more than they may.
    let page = lesser.get("/admin/users/system-admin").await.text;
    assert!(
        !page.contains("/admin/users/system-admin/disable"),
        "{page}"
    );
    let version = field(
        &admin.get("/admin/users/system-admin").await.text,
        "version",
    );
    let form = [("version", version.as_str()), ("reason", "mine now")];
    let refused = press(&lesser, "/admin/users/system-admin/disable", &form).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let version = field(&lesser.get("/admin/users/kim").await.text, "version");
    let form = [("version", version.as_str()), ("role", "system_admin")];
    let refused = press(&lesser, "/admin/users/kim/role", &form).await;
    assert_eq!(refused.status, 409, "{}", refused.text);

    // A code that lets a person back in is an event that makes an alert.
    let form = [("version", version.as_str())];
    let code = secret_of(&press(&admin, "/admin/users/kim/enroll-link", &form).await);
    assert!(code.starts_with("bt_recover_"), "{code}");
    let recorded: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM public.audit_events WHERE action = 'account_recovery'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(recorded, 1);

    // Disabled, an account opens nothing; enabled, it is what it was.
    let form = [
        ("version", version.as_str()),
        ("reason", "left the company"),
    ];
    let done = press(&admin, "/admin/users/kim/disable", &form).await;
    assert_eq!(done.location, "/admin/users/kim?done=changed");
    assert_eq!(kim.me().await.status, 401);
    let page = admin.get("/admin/users/kim").await.text;
    assert!(page.contains("disabled: left the company"), "{page}");
    let version = field(&page, "version");
    let form = [("version", version.as_str())];
    let done = press(&admin, "/admin/users/kim/enable", &form).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let active: bool =
        sqlx::query_scalar("SELECT is_active FROM users.users WHERE username = 'kim'")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert!(active);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dangerous_asks_again_who_it_is_and_keeps_what_was_typed() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let (browser, codes) = with_recovery_codes(&daemon, "dana", "system_admin").await;
    let mut admin = Person::of(&browser);
    signed_in(&daemon, "user").await;
    sqlx::query("UPDATE users.sessions SET stepped_up_at = now() - interval '1 hour'")
        .execute(&mut conn)
        .await
        .unwrap();

    let version = field(&admin.get("/admin/users/user").await.text, "version");
    let form = [("version", version.as_str()), ("reason", "<i>left</i>")];
    let asked = press(&admin, "/admin/users/user/disable", &form).await;
    assert_eq!(asked.status, 401);
    assert_eq!(field(&asked.text, "action"), "/admin/users/user/disable");
    assert_eq!(
        field(&asked.text, "field-reason"),
        "&#60;i&#62;left&#60;/i&#62;"
    );
    let disabled = "SELECT count(*) FROM users.users WHERE NOT is_active";
    let count: i64 = sqlx::query_scalar(disabled)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(count, 0);

    let proof = |password: &'static str, code: &str| {
        [
            ("action".to_owned(), "/admin/users/user/disable".to_owned()),
            ("field-version".to_owned(), version.clone()),
            ("field-reason".to_owned(), "<i>left</i>".to_owned()),
            ("password".to_owned(), password.to_owned()),
            ("code".to_owned(), code.to_owned()),
        ]
    };
    let wrong = proof("wrong", "000000");
    let wrong: Vec<(&str, &str)> = wrong.iter().map(|(n, v)| (&**n, &**v)).collect();
    let refused = admin.ask("/confirm", Some(&wrong)).await;
    assert_eq!(refused.status, 401);
    assert!(refused.cookie.is_none() && refused.text.contains("&#60;i&#62;left"));
    // Without a password nobody has proven anything.
    let nothing: Vec<(&str, &str)> = wrong[..3].to_vec();
    assert_eq!(admin.ask("/confirm", Some(&nothing)).await.status, 401);

    let right = proof(PASSWORD, &codes[0]);
    let right: Vec<(&str, &str)> = right.iter().map(|(n, v)| (&**n, &**v)).collect();
    let proven = admin.ask("/confirm", Some(&right)).await;
    assert_eq!(proven.status, 200, "{}", proven.text);
    let old = admin.cookie.replace(proven.cookie.unwrap());
    assert!(proven.text.contains("action=\"/admin/users/user/disable\""));
    let token = field(&proven.text, "form_token");
    let form = [
        ("form_token", token.as_str()),
        ("version", version.as_str()),
        ("reason", "<i>left</i>"),
    ];
    let done = admin.ask("/admin/users/user/disable", Some(&form)).await;
    assert_eq!(done.location, "/admin/users/user?done=changed");
    let reason: String =
        sqlx::query_scalar("SELECT disabled_reason FROM users.users WHERE NOT is_active")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert_eq!(reason, "<i>left</i>");

    // Another session has taken the place of the one that asked.
    let mut copied = Person::of(&browser);
    copied.cookie = old;
    assert_eq!(copied.get("/admin").await.location, "/sign-in?next=/admin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_shown_once_and_sessions_end() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let admin = Person::of(&signed_in(&daemon, "system_admin").await);
    let mut other = signed_in(&daemon, "manager").await;

    let once = admin.get("/admin/keys").await.hidden("/admin/keys", "once");
    let new = [
        ("name", "shop <b>"),
        ("purpose", "events:write"),
        ("service", "shop"),
        ("once", once.as_str()),
    ];
    let secret = secret_of(&press(&admin, "/admin/keys", &new).await);
    // The page with the secret is loaded again: no second key.
    let again = press(&admin, "/admin/keys", &new).await;
    assert_eq!(again.status, 422, "{}", again.text);
    assert!(again.text.contains("sent before"), "{}", again.text);
    let list = admin.get("/admin/keys").await.text;
    assert!(!list.contains(&secret) && list.contains("shop &#60;b&#62;"));
    let sent = admin_event(&daemon, &secret).await;
    assert_eq!(sent, 200);
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT key_id FROM users.api_keys WHERE service = 'shop'")
            .fetch_all(&mut conn)
            .await
            .unwrap();
    let [id] = ids[..] else {
        unreachable!("one form made {} keys", ids.len())
    };
    let done = press(&admin, &format!("/admin/keys/{id}/revoke"), &[]).await;
    assert_eq!(done.location, "/admin/keys?done=revoked");
    let active: bool = sqlx::query_scalar("SELECT is_active FROM users.api_keys WHERE key_id = $1")
        .bind(id)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(!active);

    // One's own: rotated by its owner alone.
    let own = [("name", "mine"), ("purpose", "read"), ("days", "30")];
    let first = secret_of(&press(&admin, "/admin/keys", &own).await);
    assert!(first.starts_with("bt_api_"));
    let id: uuid::Uuid = sqlx::query_scalar("SELECT key_id FROM users.person_keys")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let second = secret_of(&press(&admin, &format!("/admin/keys/{id}/rotate"), &[]).await);
    assert!(second.starts_with("bt_api_") && second != first);
    let lesser = Person::of(&signed_in(&daemon, "admin").await);
    let refused = press(&lesser, &format!("/admin/keys/{id}/rotate"), &[]).await;
    assert_eq!(refused.status, 403);
    let bad = [
        ("name", "bad"),
        ("purpose", "read"),
        ("scopes", "users:write"),
    ];
    let refused = press(&admin, "/admin/keys", &bad).await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text.contains("value=\"users:write\""),
        "{}",
        refused.text
    );

    // A session that is ended opens nothing.
    assert_eq!(other.me().await.status, 200);
    let session: uuid::Uuid = sqlx::query_scalar(
        "SELECT s.session_id FROM users.sessions s JOIN users.users u USING (user_id)
         WHERE u.username = 'manager' AND s.ended_at IS NULL",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    let form = [("here", "https://evil.example/")];
    let done = press(&admin, &format!("/admin/sessions/{session}/end"), &form).await;
    assert_eq!(done.location, "/?done=signed-out-1");
    assert_eq!(other.me().await.status, 401);
}

/// Sends an event with a key, and returns the status of the answer.
async fn admin_event(daemon: &Daemon, key: &str) -> u16 {
    let event = super::daemon::failure("192.0.2.1", "x").to_string();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .post(format!("http://127.0.0.1:{}/v1/events", daemon.port))
        .bearer_auth(key)
        .header("content-type", "application/json")
        .body(event)
        .send()
        .await
        .unwrap();
    answer.status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_change_the_policy_the_second_sees_both_texts() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let one = Person::of(&with_recovery_codes(&daemon, "dana", "system_admin").await.0);
    let two = Person::of(&with_recovery_codes(&daemon, "erin", "system_admin").await.0);

    let page = one.get("/admin/policy").await.text;
    let version = field(&page, "version");
    let settings = |version: &str, length: &str| {
        let mut form: Vec<(&'static str, String)> = [
            "mfa_min_length",
            "max_age_days",
            "history_count",
            "min_changed_characters",
            "max_failed_attempts",
            "lockout_duration_minutes",
            "idle_disable_days",
        ]
        .map(|name| {
            let (_, rest) = page
                .split_once(&format!("name=\"{name}\" value=\""))
                .unwrap();
            (name, rest.split('"').next().unwrap().to_owned())
        })
        .to_vec();
        form.push(("version", version.to_owned()));
        form.push(("min_length", length.to_owned()));
        form
    };
    let send = async |person: &Person, form: &[(&'static str, String)]| {
        let form: Vec<(&str, &str)> = form.iter().map(|(n, v)| (*n, v.as_str())).collect();
        press(person, "/admin/policy", &form).await
    };
    let in_force =
        "SELECT min_length FROM users.password_policies ORDER BY updated_at DESC LIMIT 1";

    let first = send(&one, &settings(&version, "21")).await;
    assert_eq!(first.location, "/admin/policy?done=changed");
    let second = send(&two, &settings(&version, "27")).await;
    assert_eq!(second.status, 409);
    for part in [
        "Someone else has changed the policy",
        "Both texts",
        "<td>21</td>",
        ">27</span>",
        "name=\"min_length\" value=\"27\"",
    ] {
        assert!(second.text.contains(part), "{part}: {}", second.text);
    }
    let length: i32 = sqlx::query_scalar(in_force)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(length, 21);

    // Knowing both, they decide.
    let seen = field(&second.text, "version");
    let third = send(&two, &settings(&seen, "27")).await;
    assert_eq!(third.location, "/admin/policy?done=changed");
    let length: i32 = sqlx::query_scalar(in_force)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(length, 27);

    // A number out of its range changes nothing, and says so beside what was typed.
    let now = field(&two.get("/admin/policy").await.text, "version");
    let refused = send(&two, &settings(&now, "4")).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("min_length"), "{}", refused.text);

    // Who may read it is shown no form.
    let reader = Person::of(&signed_in(&daemon, "user").await);
    let page = reader.get("/admin/policy").await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("action=\"/admin/policy\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_is_searched_and_leaves_as_a_file_on_record() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let admin = Person::of(&signed_in(&daemon, "system_admin").await);
    let new = [
        ("username", "kim"),
        ("email", "kim@example.com"),
        ("full_name", "<script>"),
        ("role", "user"),
    ];
    secret_of(&press(&admin, "/admin/users", &new).await);

    let page = admin
        .get("/admin/log?actor=system-admin&table=users.users")
        .await;
    assert_eq!(page.status, 200);
    for part in [
        "users.users",
        "username: kim",
        "full_name: &#60;script&#62;",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(!page.text.contains("<script>"), "{}", page.text);
    let none = admin.get("/admin/log?actor=nobody-at-all").await;
    assert!(none.text.contains("No entries match"), "{}", none.text);
    let wrong = admin.get("/admin/log?since=yesterday").await;
    assert!(wrong.text.contains("a day such as"), "{}", wrong.text);

    let file = admin
        .get("/admin/log/export?table=users.users&format=csv")
        .await;
    assert_eq!(file.status, 200);
    assert!(
        file.disposition
            .starts_with("attachment; filename=\"blueteam-audit-log-")
    );
    assert!(
        file.text.starts_with("id,at,actor,") || file.text.contains("actor"),
        "{}",
        file.text
    );
    let filters: serde_json::Value = sqlx::query_scalar(
        "SELECT new_value FROM audit.audit_log WHERE action = 'EXPORT' AND actor = 'system-admin'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(filters["what"], "audit log", "{filters}");
    assert_eq!(filters["filters"][0][1], "users.users", "{filters}");

    // Who may read it may not take it away.
    let manager = Person::of(&signed_in(&daemon, "manager").await);
    assert_eq!(manager.get("/admin/log").await.status, 200);
    let page = manager.get("/admin/log").await.text;
    assert!(!page.contains("/admin/log/export"));
    assert_eq!(manager.get("/admin/log/export").await.status, 403);
}
