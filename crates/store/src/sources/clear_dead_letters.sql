-- Deletes the oldest dead letters of each source beyond those that are kept.
--
-- $1 how many are kept of a source

WITH old AS MATERIALIZED (
    SELECT
        tenant_id,
        source_id,
        (
            SELECT letter_id
            FROM blueteam.dead_letters l
            WHERE l.tenant_id = s.tenant_id AND l.source_id = s.source_id
            ORDER BY letter_id DESC
            OFFSET $1
            LIMIT 1
        ) AS last
    FROM (SELECT DISTINCT tenant_id, source_id FROM blueteam.dead_letters) s
)
DELETE FROM blueteam.dead_letters d USING old
WHERE d.tenant_id = old.tenant_id
  AND d.source_id = old.source_id
  AND d.letter_id <= old.last
