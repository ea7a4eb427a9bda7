-- Selects what failed at the doors of everything that is watched: all together, and the accounts
-- and addresses with the most of it.
--
-- $1 since when, $2 since when it is today, $3 accounts and addresses that are named

WITH failures AS (
    SELECT
        timestamp,
        CASE WHEN action IN ('account_locked', 'account_lockout') THEN 'locked' ELSE 'failed' END AS kind,
        coalesce(metadata ->> 'username', metadata ->> 'email', user_id::text) AS account,
        host(ip_address) AS address,
        1::bigint AS times
    FROM blueteam.audit_events
    WHERE timestamp >= $1
      AND category = 'auth'
      AND (
          action IN ('login_failed', 'account_locked', 'account_lockout')
          OR (action = 'login' AND result <> 'success')
      )
    UNION ALL
    SELECT
        timestamp,
        CASE WHEN action IN ('account_locked', 'account_lockout') THEN 'locked' ELSE 'failed' END,
        coalesce(user_name, account, user_id::text),
        host(ip_address),
        occurrences::bigint
    FROM blueteam.log_events
    WHERE timestamp >= $1
      AND category = 'auth'
      AND (
          action IN ('login_failed', 'account_locked', 'account_lockout')
          OR (action = 'login' AND result <> 'success')
      )
),
grouped AS (
    SELECT
        kind,
        CASE
            WHEN GROUPING(account) = 0 THEN 'account'
            WHEN GROUPING(address) = 0 THEN 'address'
            ELSE 'all'
        END AS by,
        account,
        address,
        coalesce(sum(times) FILTER (WHERE timestamp >= $2), 0)::bigint AS today,
        sum(times)::bigint AS week,
        CASE
            WHEN GROUPING(account) = 0 THEN count(DISTINCT failures.address)
            ELSE count(DISTINCT failures.account)
        END AS others
    FROM failures
    GROUP BY GROUPING SETS ((kind), (kind, account), (kind, address))
),
ranked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY kind, by ORDER BY week DESC, coalesce(account, address)
        ) AS place
    FROM grouped
    WHERE by = 'all' OR coalesce(account, address) IS NOT NULL
)
SELECT
    kind AS "kind!",
    by AS "by!",
    coalesce(account, address) AS name,
    today AS "today!",
    week AS "week!",
    others AS "others!"
FROM ranked
WHERE place <= $3
ORDER BY kind, by, place
