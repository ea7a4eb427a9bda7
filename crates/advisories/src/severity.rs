//! Severities, in the words and vectors of publishers. What is not understood is `None`, which
//! people are shown as unknown: any guess would be wrong for some readers.

use model::Severity;

/// Parses a severity in the words of publishers.
pub(crate) fn parse_word(word: &str) -> Option<Severity> {
    Some(match word.trim().to_ascii_lowercase().as_str() {
        "critical" | "urgent" => Severity::Critical,
        "high" | "important" => Severity::High,
        "medium" | "moderate" => Severity::Medium,
        "low" | "unimportant" | "negligible" | "minor" => Severity::Low,
        "none" => Severity::Info,
        _ => return None,
    })
}

/// Parses a score, which is a CVSS vector of any version, a number, or a word.
pub(crate) fn parse_score(score: &str) -> Option<Severity> {
    let score = score.trim();
    parse_word(score)
        .or_else(|| score.parse().ok().and_then(of_number))
        .or_else(|| of_vector(score))
}

/// Returns the severity of a base score by the qualitative scale of CVSS 3 and 4.
pub(crate) fn of_number(score: f64) -> Option<Severity> {
    Some(match score {
        s if !(0.0..=10.0).contains(&s) => return None,
        s if s >= 9.0 => Severity::Critical,
        s if s >= 7.0 => Severity::High,
        s if s >= 4.0 => Severity::Medium,
        s if s > 0.0 => Severity::Low,
        _ => Severity::Info,
    })
}

fn of_vector(vector: &str) -> Option<Severity> {
    // NVD writes vectors of version 2 in parentheses.
    let vector = vector.trim_matches(['(', ')']);
    if !is_complete(vector) {
        return None;
    }
    let cvss: cvss::Cvss = vector.parse().ok()?;
    of_number(cvss.score())
}

/// Returns whether a vector has all metrics of the base score; the crate takes those that are
/// missing for harmless.
fn is_complete(vector: &str) -> bool {
    let required: &[&str] = match vector.get(..7) {
        Some("CVSS:4.") => &[
            "AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA",
        ],
        Some("CVSS:3.") => &["AV", "AC", "PR", "UI", "S", "C", "I", "A"],
        _ => &["AV", "AC", "Au", "C", "I", "A"],
    };
    let has = |name: &str| {
        vector
            .split('/')
            .any(|metric| metric.split(':').next() == Some(name))
    };
    required.iter().all(|name| has(name))
}

/// Returns the severity before a title, as Red Hat and those who rebuild its packages write it:
/// `Important: openssl security update`.
pub(crate) fn of_title(title: &str) -> Option<Severity> {
    parse_word(title.split_once(':')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_their_published_severities() {
        use Severity::{Critical, High, Info, Medium};
        for (score, expected) in [
            (
                "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
                Some(Critical),
            ),
            ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", Some(High)),
            ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:N/A:N", Some(Medium)),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", Some(Medium)),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", Some(Info)),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H",
                Some(Critical),
            ),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N",
                Some(High),
            ),
            ("AV:N/AC:L/Au:N/C:C/I:C/A:C", Some(Critical)),
            ("(AV:N/AC:M/Au:N/C:P/I:N/A:N)", Some(Medium)),
            ("9.8", Some(Critical)),
            ("negligible", Some(Severity::Low)),
            ("CVSS:3.1/AV:N/AC:L", None),
            ("CVSS:5.0/AV:N", None),
            ("not yet assigned", None),
            ("11", None),
            ("NaN", None),
        ] {
            assert_eq!(parse_score(score), expected, "{score}");
        }

        assert_eq!(of_title("Important: openssl security update"), Some(High));
        assert_eq!(of_title("openssl: a bug"), None);
    }
}
