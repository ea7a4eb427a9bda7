-- Takes due notifications. A resolved message waits until the opened one is out.
--
-- $1 channels, $2 most notifications of each channel, $3 how long the taker has, in microseconds,
-- $4 whether this process runs the channel; notifications of others are taken after an hour

WITH due AS (
    SELECT q.delivery_id
    FROM unnest($1::text[], $2::bigint[], $4::bool[]) AS wanted (channel, most, ours)
    CROSS JOIN LATERAL (
        SELECT q.delivery_id
        FROM blueteam.notifications q
        WHERE q.state = 'pending'
          AND q.next_attempt_at <= now()
          AND q.channel = wanted.channel
          AND (wanted.ours OR q.created_at < now() - interval '1 hour')
          AND (
              q.kind <> 'resolved'
              OR NOT EXISTS (
                  SELECT
                  FROM blueteam.notifications earlier
                  WHERE earlier.alert_id = q.alert_id
                    AND earlier.channel = q.channel
                    AND earlier.kind IN ('opened', 'escalated')
                    AND earlier.state = 'pending'
              )
          )
        ORDER BY q.next_attempt_at
        LIMIT wanted.most
        FOR UPDATE SKIP LOCKED
    ) AS q
),
taken AS (
    UPDATE blueteam.notifications d
    SET
        attempts = attempts + 1,
        next_attempt_at = now() + $3::bigint * interval '1 microsecond'
    WHERE d.delivery_id = ANY (ARRAY(SELECT delivery_id FROM due))
    RETURNING
        d.delivery_id,
        d.alert_id,
        d.channel,
        d.kind,
        d.payload,
        d.people,
        d.attempts,
        d.created_at
)
SELECT
    delivery_id AS "delivery_id!",
    alert_id,
    channel AS "channel!",
    kind AS "kind!",
    payload AS "payload!",
    people AS "people!",
    attempts AS "attempts!"
FROM taken
ORDER BY created_at, delivery_id
