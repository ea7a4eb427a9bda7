//! 3.4.1: baseline configurations and inventories. Compares this machine with its approved
//! baseline.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "cm_3_4_1",
    control: ControlId::known("3.4.1"),
    title: "Drift of this machine from its baseline",
    reads: &[Section::Host, Section::Programme],
    scope: Scope {
        population: "every asset in scope, with its hardware, software, firmware and documents",
        counted: Counted::Settings,
        cannot_see: "other machines, and assets that nobody listed",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(h), Some(p)) = (&facts.host, &facts.programme) else {
        return cant_read("abcdef", "the machine");
    };
    let n = h.packages.unwrap_or_default();
    let saw = format!(
        "{n} packages, open ports {:?} on {}",
        h.open_ports,
        h.os.as_deref().unwrap_or("an unknown system")
    );

    let assets: u64 = p.assets.values().sum();
    let maintained = match &h.drift {
        None => cant_tell(
            'c',
            saw.clone(),
            "an approved baseline: approve the evidence of this check",
        ),
        Some(drift) if drift.is_empty() => cant_tell(
            'c',
            "this machine is as its approved baseline",
            "the other machines",
        ),
        Some(drift) => not_met(
            'c',
            format!(
                "this machine differs from its approved baseline: {}",
                list_first(drift)
            ),
        ),
    };

    let others = "the baselines of the other machines";
    vec![
        cant_tell('a', saw.clone(), others),
        cant_tell('b', saw, others),
        maintained,
        if assets == 0 {
            not_met('d', "no asset is in the inventory")
        } else {
            cant_tell(
                'd',
                format!("{assets} assets are in the inventory, each with a CMMC category"),
                "a person who says that it names every asset",
            )
        },
        cant_tell('e', "", "hardware, software and firmware of each asset"),
        cant_tell('f', "", "a review of the inventory"),
    ]
}
