-- Lists notifications, the newest first.
--
-- $1 state, $2 channel, $3 alert, $4 the earliest time, $5 most notifications, $6 and $7
-- time and id of the notification after which the list goes on

SELECT
    d.delivery_id,
    d.alert_id,
    coalesce(a.title, d.payload ->> 'title', '') AS "title!",
    d.channel,
    d.kind,
    d.state,
    d.attempts,
    d.last_error,
    d.created_at AS "created_at: Ts",
    d.next_attempt_at AS "next_attempt_at: Ts",
    d.delivered_at AS "delivered_at: Ts"
FROM blueteam.notifications d
LEFT JOIN blueteam.alert_history a USING (alert_id)
WHERE ($1::text IS NULL OR d.state = $1)
  AND ($2::text IS NULL OR d.channel = $2)
  AND ($3::uuid IS NULL OR d.alert_id = $3)
  AND ($4::timestamptz IS NULL OR d.created_at >= $4)
  AND ($6::timestamptz IS NULL OR (d.created_at, d.delivery_id) < ($6, $7::uuid))
ORDER BY d.created_at DESC, d.delivery_id DESC
LIMIT $5
