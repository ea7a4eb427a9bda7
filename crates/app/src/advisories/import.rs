//! Imports advisories and component inventories, and matches them.

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use advisories::feeds::Defect;
use advisories::{
    Advisory, Component, Coverage, Distribution, Ecosystem, Index, Package, feeds, inventory,
    matching,
};
use anyhow::{Context as _, bail};
use model::{Actor, Severity};
use store::advisories::{Found, Import, StoredAdvisory, StoredComponent};
use store::{PgConnection, StoreError};

use super::{Kind, TEXT_MAX};
use crate::compliance::evidence_store;

/// Number of advisories that are matched at once.
const PAGE: u32 = 2000;
/// The most matches: more would mean that a list is not an inventory, and no one would read them.
const MATCHES_MAX: usize = 100_000;

/// The word for a severity that no publisher gives in a form that is understood.
const UNKNOWN: &str = "unknown";

/// A text to be imported.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Under which name; what was there under this name before is replaced.
    pub name: &'a str,
    /// The file or address that it was read from.
    pub origin: &'a str,
    /// The format; detected from the text when it is `None`.
    pub format: Option<&'a str>,
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Advisories or components that were read.
    pub items: usize,
    /// Matches that are new, or open again.
    pub found: u64,
    /// Of an inventory, how many of its components no feed can concern, by ecosystem or
    /// distribution.
    pub uncovered: BTreeMap<String, u64>,
    /// Of a feed, how many advisories name no package, so that nothing can be matched with them.
    pub unmatchable: usize,
    /// Of a feed, the entries that could not be read, or not in full.
    pub defects: Defects,
    /// The text was the same as last time.
    pub unchanged: bool,
}

/// Entries of a feed that could not be read, or not in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defects {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub named: Vec<Defect>,
}

impl std::fmt::Display for Defects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 3;
        let entries = if self.count == 1 { "entry" } else { "entries" };
        write!(f, "{} {entries} could not be read in full", self.count)?;
        for (i, Defect { entry, reason }) in self.named.iter().take(SHOWN).enumerate() {
            write!(f, "{} {entry}: {reason}", if i == 0 { ":" } else { ";" })?;
        }
        if self.count > SHOWN {
            f.write_str("; …")?;
        }
        Ok(())
    }
}

/// Reads a file, within the limit.
pub fn read_file(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let about = std::fs::metadata(path).with_context(|| format!("cannot read {name}"))?;

    // A pipe would hold up everything else, and a device never ends.
    if !about.is_file() {
        bail!("{name} is no regular file");
    }

    if about.len() > TEXT_MAX {
        bail!("{name} has {} bytes; {TEXT_MAX} are allowed", about.len());
    }

    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {name}"))?;
    file.take(TEXT_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {name}"))?;

    Ok(text)
}

/// Imports a text in one transaction, and finds what it concerns.
pub async fn import(
    conn: &mut PgConnection,
    actor: &Actor,
    source: Source<'_>,
    text: &str,
) -> anyhow::Result<Done> {
    let Source {
        kind,
        name,
        origin,
        format,
    } = source;
    let digest = evidence_store::sha256(text.as_bytes());
    // What could not be read in full is read again: otherwise its defects would be forgotten.
    let origins = store::advisories::origins(conn).await?;
    let had_failed = origins
        .iter()
        .any(|o| o.kind == kind.as_str() && o.name == name && o.failed.is_some());
    if !had_failed && store::advisories::unchanged(conn, kind.as_str(), name, &digest).await? {
        let mut tx = store::begin(conn, actor).await?;
        let refreshed = refresh(&mut tx, actor).await?;
        tx.commit().await.map_err(StoreError::from)?;
        return Ok(Done {
            items: 0,
            found: refreshed.found,
            uncovered: refreshed.uncovered_of(kind, name),
            unmatchable: 0,
            defects: Defects::default(),
            unchanged: true,
        });
    }

    let import = Import {
        kind: kind.as_str(),
        name,
        origin,
        digest: &digest,
        actor,
    };

    let (text, format) = (text.to_owned(), format.map(str::to_owned));
    // Reading a hundred megabytes takes seconds: not where everything else waits for its turn.
    let owner = name.to_owned();
    let read =
        tokio::task::spawn_blocking(move || parse_source(kind, &owner, &text, format.as_deref()))
            .await?;
    let read = read.with_context(|| origin.to_owned())?;
    if matches!(&read, Read::Advisories { all, .. } if all.is_empty()) {
        // A download that broke off, or a file that is being written, must not close what is open.
        bail!(
            "{origin} lists no advisory; what `{name}` listed before stays (`blueteam advisories \
                remove` ends it)"
        );
    }

    // In one transaction with the matching: a text that cannot be matched is not stored, or every
    // later import would fail on it.
    let mut tx = store::begin(conn, actor).await?;
    let (items, unmatchable, defects) = match read {
        Read::Advisories {
            all,
            unmatchable,
            defects,
        } => {
            // An entry that cannot be read may be one that was listed before.
            let keep = defects.count > 0;
            store::advisories::save_advisories(&mut tx, import, &all, keep)
                .await
                .with_context(|| origin.to_owned())?;
            (all.len(), unmatchable, defects)
        }
        Read::Components(all) => {
            store::advisories::save_components(&mut tx, import, &all)
                .await
                .with_context(|| origin.to_owned())?;
            (all.len(), 0, Defects::default())
        }
    };
    if defects.count > 0 {
        store::advisories::note_failure(&mut tx, import, &defects.to_string()).await?;
    }

    let refreshed = refresh(&mut tx, actor)
        .await
        .with_context(|| origin.to_owned())?;
    tx.commit().await.map_err(StoreError::from)?;

    Ok(Done {
        items,
        found: refreshed.found,
        uncovered: refreshed.uncovered_of(kind, name),
        unmatchable,
        defects,
        unchanged: false,
    })
}

/// What a text holds, as it is stored.
enum Read {
    Advisories {
        all: Vec<StoredAdvisory>,
        /// How many of them name no package.
        unmatchable: usize,
        defects: Defects,
    },
    Components(Vec<StoredComponent>),
}

fn parse_source(kind: Kind, name: &str, text: &str, format: Option<&str>) -> anyhow::Result<Read> {
    match kind {
        Kind::Feed => {
            let read = feeds::read(text, format)?;
            let advisories = read.advisories;
            Ok(Read::Advisories {
                unmatchable: advisories.iter().filter(|a| a.is_unmatchable()).count(),
                all: advisories.iter().map(to_stored).collect::<Result<_, _>>()?,
                defects: Defects {
                    count: read.defective,
                    named: read.defects,
                },
            })
        }
        Kind::Inventory => {
            let components = inventory::read(text, format)?;
            Ok(Read::Components(
                components
                    .iter()
                    .map(|c| stored_component(name, c))
                    .collect(),
            ))
        }
    }
}

fn to_stored(advisory: &Advisory) -> anyhow::Result<StoredAdvisory> {
    Ok(StoredAdvisory {
        feed: advisory.feed.clone(),
        advisory_id: advisory.id.clone(),
        vulnerability: advisory.vulnerability().to_owned(),
        known_exploited: advisory.known_exploited,
        listed: true,
        document: serde_json::to_value(advisory)?,
    })
}

fn stored_component(inventory: &str, component: &Component) -> StoredComponent {
    let package = &component.package;
    StoredComponent {
        inventory: inventory.to_owned(),
        ecosystem: package.ecosystem.0.clone(),
        distribution: package
            .distribution
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        name: package.name.clone(),
        version: component.version.clone(),
    }
}

fn component_of(stored: StoredComponent) -> Component {
    let distribution = stored.distribution;
    Component {
        package: Package {
            ecosystem: Ecosystem(stored.ecosystem),
            distribution: (!distribution.is_empty()).then(|| Distribution::from(distribution)),
            name: stored.name,
        },
        version: stored.version,
    }
}

/// What matching everything again has found.
pub(super) struct Refreshed {
    /// Matches that are new, or open again.
    found: u64,
    /// By inventory, how many components no feed can concern, by ecosystem or distribution.
    uncovered: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Refreshed {
    fn uncovered_of(&self, kind: Kind, name: &str) -> BTreeMap<String, u64> {
        match kind {
            Kind::Feed => BTreeMap::new(),
            Kind::Inventory => self.uncovered.get(name).cloned().unwrap_or_default(),
        }
    }
}

/// Matches the inventories of a connection's tenant with all advisories, as after an import, in a
/// transaction of its own. Returns how many matches are new, or open again.
pub async fn refresh_all(conn: &mut PgConnection, actor: &Actor) -> anyhow::Result<u64> {
    let mut tx = store::begin(conn, actor).await?;
    let refreshed = refresh(&mut tx, actor).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(refreshed.found)
}

/// Matches all advisories against all components of the tenant, and writes what was found. Must run
/// in a transaction.
pub(super) async fn refresh(tx: &mut PgConnection, actor: &Actor) -> anyhow::Result<Refreshed> {
    let mut inventories: BTreeMap<String, Vec<Component>> = BTreeMap::new();
    for mut stored in store::advisories::components(tx).await? {
        let inventory = std::mem::take(&mut stored.inventory);
        inventories
            .entry(inventory)
            .or_default()
            .push(component_of(stored));
    }

    let exploited = store::advisories::exploited(tx)
        .await?
        .into_iter()
        .collect();
    let in_use = Arc::new(InUse {
        exploited,
        inventories,
    });

    let (mut all, mut after) = (Matched::default(), None::<(String, String)>);
    loop {
        let place = after
            .as_ref()
            .map(|(feed, id)| (feed.as_str(), id.as_str()));
        let page = store::advisories::page(tx, place, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.feed.clone(), last.advisory_id.clone()));

        // Comparing takes the processor: not where everything else waits for its turn.
        let in_use = Arc::clone(&in_use);
        let matched = tokio::task::spawn_blocking(move || in_use.match_page(&page)).await??;
        all.found.extend(matched.found);
        all.hints.extend(matched.hints);
        all.named.extend(matched.named);
        all.coverage.extend(matched.coverage);

        if all.found.len() + all.hints.len() > MATCHES_MAX {
            bail!("more than {MATCHES_MAX} matches; import the inventory of one system at a time");
        }
    }

    let Matched {
        mut found,
        hints,
        named,
        coverage,
    } = all;
    let unnamed = |(package, f): &(Package, Found)| {
        !named.contains(&(f.vulnerability.clone(), package.clone()))
    };
    found.extend(
        hints
            .into_iter()
            .filter(unnamed)
            .map(|(_, finding)| finding),
    );

    let uncovered = in_use
        .inventories
        .iter()
        .map(|(name, list)| (name.clone(), coverage.count_uncovered(list)))
        .collect();
    store::advisories::save_uncovered(tx, &uncovered).await?;

    Ok(Refreshed {
        found: store::advisories::save_matches(tx, actor, &found).await?,
        uncovered,
    })
}

/// The components in use, and what is exploited: the other side of the matching.
struct InUse {
    /// What attackers are known to use.
    exploited: HashSet<String>,
    /// The components in use, by inventory.
    inventories: BTreeMap<String, Vec<Component>>,
}

/// What matching a page of advisories found.
#[derive(Default)]
struct Matched {
    found: Vec<Found>,
    /// Where only a vendor's name agrees.
    hints: Vec<(Package, Found)>,
    /// Packages that an advisory of the vulnerability names itself.
    named: HashSet<(String, Package)>,
    /// The ecosystems and distributions that the advisories cover.
    coverage: Coverage,
}

impl InUse {
    fn match_page(&self, page: &[StoredAdvisory]) -> anyhow::Result<Matched> {
        let indices: Vec<(&String, Index<'_>)> = self
            .inventories
            .iter()
            .map(|(name, list)| (name, Index::new(list)))
            .collect();
        let mut matched = Matched::default();

        for row in page {
            let advisory: Advisory =
                serde_json::from_value(row.document.clone()).with_context(|| {
                    format!("the stored advisory {} cannot be read", row.advisory_id)
                })?;

            matched.coverage.add(&advisory);
            let known = advisory.is_listed_in(&self.exploited);
            for (inventory, index) in &indices {
                let named = index
                    .named_packages(&advisory)
                    .into_iter()
                    .map(|package| (row.vulnerability.clone(), package));
                matched.named.extend(named);

                for m in index.find_matches(&advisory) {
                    let finding = to_finding(row, &advisory, known, inventory, &m);
                    if m.hint {
                        matched.hints.push((m.component.package.clone(), finding));
                    } else {
                        matched.found.push(finding);
                    }
                }
            }
        }

        Ok(matched)
    }
}

fn to_finding(
    row: &StoredAdvisory,
    advisory: &Advisory,
    known_exploited: bool,
    inventory: &str,
    found: &matching::Match<'_>,
) -> Found {
    Found {
        vulnerability: row.vulnerability.clone(),
        feed: row.feed.clone(),
        advisory_id: row.advisory_id.clone(),
        component: stored_component(inventory, found.component),
        confidence: found.confidence.as_str(),
        severity: matching::match_severity(advisory, known_exploited, found)
            .map_or(UNKNOWN, Severity::as_str),
        exploited: known_exploited,
        fixed_in: found.fixed.map(str::to_owned),
    }
}
