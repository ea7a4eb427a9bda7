//! When to try again.

use std::time::Duration;

/// How long to wait after the `attempt`-th failure (counted from 1): doubles from `base` up to
/// `cap`, and lies in the upper half of that, chosen by `random` (any number, uniformly drawn), so
/// that deliveries that failed together don't come back together.
pub fn backoff(attempt: u32, base: Duration, cap: Duration, random: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(63);
    let full = base
        .as_micros()
        .saturating_mul(1 << doublings)
        .min(cap.as_micros())
        .min(u128::from(u64::MAX)) as u64;
    let half = full / 2;
    Duration::from_micros(full - half + if half == 0 { 0 } else { random % (half + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn doubles_up_to_the_cap() {
        let longest = |attempt| backoff(attempt, SECOND, 60 * SECOND, 500_000 * 60).as_secs();
        assert_eq!(backoff(1, SECOND, 60 * SECOND, 0), SECOND / 2);
        assert_eq!(backoff(4, SECOND, 60 * SECOND, 0), 4 * SECOND);
        assert!(longest(200) <= 60);
    }

    proptest! {
        #[test]
        fn stays_between_half_and_full(attempt in 0u32.., base in 0u64..10_000_000, cap in 0u64..10_000_000_000, random: u64) {
            let (base, cap) = (Duration::from_micros(base), Duration::from_micros(cap));
            let wait = backoff(attempt, base, cap, random);
            prop_assert!(wait <= cap);
            prop_assert!(wait >= base.min(cap) / 2);
        }
    }
}
