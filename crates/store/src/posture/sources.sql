-- Selects for each source that is not gone the share of a time in which it could be seen: without
-- the gaps that cover it, and of what came the part that could be read.
--
-- $1 from, $2 until

WITH windows AS (
    SELECT source_id, received, rejected, last_received_at,
           tstzrange(greatest(least(first_seen_at, $2), $1), $2) AS period
    FROM blueteam.sources
    WHERE gone_at IS NULL AND tenant_id = (SELECT blueteam.tenant_of_new())
),
covered AS (
    SELECT w.source_id,
           range_agg(tstzrange(g.started_at, greatest(g.started_at, coalesce(g.ended_at, $2))) * w.period) AS gaps
    FROM windows AS w
    JOIN blueteam.source_gaps AS g
      ON g.source_id = w.source_id
     AND g.tenant_id = (SELECT blueteam.tenant_of_new())
     AND tstzrange(g.started_at, greatest(g.started_at, coalesce(g.ended_at, $2))) && w.period
    GROUP BY w.source_id
),
missed AS (
    SELECT source_id, sum(extract(epoch FROM upper(gap) - lower(gap))) AS seconds
    FROM covered, unnest(gaps) AS gap
    GROUP BY source_id
)
SELECT w.source_id AS "source_id!",
       CASE
           WHEN w.last_received_at IS NULL THEN 0
           ELSE greatest(0, 1 - coalesce(
               m.seconds / nullif(extract(epoch FROM upper(w.period) - lower(w.period)), 0), 0))
              * (1 - coalesce(w.rejected / nullif(w.received::numeric, 0), 0))
       END::float8 AS "share!"
FROM windows AS w
LEFT JOIN missed AS m USING (source_id)
ORDER BY w.source_id
