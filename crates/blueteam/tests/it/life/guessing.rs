//! Who guesses passwords from many addresses holds up neither events nor people.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::daemon::Daemon;
use super::people::{PASSWORD, json_of, secret};

/// How many networks guess, and how often each of them within a second.
const NETWORKS: u8 = 50;
const GUESSES: u32 = 2;
/// What an event and a right password may take, of a release build that has the machine to itself.
const EVENT_MAX: Duration = Duration::from_millis(20);
const SIGN_IN_MAX: Duration = Duration::from_secs(2);

fn client_at(address: Ipv4Addr) -> reqwest::Client {
    let client = reqwest::Client::builder()
        .no_proxy()
        .local_address(IpAddr::from(address))
        .timeout(super::daemon::PATIENCE);
    client.build().unwrap()
}

async fn post(client: &reqwest::Client, url: &str, body: &serde_json::Value) -> (u16, String) {
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Guesses from one network at its rate until `end`, whether or not the guesses before were answered;
/// returns how often, and how often it was looked at.
async fn guess(base: String, number: u8, end: Instant) -> (u32, u32) {
    let client = client_at(Ipv4Addr::new(127, 0, 1, number));
    let mut ticks = interval(Duration::from_secs(1) / GUESSES);
    let mut under_way = JoinSet::new();
    let mut sent = 0;
    while Instant::now() < end {
        ticks.tick().await;
        sent += 1;
        let username = format!("user{number}-{sent}");
        let body = json!({"username": username, "password": "guess", "code": "000000"});
        let (client, url) = (client.clone(), format!("{base}/api/v1/sign-in"));
        under_way.spawn(async move {
            let (status, text) = post(&client, &url, &body).await;
            assert!([401, 429].contains(&status), "{status}: {text}");
            u32::from(status == 401)
        });
    }

    let answers = under_way.join_all().await;
    (sent, answers.into_iter().sum())
}

/// `BLUETEAM_TEST_GUESSING` is for how many seconds; `BLUETEAM_TEST_FIGURES` asks for the figures. Without
/// them it is a look at whether all of it works: each guess costs a hash.
#[expect(
    clippy::too_many_lines,
    reason = "one picture, of which each part needs the others at work"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_from_many_networks_holds_up_neither_events_nor_people() {
    let seconds = std::env::var("BLUETEAM_TEST_GUESSING").ok();
    let (networks, seconds, right) = match seconds {
        Some(text) => (NETWORKS, text.parse::<u64>().unwrap(), 10),
        None => (3, 1, 1),
    };
    let wants_figures = std::env::var_os("BLUETEAM_TEST_FIGURES").is_some();
    let _ = rustls::crypto::ring::default_provider().install_default();

    let daemon = Daemon::new("").await;
    let base = format!("http://127.0.0.1:{}", daemon.port);
    let args = [
        "users",
        "create",
        "dana",
        "--email",
        "d@example.com",
        "--json",
    ];
    let link = json_of(&daemon, &args)["code"].as_str().unwrap().to_owned();
    let own = client_at(Ipv4Addr::new(127, 0, 0, 2));
    let (_, begun) = post(
        &own,
        &format!("{base}/api/v1/enrollment"),
        &json!({ "enrollment_code": link }),
    )
    .await;
    let begun: serde_json::Value = serde_json::from_str(&begun).unwrap();
    let totp = secret(begun["totp_secret"].as_str().unwrap());
    let body = json!({
        "enrollment_code": link, "password": PASSWORD, "code": super::people::code(&totp, None).0,
    });
    let (status, done) = post(&own, &format!("{base}/api/v1/enrollment/complete"), &body).await;
    assert_eq!(status, 200, "{done}");
    let done: serde_json::Value = serde_json::from_str(&done).unwrap();
    let codes: Vec<String> = serde_json::from_value(done["recovery_codes"].clone()).unwrap();
    let key = daemon.key();

    let end = Instant::now() + Duration::from_secs(seconds);
    let mut guessing = JoinSet::new();
    for number in 1..=networks {
        guessing.spawn(guess(base.clone(), number, end));
    }

    // People, evenly over the time.
    let people = tokio::spawn({
        let (own, base) = (own.clone(), base.clone());
        async move {
            let mut took = Vec::new();
            let pause = Duration::from_secs(seconds) / right;
            for code in codes.into_iter().take(right as usize) {
                sleep(pause).await;
                let body = json!({"username": "dana", "password": PASSWORD, "code": code});
                let began = Instant::now();
                let (status, text) = post(&own, &format!("{base}/api/v1/sign-in"), &body).await;
                assert_eq!(status, 200, "{text}");
                took.push(began.elapsed());
            }
            took
        }
    });

    let sender = client_at(Ipv4Addr::new(127, 0, 0, 3));
    let mut events = Vec::new();
    let mut ticks = interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < end {
        ticks.tick().await;
        let event = json!({"category": "access", "action": "page_view", "result": "success"});
        let began = Instant::now();
        let answer = sender
            .post(format!("{base}/v1/events"))
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .body(event.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        events.push(began.elapsed());
    }

    let (mut sent, mut looked_at) = (0, 0);
    while let Some(done) = guessing.join_next().await {
        let (more, more_looked_at) = done.unwrap();
        sent += more;
        looked_at += more_looked_at;
    }
    let mut people = people.await.unwrap();
    events.sort_unstable();
    people.sort_unstable();
    let p99 = events[events.len() * 99 / 100];
    let slowest = *people.last().unwrap();
    println!(
        "{sent} guesses in {seconds} s, {looked_at} of them looked at; {} events, p50 {:?}, p99 {p99:?}; \
         {} right passwords, p50 {:?}, slowest {slowest:?}",
        events.len(),
        events[events.len() / 2],
        people.len(),
        people[people.len() / 2],
    );
    assert!(
        looked_at <= u32::from(networks) * 20,
        "the limit of networks holds"
    );
    if wants_figures {
        assert!(p99 < EVENT_MAX, "{p99:?}");
        assert!(slowest < SIGN_IN_MAX, "{slowest:?}");
    }
}
