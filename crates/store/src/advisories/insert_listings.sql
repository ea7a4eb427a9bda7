-- Records which advisories a source lists. A listing keeps a document of its own only where
-- another source says something else about the same advisory.
--
-- $1 source, $2 feeds, $3 advisory IDs, $4 vulnerabilities, $5 known exploited, $6 documents

INSERT INTO blueteam.advisory_listings (
    source,
    feed,
    advisory_id,
    vulnerability,
    known_exploited,
    document
)
SELECT
    $1,
    listed.feed,
    listed.advisory_id,
    CASE WHEN other.differs THEN listed.vulnerability END,
    CASE WHEN other.differs THEN listed.known_exploited END,
    CASE WHEN other.differs THEN listed.document END
FROM unnest($2::text[], $3::text[], $4::text[], $5::bool[], $6::jsonb[]) AS listed (
    feed,
    advisory_id,
    vulnerability,
    known_exploited,
    document
)
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT
        FROM blueteam.advisory_listings l
        WHERE l.feed = listed.feed
          AND l.advisory_id = listed.advisory_id
          AND l.document IS NOT NULL
    ) AS differs
) AS other
ON CONFLICT DO NOTHING
