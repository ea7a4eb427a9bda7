//! How the database grows, and when its disk is full: from samples of several days, or not at all.

use model::{Span, Timestamp};
use serde::Serialize;
use store::upkeep::SizeSample;

/// The share of a disk at which it must be looked after (SecureGuard, Alerting Thresholds).
const FULL: f64 = 0.85;
/// Samples on so many days, at least: one or two say how an import went.
const SAMPLES_MIN: usize = 3;
/// A date that is further away says nothing.
const FARTHEST: Span = Span::days(3650);

/// How the database grows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// Daily samples that this rests on.
    pub samples: usize,
    /// Bytes by which the database grows a day.
    pub bytes_a_day: Option<f64>,
    /// Why that is not known.
    pub no_growth_because: Option<String>,
    /// The day (UTC) on which 85 % of the disk is in use.
    pub full_on: Option<String>,
    /// Why that is not known.
    pub no_day_because: Option<String>,
}

impl Growth {
    /// Judges the samples, the oldest first.
    pub fn of(samples: &[SizeSample]) -> Self {
        let sizes: Vec<_> = samples.iter().map(|s| (s.at, s.database_bytes)).collect();
        let (bytes_a_day, no_growth_because) = split(slope(&sizes));
        let (full_on, no_day_because) = split(full_on(samples));
        Self {
            samples: samples.len(),
            bytes_a_day,
            no_growth_because,
            full_on,
            no_day_because,
        }
    }
}

fn split<T>(known: Result<T, String>) -> (Option<T>, Option<String>) {
    match known {
        Ok(value) => (Some(value), None),
        Err(why) => (None, Some(why)),
    }
}

/// Bytes a day by which a size grows: the line with the least squares.
fn slope(sizes: &[(Timestamp, u64)]) -> Result<f64, String> {
    let days = |at: Timestamp| {
        let first = sizes.first().map_or(at, |(first, _)| *first);
        at.since(first).as_micros() as f64 / Span::days(1).as_micros() as f64
    };
    if sizes.len() < SAMPLES_MIN {
        return Err(format!(
            "there are samples of {} days, and {SAMPLES_MIN} are needed; the daemon takes one a day",
            sizes.len()
        ));
    }

    let n = sizes.len() as f64;
    let (mean_day, mean_size) = (
        sizes.iter().map(|(at, _)| days(*at)).sum::<f64>() / n,
        sizes.iter().map(|(_, size)| *size as f64).sum::<f64>() / n,
    );
    let (mut both, mut square) = (0.0, 0.0);
    for (at, size) in sizes {
        let off = days(*at) - mean_day;
        both += off * (*size as f64 - mean_size);
        square += off * off;
    }

    if square <= f64::EPSILON {
        return Err("all samples are of one moment".to_owned());
    }
    Ok(both / square)
}

fn full_on(samples: &[SizeSample]) -> Result<String, String> {
    // A disk that was known once may be another one now.
    let Some((last, disk)) = samples.last().and_then(|s| Some((s, s.disk?))) else {
        return Err(if samples.is_empty() {
            "there is no sample yet; the daemon takes one a day".to_owned()
        } else {
            "the disk of the database is not known: the server is not blueteam's own. If it runs \
                on this machine, name its disk in monitors.storage_paths"
                .to_owned()
        });
    };

    let limit = disk.size as f64 * FULL;
    let used = disk.used as f64;
    if used >= limit {
        return Ok(day(last.at));
    }

    let uses: Vec<_> = samples
        .iter()
        .filter_map(|s| Some((s.at, s.disk?.used)))
        .collect();
    let growth = slope(&uses)?;
    if growth <= 0.0 {
        return Err("the disk does not fill up".to_owned());
    }

    let ahead = (limit - used) / growth;
    let farthest = FARTHEST.as_micros() as f64 / Span::days(1).as_micros() as f64;
    if ahead > farthest {
        return Err("not within ten years".to_owned());
    }

    // Bounded by the line above.
    let ahead = Span::micros((ahead * Span::days(1).as_micros() as f64) as i64);
    Ok(day(last.at.plus(ahead)))
}

fn day(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use store::upkeep::Disk;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn sample(day: i64, database: u64, disk: Option<(u64, u64)>) -> SizeSample {
        SizeSample {
            at: Timestamp::parse("2026-11-01T06:00:00Z")
                .unwrap()
                .plus(Span::days(day)),
            database_bytes: database * GIB,
            disk: disk.map(|(used, size)| Disk {
                used: used * GIB,
                size: size * GIB,
            }),
        }
    }

    #[test]
    fn the_day_of_a_full_disk_follows_from_samples_of_several_days() {
        let all: Vec<_> = (0..5)
            .map(|day| {
                sample(
                    day,
                    10 + 2 * day.unsigned_abs(),
                    Some((50 + day.unsigned_abs(), 100)),
                )
            })
            .collect();
        let growth = Growth::of(&all);
        assert!((growth.bytes_a_day.unwrap() / GIB as f64 - 2.0).abs() < 0.01);
        // 54 of 100 on the 5th, one more each day.
        assert_eq!(growth.full_on.as_deref(), Some("2026-12-06"));
        assert_eq!(
            (growth.no_growth_because, growth.no_day_because),
            (None, None)
        );
    }

    #[test]
    fn what_is_not_known_has_a_reason() {
        let none = Growth::of(&[]);
        assert_eq!((none.bytes_a_day, &none.full_on), (None, &None));
        assert!(none.no_growth_because.is_some() && none.no_day_because.is_some());

        let two = [
            sample(0, 1, Some((10, 100))),
            sample(1, 60, Some((70, 100))),
        ];
        for few in [&two[..1], &two[..]] {
            let few = Growth::of(few);
            assert_eq!((few.bytes_a_day, &few.full_on), (None, &None));
            assert!(few.no_day_because.unwrap().contains("3 are needed"));
        }

        let elsewhere: Vec<_> = (0..9).map(|day| sample(day, 10, None)).collect();
        let growth = Growth::of(&elsewhere);
        assert_eq!(growth.bytes_a_day, Some(0.0));
        assert!(growth.no_day_because.unwrap().contains("is not known"));

        let shrinking: Vec<_> = (0..4)
            .map(|day| sample(day, 10, Some((50 - day.unsigned_abs(), 100))))
            .collect();
        let growth = Growth::of(&shrinking);
        assert_eq!(growth.full_on, None);
        assert!(growth.no_day_because.unwrap().contains("does not fill"));
    }

    #[test]
    fn a_disk_that_is_full_already_is_full_today() {
        let growth = Growth::of(&[sample(3, 1, Some((86, 100)))]);
        assert_eq!(growth.full_on.as_deref(), Some("2026-11-04"));
    }
}
