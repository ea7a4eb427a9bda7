use model::ControlId;
use notify::channels::email::{Security, Settings as Mail, outlet};
use notify::{Kind, Person, Receipt, SendError};
use secrecy::SecretString;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::smtp_server::{Conversation, Manners, Server, start};
use super::{IMPATIENCE, PATIENCE, send};

/// `\0soc\0s3cret` in base64.
const LOGIN: &str = "AHNvYwBzM2NyZXQ=";

fn mail(port: u16, security: Security) -> Mail {
    Mail {
        host: "localhost".to_owned(),
        port,
        security,
        login: None,
        from: "Blue Team <soc@example.com>".to_owned(),
        to: vec![
            "Ann <ann@example.com>".to_owned(),
            "bob@example.com".to_owned(),
        ],
        audit_failures: Vec::new(),
        ca_pem: None,
        timeout: PATIENCE,
    }
}

async fn sent(
    manners: Manners,
    security: Security,
    password: &str,
) -> (Result<Receipt, SendError>, Conversation) {
    let Server {
        port,
        ca_pem,
        conversation,
    } = start(manners).await;
    let login =
        (!manners.login.is_empty()).then(|| ("soc".to_owned(), SecretString::from(password)));
    let result = send(outlet(Mail {
        ca_pem: Some(ca_pem),
        login,
        ..mail(port, security)
    }))
    .await;

    (result, conversation.await.unwrap())
}

#[tokio::test]
async fn starttls_and_login_come_before_the_mail() {
    let manners = Manners {
        starttls: true,
        login: LOGIN,
        ..Manners::default()
    };

    let (result, said) = sent(manners, Security::StartTls, "s3cret").await;
    assert!(result.unwrap().detail.contains("queued as 42"));
    assert!(said.encrypted);
    let words: Vec<_> = said
        .commands
        .iter()
        .map(|command| command.split([' ', ':']).next().unwrap())
        .collect();
    assert_eq!(
        words,
        [
            "EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "RCPT", "DATA", "QUIT"
        ]
    );

    assert!(
        said.mail
            .contains("Message-ID: <00000000-0000-0000-0000-0000000000d1@example.com>\r\n"),
        "{}",
        said.mail
    );
    assert!(said.mail.contains("Auto-Submitted: auto-generated\r\n"));
    assert!(said.mail.contains("multipart/alternative") && said.mail.contains("text/html"));
}

#[tokio::test]
async fn a_greeting_shows_whether_the_server_lets_us_in_and_sends_no_mail() {
    for (password, is_let_in) in [("s3cret", true), ("guessed", false)] {
        let manners = Manners {
            starttls: true,
            login: LOGIN,
            ..Manners::default()
        };
        let server = start(manners).await;
        let channel = outlet(Mail {
            ca_pem: Some(server.ca_pem),
            login: Some(("soc".to_owned(), SecretString::from(password))),
            ..mail(server.port, Security::StartTls)
        });
        let greeted = channel.unwrap().greet().unwrap().await;
        assert_eq!(greeted.is_ok(), is_let_in, "{greeted:?}");
        let said = server.conversation.await.unwrap();
        assert!(
            !said
                .commands
                .iter()
                .any(|command| command.starts_with("MAIL")),
            "{:?}",
            said.commands
        );
    }
}

#[tokio::test]
async fn a_server_that_never_ends_its_line_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut bytes, piece) = (0, vec![b'2'; 64 * 1024]);
        while stream.write_all(&piece).await.is_ok() {
            bytes += piece.len();
        }
        bytes
    });

    let channel = outlet(mail(port, Security::Plain)).unwrap();
    let error = channel.greet().unwrap().await.unwrap_err();
    assert!(
        error.what.contains("says more than 1024 KiB"),
        "{}",
        error.what
    );
    drop(channel);
    // What was on its way besides lies in the buffers of the two sockets.
    assert!(said.await.unwrap() < 32 * 1024 * 1024);
}

#[tokio::test]
async fn tls_from_the_start_and_plain_on_this_machine() {
    let (result, said) = sent(
        Manners {
            implicit_tls: true,
            ..Manners::default()
        },
        Security::Tls,
        "",
    )
    .await;
    assert!(result.is_ok() && said.encrypted);

    let (result, said) = sent(Manners::default(), Security::Plain, "").await;
    assert!(result.is_ok() && !said.encrypted);
}

#[tokio::test]
async fn nothing_is_said_in_plain_text_when_starttls_is_missing() {
    let (result, said) = sent(
        Manners {
            login: LOGIN,
            ..Manners::default()
        },
        Security::StartTls,
        "s3cret",
    )
    .await;
    assert!(result.unwrap_err().what.contains("STARTTLS"));

    assert!(
        said.commands
            .iter()
            .all(|command| command.starts_with("EHLO") || command == "QUIT"),
        "{:?}",
        said.commands
    );
}

#[tokio::test]
async fn a_strange_certificate_is_refused() {
    let server = start(Manners {
        starttls: true,
        ..Manners::default()
    })
    .await;
    let error = send(outlet(mail(server.port, Security::StartTls)))
        .await
        .unwrap_err();
    assert!(
        error.is_temporary() && error.advice.contains("certificate"),
        "{error}"
    );

    assert!(
        !server
            .conversation
            .await
            .unwrap()
            .commands
            .iter()
            .any(|command| command.starts_with("MAIL"))
    );
}

#[tokio::test]
async fn a_wrong_password_keeps_the_alert_waiting_and_is_not_shown() {
    let manners = Manners {
        starttls: true,
        login: LOGIN,
        ..Manners::default()
    };

    let (result, _) = sent(manners, Security::StartTls, "wr0ng").await;
    let error = result.unwrap_err();
    assert!(
        error.is_temporary() && error.advice.contains("password"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("wr0ng"));
}

#[tokio::test]
async fn one_bad_address_does_not_silence_the_rest() {
    let manners = Manners {
        refuse: &[("ann", "550 no Ann here")],
        ..Manners::default()
    };

    let (result, said) = sent(manners, Security::Plain, "").await;
    let detail = result.unwrap().detail;
    assert!(
        detail.contains("NOT to ann@example.com") && detail.contains("no Ann here"),
        "{detail}"
    );
    assert!(!said.mail.is_empty());

    let manners = Manners {
        refuse: &[("", "550 nobody here")],
        ..Manners::default()
    };

    assert!(
        !sent(manners, Security::Plain, "")
            .await
            .0
            .unwrap_err()
            .is_temporary()
    );

    let manners = Manners {
        refuse: &[("ann", "550 gone"), ("bob", "451 grey")],
        ..Manners::default()
    };

    assert!(
        sent(manners, Security::Plain, "")
            .await
            .0
            .unwrap_err()
            .is_temporary()
    );
}

#[tokio::test]
async fn the_verdict_on_the_message_decides() {
    let verdict = |verdict| Manners {
        verdict,
        ..Manners::default()
    };

    assert!(
        sent(verdict("451 later"), Security::Plain, "")
            .await
            .0
            .unwrap_err()
            .is_temporary()
    );

    assert!(
        !sent(verdict("554 spam"), Security::Plain, "")
            .await
            .0
            .unwrap_err()
            .is_temporary()
    );
}

#[tokio::test]
async fn refused_and_hanging_servers_are_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hanging = Mail {
        timeout: IMPATIENCE,
        host: "127.0.0.1".to_owned(),
        ..mail(port, Security::Plain)
    };

    assert!(send(outlet(hanging)).await.unwrap_err().is_temporary());
    drop(listener);

    assert!(
        send(outlet(mail(port, Security::Plain)))
            .await
            .unwrap_err()
            .is_temporary()
    );
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let key = |mail: Mail| outlet(mail).err().unwrap().key;
    assert_eq!(
        key(Mail {
            host: "mail.example.com".to_owned(),
            ..mail(25, Security::Plain)
        }),
        "security"
    );

    assert_eq!(
        key(Mail {
            to: Vec::new(),
            ..mail(25, Security::Tls)
        }),
        "to"
    );

    assert_eq!(
        key(Mail {
            to: vec!["a@b\r\nBcc: c@d".to_owned()],
            ..mail(25, Security::Tls)
        }),
        "to"
    );

    assert_eq!(
        key(Mail {
            from: "nobody".to_owned(),
            ..mail(25, Security::Tls)
        }),
        "from"
    );

    assert_eq!(
        key(Mail {
            ca_pem: Some("nothing".to_owned()),
            ..mail(25, Security::Tls)
        }),
        "ca_file"
    );
}

#[tokio::test]
async fn the_named_personnel_hear_of_audit_failures_and_of_nothing_else() {
    let named = |name: &str, mail: &str| Person {
        name: name.to_owned(),
        mail: mail.to_owned(),
        phone: "+1 555 0100".to_owned(),
    };

    for failure in [true, false] {
        let Server {
            port, conversation, ..
        } = start(Manners::default()).await;

        // Ann is among those who hear of everything: she gets one mail.
        let audit_failures = vec![
            named("Carol \u{d6}", "carol@example.com"),
            named("Ann", "ann@example.com"),
        ];
        let channel = outlet(Mail {
            audit_failures,
            ..mail(port, Security::Plain)
        });

        let mut message = super::message();
        if failure {
            let mut alert = message.content.as_alert().into_owned();
            alert.nist_controls.push(ControlId::known("3.3.4"));
            message.content = model::Content::Alert(Box::new(alert));
        }

        channel.unwrap().send(&message).await.unwrap();

        let said = conversation.await.unwrap();
        let told = said
            .commands
            .iter()
            .filter(|command| command.starts_with("RCPT"))
            .count();
        assert_eq!(told, if failure { 3 } else { 2 }, "{:?}", said.commands);

        assert_eq!(
            said.commands
                .iter()
                .any(|command| command.contains("carol@example.com")),
            failure
        );
        assert_eq!(said.mail.contains("Responsible"), failure, "{}", said.mail);
    }
}

#[tokio::test]
async fn an_escalation_goes_to_the_people_of_its_tier_alone() {
    let Server {
        port, conversation, ..
    } = start(Manners::default()).await;
    let dora = Person {
        name: "Dora".to_owned(),
        mail: "dora@example.com".to_owned(),
        phone: String::new(),
    };

    let message = notify::Notification {
        kind: Kind::Escalated,
        people: vec![dora],
        ..super::message()
    };

    let channel = outlet(mail(port, Security::Plain)).unwrap();
    channel.send(&message).await.unwrap();
    let said = conversation.await.unwrap();
    let told: Vec<_> = said
        .commands
        .iter()
        .filter(|command| command.starts_with("RCPT"))
        .collect();
    assert!(
        told.len() == 1 && told[0].contains("dora@example.com"),
        "{told:?}"
    );

    assert!(
        said.mail.contains("ESCALATED") && said.mail.contains("Nobody has acknowledged"),
        "{}",
        said.mail
    );
}
