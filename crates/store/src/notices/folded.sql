-- Counts the tenant's folded alerts that no summary has named, for channels whose first one has waited long
-- enough and whose last summary is old enough.
--
-- $1 how long alerts wait, $2 the time between two summaries, both in microseconds

SELECT
    f.channel,
    a.severity AS "severity!",
    a.rule_id AS "rule!",
    count(*) AS "count!",
    min(f.at) AS "first!: Ts",
    max(f.at) AS "last!: Ts"
FROM blueteam.rate_limited_alerts f
JOIN blueteam.alert_history a USING (alert_id)
WHERE f.tenant_id = (SELECT blueteam.tenant_of_new())
  AND f.told_by IS NULL
  AND (
      SELECT min(o.at)
      FROM blueteam.rate_limited_alerts o
      WHERE o.tenant_id = f.tenant_id AND o.channel = f.channel AND o.told_by IS NULL
  ) <= now() - $1::bigint * interval '1 microsecond'
  AND NOT EXISTS (
      SELECT
      FROM blueteam.rate_limited_alerts t
      JOIN blueteam.notifications d ON d.delivery_id = t.told_by
      WHERE t.tenant_id = f.tenant_id
        AND t.channel = f.channel
        AND d.created_at > now() - $2::bigint * interval '1 microsecond'
  )
GROUP BY f.channel, a.severity, a.rule_id
ORDER BY
    f.channel,
    array_position(ARRAY['critical', 'high', 'medium', 'low', 'info'], a.severity),
    count(*) DESC
