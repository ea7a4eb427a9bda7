-- Inserts alerts or extends them; returns no row for those whose stored one already says as much. A
-- replay of the past may repeat what is stored, and even less than that: a row only ever grows.
--
-- $1 the alerts, each fingerprint once, as an array of objects; the fingerprint is the alert's ID, and
-- the incident counts for an alert that is new.
-- $2 most services, accounts and machines

INSERT INTO blueteam.alert_history AS stored (
    alert_id,
    fingerprint,
    rule_id,
    severity,
    title,
    description,
    event_ids,
    entity_type,
    entity_value,
    source,
    first_seen,
    last_seen,
    event_count,
    nist_controls,
    cui_involved,
    state,
    episode,
    services,
    tenants,
    entity_name,
    accounts,
    hosts,
    incident_id
)
SELECT
    fingerprint,
    fingerprint,
    rule_id,
    severity,
    title,
    description,
    event_ids,
    entity_type,
    entity_value,
    source,
    first_seen,
    last_seen,
    event_count,
    nist_controls,
    cui_involved,
    state,
    episode,
    services,
    tenants,
    entity_name,
    accounts,
    hosts,
    incident_id
FROM jsonb_to_recordset($1) AS given (
    fingerprint uuid,
    rule_id text,
    severity text,
    title text,
    description text,
    event_ids uuid[],
    entity_type text,
    entity_value text,
    source text,
    first_seen timestamptz,
    last_seen timestamptz,
    event_count bigint,
    nist_controls text[],
    cui_involved boolean,
    state text,
    episode bigint,
    services text[],
    tenants uuid[],
    entity_name text,
    accounts text[],
    hosts text[],
    incident_id uuid
)
ON CONFLICT (fingerprint) DO UPDATE
SET
    title = excluded.title,
    description = excluded.description,
    event_ids = excluded.event_ids,
    first_seen = least(stored.first_seen, excluded.first_seen),
    last_seen = greatest(stored.last_seen, excluded.last_seen),
    event_count = excluded.event_count,
    cui_involved = stored.cui_involved OR excluded.cui_involved,
    state = excluded.state,
    updated_at = now(),
    services = ARRAY(
        SELECT DISTINCT s
        FROM unnest(stored.services || excluded.services) AS s
        ORDER BY s
        LIMIT $2
    ),
    tenants = ARRAY(
        SELECT DISTINCT t
        FROM unnest(stored.tenants || excluded.tenants) AS t
        ORDER BY t
        LIMIT 2
    ),
    entity_name = coalesce(stored.entity_name, excluded.entity_name),
    accounts = ARRAY(
        SELECT DISTINCT a
        FROM unnest(stored.accounts || excluded.accounts) AS a
        ORDER BY a
        LIMIT $2
    ),
    hosts = ARRAY(
        SELECT DISTINCT h
        FROM unnest(stored.hosts || excluded.hosts) AS h
        ORDER BY h
        LIMIT $2
    )
WHERE excluded.event_count > stored.event_count
   OR (
       excluded.event_count = stored.event_count
       AND excluded.state = 'closed'
       AND stored.state = 'open'
   )
RETURNING
    fingerprint AS "fingerprint!",
    (xmax = 0) AS "new!",
    EXISTS (
        SELECT
        FROM blueteam.alert_history before
        WHERE before.fingerprint = stored.fingerprint AND before.state = 'open'
    ) AS "was_open!",
    (
        SELECT before.event_count
        FROM blueteam.alert_history before
        WHERE before.fingerprint = stored.fingerprint
    ) AS events_before,
    (SELECT r.name FROM blueteam.alert_rules r WHERE r.rule_id = stored.rule_id) AS rule_name,
    muted_by_mute IS NOT NULL AS "silenced!",
    cardinality(stored.tenants) > 1 AND EXISTS (
        SELECT
        FROM blueteam.alert_history before
        WHERE before.fingerprint = stored.fingerprint
          AND cardinality(before.tenants) = 1
          AND before.muted_by_alert IS NULL
    ) AS "widened!",
    incident_id,
    unlinked_at IS NOT NULL AS "unlinked!",
    services,
    tenants,
    accounts,
    hosts,
    created_at AS "created_at: Ts"
