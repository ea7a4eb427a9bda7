-- Records a notice with how much all sources had read by then, and enqueues its messages. Returns
-- no row when the notice is there already.
--
-- $1 kind, $2 key, $3 channels, $4 payload, $5 blueteam's own account among the sources

WITH noted AS (
    INSERT INTO blueteam.scheduled_notifications (kind, key, received, accepted)
    SELECT
        $1,
        $2,
        coalesce(sum(received), 0)::bigint,
        coalesce(sum(accepted), 0)::bigint
    FROM blueteam.sources
    WHERE tenant_id = (SELECT blueteam.tenant_of_new()) AND source_id <> $5
    ON CONFLICT DO NOTHING
    RETURNING kind
),
written AS (
    INSERT INTO blueteam.notifications (channel, kind, payload)
    SELECT c, n.kind, $4
    FROM noted n
    CROSS JOIN unnest($3::text[]) AS c
    RETURNING 1
)
SELECT (SELECT count(*) FROM written) AS "written!"
FROM noted
