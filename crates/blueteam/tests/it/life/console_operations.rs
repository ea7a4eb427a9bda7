//! Operations in the console: first steps, one's own preferences, rules, sources, channels and upkeep.

use super::console::Person;
use super::console_admin::press;
use super::daemon::{Daemon, PATIENCE, alert_comes, failure};
use super::people::{signed_in, with_recovery_codes};

async fn see(person: &Person, path: &str) -> String {
    let shown = person.get(path).await;
    assert_eq!(shown.status, 200, "{path}: {}", shown.text);
    shown.text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_steps_are_looked_at_as_they_are() {
    let daemon = Daemon::new("").await;
    let admin = Person::of(&signed_in(&daemon, "system_admin").await);
    let page = see(&admin, "/first-steps").await;
    for part in [
        "One system administrator can sign in",
        "Nothing has sent an event yet",
        "No channel is configured for alerts of severity high",
        "Still the default: 07:00 to 19:00 (UTC)",
        "The system is not described yet",
        "1 of 5 are done",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(see(&admin, "/").await.contains("4 of 5 are missing"));

    daemon.client().send(&[failure("192.0.2.1", "x")]).await;
    // The account of a source is written a moment later.
    let since = std::time::Instant::now();
    loop {
        let page = see(&admin, "/first-steps").await;
        if page.contains("2 of 5 are done") {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{page}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    // Who may not look after the installation is not asked to.
    let user = Person::of(&signed_in(&daemon, "user").await);
    assert_eq!(user.get("/first-steps").await.status, 403);
    assert!(!see(&user, "/").await.contains("first-steps"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_person_chooses_zone_keys_and_filter_for_themself() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let one = Person::of(&with_recovery_codes(&daemon, "dana", "user").await.0);
    let two = Person::of(&with_recovery_codes(&daemon, "erin", "user").await.0);

    let wrong = [("time_zone", "<b>Mars/Base</b>"), ("shortcuts", "yes")];
    let refused = press(&one, "/account/preferences", &wrong).await;
    assert_eq!(refused.status, 422);
    assert!(
        refused
            .text
            .contains("value=\"&#60;b&#62;Mars/Base&#60;/b&#62;\""),
        "{}",
        refused.text
    );
    let done = press(&one, "/account/preferences", &[("time_zone", "Asia/Tokyo")]).await;
    assert_eq!(done.location, "/account?done=changed");
    let page = see(&one, "/").await;
    assert!(
        page.contains("(Asia/Tokyo)") && page.contains("data-keys=\"off\""),
        "{page}"
    );
    // UTC is under the pointer all the same.
    assert!(page.contains(" UTC, "), "{page}");
    let page = see(&two, "/").await;
    assert!(
        page.contains("(UTC)") && !page.contains("data-keys"),
        "{page}"
    );

    let filter = [
        ("show", "all"),
        ("severity", "high"),
        ("rule", ""),
        ("service", "a&b"),
    ];
    let done = press(&one, "/account/alert-filter", &filter).await;
    let kept = "/alerts?show=all&severity=high&service=a%26b";
    assert_eq!(done.location, format!("{kept}&done=changed"));
    assert_eq!(one.get("/alerts").await.location, kept);
    assert_eq!(two.get("/alerts").await.status, 200);
    assert_eq!(one.get("/alerts?show=waiting").await.status, 200);
    // Zone and keys stay; without the tick the filter goes.
    assert!(see(&one, "/account").await.contains("value=\"Asia/Tokyo\""));
    press(
        &one,
        "/account/preferences",
        &[("time_zone", ""), ("shortcuts", "yes")],
    )
    .await;
    assert_eq!(one.get("/alerts").await.status, 200);
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM users.preferences")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(rows, 1);

    let form = [("form_token", "x"), ("time_zone", "UTC")];
    let refused = one.ask("/account/preferences", Some(&form)).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_turned_off_tested_and_tried_on_the_past() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let admin = Person::of(&signed_in(&daemon, "system_admin").await);
    let failures: Vec<_> = (0..7).map(|_| failure("192.0.2.9", "root")).collect();
    daemon.client().send(&failures).await;
    alert_comes(&mut conn, "brute_force", "192.0.2.9", PATIENCE).await;

    let tested = press(&admin, "/rules/brute_force/test", &[]).await;
    assert_eq!(tested.status, 200, "{}", tested.text);
    assert!(tested.text.contains("passed"), "{}", tested.text);
    let off = press(&admin, "/rules/brute_force/disable", &[]).await;
    assert_eq!(off.location, "/rules/brute_force?done=changed");
    assert!(
        see(&admin, "/rules/brute_force")
            .await
            .contains("Turn the rule on")
    );
    let on = press(&admin, "/rules/brute_force/enable", &[]).await;
    assert_eq!(on.status, 303, "{}", on.text);
    let none = press(&admin, "/rules/no_such_rule/disable", &[]).await;
    assert!([404, 422].contains(&none.status), "{}", none.status);

    // A backtest goes on when the page is left, and is its person's alone.
    let user = Person::of(&signed_in(&daemon, "user").await);
    let begun = press(&user, "/rules/brute_force/backtest", &[("span", "24h")]).await;
    assert_eq!(begun.status, 303, "{}", begun.text);
    let place = begun.location;
    let since = std::time::Instant::now();
    let page = loop {
        let page = see(&user, &place).await;
        if page.contains("ended") || page.contains("failed") {
            break page;
        }
        assert!(since.elapsed() < PATIENCE, "{page}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    assert!(
        page.contains("192.0.2.9") && page.contains("<dd>7</dd>"),
        "{page}"
    );
    assert!(see(&user, "/backtests").await.contains(&place));
    assert_eq!(admin.get(&place).await.status, 404);
    let refused = press(&user, "/rules/brute_force/disable", &[]).await;
    assert_eq!(refused.status, 403);
    let bad = press(&user, "/rules/brute_force/backtest", &[("span", "900d")]).await;
    assert_eq!(bad.status, 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_channels_and_reviews_are_looked_after() {
    let mail = "[channels.email]\nhost = \"127.0.0.1\"\nport = 9\nsecurity = \"plain\"\n\
                from = \"a@example.com\"\nto = [\"b@example.com\"]\n";
    let daemon = Daemon::new(mail).await;
    let mut conn = daemon.connect().await;
    let admin = Person::of(&signed_in(&daemon, "system_admin").await);
    daemon.client().send(&[failure("192.0.2.1", "x")]).await;
    let since = std::time::Instant::now();
    let id = loop {
        let known: Option<String> =
            sqlx::query_scalar("SELECT source_id FROM blueteam.sources LIMIT 1")
                .fetch_optional(&mut conn)
                .await
                .unwrap();
        if let Some(id) = known {
            break id;
        }
        assert!(since.elapsed() < PATIENCE, "no source");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    let list = see(&admin, "/sources").await;
    let (_, rest) = list.split_once("href=\"/sources/").unwrap();
    let path = format!("/sources/{}", rest.split('"').next().unwrap());
    let page = see(&admin, &path).await;
    assert!(
        page.contains(&id) && page.contains("Everything could be read."),
        "{page}"
    );
    assert_eq!(admin.get("/sources/none%2Fsuch").await.status, 404);

    let sent = press(&admin, "/notifications/test", &[("channel", "each")]).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    assert!(
        sent.text.contains("sent (") && sent.text.contains("failed:"),
        "{}",
        sent.text
    );
    let user = Person::of(&signed_in(&daemon, "user").await);
    assert_eq!(press(&user, "/notifications/test", &[]).await.status, 403);

    let dead: uuid::Uuid = sqlx::query_scalar(
        "INSERT INTO blueteam.notifications (channel, kind, payload, state)
         VALUES ('email', 'heartbeat', '{\"title\": \"lost\"}', 'dead') RETURNING delivery_id",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    let dead = dead.to_string();
    let again = press(&admin, "/notifications/resend", &[("id", &dead)]).await;
    assert_eq!(
        again.location, "/notifications?done=resent-1",
        "{}",
        again.text
    );

    let short = press(&admin, "/upkeep/review/weekly", &[("conclusion", "x")]).await;
    assert_eq!(short.status, 422, "{}", short.text);
    let words = "nothing <b>to do</b>";
    let signed = press(&admin, "/upkeep/review/weekly", &[("conclusion", words)]).await;
    assert_eq!(signed.location, "/upkeep?done=changed", "{}", signed.text);
    let kept: String =
        sqlx::query_scalar("SELECT content FROM blueteam.compliance_evidence WHERE content IS NOT NULL ORDER BY collected_at DESC LIMIT 1")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert!(kept.contains(words), "{kept}");
    assert_eq!(admin.get("/upkeep/review/yearly").await.status, 404);
}
