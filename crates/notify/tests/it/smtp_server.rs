//! A small, strict SMTP server: one conversation, CRLF only, every command in its order, TLS where
//! it is asked for.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How the server behaves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manners {
    pub(crate) starttls: bool,
    pub(crate) implicit_tls: bool,
    /// The AUTH PLAIN line (base64) that is let in; none is asked for when empty.
    pub(crate) login: &'static str,
    /// Answers to RCPT for addresses that start with the first part.
    pub(crate) refuse: &'static [(&'static str, &'static str)],
    /// The answer to the message itself, instead of 250.
    pub(crate) verdict: &'static str,
}

/// What was sent in one conversation.
#[derive(Default)]
pub(crate) struct Conversation {
    pub(crate) commands: Vec<String>,
    pub(crate) encrypted: bool,
    pub(crate) mail: String,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) ca_pem: String,
    pub(crate) conversation: JoinHandle<Conversation>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) async fn start(manners: Manners) -> Server {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();

    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let conversation = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut said = Conversation::default();
        let mut stream: Box<dyn Stream> = Box::new(tcp);
        if manners.implicit_tls {
            let Ok(tls) = acceptor.accept(stream).await else {
                return said;
            };
            stream = Box::new(tls);
            said.encrypted = true;
        }

        let mut stream = BufReader::new(stream);
        say(&mut stream, "220 localhost ESMTP").await;
        while let Some(line) = line(&mut stream).await {
            said.commands.push(line.clone());
            if line == "STARTTLS" && manners.starttls && !said.encrypted {
                say(&mut stream, "220 go ahead").await;
                let Ok(tls) = acceptor.accept(stream.into_inner()).await else {
                    return said;
                };
                stream = BufReader::new(Box::new(tls));
                said.encrypted = true;
                continue;
            }

            let answer = answer(&line, manners, &mut said, &mut stream).await;
            say(&mut stream, &answer).await;
            if line == "QUIT" {
                break;
            }
        }

        said
    });

    Server {
        port,
        ca_pem: cert.pem(),
        conversation,
    }
}

async fn say(stream: &mut BufReader<Box<dyn Stream>>, text: &str) {
    // The client may have hung up; what it said until then is what counts.
    let _ = stream.write_all(format!("{text}\r\n").as_bytes()).await;
    let _ = stream.flush().await;
}

async fn line(stream: &mut BufReader<Box<dyn Stream>>) -> Option<String> {
    let mut text = String::new();
    if stream.read_line(&mut text).await.ok()? == 0 {
        return None;
    }
    let text = text.strip_suffix("\r\n").expect("lines end with CRLF");
    assert!(!text.contains(['\r', '\n']), "bare line end in {text:?}");
    Some(text.to_owned())
}

async fn answer(
    command: &str,
    manners: Manners,
    said: &mut Conversation,
    stream: &mut BufReader<Box<dyn Stream>>,
) -> String {
    let done = |word: &str| {
        said.commands
            .iter()
            .any(|command| command.starts_with(word))
    };

    if command.starts_with("EHLO ") {
        let mut features = vec!["localhost"];
        features.extend((manners.starttls && !said.encrypted).then_some("STARTTLS"));
        features.extend((!manners.login.is_empty()).then_some("AUTH PLAIN"));
        let last = features.pop().unwrap();
        let first: String = features
            .iter()
            .flat_map(|feature| ["250-", feature, "\r\n"])
            .collect();
        return format!("{first}250 {last}");
    }

    if let Some(login) = command.strip_prefix("AUTH PLAIN ") {
        return if login == manners.login {
            "235 welcome"
        } else {
            "535 who are you"
        }
        .to_owned();
    }

    if command.starts_with("MAIL FROM:<") {
        return if manners.login.is_empty() || done("AUTH") {
            "250 ok"
        } else {
            "530 log in first"
        }
        .to_owned();
    }

    if let Some(address) = command.strip_prefix("RCPT TO:<") {
        assert!(done("MAIL"));
        let refusal = manners
            .refuse
            .iter()
            .find(|(start, _)| address.starts_with(start));
        return refusal.map_or("250 ok", |(_, answer)| answer).to_owned();
    }

    if command == "DATA" {
        assert!(done("RCPT"));
        say(stream, "354 go ahead").await;
        while let Some(line) = line(stream).await {
            if line == "." {
                break;
            }
            said.mail.push_str(line.strip_prefix('.').unwrap_or(&line));
            said.mail.push_str("\r\n");
        }

        return if manners.verdict.is_empty() {
            "250 queued as 42"
        } else {
            manners.verdict
        }
        .to_owned();
    }

    if command == "QUIT" {
        "221 bye"
    } else {
        "500 what"
    }
    .to_owned()
}
