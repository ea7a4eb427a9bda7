-- Counts the events by source, category and action; the rarer types of a category as one.
--
-- $1 the earliest time, $2 most types

WITH types AS (
    SELECT
        'audit_db' AS source,
        category,
        action,
        count(*) AS events,
        count(user_id) AS with_user,
        count(ip_address) AS with_address,
        count(*) FILTER (WHERE result <> 'success') AS refused,
        count(*) FILTER (WHERE cui_accessed) AS cui
    FROM blueteam.audit_events
    WHERE timestamp >= $1
    GROUP BY category, action
    UNION ALL
    SELECT
        source,
        category,
        action,
        count(*),
        count(*) FILTER (WHERE num_nonnulls(user_id, user_name) > 0),
        count(ip_address),
        count(*) FILTER (WHERE result <> 'success'),
        count(*) FILTER (WHERE cui_involved)
    FROM blueteam.log_events
    WHERE timestamp >= $1
    GROUP BY source, category, action
),
ranked AS (
    SELECT
        *,
        row_number() OVER (ORDER BY events DESC, source, category, action) > $2 AS rare
    FROM types
)
SELECT
    source AS "source!",
    category AS "category!",
    CASE WHEN rare THEN '(rarer types)' ELSE min(action) END AS "action!",
    sum(events)::bigint AS "events!",
    sum(with_user)::bigint AS "with_user!",
    sum(with_address)::bigint AS "with_address!",
    sum(refused)::bigint AS "refused!",
    sum(cui)::bigint AS "cui!"
FROM ranked
GROUP BY source, category, rare, CASE WHEN NOT rare THEN action END
ORDER BY 4 DESC, 1, 2, 3
