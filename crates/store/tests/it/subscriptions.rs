//! What tenants have subscribed to: the next user or key beyond it is refused, an event never is
//! (decision 0058).

use model::{SystemClock, TenantId};
use store::subscriptions::{Subscription, count_events, longest_retention, of, set, usage};
use testkit::TestDb;

use crate::tenants::{ADD_OTHER, DEFAULT, OTHER, act_for};
use crate::{person, sql, try_sql};

fn other() -> TenantId {
    TenantId(OTHER.parse().unwrap())
}

fn small() -> Subscription {
    Subscription {
        plan: "small".to_owned(),
        max_users: Some(2),
        max_keys: Some(2),
        max_agents: None,
        max_events: Some(1),
        max_bytes: Some(1),
        retention_months: Some(36),
    }
}

#[tokio::test]
async fn the_next_user_or_key_is_refused_also_when_two_come_at_once() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(&mut owner, ADD_OTHER).await;
    let mut accounts = db.connect_as("blueteam_accounts").await;
    assert_eq!(of(&mut accounts, other()).await.unwrap(), None);
    set(&mut accounts, &person("dana"), other(), &small())
        .await
        .unwrap();
    assert_eq!(of(&mut accounts, other()).await.unwrap(), Some(small()));
    assert_eq!(longest_retention(&mut accounts).await.unwrap(), Some(36));

    // Ten at once, for two places.
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..10 {
        let mut admin = db.connect_as("blueteam_admin").await;
        tries.spawn(async move {
            act_for(&mut admin, OTHER).await;
            sql(&mut admin, "SET blueteam.via = 'cli'").await;
            let text =
                format!("INSERT INTO users.users (username, email, tenant_id) VALUES ('u{n}', 'u{n}@x.test', '{OTHER}')");
            try_sql(&mut admin, &text).await.is_ok()
        });
    }
    let made = tries.join_all().await;
    assert_eq!(made.iter().filter(|made| **made).count(), 2);

    // A service's account and another tenant's are not counted; what another program writes is not refused.
    let mut admin = db.connect_as("blueteam_admin").await;
    act_for(&mut admin, OTHER).await;
    sql(&mut admin, "SET blueteam.via = 'cli'").await;
    let service = "INSERT INTO users.users (username, email, is_service, tenant_id)
                   VALUES ('s', 's@x.test', true, blueteam.tenant_of_new())";
    sql(&mut admin, service).await;
    let refused = try_sql(
        &mut admin,
        "INSERT INTO users.users (username, email, tenant_id) VALUES ('v', 'v@x.test', blueteam.tenant_of_new())",
    );
    let refused = refused.await.unwrap_err().to_string();
    assert!(
        refused.contains("the plan allows 2 users, and there are 2"),
        "{refused}"
    );
    sql(&mut owner, &format!("INSERT INTO users.users (username, email, tenant_id) VALUES ('w', 'w@x.test', '{OTHER}')")).await;
    act_for(&mut admin, DEFAULT).await;
    sql(
        &mut admin,
        "INSERT INTO users.users (username, email) VALUES ('x', 'x@x.test')",
    )
    .await;

    // Whoever is disabled makes room, and comes back only where there is some.
    act_for(&mut admin, OTHER).await;
    let one = "WHERE user_id = (SELECT user_id FROM users.users WHERE username LIKE 'u%' AND is_active LIMIT 1)";
    sql(
        &mut admin,
        &format!("UPDATE users.users SET is_active = false {one}"),
    )
    .await;
    sql(
        &mut owner,
        "UPDATE users.users SET is_active = false WHERE username = 'w'",
    )
    .await;
    sql(
        &mut admin,
        "INSERT INTO users.users (username, email, tenant_id) VALUES ('y', 'y@x.test', blueteam.tenant_of_new())",
    )
    .await;
    let back = "UPDATE users.users SET is_active = true WHERE username = 'w'";
    assert!(try_sql(&mut admin, back).await.is_err());

    // People's role changes no limit, not even its own.
    for text in [
        "UPDATE users.subscriptions SET max_users = 99",
        "DELETE FROM users.subscriptions",
        "INSERT INTO users.subscriptions (plan) VALUES ('all')",
    ] {
        assert!(try_sql(&mut admin, text).await.is_err(), "{text}");
    }

    let used = usage(&mut accounts, other(), model::Clock::now(&SystemClock))
        .await
        .unwrap();
    assert_eq!((used.users, used.keys, used.events), (2, 0, 0));
}

#[tokio::test]
async fn events_are_counted_once_by_tenant_whatever_is_open_meanwhile() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(&mut owner, ADD_OTHER).await;
    let insert = |tenant: &str, n: u32| {
        format!(
            "INSERT INTO blueteam.log_events (timestamp, source, category, action, result, tenant_id)
                 SELECT now(), 'syslog', 'auth', 'x', 'success', '{tenant}' FROM generate_series(1, {n});
             INSERT INTO audit_events (category, action, result, tenant_id)
                 VALUES ('auth', 'x', 'success', '{tenant}')"
        )
    };
    sql(&mut owner, &insert(DEFAULT, 2)).await;
    sql(&mut owner, &insert(OTHER, 5)).await;
    // One that is still open has not come yet.
    let mut slow = db.connect().await;
    sql(&mut slow, "BEGIN").await;
    sql(&mut slow, &insert(OTHER, 3)).await;

    let mut accounts = db.connect_as("blueteam_accounts").await;
    let now = model::Clock::now(&SystemClock);
    let mut engine = db.connect_as("blueteam_engine").await;
    // Transactions of other databases on this server may hold it back for a while.
    let mut counted = 0;
    while counted < 9 {
        counted += count_events(&mut engine).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(counted, 9);
    assert_eq!(count_events(&mut engine).await.unwrap(), 0);

    sql(&mut slow, "COMMIT").await;
    sql(&mut owner, &insert(OTHER, 1)).await;
    // Several at once, each event once.
    let mut counted = 0;
    while counted < 6 {
        let mut counts = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let mut engine = db.connect_as("blueteam_engine").await;
            counts.spawn(async move { count_events(&mut engine).await.unwrap() });
        }
        counted += counts.join_all().await.into_iter().sum::<u64>();
    }
    assert_eq!(counted, 6);
    let used = usage(&mut accounts, other(), now).await.unwrap();
    assert_eq!(used.events, 12);
    let ours = usage(&mut accounts, TenantId::DEFAULT, now).await.unwrap();
    assert_eq!(ours.events, 3);
    let (theirs, ours) = (used.bytes.unwrap(), ours.bytes.unwrap());
    assert!(theirs.abs_diff(ours * 4) <= 4, "{theirs} {ours}");
}

#[tokio::test]
async fn each_tenant_has_inventories_of_its_own() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(&mut owner, ADD_OTHER).await;
    for tenant in [DEFAULT, OTHER] {
        let mut admin = db.connect_as("blueteam_admin").await;
        act_for(&mut admin, tenant).await;
        let actor = person("dana");
        let import = store::advisories::Import {
            kind: "inventory",
            name: "web",
            origin: "web.json",
            digest: &"a".repeat(64),
            actor: &actor,
        };
        let component = store::advisories::StoredComponent {
            inventory: "web".to_owned(),
            ecosystem: "npm".to_owned(),
            distribution: String::new(),
            name: format!("of-{}", &tenant[35..]),
            version: "1.0.0".to_owned(),
        };
        let mut tx = store::begin(&mut admin, &actor).await.unwrap();
        store::advisories::save_components(&mut tx, import, &[component])
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    // The engine, whom no policy holds, works for one at a time as well.
    for role in ["blueteam_admin", "blueteam_engine"] {
        let mut conn = db.connect_as(role).await;
        for tenant in [DEFAULT, OTHER] {
            act_for(&mut conn, tenant).await;
            let found = store::advisories::components(&mut conn).await.unwrap();
            let names: Vec<&str> = found.iter().map(|c| c.name.as_str()).collect();
            assert_eq!(names, [format!("of-{}", &tenant[35..])], "{role}");
            assert_eq!(
                store::advisories::origins(&mut conn).await.unwrap().len(),
                1,
                "{role}"
            );
        }
    }

    // What publishers say is everybody's to see, and `default`'s to change.
    let feed =
        "INSERT INTO blueteam.advisory_sources (kind, name, origin, digest, items, imported_by)
                VALUES ('feed', 'kev', 'kev.json', repeat('a', 64), 1, 'dana')";
    let mut admin = db.connect_as("blueteam_admin").await;
    act_for(&mut admin, OTHER).await;
    assert!(try_sql(&mut admin, feed).await.is_err());
    act_for(&mut admin, DEFAULT).await;
    sql(&mut admin, feed).await;
    act_for(&mut admin, OTHER).await;
    assert_eq!(
        store::advisories::origins(&mut admin).await.unwrap().len(),
        2
    );
    let change = "UPDATE blueteam.advisory_sources SET items = 0 WHERE kind = 'feed'";
    assert!(try_sql(&mut admin, change).await.is_err());
}
