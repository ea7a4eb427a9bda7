use model::{Source, Span};
use serde_json::json;
use store::sources::{self, Cause, DeadLetter, Gap, Intake, LETTERS_MAX};
use testkit::TestDb;

use crate::{at, count};

const ID: &str = "syslog:/var/log/auth.log";

#[tokio::test]
async fn an_account_adds_up() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    sources::declare(&mut conn, ID, Source::Syslog, Some(Span::mins(5)))
        .await
        .unwrap();

    let intake = |accepted, skew| Intake {
        accepted,
        ignored: 2,
        repeated: 1,
        rejected: 1,
        late: 1,
        newest: Some(at(50)),
        skew: Some(Span::secs(skew)),
    };

    sources::book(&mut conn, ID, Source::Syslog, &intake(3, 9), at(100))
        .await
        .unwrap();
    sources::book(&mut conn, ID, Source::Syslog, &intake(4, -2), at(200))
        .await
        .unwrap();

    sources::save_ledger(
        &mut conn,
        ID,
        &json!({"open": [1]}),
        Some(&json!({"last": 7})),
    )
    .await
    .unwrap();

    let row = sources::find(&mut conn, ID).await.unwrap().unwrap();
    assert_eq!(
        (
            row.received,
            row.accepted,
            row.ignored,
            row.repeated,
            row.rejected,
            row.late
        ),
        (15, 7, 4, 2, 2, 2)
    );

    assert_eq!(
        (row.last_received_at, row.last_event_at, row.skew),
        (Some(at(200)), Some(at(50)), Some(Span::secs(-2)))
    );
    assert_eq!(
        (row.expected_every, row.sequence),
        (Some(Span::mins(5)), Some(json!({"last": 7})))
    );

    // Another hour: the old measure no longer counts.
    sources::book(
        &mut conn,
        ID,
        Source::Syslog,
        &intake(1, 30),
        at(100 + 3600),
    )
    .await
    .unwrap();

    assert_eq!(
        sources::find(&mut conn, ID).await.unwrap().unwrap().skew,
        Some(Span::secs(30))
    );
    assert_eq!(sources::find(&mut conn, "other").await.unwrap(), None);
}

#[tokio::test]
async fn a_source_is_silent_once_at_a_time() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    sources::declare(&mut conn, ID, Source::Syslog, None)
        .await
        .unwrap();

    let silence = |from| Gap {
        cause: Cause::Silence,
        started_at: at(from),
        ended_at: None,
        lost: None,
        detail: "quiet".to_owned(),
    };

    sources::note_gap(&mut conn, ID, &silence(10))
        .await
        .unwrap();
    sources::note_gap(&mut conn, ID, &silence(20))
        .await
        .unwrap();

    assert_eq!(
        sources::find(&mut conn, ID)
            .await
            .unwrap()
            .unwrap()
            .silent_since,
        Some(at(10))
    );

    assert!(sources::end_silence(&mut conn, ID, at(30)).await.unwrap());
    assert!(!sources::end_silence(&mut conn, ID, at(30)).await.unwrap());
    assert_eq!(
        sources::gaps(&mut conn, ID, 9).await.unwrap(),
        [Gap {
            ended_at: Some(at(30)),
            ..silence(10)
        }]
    );
}

#[tokio::test]
async fn dead_letters_are_kept_up_to_a_number() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let letter = |n: usize| DeadLetter {
        place: n.to_string(),
        reason: "is \0 no line".to_owned(),
        entry: vec![0xff; n],
        length: n as u64,
    };

    let many: Vec<DeadLetter> = (0..LETTERS_MAX as usize + 5)
        .map(|n| letter(n % 9))
        .collect();
    sources::bury(&mut conn, ID, &many, at(0)).await.unwrap();
    sources::bury(&mut conn, "other", &[letter(9000)], at(1))
        .await
        .unwrap();
    sources::bury(&mut conn, ID, &[letter(1), letter(2)], at(2))
        .await
        .unwrap();

    assert_eq!(sources::clear_dead_letters(&mut conn).await.unwrap(), 2);
    let mut owner = db.connect().await;
    assert_eq!(
        count(&mut owner, "blueteam.dead_letters").await,
        LETTERS_MAX + 1
    );

    let newest = sources::dead_letters(&mut conn, None, 3).await.unwrap();
    let places: Vec<(&str, u64, usize)> = newest
        .iter()
        .map(|l| (&*l.letter.place, l.letter.length, l.letter.entry.len()))
        .collect();
    assert_eq!(
        places,
        [("2", 2, 2), ("1", 1, 1), ("9000", 9000, sources::ENTRY_MAX)]
    );
}
