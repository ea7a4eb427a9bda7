//! Guesses at one account that are spread over addresses.

use super::*;

/// Failed logins on one account, spread evenly over so many addresses.
fn guesses(count: i64, addresses: i64, apart: i64) -> Vec<Draft> {
    let guess = |n: i64| {
        let place = n % addresses;
        let ip = format!(
            "198.{}.{}.{}",
            18 + place / 65_536,
            place / 256 % 256,
            place % 256
        );
        failed_login(n * apart)
            .ip(ip.leak())
            .with_metadata(json!({ "username": if n % 2 == 0 { "Admin" } else { "admin" } }))
    };
    (0..count).map(guess).collect()
}

#[test]
fn distributed_guessing_threshold() {
    check_cases(
        "distributed_guessing",
        &[
            ("ten addresses", 0, guesses(10, 10, 60)),
            ("eleven addresses", 1, guesses(11, 11, 60)),
            (
                "eleven within an hour less a second",
                1,
                guesses(11, 11, 359),
            ),
            ("eleven within an hour", 0, guesses(11, 11, 360)),
            ("twenty from two addresses", 0, guesses(20, 2, 60)),
            ("21 from two addresses", 1, guesses(21, 2, 60)),
            ("any number from one address", 0, guesses(500, 1, 2)),
            (
                "the same event again and again",
                0,
                vec![guesses(1, 1, 0)[0].clone(); 30],
            ),
            ("500 addresses are one alert", 1, guesses(500, 500, 3)),
        ],
    );
}

#[test]
fn spreading_guesses_over_addresses_hides_them_from_no_rule() {
    for addresses in [1, 2, 3, 4, 5, 7, 10, 11, 50, 499, 500] {
        for apart in [1, 7] {
            let found = run_events(Settings::default(), &guesses(500, addresses, apart));
            let seen = found
                .iter()
                .any(|d| matches!(d.rule_id.as_str(), "brute_force" | "distributed_guessing"));
            assert!(seen, "{addresses} addresses, {apart} s apart");
            let about_account = found
                .iter()
                .filter(|d| d.rule_id.as_str() == "distributed_guessing");
            assert!(about_account.count() <= 1, "{addresses} addresses");
        }
    }
}
