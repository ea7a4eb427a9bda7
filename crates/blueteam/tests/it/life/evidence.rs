//! Evidence, plans, the event review and the system security plan in the console; and what an assessor
//! sees of them.

use super::daemon::Daemon;
use super::people::run;
use super::record::{HOSTILE, Worker, count, is_text};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR<script>alert(1)</script>";

#[expect(
    clippy::too_many_lines,
    reason = "one piece's way, of which each step needs the one before"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_is_uploaded_looked_at_in_a_sandbox_and_decided_on_by_another() {
    let daemon = Daemon::new("[compliance]\nseparate_approver = true\n").await;
    let mut conn = daemon.connect().await;
    let manager = Worker::of(&daemon, "manager").await;
    let admin = Worker::of(&daemon, "admin").await;
    let user = Worker::of(&daemon, "user").await;
    let add = "/compliance/evidence/add";
    let fields = |token: &'static str| {
        [
            ("form_token", token),
            ("supports", "3.1.1, 3.1.2[a]"),
            ("shows", HOSTILE),
            ("kind", "config_screenshot"),
            ("valid_for", "365d"),
        ]
    };
    let token: &'static str = manager.token.clone().leak();

    // Names that no list of hashes can hold, and files that are too large or empty, are refused.
    let long = "x".repeat(10_000);
    for (name, content) in [
        ("a\\b.png", PNG),
        ("../../x/y.png", PNG),
        (long.as_str(), PNG),
        ("line\u{7}.png", PNG),
        ("empty.png", b""),
    ] {
        let refused = manager
            .person
            .upload(add, &fields(token), name, content)
            .await;
        let shown: String = name.chars().take(30).collect();
        assert_eq!(refused.status, 422, "{shown}: {}", refused.text);
        is_text("a refused upload", &refused);
    }
    let large = vec![b'x'; (25 << 20) + 1];
    let refused = manager
        .person
        .upload(add, &fields(token), "x.bin", &large)
        .await;
    assert_eq!(refused.status, 422);
    let foreign = manager.person.upload(add, &fields("x"), "x.png", PNG).await;
    assert_eq!(foreign.status, 403);
    assert_eq!(
        count(
            &mut conn,
            "SELECT count(*) FROM blueteam.compliance_evidence WHERE check_id IS NULL"
        )
        .await,
        0
    );

    let hostile = "=cmd|'<script>alert(1)<script>\u{202e}gnp.html";
    let added = manager
        .person
        .upload(add, &fields(token), hostile, PNG)
        .await;
    let (piece, done) = added.location.split_once('?').unwrap();
    assert_eq!(done, "done=taken-in");
    let page = manager.get(piece).await;
    is_text("a piece", &page);
    assert!(page.text.contains("A PNG picture."), "{}", page.text);
    assert!(page.text.contains("draft") && page.text.contains("another account approves it"));
    is_text("the list", &manager.get("/compliance/evidence").await);
    is_text("its requirement", &manager.get("/compliance/3.1.1").await);

    // What it is, is decided by its content; and it can do nothing.
    let shown = user.get(&format!("{piece}/preview")).await;
    assert_eq!(shown.header("content-type"), "image/png");
    assert_eq!(shown.header("x-content-type-options"), "nosniff");
    let policy = shown.header("content-security-policy");
    assert!(
        policy.starts_with("sandbox;") && !policy.contains("allow-"),
        "{policy}"
    );
    assert!(!policy.contains("script-src"), "{policy}");
    let name = shown.header("content-disposition");
    assert!(name.starts_with("inline; filename=\"_cmd"), "{name}");
    assert!(name.ends_with(".png\"") && !name.contains('<'), "{name}");

    // To take it along is recorded, and not everyone's.
    let exports = "SELECT count(*) FROM audit.audit_log WHERE action = 'EXPORT' AND new_value ->> 'what' = 'evidence'";
    assert_eq!(user.get(&format!("{piece}/download")).await.status, 403);
    assert_eq!(count(&mut conn, exports).await, 0);
    let taken = manager.get(&format!("{piece}/download")).await;
    assert_eq!(taken.status, 200);
    assert!(
        taken
            .header("content-disposition")
            .starts_with("attachment;")
    );
    assert!(
        taken
            .header("content-security-policy")
            .starts_with("sandbox;")
    );
    assert_eq!(count(&mut conn, exports).await, 1);

    // Markup as a text is plain text, whatever it is called.
    let page = b"<!DOCTYPE html><script>alert(1)</script>".as_slice();
    let html = manager
        .person
        .upload(add, &fields(token), "page.html", page)
        .await;
    let (html, _) = html.location.split_once('?').unwrap();
    let shown = manager.get(&format!("{html}/preview")).await;
    assert_eq!(shown.header("content-type"), "text/plain; charset=utf-8");
    is_text("a text", &manager.get(html).await);
    let other = manager
        .person
        .upload(add, &fields(token), "x.zip", b"PK\x03\x04\0")
        .await;
    let (other, _) = other.location.split_once('?').unwrap();
    assert_eq!(manager.get(&format!("{other}/preview")).await.status, 404);

    // A second person decides, once, on what they have seen.
    let (approve, refuse) = (format!("{piece}/approve"), format!("{piece}/refuse"));
    let version = admin.get(piece).await.hidden(&approve, "version");
    assert_eq!(
        user.post(&approve, &[("version", &version)]).await.status,
        403
    );
    let own = manager.post(&approve, &[("version", &version)]).await;
    assert_eq!(own.status, 409, "{}", own.text);
    assert_eq!(admin.post(&approve, &[("version", "0")]).await.status, 409);

    // Whoever has proven long ago who they are does it once more, and comes back here.
    let past = "UPDATE users.sessions SET stepped_up_at = now() - interval '1 hour'";
    sqlx::query(past).execute(&mut conn).await.unwrap();
    let asked = admin.post(&approve, &[("version", &version)]).await;
    assert_eq!(asked.status, 401);
    assert!(
        asked.text.contains("action=\"/confirm\"") && asked.text.contains(&version),
        "{}",
        asked.text
    );
    let now = "UPDATE users.sessions SET stepped_up_at = now()";
    sqlx::query(now).execute(&mut conn).await.unwrap();
    let short = admin
        .post(&refuse, &[("version", &version), ("reason", " ")])
        .await;
    assert_eq!(short.status, 409);
    let approved = admin.post(&approve, &[("version", &version)]).await;
    assert_eq!(
        approved.location,
        format!("{piece}?done=approved"),
        "{}",
        approved.text
    );
    assert_eq!(
        admin.post(&approve, &[("version", &version)]).await.status,
        409
    );
    let state = "SELECT count(*) FROM blueteam.compliance_evidence WHERE state = 'final' AND approved_by = 'admin'";
    assert_eq!(count(&mut conn, state).await, 1);

    let (approve, refuse) = (format!("{html}/approve"), format!("{html}/refuse"));
    let version = admin.get(html).await.hidden(&refuse, "version");
    let fields = [("version", version.as_str()), ("reason", HOSTILE)];
    let refused = admin.post(&refuse, &fields).await;
    assert_eq!(
        refused.location,
        format!("{html}?done=refused"),
        "{}",
        refused.text
    );
    let page = admin.get(html).await;
    is_text("a refusal", &page);
    assert!(!page.text.contains(&approve) && page.text.contains("Refused by admin"));
    let id = html.rsplit('/').next().unwrap();
    let (code, _, said) = run(&daemon, &["compliance", "evidence", "approve", id]);
    assert_eq!(code, 1);
    assert!(said.contains("was refused by admin"), "{said}");
    let (_, shown, _) = run(&daemon, &["compliance", "evidence", "show", id]);
    assert!(shown.contains("counts      refused"), "{shown}");

    // A file that was changed on the disk is not handed out.
    let path: String = sqlx::query_scalar(
        "SELECT file_path FROM blueteam.compliance_evidence WHERE state = 'final' AND check_id IS NULL",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    let path = daemon.path(&path);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "<script>something else</script>").unwrap();
    assert_eq!(manager.get(&format!("{piece}/preview")).await.status, 409);
    let page = manager.get(piece).await.text;
    assert!(page.contains("not what was taken in"), "{page}");
}

#[expect(
    clippy::too_many_lines,
    reason = "one daemon for what is written in the same way"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_reviews_and_sections_are_written_and_conflicts_are_shown() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let one = Worker::of(&daemon, "admin").await;
    let other = Worker::of(&daemon, "manager").await;
    let user = Worker::of(&daemon, "user").await;

    // An item of the plan of action.
    let add = "/compliance/poam/add";
    let wrong = [
        ("control", "9.9.9"),
        ("weakness", HOSTILE),
        ("remediation", "y"),
    ];
    let refused = one.post(add, &wrong).await;
    assert_eq!(refused.status, 422);
    is_text("a refused item", &refused);
    let fields = [
        ("control", "3.1.1"),
        ("weakness", HOSTILE),
        ("remediation", "give each person an account"),
        ("due", "2030-01-31"),
    ];
    assert_eq!(user.post(add, &fields).await.status, 403);
    let added = one.post(add, &fields).await;
    let (item, done) = added.location.split_once('?').unwrap();
    assert_eq!(done, "done=saved");
    is_text("the plan", &one.get("/compliance/poam").await);
    let (update, close) = (format!("{item}/update"), format!("{item}/close"));
    let page = one.get(item).await;
    is_text("an item", &page);
    let version = page.hidden(&update, "version");
    let change = |weakness: &'static str| {
        [
            ("status", "in_progress"),
            ("risk", "high"),
            ("weakness", weakness),
            ("remediation", "give each person an account"),
            ("due", "2030-01-31"),
        ]
    };
    let with = |fields: [(&'static str, &'static str); 5]| {
        let mut all = fields.to_vec();
        all.push(("version", version.clone().leak()));
        all
    };
    let first = other
        .post(&update, &with(change("written by the other")))
        .await;
    assert_eq!(
        first.location,
        format!("{item}?done=saved"),
        "{}",
        first.text
    );
    let second = one.post(&update, &with(change(HOSTILE))).await;
    assert_eq!(second.status, 409);
    is_text("a conflict", &second);
    assert!(
        second.text.contains("written by the other"),
        "{}",
        second.text
    );
    let moved = "SELECT count(*) FROM blueteam.poam_items WHERE milestone_changes <> ''";
    assert_eq!(
        count(&mut conn, moved).await,
        0,
        "the same day is no change"
    );
    let none = one
        .post(&close, &[("version", &second.hidden(&update, "version"))])
        .await;
    assert_eq!(none.status, 422, "{}", none.text);

    // The review of logged events: what was shown is what is signed.
    let sign = "/compliance/review/sign";
    let page = one.get("/compliance/review").await;
    let version = page.hidden(sign, "version");
    assert!(!user.get("/compliance/review").await.text.contains(sign));
    let stale = one
        .post(sign, &[("version", "0"), ("conclusion", HOSTILE)])
        .await;
    assert_eq!(stale.status, 409);
    is_text("a review that changed", &stale);
    let signed = one
        .post(sign, &[("version", &version), ("conclusion", HOSTILE)])
        .await;
    let (piece, done) = signed.location.split_once('?').unwrap();
    assert_eq!(done, "done=signed");
    is_text("a signed review", &one.get(piece).await);

    // It completes nothing but what it supports.
    let id = piece.rsplit('/').next().unwrap();
    let version = one.get(item).await.hidden(&update, "version");
    let wrong = one
        .post(&close, &[("version", &version), ("evidence", id)])
        .await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
    assert!(wrong.text.contains("does not support"), "{}", wrong.text);

    // A section of the plan.
    let section = "/compliance/ssp/1.3";
    let write = format!("{section}/write");
    let page = one.get("/compliance/ssp").await.text;
    assert!(
        page.contains("diagrams: a picture of the data flow"),
        "{page}"
    );
    let version = one.get(section).await.hidden(&write, "version");
    let fields = [("version", version.as_str()), ("text.purpose", HOSTILE)];
    assert_eq!(user.post(&write, &fields).await.status, 403);
    let saved = one.post(&write, &fields).await;
    assert_eq!(
        saved.location,
        format!("{section}?done=saved"),
        "{}",
        saved.text
    );
    is_text("a section", &user.get(section).await);
    let stale = other
        .post(&write, &[("version", &version), ("text.purpose", "mine")])
        .await;
    assert_eq!(stale.status, 409);
    is_text("a stale section", &stale);
    assert!(stale.text.contains(">\nmine<"), "{}", stale.text);
    let version = stale.hidden(&write, "version");
    let foreign = [
        ("version", version.as_str()),
        ("text.purpose", "mine"),
        ("lists", "[[diagrams]]\nfile = 'accounts.key'"),
    ];
    assert_eq!(other.post(&write, &foreign).await.status, 422);
    let (_, exported, _) = run(&daemon, &["compliance", "ssp", "--export"]);
    assert!(!exported.contains("accounts.key"), "{exported}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assessor_reads_for_a_time_and_leaves_a_trail() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let assessor = Worker::of(&daemon, "assessor").await;
    let ends = "SELECT extract(day FROM expires_at - now())::bigint FROM users.users WHERE username = 'assessor'";
    assert!((88..=90).contains(&count(&mut conn, ends).await));

    assert_eq!(assessor.get("/").await.location, "/assessor");
    for path in [
        "/assessor",
        "/assessor/trail",
        "/compliance",
        "/compliance/3.1.1",
        "/compliance/ssp/1.3",
        "/compliance/evidence",
        "/compliance/poam",
    ] {
        let page = assessor.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        for part in [
            "class=\"watermark\">assessor",
            "read only",
            "account valid until <time",
        ] {
            assert!(page.text.contains(part), "{path} lacks {part}");
        }
    }
    let start = assessor.get("/assessor").await.text;
    assert!(
        start.contains("3.1.1 ") && start.contains("No score yet"),
        "{start}"
    );

    // The trail is theirs alone, and nobody else leaves one.
    let admin = Worker::of(&daemon, "admin").await;
    let page = admin.get("/compliance/3.1.2").await;
    assert!(!page.text.contains("class=\"watermark\""));
    let read = "SELECT count(*) FROM audit.audit_log WHERE action = 'READ' AND actor <> 'assessor'";
    assert_eq!(count(&mut conn, read).await, 0);
    let trail = assessor.get("/assessor/trail").await.text;
    assert!(trail.contains("/compliance/ssp/1.3"), "{trail}");
    assert!(!trail.contains("/compliance/3.1.2"), "{trail}");
    assert!(
        !admin
            .get("/assessor/trail")
            .await
            .text
            .contains("/compliance/ssp/1.3")
    );

    // When the account ends, so does everything: the session, and the way in.
    sqlx::query("UPDATE users.users SET expires_at = now() - interval '1 second' WHERE username = 'assessor'")
        .execute(&mut conn)
        .await
        .unwrap();
    let gone = assessor.get("/compliance").await;
    assert!(gone.location.starts_with("/sign-in"), "{}", gone.location);

    let args = [
        "users",
        "create",
        "casey",
        "--email",
        "c@c3pao.example",
        "--role",
        "assessor",
        "--until",
    ];
    let until = |day| {
        let mut all = args.to_vec();
        all.push(day);
        run(&daemon, &all)
    };
    assert_eq!(until("soon").0, 2);
    assert_eq!(until("2035-01-31").0, 0);
    let day = "SELECT count(*) FROM users.users WHERE username = 'casey' AND expires_at = '2035-01-31T23:59:59Z'";
    assert_eq!(count(&mut conn, day).await, 1);
}
