//! Reads what is configured when it is due, raises alerts about matches that have none yet, and
//! closes the alerts of those that are dealt with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use model::time::Calendar;
use model::{
    ADVISORY, Actor, Clock, ControlId, Detection, DetectionUpdate, Entity, EntityKind, Fingerprint,
    Phase, Severity, Source, TenantId, Timestamp,
};
use notify::{Routing, Silences};
use store::advisories::{Import, Match};
use store::tenants::Tenant;
use store::{Connection as _, PgConnectOptions, PgConnection, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use app::advisories::{Input, Kind, fetch, import, refresh_all};
use app::alert_routing::AlertRouter;

/// The task.
pub const TASK: Task = Task {
    name: "advisory sync",
    lifetime: Lifetime::Configuration,
    start,
};

fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let config = &context.loaded.config;
    let options = Options {
        database: context.database.engine.clone(),
        inputs: app::advisories::inputs(&config.advisories),
        routing: config.alerts.routing(&config.channels)?,
        calendar: context.calendar.clone(),
        deliveries: Arc::clone(&context.outbox.wake),
        clock: Arc::clone(&context.clock),
    };

    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

/// How often due imports are looked for.
const EVERY: Duration = Duration::from_secs(5);
/// More new matches of one inventory than this share one alert: the first list of a machine must
/// not be three hundred mails.
const SINGLE_MAX: usize = 5;
/// Matches that such an alert names.
const NAMED: usize = 10;
/// Who acts.
const ACTOR: &str = "blueteam-engine";

/// Configuration of the task.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// What is read.
    pub inputs: Vec<Input>,
    /// Which alert takes which channel.
    pub routing: Routing,
    /// Business hours.
    pub calendar: Calendar,
    /// Called when deliveries were written.
    pub deliveries: Arc<Notify>,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// What has been done since the start.
struct Progress {
    /// When each input was last asked for.
    tried: Vec<Option<Timestamp>>,
    /// As of when the feeds were that a tenant's inventories were compared with.
    compared: BTreeMap<TenantId, Vec<(String, Timestamp)>>,
}

/// Imports what is due until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut progress = Progress {
        tried: vec![None; options.inputs.len()],
        compared: BTreeMap::new(),
    };
    let mut failing = false;
    loop {
        match sync_feeds(&options, &mut progress).await {
            Ok(()) => failing = false,
            Err(_) if failing => {}
            Err(cause) => {
                failing = true;
                warn!("cannot import advisories; retrying: {cause:#}");
            }
        }

        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn sync_feeds(options: &Options, progress: &mut Progress) -> anyhow::Result<()> {
    let mut conn = store::connect(&options.database).await?;
    let tenants = store::tenants::list(&mut conn).await?;
    read_due(options, &mut conn, &tenants, &mut progress.tried).await?;

    for tenant in &tenants {
        store::tenants::act_for(&mut conn, tenant.id).await?;
        // Whoever imports a feed, here or by a command, has compared it with the inventories of
        // `default` alone.
        if tenant.id != TenantId::DEFAULT {
            let feeds = feeds_read(&mut conn).await?;
            if progress.compared.get(&tenant.id) != Some(&feeds) {
                refresh_all(&mut conn, &Actor::task(ACTOR)).await?;
                progress.compared.insert(tenant.id, feeds);
            }
        }
        open_findings(options, &mut conn, tenant).await?;
        close_findings(options, &mut conn, tenant).await?;
    }
    // Closing politely is optional: an error changes nothing.
    let _ = conn.close().await;
    Ok(())
}

/// The feeds, and when each was last read.
async fn feeds_read(conn: &mut PgConnection) -> anyhow::Result<Vec<(String, Timestamp)>> {
    let origins = store::advisories::origins(conn).await?;
    let feeds = origins
        .into_iter()
        .filter(|o| o.kind == Kind::Feed.as_str());
    Ok(feeds
        .map(|o| (o.name, o.retired_at.unwrap_or(o.imported_at)))
        .collect())
}

/// Reads what is due; what cannot be read holds up nothing and is tried again when it is due the
/// next time.
async fn read_due(
    options: &Options,
    conn: &mut PgConnection,
    tenants: &[Tenant],
    tried: &mut [Option<Timestamp>],
) -> anyhow::Result<()> {
    let now = options.clock.now();
    let due = |tried: Option<Timestamp>, input: &Input| {
        tried.is_none_or(|at| now.since(at) >= input.every)
    };
    for (input, tried) in options
        .inputs
        .iter()
        .zip(tried)
        .filter(|(input, tried)| due(**tried, input))
    {
        *tried = Some(now);
        let Some(tenant) = tenant_of(input, tenants) else {
            warn!(
                "the inventory `{}` is of a tenant that does not exist; `blueteam tenants list` \
                    shows all",
                input.name
            );
            continue;
        };
        store::tenants::act_for(conn, tenant).await?;
        let read = async {
            let text = fetch(&input.origin).await?;
            let source = app::advisories::Source {
                kind: input.kind,
                name: &input.name,
                origin: &input.origin,
                format: input.format.as_deref(),
            };
            import(conn, &Actor::task(ACTOR), source, &text).await
        };

        match read.await {
            Ok(done) if done.unchanged => {}
            Ok(done) => {
                info!(
                    source = input.name,
                    items = done.items,
                    found = done.found,
                    uncovered = done.uncovered.values().sum::<u64>(),
                    "advisories were read"
                );
                if done.defects.count > 0 {
                    warn!(
                        source = input.name,
                        "skipping what cannot be read: {}", done.defects
                    );
                }
            }
            Err(cause) => {
                warn!(
                    "{} `{}` cannot be read: {cause:#}",
                    input.kind.as_str(),
                    input.name
                );

                let place = Import {
                    kind: input.kind.as_str(),
                    name: &input.name,
                    origin: &input.origin,
                    digest: "",
                    actor: &Actor::task(ACTOR),
                };

                store::advisories::note_failure(conn, place, &format!("{cause:#}")).await?;
            }
        }
    }
    Ok(())
}

/// Whose an input is; none where there is no such tenant.
fn tenant_of(input: &Input, tenants: &[Tenant]) -> Option<TenantId> {
    match &input.tenant {
        None => Some(TenantId::DEFAULT),
        Some(name) => tenants.iter().find(|t| t.name == *name).map(|t| t.id),
    }
}

/// Writes the alerts of matches that have none yet.
async fn open_findings(
    options: &Options,
    conn: &mut PgConnection,
    tenant: &Tenant,
) -> anyhow::Result<()> {
    let now = options.clock.now();
    let mut tx = conn.begin().await.map_err(StoreError::from)?;
    let mut by_inventory: BTreeMap<String, Vec<Match>> = BTreeMap::new();
    for found in store::advisories::untold(&mut tx).await? {
        by_inventory
            .entry(found.inventory.clone())
            .or_default()
            .push(found);
    }

    if by_inventory.is_empty() {
        return Ok(());
    }

    let mut changes = Vec::new();
    let mut told = Vec::new();
    for (inventory, matches) in &by_inventory {
        let groups: Vec<&[Match]> = if matches.len() > SINGLE_MAX {
            vec![matches]
        } else {
            matches.chunks(1).collect()
        };

        for group in groups {
            let detection = to_detection(inventory, group, now);
            told.push((
                group.iter().map(|m| m.match_id).collect::<Vec<_>>(),
                detection.fingerprint,
            ));
            changes.push(DetectionUpdate {
                opened: true,
                phase: Phase::Opened,
                detection,
                events: Vec::new(),
            });
        }
    }

    apply_findings(options, &mut tx, tenant, &changes).await?;
    for (matches, fingerprint) in &told {
        store::advisories::told(&mut tx, matches, model::AlertId(fingerprint.0)).await?;
    }

    tx.commit()
        .await
        .map_err(StoreError::from)
        .context("cannot commit alerts of advisories")?;
    options.deliveries.notify_one();

    Ok(())
}

/// Closes alerts all of whose matches are dealt with.
async fn close_findings(
    options: &Options,
    conn: &mut PgConnection,
    tenant: &Tenant,
) -> anyhow::Result<()> {
    let over = store::advisories::over(conn, ADVISORY.as_str()).await?;
    if over.is_empty() {
        return Ok(());
    }

    let mut tx = conn.begin().await.map_err(StoreError::from)?;
    let open = store::alerts::open_detections(&mut tx).await?;
    let closed = open
        .into_iter()
        .filter(|d| over.iter().any(|id| id.0 == d.fingerprint.0));
    let changes: Vec<DetectionUpdate> = closed
        .map(|detection| DetectionUpdate {
            opened: false,
            phase: Phase::Closed,
            detection,
            events: Vec::new(),
        })
        .collect();

    apply_findings(options, &mut tx, tenant, &changes).await?;
    tx.commit().await.map_err(StoreError::from)?;
    options.deliveries.notify_one();

    Ok(())
}

async fn apply_findings(
    options: &Options,
    conn: &mut PgConnection,
    tenant: &Tenant,
    changes: &[DetectionUpdate],
) -> anyhow::Result<()> {
    let now = options.clock.now();
    let silences = Silences::new(store::silences::ending_after(conn, now).await?);
    let router = AlertRouter {
        routing: &options.routing,
        silences: &silences,
        tenant: (tenant.id != TenantId::DEFAULT).then_some(&tenant.name),
        now,
        business_hours: options.calendar.clone().period(now).open,
        stale_before: Timestamp::MIN,
    };

    store::alerts::take_turn(conn).await?;
    router.apply(conn, changes).await?;
    Ok(())
}

/// An alert needs a severity; one of an unknown severity is medium, for a person to look.
fn match_severity(found: &Match) -> Severity {
    found.severity.parse().unwrap_or(Severity::Medium)
}

fn match_line(found: &Match) -> String {
    let version = if found.version.is_empty() {
        "in an unknown version"
    } else {
        &found.version
    };

    let sure = if found.confidence == "affected" {
        "is affected"
    } else {
        "may be affected"
    };

    let used = if found.exploited {
        ", attackers use it"
    } else {
        ""
    };

    let fix = found
        .fixed_in
        .as_ref()
        .map(|v| format!(", fixed in {v}"))
        .unwrap_or_default();
    format!(
        "{}: {} {version} {sure}{used}{fix}",
        found.vulnerability, found.name
    )
}

fn to_detection(inventory: &str, group: &[Match], now: Timestamp) -> Detection {
    let worst = group
        .iter()
        .map(match_severity)
        .max()
        .unwrap_or(Severity::Medium);
    let (title, description) = match group {
        [one] => {
            let title = format!("Advisory for {inventory}: {}", match_line(one));
            let what = match one.title.trim_end_matches('.') {
                "" => String::new(),
                title => format!("{title}. "),
            };

            (
                title,
                format!(
                    "{what}`blueteam advisories show {}` shows it; `blueteam advisories respond` \
                        records what is done.",
                    one.vulnerability
                ),
            )
        }
        many => {
            let affected = many.iter().filter(|m| m.confidence == "affected").count();
            let title = format!(
                "{} advisories for {inventory}: {affected} certain, the worst {worst}",
                many.len()
            );
            let named: Vec<String> = many.iter().take(NAMED).map(match_line).collect();

            (
                title,
                format!(
                    "{}. `blueteam advisories list --inventory {inventory}` lists all.",
                    named.join("; ")
                ),
            )
        }
    };

    Detection {
        rule_id: ADVISORY,
        severity: worst,
        title,
        description,
        entity: Entity {
            kind: EntityKind::Source,
            value: inventory.to_owned(),
        },
        entity_name: None,
        first_seen: now,
        last_seen: now,
        event_count: group.len() as u64,
        event_ids: Vec::new(),
        nist_controls: vec![
            ControlId::known("3.14.3"),
            ControlId::known("3.11.2"),
            ControlId::known("3.14.1"),
        ],
        source: Source::Agent,
        cui_involved: false,
        tenant: None,
        // Its first letters, by which people name it, must not be those of whatever else begins at
        // this moment.
        fingerprint: Fingerprint(Uuid::new_v5(&Uuid::now_v7(), b"alert")),
        episode: 0,
    }
}
