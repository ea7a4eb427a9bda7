//! The monitor's start: the engine as the database has it.

use anyhow::Context as _;
use detect::{Engine, Restored, StoredProfile, User, Users};
use model::event::UserId;
use model::{Source, Span, TenantId, Timestamp};
use serde_json::Value;
use store::baselines::Baseline;
use store::reader::{self, Check, Cursor, SetAside, Snapshot, Start, Witness};
use store::stored_events::Past;
use store::tenants::Tenant;
use store::users::UserFacts;
use store::{Connection as _, PgConnection, StoreError};
use tracing::{error, info, warn};

use super::engines::{Engines, by_tenant};
use super::pace::Pace;
use super::{CURSOR, Monitor, Options, Unreadable, WITNESS, alert_router, sane_time, silences_of};
use crate::source_accounting::AuditTableLedger;
use app::self_audit::Component;

fn from_baseline(baseline: Baseline) -> Option<StoredProfile> {
    let user = match baseline.profile.get("kind").and_then(Value::as_str) {
        Some("name") => UserId::Name(baseline.user_key.into()),
        _ => UserId::Uuid(uuid::Uuid::try_parse(&baseline.user_key).ok()?),
    };

    let profile = serde_json::from_value(baseline.profile.get("profile")?.clone()).ok()?;
    Some(StoredProfile {
        source: baseline.source,
        user,
        profile,
    })
}

fn to_users(facts: Vec<UserFacts>) -> Users {
    Users::new(facts.into_iter().map(|f| {
        (
            f.user_id,
            User {
                name: Some(f.username),
                role: Some(f.role),
                tenant: f.home_instance_id,
            },
        )
    }))
}

impl Monitor {
    /// Rebuilds the engines: profiles and open detections as stored, windows from the stored past.
    pub(super) async fn start(options: &Options, mut conn: PgConnection) -> anyhow::Result<Self> {
        let began = std::time::Instant::now();
        let rules = store::rules::settings(&mut conn).await?;
        let tenants = store::tenants::list(&mut conn).await?;
        let mut engines = Engines::new(tenants.iter().map(|tenant| tenant.id), || {
            (options.engine)(&rules)
        })?;
        let mut cursor = reader::initialize(&mut conn, CURSOR, Start::Beginning).await?;
        let now = options.clock.now();
        let rebase = Self::compare(options, &mut conn, &cursor).await?;

        // The stored profiles know the events that this snapshot sees.
        let learned = match cursor
            .checkpoint
            .as_ref()
            .and_then(|c| c.get("profiles"))
            .and_then(Value::as_str)
        {
            Some(snapshot) => Some(
                snapshot
                    .parse()
                    .context("the saved checkpoint cannot be read")?,
            ),
            None => None,
        };

        // Each tenant by itself: how much one of them has sent must not push out what another's
        // windows hold.
        let several = tenants.len() > 1;
        let mut events = 0;
        for tenant in engines.tenants() {
            store::tenants::act_for(&mut conn, tenant).await?;
            let stored = Stored {
                options,
                now,
                cursor: &cursor,
                learned: learned.as_ref(),
                only: several.then_some(tenant),
            };
            if let Some(engine) = engines.of(tenant) {
                events += stored.restore(&mut conn, engine).await?;
            }
        }
        store::tenants::act_for(&mut conn, TenantId::DEFAULT).await?;

        if rebase {
            cursor = Self::rebase(options, &mut conn, &cursor, &mut engines, &tenants).await?;
        }

        info!(
            events,
            elapsed_ms = began.elapsed().as_millis() as u64,
            "monitoring"
        );

        // A source whose past is read right now is not silent.
        engines.resume(options.clock.now());

        let committed = cursor.witness();
        let ledger =
            AuditTableLedger::open(&mut conn, options.calendar.clone(), options.settle).await?;
        let silences_stamp = store::silences::stamp(&mut conn).await?;
        let silences = silences_of(&mut conn, &engines.tenants(), now).await?;

        Ok(Self {
            conn,
            engines,
            tenants,
            ledger,
            pace: Pace::new(options.batch),
            cursor,
            rules,
            silences,
            silences_stamp,
            saved_profiles: now,
            users_read: now,
            set_aside: SetAside::default(),
            behind: false,
            idle_since: None,
            retried: now,
            next_witness: committed.clone(),
            committed,
            witnessed: None,
            is_forgetful: false,
        })
    }

    /// Compares the database with the cursor witness, the file that remembers it; returns `true`
    /// when the cursor must be found again.
    async fn compare(
        options: &Options,
        conn: &mut PgConnection,
        cursor: &Cursor,
    ) -> anyhow::Result<bool> {
        let remembered: Option<Witness> = std::fs::read(options.state.join(WITNESS))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let message = match reader::check(conn, cursor, remembered.as_ref()).await? {
            Check::Continuous => return Ok(false),
            Check::WentBack { remembered, found } => format!(
                "the database was restored to an earlier point (this program remembers step {remembered}, it \
                    is at step {found}): events and \
                 alerts since then are gone from it"
            ),
            Check::Elsewhere => {
                "the database was restored into another cluster; every event that was not \
                    analyzed yet is read \
                                 now"
                .to_owned()
            }
        };

        error!("{message}");
        options.failures.tell(Component::Database, message);
        Ok(!matches!(
            reader::check(conn, cursor, remembered.as_ref()).await?,
            Check::WentBack { .. }
        ))
    }

    async fn rebase(
        options: &Options,
        conn: &mut PgConnection,
        cursor: &Cursor,
        engines: &mut Engines,
        tenants: &[Tenant],
    ) -> anyhow::Result<Cursor> {
        let now = options.clock.now();
        let silences = silences_of(conn, &engines.tenants(), now).await?;
        let mut tx = conn.begin().await.map_err(StoreError::from)?;
        let polled = reader::rebase(&mut tx, cursor, |event| {
            let fixed = sane_time(event, now, options.max_clock_ahead);
            engines.push(fixed.as_ref().unwrap_or(event));
        })
        .await
        .map_err(Unreadable)?;
        reader::record_set_aside(&mut tx, &polled.set_aside).await?;

        let changes = by_tenant(engines.drain());
        store::alerts::take_turn(&mut tx).await?;
        for tenant in tenants {
            let Some(changes) = changes.get(&tenant.id) else {
                continue;
            };
            store::tenants::act_for_now(&mut tx, tenant.id).await?;
            alert_router(options, &silences, tenant)
                .apply(&mut tx, changes)
                .await?;
        }

        // Profiles were saved in ids that mean nothing here; they are saved again with the next
        // checkpoint.
        let mut next = polled.cursor;
        next.checkpoint = None;
        let saved = reader::save(&mut tx, next).await?;
        tx.commit().await.map_err(StoreError::from)?;

        Ok(saved)
    }

    /// The users of a tenant. Leaves the connection working for `default`.
    pub(super) async fn users(conn: &mut PgConnection, tenant: TenantId) -> anyhow::Result<Users> {
        store::tenants::act_for(conn, tenant).await?;
        let facts = store::users::all_facts(conn).await?;
        store::tenants::act_for(conn, TenantId::DEFAULT).await?;
        Ok(to_users(facts))
    }

    /// After a read failed because of its rows: has readers leave out those that the server cannot
    /// put out. The next attempt then gets on; what was left out is reported.
    pub(super) async fn withhold_unreadable(options: &Options) -> anyhow::Result<()> {
        let mut conn = store::connect(&options.database).await?;
        let Some(cursor) = reader::load(&mut conn, CURSOR).await? else {
            return Ok(());
        };
        let recent = options.clock.now().minus(SEARCHED);

        let found = reader::withhold_unreadable(&mut conn, &cursor, recent).await?;
        if found > 0 {
            let rows = model::text::counted(found, "stored event");
            let message = format!(
                "{rows} left out: PostgreSQL cannot read them back (blueteam.withheld_events)"
            );
            error!("{message}");
            options
                .failures
                .tell_of(Component::Database, "withheld", message);
        }

        Ok(())
    }
}

/// What the database has of a tenant's engine.
struct Stored<'a> {
    options: &'a Options,
    now: Timestamp,
    cursor: &'a Cursor,
    /// What the stored profiles know.
    learned: Option<&'a Snapshot>,
    /// The tenant, where there are several.
    only: Option<TenantId>,
}

impl Stored<'_> {
    /// Rebuilds the engine of the tenant that the connection works for; returns from how many
    /// events.
    async fn restore(&self, conn: &mut PgConnection, engine: &mut Engine) -> anyhow::Result<u64> {
        let options = self.options;
        let facts = store::users::all_facts(conn).await?;
        engine.set_users(to_users(facts));
        for baseline in store::baselines::load(conn).await? {
            if let Some(stored) = from_baseline(baseline) {
                engine.restore_profile(stored);
            } else {
                warn!("cannot read a stored user profile: learning it again");
            }
        }

        let past = Past {
            memory: engine.lookback(),
            now: self.now,
            cursor: self.cursor,
            learned: self.learned,
            tenant: self.only,
        };
        let max_ahead = options.max_clock_ahead;
        let events = store::stored_events::rebuild(conn, &past, |event, learned| {
            let fixed = sane_time(event, self.now, max_ahead);
            engine.rebuild(fixed.as_ref().unwrap_or(event), learned);
        })
        .await
        .map_err(Unreadable)?;

        for detection in store::alerts::open_detections(conn).await? {
            let title = detection.title.clone();
            let rule = detection.rule_id.clone();
            let monitors = monitors::ALL.iter().any(|m| m.rule_id() == rule);
            if !engine.restore(Restored {
                detection,
                hold_until: None,
            }) && !monitors
            {
                tracing::debug!(
                    "an open alert that the engine does not keep stays as it is: {title}"
                );
            }
        }

        if !options.expect_unheard {
            let known = store::sources::list(conn).await?;
            let heard = |s: &Source| known.iter().any(|row| row.kind == *s && row.has_spoken());
            engine.set_unheard(Source::ALL.into_iter().filter(|s| !heard(s)).collect());
        }
        Ok(events)
    }
}

/// How far back rows are searched that were read before and cannot be read again.
const SEARCHED: Span = Span::hours(24);
