-- Counts the components and the matches of advisories: open, overdue and answered.
--
-- $1 now, $2 the start of the period

WITH dated_match AS (
    SELECT
        m.state,
        m.resolution,
        m.decided_at,
        coalesce(
            m.due,
            (
                SELECT min(to_date(k.document ->> 'due', 'YYYY-MM-DD'))
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
        ) AS due
    FROM blueteam.advisory_matches m
)
SELECT
    (SELECT count(*) FROM blueteam.components) AS "components!",
    count(*) FILTER (WHERE state <> 'closed') AS "open!",
    count(*) FILTER (
        WHERE state <> 'closed' AND due < $1::timestamptz::date
    ) AS "overdue!",
    count(*) FILTER (
        WHERE state = 'closed' AND resolution <> 'gone' AND decided_at >= $2
    ) AS "answered!"
FROM dated_match
