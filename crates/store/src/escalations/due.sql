-- Lists the tenant's alerts that were not acknowledged in time and whose next tier is due. Locks them, and
-- passes over those that another session holds.
--
-- $1 severities and $2 the microseconds that each allows, $3 number of tiers, $4 microseconds after
-- which an escalation that was missed is too old, $5 most alerts

SELECT a.alert_id, (coalesce(reached.tier, 0) + 1)::smallint AS "tier!"
FROM blueteam.alert_history a
JOIN unnest($1::text[], $2::bigint[]) AS allowed (severity, micros) ON allowed.severity = a.severity
CROSS JOIN LATERAL (
    SELECT max(tier) AS tier, max(at) AS at
    FROM blueteam.escalations e
    WHERE e.alert_id = a.alert_id
) reached
WHERE a.tenant_id = (SELECT blueteam.tenant_of_new())
  AND a.acknowledged IS NOT TRUE
  -- An advisory's alert is closed by the response to it: somebody has seen it.
  AND NOT (a.rule_id = 'advisory' AND a.state = 'closed')
  AND coalesce(reached.tier, 0) < $3
  AND coalesce(reached.at, a.created_at) <= now() - allowed.micros * interval '1 microsecond'
  AND a.created_at > now() - ($3 * allowed.micros + $4) * interval '1 microsecond'
  AND EXISTS (
      SELECT
      FROM blueteam.notifications d
      WHERE d.alert_id = a.alert_id AND d.kind = 'opened'
  )
  AND NOT EXISTS (SELECT FROM blueteam.rate_limited_alerts f WHERE f.alert_id = a.alert_id)
ORDER BY a.created_at
LIMIT $5
FOR UPDATE OF a SKIP LOCKED
