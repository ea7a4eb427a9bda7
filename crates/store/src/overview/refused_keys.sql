-- Sums the requests whose API keys were not in force. An application may write the same action; what
-- it gives for a number is bounded.
--
-- $1 since when

SELECT
    count(*) AS "records!",
    coalesce(
        sum(
            CASE jsonb_typeof(metadata -> 'refused')
                WHEN 'number'
                    THEN least(greatest((metadata ->> 'refused')::numeric, 0), 1000000000)
                ELSE 0
            END
        ),
        0
    )::bigint AS "requests!"
FROM blueteam.audit_events
WHERE category = 'system'
  AND action = 'api_key_refused'
  AND resource_type = 'blueteam'
  AND timestamp > $1
