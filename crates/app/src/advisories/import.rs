//! Brings advisories and lists of components into the database, and finds where they meet.

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use advisories::{Advisory, Component, Index, Package, feeds, inventory, matching};
use anyhow::{Context as _, bail};
use model::Actor;
use store::advisories::{Found, Import, StoredAdvisory, StoredComponent};
use store::{PgConnection, StoreError};

use super::{Kind, TEXT_MAX};
use crate::compliance::evidence_store;

/// Advisories that are held against the components at once.
const PAGE: u32 = 2000;
/// The most matches: beyond it a list is not what somebody runs, and nobody would read them.
const MATCHES_MAX: usize = 100_000;

/// A text to be imported.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Under which name; what was there under this name before is replaced.
    pub name: &'a str,
    /// The file or address that it was read from.
    pub origin: &'a str,
    /// Told from the text when it is `None`.
    pub format: Option<&'a str>,
}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Advisories or components that were read.
    pub items: usize,
    /// Matches that are new, or open again.
    pub found: u64,
    /// The text was the same as last time.
    pub unchanged: bool,
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
    if store::advisories::unchanged(conn, kind.as_str(), name, &digest).await? {
        let mut tx = store::begin(conn, actor).await?;
        let found = refresh(&mut tx, actor).await?;
        tx.commit().await.map_err(StoreError::from)?;
        return Ok(Done {
            items: 0,
            found,
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
    let read =
        tokio::task::spawn_blocking(move || parse_feed(kind, &text, format.as_deref())).await?;
    let read = read.with_context(|| origin.to_owned())?;
    if matches!(&read, Read::Advisories(all) if all.is_empty()) {
        // A download that broke off, or a file that is being written, must not close what is open.
        bail!(
            "{origin} lists no advisory; what `{name}` listed before stays (`blueteam advisories \
                retire` ends it)"
        );
    }

    // What cannot be held against what we run is not kept either, or no later import could be.
    let mut tx = store::begin(conn, actor).await?;
    let items = match &read {
        Read::Advisories(all) => {
            store::advisories::save_advisories(&mut tx, import, all)
                .await
                .with_context(|| origin.to_owned())?;
            all.len()
        }
        Read::Components(all) => {
            store::advisories::save_components(&mut tx, import, all)
                .await
                .with_context(|| origin.to_owned())?;
            all.len()
        }
    };

    let found = refresh(&mut tx, actor)
        .await
        .with_context(|| origin.to_owned())?;
    tx.commit().await.map_err(StoreError::from)?;

    Ok(Done {
        items,
        found,
        unchanged: false,
    })
}

/// What a text holds, as it is stored.
enum Read {
    Advisories(Vec<StoredAdvisory>),
    Components(Vec<(String, String, String)>),
}

fn parse_feed(kind: Kind, text: &str, format: Option<&str>) -> anyhow::Result<Read> {
    match kind {
        Kind::Feed => {
            let read = feeds::read(text, format)?;
            Ok(Read::Advisories(
                read.iter().map(to_stored).collect::<Result<_, _>>()?,
            ))
        }
        Kind::Inventory => {
            let parts = |c: Component| (c.package.ecosystem.0, c.package.name, c.version);
            Ok(Read::Components(
                inventory::read(text, format)?
                    .into_iter()
                    .map(parts)
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

/// Holds all advisories against all components, and writes what was found. Returns how many matches
/// are new or open again. Must run in a transaction.
pub(super) async fn refresh(tx: &mut PgConnection, actor: &Actor) -> anyhow::Result<u64> {
    let mut inventories: BTreeMap<String, Vec<Component>> = BTreeMap::new();
    for c in store::advisories::components(tx).await? {
        inventories
            .entry(c.inventory)
            .or_default()
            .push(Component::new(&c.ecosystem, &c.name, &c.version));
    }

    let exploited = store::advisories::exploited(tx)
        .await?
        .into_iter()
        .collect();
    let ours = Arc::new(Ours {
        exploited,
        inventories,
    });

    let (mut all, mut after) = (Met::default(), None::<(String, String)>);
    loop {
        let place = after
            .as_ref()
            .map(|(feed, id)| (feed.as_str(), id.as_str()));
        let page = store::advisories::page(tx, place, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.feed.clone(), last.advisory_id.clone()));

        // Comparing takes the processor: not where everything else waits for its turn.
        let ours = Arc::clone(&ours);
        let met = tokio::task::spawn_blocking(move || ours.meets(&page)).await??;
        all.found.extend(met.found);
        all.hints.extend(met.hints);
        all.named.extend(met.named);

        if all.found.len() + all.hints.len() > MATCHES_MAX {
            bail!("more than {MATCHES_MAX} matches; import the inventory of one system at a time");
        }
    }

    let Met {
        mut found,
        hints,
        named,
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

    let new = store::advisories::save_matches(tx, actor, &found).await?;
    Ok(new)
}

/// What advisories are held against.
struct Ours {
    /// What attackers are known to use.
    exploited: HashSet<String>,
    /// What we run, by inventory.
    inventories: BTreeMap<String, Vec<Component>>,
}

/// Where advisories meet what we run.
#[derive(Default)]
struct Met {
    found: Vec<Found>,
    /// Where only a vendor's name agrees.
    hints: Vec<(Package, Found)>,
    /// Packages that an advisory of the vulnerability names itself.
    named: HashSet<(String, Package)>,
}

impl Ours {
    fn meets(&self, page: &[StoredAdvisory]) -> anyhow::Result<Met> {
        let indices: Vec<(&String, Index<'_>)> = self
            .inventories
            .iter()
            .map(|(name, list)| (name, Index::new(list)))
            .collect();
        let mut met = Met::default();

        for row in page {
            let advisory: Advisory =
                serde_json::from_value(row.document.clone()).with_context(|| {
                    format!("the stored advisory {} cannot be read", row.advisory_id)
                })?;

            let known = self.exploited.contains(&row.vulnerability);
            for (inventory, index) in &indices {
                let named = index
                    .named_packages(&advisory)
                    .into_iter()
                    .map(|package| (row.vulnerability.clone(), package));
                met.named.extend(named);

                for m in index.find_matches(&advisory) {
                    let finding = to_finding(row, &advisory, known, inventory, &m);
                    if m.hint {
                        met.hints.push((m.component.package.clone(), finding));
                    } else {
                        met.found.push(finding);
                    }
                }
            }
        }

        Ok(met)
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
        component: StoredComponent {
            inventory: inventory.to_owned(),
            ecosystem: found.component.package.ecosystem.0.clone(),
            name: found.component.package.name.clone(),
            version: found.component.version.clone(),
        },
        confidence: found.confidence.as_str(),
        severity: matching::match_severity(advisory, known_exploited, found.confidence),
        exploited: known_exploited,
        fixed_in: found.fixed.map(str::to_owned),
    }
}
