-- Sums up what happened since the last digest.
--
-- $1 the time of the last digest, $2 blueteam's own account among the sources, $3 most names

WITH last AS (
    SELECT received, accepted
    FROM blueteam.scheduled_notifications
    WHERE tenant_id = (SELECT blueteam.tenant_of_new()) AND kind = 'digest'
    ORDER BY at DESC
    LIMIT 1
),
total AS (
    SELECT
        coalesce(sum(received), 0)::bigint AS received,
        coalesce(sum(accepted), 0)::bigint AS accepted
    FROM blueteam.sources
    WHERE tenant_id = (SELECT blueteam.tenant_of_new()) AND source_id <> $2
)
SELECT
    coalesce(
        (SELECT greatest(t.received - l.received, 0) FROM last l, total t),
        (SELECT count(*) FROM blueteam.audit_events WHERE created_at > $1)
        + (SELECT count(*) FROM blueteam.log_events WHERE created_at > $1)
    ) AS "entries!",
    coalesce(
        (SELECT greatest(t.accepted - l.accepted, 0) FROM last l, total t),
        (SELECT count(*) FROM blueteam.audit_events WHERE created_at > $1)
        + (SELECT count(*) FROM blueteam.log_events WHERE created_at > $1)
    ) AS "events!",
    (
        SELECT count(*)
        FROM blueteam.sources
        WHERE last_received_at > $1 AND source_id <> $2
    ) AS "alive_count!",
    ARRAY(
        SELECT source_id
        FROM blueteam.sources
        WHERE last_received_at > $1 AND source_id <> $2
        ORDER BY 1
        LIMIT $3
    ) AS "alive!: Vec<String>",
    ARRAY(
        SELECT DISTINCT source_id
        FROM blueteam.source_gaps
        WHERE cause = 'silence' AND ended_at IS NULL
        ORDER BY 1
        LIMIT $3
    ) AS "silent!: Vec<String>",
    (SELECT count(*) FROM blueteam.notifications WHERE state = 'dead') AS "dead!"
