-- Selects the indexes that no query has used since the statistics began, the largest first. Those
-- of partitions count as the one index of their table.
--
-- $1 how many

SELECT
    i.root::regclass::text AS "name!",
    x.indrelid::regclass::text AS "table!",
    i.bytes AS "bytes!",
    (x.indisunique OR x.indisexclusion) AS "constrains!"
FROM (
    SELECT
        coalesce(pg_partition_root(s.indexrelid)::oid, s.indexrelid) AS root,
        coalesce(sum(pg_relation_size(s.indexrelid)), 0)::bigint AS bytes
    FROM pg_stat_user_indexes s
    GROUP BY 1
    HAVING sum(s.idx_scan) = 0
) AS i
JOIN pg_index x ON x.indexrelid = i.root
ORDER BY i.bytes DESC, 1
LIMIT $1
