use super::*;

#[test]
fn a_failed_login_is_what_the_semantics_say() {
    let mark = |category, action: &'static str, result| {
        let event = SecurityEvent::new(
            EventId(Uuid::nil()),
            Timestamp::from_secs(0),
            Source::AuditDb,
            category,
            action.into(),
            result,
        );
        event.classify().marks.intersects(EventTags::FAILED_LOGIN)
    };

    assert!(mark(Category::Auth, "login_failed", Outcome::Failure));
    assert!(mark(Category::Auth, "login", Outcome::Denied));
    assert!(mark(Category::Auth, "login", Outcome::Failure));
    assert!(!mark(Category::Auth, "login", Outcome::Success));
    assert!(!mark(Category::Access, "login_failed", Outcome::Failure));
    assert!(!mark(Category::Auth, "mfa_challenge", Outcome::Failure));
}
