-- Selects what alerts call the user of a name.
--
-- $1 name

SELECT user_id::text AS "value!"
FROM users.users
WHERE username = $1
UNION
SELECT entity_value
FROM blueteam.alert_history
WHERE entity_type = 'user' AND (entity_name = $1 OR entity_value = $1)
UNION
SELECT user_key
FROM blueteam.user_baselines
WHERE user_key = $1
UNION
(
    SELECT user_id::text
    FROM blueteam.audit_events
    WHERE timestamp > now() - interval '30 days'
      AND user_id IS NOT NULL
      AND metadata ->> 'username' = $1
    GROUP BY user_id
    LIMIT 10
)
UNION
(
    SELECT user_name
    FROM blueteam.log_events
    WHERE user_name = $1 AND timestamp > now() - interval '30 days'
    LIMIT 1
)
ORDER BY 1
