-- Selects names of users.
--
-- $1 most names

SELECT username AS "name!"
FROM users.users
UNION
SELECT coalesce(entity_name, entity_value)
FROM blueteam.alert_history
WHERE entity_type = 'user' AND coalesce(entity_name, entity_value) IS NOT NULL
UNION
SELECT user_key
FROM blueteam.user_baselines
UNION
(
    SELECT metadata ->> 'username'
    FROM blueteam.audit_events
    WHERE timestamp > now() - interval '1 day' AND metadata ->> 'username' IS NOT NULL
    ORDER BY timestamp DESC
    LIMIT $1
)
UNION
(
    SELECT user_name
    FROM blueteam.log_events
    WHERE timestamp > now() - interval '1 day' AND user_name IS NOT NULL
    ORDER BY timestamp DESC
    LIMIT $1
)
LIMIT $1
