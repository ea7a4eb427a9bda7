//! The base score of a CVSS 3.0 or 3.1 vector (FIRST, CVSS v3.1 specification, section 7.1), for
//! advisories that give nothing else.

use model::Severity;

/// Returns the severity of a vector (`CVSS:3.1/AV:N/…`), or `None` if it is not a CVSS 3 vector.
pub(crate) fn vector_severity(vector: &str) -> Option<Severity> {
    // Section 5, the qualitative scale.
    Some(match base_score(vector)? {
        s if s >= 9.0 => Severity::Critical,
        s if s >= 7.0 => Severity::High,
        s if s >= 4.0 => Severity::Medium,
        s if s > 0.0 => Severity::Low,
        _ => Severity::Info,
    })
}

fn base_score(vector: &str) -> Option<f64> {
    let metrics = vector
        .strip_prefix("CVSS:3.1/")
        .or_else(|| vector.strip_prefix("CVSS:3.0/"))?;
    let of = |name: &str| {
        metrics
            .split('/')
            .find_map(|m| m.strip_prefix(name)?.strip_prefix(':'))
    };

    let changed = match of("S")? {
        "U" => false,
        "C" => true,
        _ => return None,
    };

    let pick = |name: &str, values: &[(&str, f64)]| {
        let value = of(name)?;
        values
            .iter()
            .find(|(word, _)| *word == value)
            .map(|(_, weight)| *weight)
    };

    let impact = |name: &str| pick(name, &[("H", 0.56), ("L", 0.22), ("N", 0.0)]);
    let vector = pick("AV", &[("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)])?;
    let complexity = pick("AC", &[("L", 0.77), ("H", 0.44)])?;
    let (low, high) = if changed { (0.68, 0.5) } else { (0.62, 0.27) };
    let privileges = pick("PR", &[("N", 0.85), ("L", low), ("H", high)])?;
    let interaction = pick("UI", &[("N", 0.85), ("R", 0.62)])?;
    let base = 1.0 - (1.0 - impact("C")?) * (1.0 - impact("I")?) * (1.0 - impact("A")?);
    let impact = if changed {
        7.52 * (base - 0.029) - 3.25 * (base - 0.02).powi(15)
    } else {
        6.42 * base
    };

    if impact <= 0.0 {
        return Some(0.0);
    }

    let exploitability = 8.22 * vector * complexity * privileges * interaction;
    let sum = if changed {
        1.08 * (impact + exploitability)
    } else {
        impact + exploitability
    };

    Some(round_up(sum.min(10.0)))
}

/// Rounds up to one decimal place without the errors of binary fractions (appendix A).
fn round_up(score: f64) -> f64 {
    let whole = (score * 100_000.0).round() as i64;
    if whole % 10_000 == 0 {
        whole as f64 / 100_000.0
    } else {
        ((whole / 10_000) + 1) as f64 / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_their_published_scores() {
        for (vector, expected) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
            ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.8),
            ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:N/A:N", 5.9),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ] {
            let score = base_score(vector).unwrap();
            assert!((score - expected).abs() < 1e-9, "{vector}: {score}");
        }

        assert_eq!(vector_severity("CVSS:4.0/AV:N"), None);
        assert_eq!(vector_severity("CVSS:3.1/AV:N/AC:L"), None);
    }
}
