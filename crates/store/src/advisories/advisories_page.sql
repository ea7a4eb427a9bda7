-- Lists published advisories as each source that differs describes them, in pages: all rows of an
-- advisory are on the page of its first.
--
-- $1 feed and $2 ID of the last advisory of the page before, $3 advisories a page

SELECT
    a.feed,
    a.advisory_id,
    coalesce(s.vulnerability, a.vulnerability) AS "vulnerability!",
    coalesce(s.known_exploited, a.known_exploited) AS "known_exploited!",
    true AS "listed!",
    coalesce(s.document, a.document) AS "document!"
FROM blueteam.advisories a
LEFT JOIN blueteam.advisory_listings s
    ON (s.feed, s.advisory_id) = (a.feed, a.advisory_id) AND s.document IS NOT NULL
WHERE (a.feed, a.advisory_id) > ($1, $2)
  AND (
      unlisted_before
      OR EXISTS (
          SELECT
          FROM blueteam.advisory_listings l
          WHERE l.feed = a.feed AND l.advisory_id = a.advisory_id
      )
  )
ORDER BY a.feed, a.advisory_id
FETCH FIRST $3 ROWS WITH TIES
