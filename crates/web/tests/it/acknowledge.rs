use app::ack_links::{Link, LinkKey};
use model::{AlertId, Span};
use testkit::TestDb;
use uuid::Uuid;
use web::Acknowledge;

use crate::http::{Running, call, now};

const ALERT: &str =
    "INSERT INTO blueteam.alert_history (alert_id, severity, title) VALUES ($1, 'high', 'x')";
const SEEN: &str = "SELECT acknowledged_by FROM blueteam.alert_history WHERE alert_id = $1";

#[tokio::test]
async fn a_link_acknowledges_by_its_button_alone() {
    let db = TestDb::new().await;
    let (pool, key) = (db.pool(10), LinkKey::new([7; 32]));
    let settings = Acknowledge {
        key: key.clone(),
        people: pool.clone(),
    };

    let running = Running::on(pool.clone(), Some(db), |s| s.acknowledge = Some(settings)).await;
    let id = Uuid::from_u128(0xa1);
    sqlx::query(ALERT).bind(id).execute(&pool).await.unwrap();
    let seen = async || {
        sqlx::query_scalar::<_, Option<String>>(SEEN)
            .bind(id)
            .fetch_one(&pool)
            .await
            .unwrap()
    };

    let link = |alert: Uuid, valid| {
        key.path(&Link {
            alert_id: AlertId(alert),
            expires: now().plus(valid),
            who: "Ann <b>".to_owned(),
        })
    };

    let good = link(id, Span::hours(1));

    let page = call(running.to, &format!("GET {good}"), "", b"").await;
    assert!(
        page.status == 200 && page.text.contains("<form method=\"post\">"),
        "{page:?}"
    );

    for header in [
        "cache-control: no-store",
        "default-src 'none'",
        "referrer-policy: no-referrer",
    ] {
        assert!(page.head.contains(header), "{page:?}");
    }

    let head = call(running.to, &format!("HEAD {good}"), "", b"").await;
    assert_eq!(head.status, 200);
    assert_eq!(
        seen().await,
        None,
        "a scanner that follows links acknowledges nothing"
    );

    let forged = format!("{good}x");
    let over = link(id, Span::ZERO);
    for wrong in [forged.as_str(), over.as_str(), "/ack/a/b/c/d"] {
        for method in ["GET", "POST"] {
            assert_eq!(
                call(running.to, &format!("{method} {wrong}"), "", b"")
                    .await
                    .status,
                403,
                "{method} {wrong}"
            );
        }
    }

    assert_eq!(seen().await, None);
    assert_eq!(
        call(
            running.to,
            &format!("POST {}", link(Uuid::from_u128(9), Span::hours(1))),
            "",
            b""
        )
        .await
        .status,
        404
    );

    assert_eq!(
        call(running.to, &format!("POST {good}"), "", b"")
            .await
            .status,
        200
    );
    assert_eq!(seen().await.as_deref(), Some("Ann <b> (link in a mail)"));
    let shown = call(running.to, &format!("GET {good}"), "", b"").await.text;
    assert!(
        shown.contains("Acknowledged by Ann &lt;b&gt; (link in a mail).")
            && shown.contains("<h1>")
            && shown.contains("Severity: "),
        "{shown}"
    );

    let log = "SELECT count(*) FROM audit.audit_log WHERE actor = 'Ann <b> (link in a mail)'";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(log)
            .fetch_one(&pool)
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn without_a_public_address_there_are_no_links() {
    let running = Running::new(|_| {}).await;
    assert_eq!(
        call(running.to, "GET /ack/a/b/c/d", "", b"").await.status,
        404
    );
}
