-- Selects the largest tables with their indexes and partitions.
--
-- $1 how many

SELECT
    coalesce(pg_partition_root(c.oid)::oid, c.oid)::regclass::text AS "name!",
    coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS "bytes!"
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm')
  AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^pg_'
GROUP BY 1
ORDER BY 2 DESC, 1
LIMIT $1
