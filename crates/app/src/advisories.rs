//! Security advisories (3.14.3): brings advisories and lists of components into the database, finds
//! where they meet, and has people told.

mod fetch;

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use advisories::{Advisory, Component, Index, Package, feeds, inventory, matching};
use anyhow::{Context as _, bail};
use store::advisories::{Found, Import, StoredAdvisory, StoredComponent};
use store::{Connection as _, PgConnection, StoreError};

pub use fetch::fetch;

use model::{Actor, Span};

use crate::evidence_store;

/// The largest text that is read, in bytes: the largest export that a publisher offers as JSON is
/// about half of it.
pub const TEXT_MAX: u64 = 256 * 1024 * 1024;
/// Advisories that are held against the components at once.
const PAGE: u32 = 2000;
/// The most matches: beyond it a list is not what somebody runs, and nobody would read them.
const MATCHES_MAX: usize = 100_000;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Advisories.
    Feed,
    /// Components.
    Inventory,
}

impl Kind {
    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Inventory => "inventory",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Feed, Self::Inventory]
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or(UnknownKind)
    }
}

/// A name that is neither kind.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("must be feed or inventory")]
pub struct UnknownKind;

/// One thing that is read again and again.
#[derive(Clone, Debug)]
pub struct Input {
    /// What it holds.
    pub kind: Kind,
    /// Under which name.
    pub name: String,
    /// The file or address.
    pub origin: String,
    /// Told from the text when it is none.
    pub format: Option<String>,
    /// How often.
    pub every: Span,
}

/// What the configuration wants read, inventories first: advisories are then matched at once.
pub fn inputs(config: &config::Advisories) -> Vec<Input> {
    let input = |kind: Kind| {
        move |entry: &config::advisories::Entry| Input {
            kind,
            name: entry.name.clone(),
            origin: entry.from.clone(),
            format: entry.format.clone(),
            every: entry.interval,
        }
    };

    config
        .inventories
        .iter()
        .map(input(Kind::Inventory))
        .chain(config.feeds.iter().map(input(Kind::Feed)))
        .collect()
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

/// Brings a text in under `name`, in one transaction, and finds what it means. `origin` is where it
/// was read; `format` is told from the text when it is none.
pub async fn import(
    conn: &mut PgConnection,
    kind: Kind,
    (name, origin, actor): (&str, &str, &Actor),
    format: Option<&str>,
    text: &str,
) -> anyhow::Result<Done> {
    let digest = evidence_store::sha256(text.as_bytes());
    if store::advisories::unchanged(conn, kind.as_str(), name, &digest).await? {
        let mut tx = conn.begin().await.map_err(StoreError::from)?;
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
    let read = tokio::task::spawn_blocking(move || read(kind, &text, format.as_deref())).await?;
    let read = read.with_context(|| origin.to_owned())?;
    if matches!(&read, Read::Advisories(all) if all.is_empty()) {
        // A download that broke off, or a file that is being written, must not close what is open.
        anyhow::bail!(
            "{origin} lists no advisory; what `{name}` listed before stays (`blueteam advisories \
                retire` ends it)"
        );
    }

    // What cannot be held against what we run is not kept either, or no later import could be.
    let mut tx = conn.begin().await.map_err(StoreError::from)?;
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

/// Has done with a feed or an inventory: what it said concerns nothing any more. False when there
/// is none of that name in use.
pub async fn retire(
    conn: &mut PgConnection,
    (kind, name): (Kind, &str),
    (actor, reason): (&Actor, &str),
) -> anyhow::Result<bool> {
    let mut tx = conn.begin().await.map_err(StoreError::from)?;
    if !store::advisories::retire(&mut tx, actor, (kind.as_str(), name), reason).await? {
        return Ok(false);
    }
    refresh(&mut tx, actor).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(true)
}

/// What a text holds, as it is stored.
enum Read {
    Advisories(Vec<StoredAdvisory>),
    Components(Vec<(String, String, String)>),
}

fn read(kind: Kind, text: &str, format: Option<&str>) -> anyhow::Result<Read> {
    match kind {
        Kind::Feed => {
            let read = feeds::read(text, format)?;
            Ok(Read::Advisories(
                read.iter().map(stored).collect::<Result<_, _>>()?,
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

fn stored(advisory: &Advisory) -> anyhow::Result<StoredAdvisory> {
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
async fn refresh(tx: &mut PgConnection, actor: &Actor) -> anyhow::Result<u64> {
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
                    let finding = finding(row, &advisory, known, inventory, &m);
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

fn finding(
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
