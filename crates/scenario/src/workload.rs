//! The workload of the benchmarks: one day of a large application.

use std::io::{self, Write};

use model::{Span, Timestamp};

use super::Random;

/// Writes `events` audit events as NDJSON: one day, `users` users with Zipf-distributed activity,
/// about 560 bytes per event, with a few percent of attacks and of other events that rules examine.
pub fn write_workload(out: &mut dyn Write, events: u64, users: u64, seed: u64) -> io::Result<()> {
    let mut random = Random::new(seed);
    let start = Timestamp::from_secs(1_772_582_400);
    let step = Span::days(1).as_micros() / events.max(1) as i64;

    // Zipf's law by inverting its distribution function: rank ~ users^u.
    let exponent = (users as f64).ln();
    for n in 0..events {
        let at = start.plus(Span::micros(step * n as i64 + random.range(0, step.max(1))));
        let user = ((random.unit() * exponent).exp() as u64).min(users) - 1;
        let kind = random.range(0, 1000);
        let (category, action, result) = match kind {
            0..30 => ("auth", "login_failed", "failure"),
            30..80 => ("auth", "login", "success"),
            80..95 => ("auth", "logout", "success"),
            95..120 => ("data", "export_data", "success"),
            120..125 => ("ai", "guardrail_triggered", "denied"),
            125..135 => ("system", "rate_limit_hit", "denied"),
            135..137 => ("auth", "password_change", "success"),
            137..150 => ("admin", "settings_change", "success"),
            150..420 => ("data", "bearing_view", "success"),
            420..560 => ("data", "chat_message", "success"),
            560..600 => ("ai", "chat_request", "success"),
            _ => ("access", "api_request", "success"),
        };

        let role = if user.is_multiple_of(50) || category == "admin" {
            "admin"
        } else {
            "user"
        };

        // Now and then an attacker's address, otherwise the user's own.
        let ip = if kind < 15 {
            0xc633_6400 + random.range(0, 8000) as u32
        } else {
            0x0a14_0000 + user as u32
        };

        let ip = std::net::Ipv4Addr::from(ip);
        let tenant = user % 40;
        let session = user * 24 + (n * 24 / events.max(1));
        let id = random.uuid(at);
        let cui = random.range(0, 10) == 0;
        let agent = user % 37;
        let bytes = random.range(1000, 900_000);
        writeln!(
            out,
            "{{\"event_id\":\"{id}\",\"timestamp\":\"{at}\",\"category\":\"{category}\",\
             \"action\":\"{action}\",\"result\":\"{result}\",\
             \"user_id\":\"019c0000-0000-7000-8000-{user:012x}\",\
             \"session_id\":\"sess-{session:012x}\",\"ip_address\":\"{ip}\",\
             \"user_agent\":\"Mozilla/5.0 (X11; Linux x86_64) Firefox/147.{agent}\",\
             \"resource_type\":\"/api/bearings.php\",\"resource_id\":\"bearing-{:06}\",\
             \"instance_id\":\"019c0000-0000-7000-9000-{tenant:012x}\",\"cui_accessed\":{cui},\
             \"metadata\":{{\"username\":\"user{user:05}\",\"role\":\"{role}\",\
             \"home_instance_id\":\"019c0000-0000-7000-9000-{tenant:012x}\",\"bytes\":{bytes}}}}}",
            n % 1_000_000,
        )?;
    }

    Ok(())
}
