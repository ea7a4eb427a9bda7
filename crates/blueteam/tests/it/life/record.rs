//! What the console changes of the record: silences, acknowledgments, findings, statements, notes.

use sqlx::PgConnection;

use super::console::{Person, Shown};
use super::daemon::{Daemon, PATIENCE, alert_comes, failure};
use super::people::signed_in;

/// What a stranger would write: markup, a form of their own, text that turns around, a formula.
pub(super) const HOSTILE: &str =
    "<script>alert(1)</script><form action=//evil.example>\u{202e}gnp.exe\" =cmd|'/c calc'!A1";

/// Fails where a page shows hostile text as anything but text.
pub(super) fn is_text(what: &str, shown: &Shown) {
    let text = &shown.text;
    assert!(text.contains("&#60;script&#62;alert(1)"), "{what}: {text}");
    for wrong in ["<script>alert", "<form action=//evil", "\u{202e}"] {
        assert!(!text.contains(wrong), "{what} has {wrong}: {text}");
    }
}

/// Who works at a daemon, and the token of their forms.
pub(super) struct Worker {
    pub(super) person: Person,
    pub(super) token: String,
}

impl Worker {
    pub(super) async fn of(daemon: &Daemon, role: &str) -> Self {
        let person = Person::of(&signed_in(daemon, role).await);
        let token = person.token().await;
        Self { person, token }
    }

    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let mut form = vec![("form_token", self.token.as_str())];
        form.extend_from_slice(fields);
        self.person.ask(path, Some(&form)).await
    }

    pub(super) async fn get(&self, path: &str) -> Shown {
        self.person.get(path).await
    }
}

pub(super) async fn count(conn: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap()
}

async fn with_an_alert(daemon: &Daemon) -> (PgConnection, String) {
    let mut conn = daemon.connect().await;
    let failures: Vec<_> = (0..7).map(|_| failure("192.0.2.9", "root")).collect();
    daemon.client().send(&failures).await;
    alert_comes(&mut conn, "brute_force", "192.0.2.9", PATIENCE).await;
    let id: uuid::Uuid = sqlx::query_scalar("SELECT alert_id FROM blueteam.alert_history LIMIT 1")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    (conn, id.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silences_are_previewed_added_and_ended_in_the_console() {
    let daemon = Daemon::new("").await;
    let (mut conn, alert) = with_an_alert(&daemon).await;
    let manager = Worker::of(&daemon, "manager").await;

    // From the page of an alert the form is filled in.
    let page = manager.get(&format!("/alerts/{alert}")).await.text;
    let like = "/silences/add?rule=brute_force&#38;entity=ip%3A192.0.2.9";
    assert!(page.contains(like), "{page}");
    let form = manager.get(&like.replace("&#38;", "&")).await.text;
    assert!(form.contains("value=\"ip:192.0.2.9\""), "{form}");

    let fields = [
        ("rule", "brute_force"),
        ("entity", "ip:192.0.2.9"),
        ("length", "2h"),
        ("reason", HOSTILE),
        ("ticket", HOSTILE),
    ];
    let shown = manager.post("/silences/preview", &fields).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    assert!(
        shown.text.contains("it would have covered 1 alert"),
        "{}",
        shown.text
    );
    is_text("the preview", &shown);
    assert_eq!(
        count(&mut conn, "SELECT count(*) FROM blueteam.silences").await,
        0
    );

    // What matches nothing is refused with the nearest name, and what was typed is still there.
    for path in ["/silences/preview", "/silences/add"] {
        let wrong = [
            ("rule", "brute_farce"),
            ("length", "2h"),
            ("reason", "a scan"),
        ];
        let refused = manager.post(path, &wrong).await;
        assert_eq!(refused.status, 422, "{path}");
        for part in ["did you mean `brute_force`?", "brute_farce", ">\na scan<"] {
            assert!(
                refused.text.contains(part),
                "{path} {part}: {}",
                refused.text
            );
        }
        assert!(!refused.text.contains("--allow-unknown"));
    }
    let never = [
        ("rule", "audit_tampering"),
        ("length", "2h"),
        ("reason", "please"),
    ];
    assert_eq!(manager.post("/silences/add", &never).await.status, 422);

    let added = manager.post("/silences/add", &fields).await;
    assert_eq!(added.location, "/silences?done=silenced", "{}", added.text);
    let list = manager.get(&added.location).await;
    assert!(list.text.contains("The silence was added"));
    is_text("the list", &list);
    let id: uuid::Uuid = sqlx::query_scalar("SELECT mute_id FROM blueteam.silences")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let end = format!("/silences/{id}/end");

    // Who may only read sees no button, and is refused; so is a form without the token.
    let user = Worker::of(&daemon, "user").await;
    assert!(!user.get("/silences").await.text.contains("End now"));
    assert_eq!(user.post(&end, &[]).await.status, 403);
    let form = [("form_token", user.token.as_str())];
    assert_eq!(manager.person.ask(&end, Some(&form)).await.status, 403);
    assert_eq!(
        manager.post(&end, &[]).await.location,
        "/silences?done=ended"
    );
    let ended = "SELECT count(*) FROM blueteam.silences WHERE ended_by = 'manager'";
    assert_eq!(count(&mut conn, ended).await, 1);
    assert_eq!(manager.post(&end, &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_typed_survives_a_lock_and_is_shown_to_its_person_alone() {
    let daemon = Daemon::new("").await;
    let (mut conn, alert) = with_an_alert(&daemon).await;
    let manager = Worker::of(&daemon, "manager").await;
    let admin = Worker::of(&daemon, "admin").await;
    let path = format!("/alerts/{alert}/verdict");
    let lock = "UPDATE users.sessions SET locked_at = now() WHERE user_id =
                (SELECT user_id FROM users.users WHERE username = 'manager')";
    let unlock = "UPDATE users.sessions SET locked_at = NULL, seen_at = now()";
    let typed = [("verdict", "benign_positive"), ("note", HOSTILE)];

    // Sent while it was locked: nothing is done, and the cover shows nothing of it.
    sqlx::query(lock).execute(&mut conn).await.unwrap();
    let covered = manager.post(&path, &typed).await;
    assert_eq!(covered.location, "/locked?next=/draft");
    let cover = manager.get(&covered.location).await.text;
    assert!(!cover.contains("benign_positive"), "{cover}");
    let again = manager.get("/draft").await;
    assert_eq!(again.location, "/locked?next=/draft");

    // Another page's form is no draft: whoever makes someone send it has no token.
    let stranger = [("form_token", "made up"), ("note", "planted")];
    let refused = manager.person.ask(&path, Some(&stranger)).await;
    assert_eq!(refused.location, "/locked?next=/");

    sqlx::query(unlock).execute(&mut conn).await.unwrap();
    assert_eq!(admin.get("/draft").await.location, "/", "not another's");
    let draft = manager.get("/draft").await;
    assert_eq!(draft.status, 200, "{}", draft.text);
    assert!(draft.text.contains("benign_positive") && !draft.text.contains("planted"));
    is_text("the draft", &draft);
    assert_eq!(manager.get("/draft").await.location, "/", "once");
    let token = draft.hidden(&path, "form_token");
    let form = [&typed[..], &[("form_token", token.as_str())]].concat();
    let done = manager.person.ask(&path, Some(&form)).await;
    assert_eq!(done.location, format!("/alerts/{alert}?done=saved"));

    // What the script sends when the cover comes: typed, and not sent.
    let half = [("action", path.as_str()), ("field-note", "half a sen")];
    assert_eq!(manager.post("/draft", &half).await.status, 204);
    let draft = manager.get("/draft").await;
    assert!(draft.text.contains("half a sen"), "{}", draft.text);
    let elsewhere = [("action", "https://evil.example/x"), ("field-note", "x")];
    assert_eq!(manager.post("/draft", &elsewhere).await.status, 204);
    let draft = manager.get("/draft").await.text;
    assert!(!draft.contains("evil.example"), "{draft}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgment_is_taken_back_by_who_gave_it_and_soon() {
    let daemon = Daemon::new("").await;
    let (mut conn, alert) = with_an_alert(&daemon).await;
    let one = Worker::of(&daemon, "admin").await;
    let other = Worker::of(&daemon, "manager").await;
    let open = "SELECT count(*) FROM blueteam.alert_history
                WHERE acknowledged IS NOT TRUE AND acknowledged_by IS NULL AND acknowledged_at IS NULL";

    let missing = "00000000-0000-0000-0000-000000000000";
    let fields = [("id", alert.as_str()), ("id", missing), ("here", "/alerts")];
    let done = one.post("/alerts/acknowledge", &fields).await;
    let (place, at) = done.location.split_once("&undo=").unwrap();
    assert_eq!(place, "/alerts?done=acknowledged-1-1");
    let page = one.get(&done.location).await;
    assert!(
        page.text.contains("You acknowledged 1 alert."),
        "{}",
        page.text
    );
    assert_eq!(page.hidden("/alerts/undo", "at"), at);

    // Another person takes nothing back, and neither does a made-up time.
    for (who, at) in [(&other, at), (&one, "17"), (&one, "x")] {
        let undo = who
            .post("/alerts/undo", &[("at", at), ("here", "/alerts")])
            .await;
        assert_eq!(undo.location, "/alerts?done=too-late");
        assert_eq!(count(&mut conn, open).await, 0);
    }
    let undo = one
        .post("/alerts/undo", &[("at", at), ("here", "//evil.example")])
        .await;
    assert_eq!(undo.location, "/?done=undone-1");
    assert_eq!(count(&mut conn, open).await, 1);
    let recorded = "SELECT count(*) FROM audit.audit_log
                    WHERE resource_type = 'ALERT' AND action = 'UPDATE' AND actor = 'admin'
                      AND (old_value -> 'acknowledged') IS DISTINCT FROM (new_value -> 'acknowledged')";
    assert_eq!(count(&mut conn, recorded).await, 2);

    // Too late it stays, whoever asks: the page offers nothing, and the database refuses.
    one.post(
        "/alerts/acknowledge",
        &[("id", &alert), ("here", "/alerts")],
    )
    .await;
    sqlx::raw_sql(
        "ALTER TABLE blueteam.alert_history DISABLE TRIGGER keep_alert;
         UPDATE blueteam.alert_history SET acknowledged_at = now() - interval '11 minutes';
         ALTER TABLE blueteam.alert_history ENABLE ALWAYS TRIGGER keep_alert",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let at: i64 = count(
        &mut conn,
        "SELECT (extract(epoch FROM acknowledged_at) * 1000000)::bigint FROM blueteam.alert_history",
    )
    .await;
    let page = one.get(&format!("/alerts/{alert}")).await;
    assert!(!page.text.contains("Take back"), "{}", page.text);
    let late = one
        .post(
            "/alerts/undo",
            &[("at", &at.to_string()), ("here", "/alerts")],
        )
        .await;
    assert_eq!(late.location, "/alerts?done=too-late");
    let page = one.get(&late.location).await.text;
    assert!(page.contains("within 10 minutes"), "{page}");
    assert_eq!(count(&mut conn, open).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_say_what_an_alert_was_and_the_record_keeps_every_verdict() {
    let daemon = Daemon::new("").await;
    let (mut conn, alert) = with_an_alert(&daemon).await;
    let manager = Worker::of(&daemon, "manager").await;
    let page = format!("/alerts/{alert}");
    let path = format!("{page}/verdict");
    let kept = "SELECT count(*) FROM blueteam.alert_verdicts";

    // Noise needs a reason, an unknown verdict is none, and what was typed stays.
    for (verdict, note) in [("false_positive", "  "), ("harmless", HOSTILE)] {
        let refused = manager
            .post(&path, &[("verdict", verdict), ("note", note)])
            .await;
        assert_eq!(refused.status, 422, "{verdict}: {}", refused.text);
        assert!(!refused.text.contains("<script>alert"), "{verdict}");
    }
    assert_eq!(count(&mut conn, kept).await, 0);

    let noise = [("verdict", "benign_positive"), ("note", HOSTILE)];
    let saved = manager.post(&path, &noise).await;
    assert_eq!(saved.location, format!("{page}?done=saved"));
    let shown = manager.get(&page).await;
    assert!(shown.text.contains("It happened and was expected"));
    is_text("the alert", &shown);
    manager.post(&path, &[("verdict", "true_positive")]).await;

    // The newest counts, in the numbers of the rule as well; none is changed, and each is on record.
    let trends = manager.get("/trends").await.text;
    assert!(trends.contains("expected or false"), "{trends}");
    let judged = "SELECT count(*) FROM blueteam.alert_verdicts WHERE decided_by = 'manager'";
    assert_eq!(count(&mut conn, judged).await, 2);
    let changed = sqlx::query("UPDATE blueteam.alert_verdicts SET verdict = 'false_positive'");
    changed.execute(&mut conn).await.unwrap_err();
    let recorded = "SELECT count(*) FROM audit.audit_log
                    WHERE resource_type = 'ALERT' AND action = 'CREATE' AND actor = 'manager'
                      AND new_value ? 'verdict'";
    assert_eq!(count(&mut conn, recorded).await, 2);

    // Who may not acknowledge says nothing about it either.
    let assessor = Worker::of(&daemon, "assessor").await;
    assert_eq!(assessor.post(&path, &noise).await.status, 403);
    let form = [("form_token", manager.token.as_str())];
    assert_eq!(assessor.person.ask(&path, Some(&form)).await.status, 403);
    assert_eq!(count(&mut conn, kept).await, 2);
}

#[expect(
    clippy::too_many_lines,
    reason = "one requirement's way, of which each step needs the one before"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn findings_statements_and_notes_are_written_and_conflicts_are_shown() {
    let daemon = Daemon::new("").await;
    let one = Worker::of(&daemon, "admin").await;
    let other = Worker::of(&daemon, "manager").await;
    let assessor = Worker::of(&daemon, "assessor").await;
    let path = "/compliance/3.1.1";
    let (decide, statement, notes) = (
        format!("{path}/decide"),
        format!("{path}/statement"),
        format!("{path}/notes"),
    );

    // Two decide: the second sees both, and keeps their own words.
    let page = one.get(path).await;
    let version = page.hidden(&decide, "version");
    let decision = |reason: &'static str| {
        [
            ("objective", "3.1.1[a]"),
            ("finding", "met"),
            ("reason", reason),
            ("method-test", "yes"),
        ]
    };
    let with_version = |fields: &[(&'static str, &'static str)], version: &str| {
        let mut all: Vec<(String, String)> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        all.push(("version".to_owned(), version.to_owned()));
        all
    };
    let post = async |who: &Worker, path: &str, fields: Vec<(String, String)>| {
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        who.post(path, &fields).await
    };
    let first = post(
        &other,
        &decide,
        with_version(&decision("seen by the other"), &version),
    )
    .await;
    assert_eq!(
        first.location,
        format!("{path}?done=saved"),
        "{}",
        first.text
    );
    let second = post(&one, &decide, with_version(&decision(HOSTILE), &version)).await;
    assert_eq!(second.status, 409);
    is_text("a conflict", &second);
    for part in [
        "Saved by someone else meanwhile",
        "seen by the other",
        "Your text is still here",
    ] {
        assert!(second.text.contains(part), "{part}: {}", second.text);
    }
    let version = second.hidden(&decide, "version");
    let again = post(&one, &decide, with_version(&decision(HOSTILE), &version)).await;
    assert_eq!(
        again.location,
        format!("{path}?done=saved"),
        "{}",
        again.text
    );
    is_text("the history", &one.get(path).await);

    // What is missing is said, and nothing is kept.
    let version = one.get(path).await.hidden(&decide, "version");
    for wrong in [
        vec![
            ("objective", "3.1.1[a]"),
            ("finding", "met"),
            ("reason", "x"),
        ],
        vec![
            ("objective", "3.1.2[a]"),
            ("finding", "met"),
            ("reason", "long enough"),
        ],
        vec![("finding", "perhaps"), ("reason", "long enough")],
        vec![("finding", "met"), ("reason", "long enough")],
    ]
    .into_iter()
    .take(3)
    {
        let refused = post(&one, &decide, with_version(&wrong, &version)).await;
        assert_eq!(refused.status, 422, "{wrong:?}");
    }

    // The statement is the organization's, and the notes are the assessor's.
    let version = one.get(path).await.hidden(&statement, "version");
    let fields = with_version(&[("statement", HOSTILE), ("owner", "Zoe")], &version);
    let saved = post(&one, &statement, fields.clone()).await;
    assert_eq!(
        saved.location,
        format!("{path}?done=saved"),
        "{}",
        saved.text
    );
    let stale = post(&other, &statement, fields).await;
    assert_eq!(stale.status, 409);
    let page = assessor.get(path).await;
    is_text("the statement", &page);
    assert!(!page.text.contains(&decide) && !page.text.contains(&statement));
    let version = page.hidden(&notes, "version");
    let fields = with_version(&[("notes", "ask about the <b>visitors</b>")], &version);
    for who in [&one, &other] {
        assert_eq!(post(who, &notes, fields.clone()).await.status, 403);
    }
    assert_eq!(post(&assessor, &decide, fields.clone()).await.status, 403);
    let saved = post(&assessor, &notes, fields.clone()).await;
    assert_eq!(
        saved.location,
        format!("{path}?done=saved"),
        "{}",
        saved.text
    );
    assert_eq!(post(&assessor, &notes, fields).await.status, 409);
    let page = one.get(path).await.text;
    assert!(page.contains("ask about the &#60;b&#62;visitors"), "{page}");
    let user = Worker::of(&daemon, "user").await;
    assert!(!user.get(path).await.text.contains("visitors"));
}
