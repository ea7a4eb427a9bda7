-- Who holds advisory locks in this database, one of which is that of migrations, longest
-- transaction first.
SELECT l.pid,
       coalesce(a.usename::text, '') AS login,
       coalesce(a.application_name, '') AS application,
       '' AS prepared,
       to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') AS since,
       'an advisory lock' AS tables,
       false AS maintenance
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
 ORDER BY a.xact_start, l.pid
 LIMIT 4
