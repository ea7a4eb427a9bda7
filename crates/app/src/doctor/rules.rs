//! Whether the rules see anything.

use std::collections::BTreeMap;

use model::text::counted;

use super::{Finding, Look, Part, Site};
use crate::rules;

pub(super) const PART: Part = Part {
    name: "rules",
    look: Look::Asks(|site| Box::pin(look(site))),
};

async fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let mut session = site.session().await?;
    let all = rules::list(&mut session, &site.loaded()?.config).await?;
    session.close().await;

    let mut found = Vec::new();
    let enabled = || all.iter().filter(|rule| rule.enabled);
    for rule in enabled() {
        if rule
            .last_proven
            .as_ref()
            .is_some_and(|proof| proof.failed > 0)
        {
            found.push(Finding::wrong(
                format!("{} fails its own test", rule.rule_id),
                format!("`blueteam alerts rules test {}`", rule.rule_id),
            ));
        }
        if let Some(why) = &rule.cannot_fire {
            found.push(Finding::warning(
                format!("{} can never fire: {why}", rule.rule_id),
                "`blueteam alerts rules check` names what it needs",
            ));
        }
    }

    // Rules that miss the same are one finding.
    let mut blind: BTreeMap<&[String], u64> = BTreeMap::new();
    for rule in enabled().filter(|rule| !rule.blind_to.is_empty()) {
        *blind.entry(&rule.blind_to).or_default() += 1;
    }
    found.extend(blind.into_iter().map(|(missing, rules)| {
        let (rules, missing) = (counted(rules, "rule"), missing.join(" or "));
        Finding::warning(
            format!("without {missing}, blind: {rules}"),
            "connect a source of that kind (docs/guide.md); `blueteam rules` names the rules",
        )
    }));

    let off = all.len() - enabled().count();
    let says = format!("{} of {} are on", all.len() - off, all.len());
    found.push(Finding::ok(says));
    Ok(found)
}
