SELECT name AS "name!", setting AS "setting!"
  FROM pg_settings
 WHERE name IN (
           'autovacuum', 'data_checksums', 'fsync', 'full_page_writes', 'max_connections',
           'server_version', 'server_version_num', 'superuser_reserved_connections',
           'synchronous_commit', 'track_counts', 'wal_level', 'TimeZone'
       )
