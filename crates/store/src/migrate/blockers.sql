-- Who holds locks on tables that migrations change, longest transaction first. Of sessions of other
-- logins only a superuser (or a member of pg_read_all_stats) sees since when.
WITH watched AS (
    SELECT c.oid, c.oid::regclass::text AS name
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p')
       AND (n.nspname IN ('blueteam', 'users', 'audit') OR (n.nspname = 'public' AND c.relname LIKE 'audit\_events%'))
)
SELECT coalesce(l.pid, 0) AS pid,
       coalesce(a.usename::text, p.owner::text, '') AS login,
       coalesce(a.application_name, '') AS application,
       coalesce(p.gid, '') AS prepared,
       to_char(coalesce(a.xact_start, p.prepared) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') AS since,
       string_agg(DISTINCT w.name, ', ') AS tables,
       bool_or(l.mode = 'ShareUpdateExclusiveLock') AS maintenance
  FROM pg_locks l
  JOIN watched w ON w.oid = l.relation
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN pg_prepared_xacts p ON l.pid IS NULL AND l.virtualtransaction = '-1/' || p.transaction
 WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
 GROUP BY l.pid, a.usename, p.owner, a.application_name, p.gid, a.xact_start, p.prepared
 ORDER BY coalesce(a.xact_start, p.prepared), l.pid
 LIMIT 4
