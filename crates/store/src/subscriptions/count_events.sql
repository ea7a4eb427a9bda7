-- Counts the events of transactions that have ended since the last count, by tenant and month, and
-- moves on. Whoever runs it has the right to, alone.

WITH place AS (
    SELECT counted_before
    FROM users.event_count_position
),
horizon AS (
    SELECT
        -- After a restore into another server, transactions begin with smaller numbers.
        least(place.counted_before, pg_snapshot_xmin(pg_current_snapshot())) AS lower,
        pg_snapshot_xmin(pg_current_snapshot()) AS upper
    FROM place
),
arrived AS (
    SELECT e.tenant_id, e.created_at
    FROM blueteam.log_events e
    CROSS JOIN horizon
    WHERE e.xact_id >= horizon.lower AND e.xact_id < horizon.upper
    UNION ALL
    SELECT e.tenant_id, e.created_at
    FROM public.audit_events e
    CROSS JOIN horizon
    WHERE e.xact_id >= horizon.lower AND e.xact_id < horizon.upper
),
added AS (
    SELECT
        tenant_id,
        date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month,
        count(*) AS events
    FROM arrived
    GROUP BY tenant_id, month
),
written AS (
    INSERT INTO users.event_counts AS c (tenant_id, month, events)
    SELECT tenant_id, month, events
    FROM added
    ON CONFLICT (tenant_id, month) DO UPDATE
    SET events = c.events + excluded.events
    RETURNING c.events
),
moved AS (
    UPDATE users.event_count_position
    SET counted_before = (SELECT upper FROM horizon)
    RETURNING counted_before
)
SELECT coalesce((SELECT sum(events) FROM added), 0)::bigint AS "counted!"
