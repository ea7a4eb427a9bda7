-- Lists matches, open ones first, of these what attackers use first, then the most severe.
--
-- $1 whether closed ones are listed too, $2 inventory, $3 vulnerability, advisory or the beginning
-- of a match ID

SELECT
    m.match_id,
    m.vulnerability,
    m.feed,
    m.advisory_id,
    coalesce(a.document ->> 'title', '') AS "title!",
    m.inventory,
    m.ecosystem,
    m.name,
    m.version,
    m.confidence,
    m.severity,
    m.exploited,
    m.fixed_in,
    m.state,
    m.resolution,
    m.reason,
    m.owner,
    coalesce(
        m.due::text,
        (
            SELECT min(k.document ->> 'due')
            FROM blueteam.advisories k
            WHERE k.vulnerability = m.vulnerability
              AND k.document ->> 'due' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'
              AND (
                  k.unlisted_before
                  OR EXISTS (
                      SELECT
                      FROM blueteam.advisory_listings l
                      WHERE l.feed = k.feed AND l.advisory_id = k.advisory_id
                  )
              )
        )
    ) AS due,
    m.ticket,
    m.decided_by,
    m.decided_at AS "decided_at: Ts",
    m.alert_id,
    m.created_at AS "created_at: Ts"
FROM blueteam.advisory_matches m
JOIN blueteam.advisories a USING (feed, advisory_id)
WHERE m.tenant_id = (SELECT blueteam.tenant_of_new())
  AND ($1 OR m.state <> 'closed')
  AND ($2::text IS NULL OR m.inventory = $2)
  AND (
      $3::text IS NULL
      OR $3 IN (m.vulnerability, m.advisory_id)
      OR m.match_id::text LIKE $3 || '%'
  )
ORDER BY
    m.state = 'closed',
    m.exploited DESC,
    array_position(ARRAY['critical', 'high', 'unknown', 'medium', 'low', 'info'], m.severity),
    m.confidence,
    m.created_at DESC,
    m.match_id
LIMIT 10000
