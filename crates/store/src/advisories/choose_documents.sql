-- Sets each advisory to the worst that one of its sources says about it: known to be exploited,
-- then by severity, then the newest.

UPDATE blueteam.advisories a
SET
    vulnerability = worst.vulnerability,
    known_exploited = worst.known_exploited,
    document = worst.document,
    updated_at = now()
FROM (
    SELECT DISTINCT ON (feed, advisory_id)
        feed,
        advisory_id,
        vulnerability,
        known_exploited,
        document
    FROM blueteam.advisory_listings
    WHERE document IS NOT NULL
    ORDER BY
        feed,
        advisory_id,
        known_exploited DESC,
        array_position(
            ARRAY['critical', 'high', 'unknown', 'medium', 'low', 'info'],
            coalesce(document ->> 'severity', 'unknown')
        ) NULLS LAST,
        document ->> 'published' DESC NULLS LAST,
        source
) AS worst
WHERE (a.feed, a.advisory_id) = (worst.feed, worst.advisory_id)
  AND (a.document, a.known_exploited) IS DISTINCT FROM (worst.document, worst.known_exploited)
