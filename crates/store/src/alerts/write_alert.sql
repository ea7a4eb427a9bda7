-- Inserts an alert or extends it; returns no row when the stored one already says as much. A replay
-- of the past may repeat what is stored, and even less than that: a row only ever grows.
--
-- $1 fingerprint, which is the alert's ID, $2 rule, $3 severity, $4 title, $5 description,
-- $6 event IDs, $7 entity type, $8 entity, $9 source, $10 first seen, $11 last seen,
-- $12 event count, $13 controls, $14 CUI involved, $15 state, $16 episode, $17 services,
-- $18 most services, accounts and machines, $19 tenants, $20 name of the entity, $21 accounts,
-- $22 machines

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
    hosts
)
VALUES (
    $1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $19, $20, $21, $22
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
        LIMIT $18
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
        LIMIT $18
    ),
    hosts = ARRAY(
        SELECT DISTINCT h
        FROM unnest(stored.hosts || excluded.hosts) AS h
        ORDER BY h
        LIMIT $18
    )
WHERE excluded.event_count > stored.event_count
   OR (
       excluded.event_count = stored.event_count
       AND excluded.state = 'closed'
       AND stored.state = 'open'
   )
RETURNING
    (xmax = 0) AS "new!",
    EXISTS (
        SELECT
        FROM blueteam.alert_history before
        WHERE before.fingerprint = $1 AND before.state = 'open'
    ) AS "was_open!",
    (
        SELECT before.event_count
        FROM blueteam.alert_history before
        WHERE before.fingerprint = $1
    ) AS events_before,
    (SELECT r.name FROM blueteam.alert_rules r WHERE r.rule_id = $2) AS rule_name,
    muted_by_mute IS NOT NULL AS "silenced!",
    cardinality(stored.tenants) > 1 AND EXISTS (
        SELECT
        FROM blueteam.alert_history before
        WHERE before.fingerprint = $1
          AND cardinality(before.tenants) = 1
          AND before.muted_by_alert IS NULL
    ) AS "widened!",
    incident_id,
    services,
    tenants,
    accounts,
    hosts,
    created_at AS "created_at: Ts"
