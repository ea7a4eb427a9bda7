//! Where the evidence of each requirement comes from, until people say otherwise: from checks, from
//! people, or from both.

use model::facts::Facts;
use model::{EvidenceType, Timestamp};

use crate::catalog::Requirement;
use crate::checks;

/// Requirements that no software shows, with the reason: the design's table of controls that are
/// out of scope. `3.2` stands for the whole family.
const OUT_OF_SCOPE: [(&str, &str); 8] = [
    ("3.2", "Awareness/training - organizational policy"),
    ("3.7", "Maintenance - physical/operational"),
    ("3.8", "Media protection - physical controls"),
    ("3.9", "Personnel security - HR policy"),
    ("3.10", "Physical protection - facility controls"),
    (
        "3.13.5",
        "DMZ/network segmentation - network infrastructure",
    ),
    ("3.13.6", "Default deny firewall - network infrastructure"),
    ("3.13.7", "Split tunneling - VPN/endpoint config"),
];

/// Returns where the evidence of a requirement comes from, and why where no software shows it.
pub fn default_for(requirement: &Requirement) -> (EvidenceType, Option<&'static str>) {
    let covers = |of: &str| of == requirement.family_id || of == &*requirement.control_id.0;
    if let Some((_, reason)) = OUT_OF_SCOPE.iter().find(|(of, _)| covers(of)) {
        return (EvidenceType::Manual, Some(reason));
    }

    // A check names the objectives that it covers whatever it sees.
    let nothing = Facts::none(Timestamp::from_secs(0), 30);
    let checked = checks::ALL
        .iter()
        .filter(|check| check.control == requirement.control_id)
        .flat_map(|check| check.run(&nothing))
        .count();

    let kind = match checked {
        0 => EvidenceType::Manual,
        n if n >= requirement.assessment_objectives.len() => EvidenceType::Automated,
        _ => EvidenceType::Hybrid,
    };
    (kind, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    fn of(id: &str) -> (EvidenceType, Option<&'static str>) {
        let (requirement, _) = Catalog::r2().find(id).unwrap();
        default_for(requirement)
    }

    #[test]
    fn what_no_software_shows_is_manual_with_the_reason() {
        for id in ["3.2.1", "3.7.6", "3.8.9", "3.9.2", "3.10.6", "3.13.5"] {
            let (kind, reason) = of(id);
            assert_eq!(
                (kind, reason.is_some()),
                (EvidenceType::Manual, true),
                "{id}"
            );
        }

        assert_eq!(of("3.13.6").1, Some(OUT_OF_SCOPE[6].1));
        assert_eq!(
            of("3.1.3"),
            (EvidenceType::Manual, None),
            "no check, and no reason"
        );
        assert_eq!(of("3.3.8").1, None);
    }

    #[test]
    fn checks_make_the_rest_automated_or_hybrid() {
        let all: Vec<EvidenceType> = Catalog::r2()
            .requirements
            .iter()
            .map(|r| default_for(r).0)
            .collect();
        let count = |kind| all.iter().filter(|k| **k == kind).count();

        assert!(count(EvidenceType::Automated) > 0 && count(EvidenceType::Hybrid) > 0);
        assert_eq!(
            count(EvidenceType::Automated) + count(EvidenceType::Hybrid),
            checks::ALL.len()
        );
    }
}
