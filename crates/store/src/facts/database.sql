-- Reads from the catalog who may change the audit record, what guards it, and how the server is
-- configured.

WITH record AS (
    SELECT c.oid, c.oid::regclass::text AS name, c.relowner
    FROM pg_class c
    WHERE c.oid = ANY (
        ARRAY[
            'public.audit_events', 'blueteam.log_events', 'audit.audit_log'
        ]::regclass[]
    )
       OR c.oid IN (
           SELECT inhrelid
           FROM pg_inherits
           WHERE inhparent = ANY (
               ARRAY['public.audit_events', 'blueteam.log_events']::regclass[]
           )
       )
)
SELECT
    ARRAY(
        SELECT r.rolname || ': ' || p.priv || ' on ' || t.name
        FROM record t
        CROSS JOIN pg_roles r
        CROSS JOIN unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS p (priv)
        WHERE NOT r.rolsuper
          AND r.oid <> t.relowner
          AND r.rolname !~ '^pg_'
          -- The retention role may blank addresses and raw lines, a column each. It cannot log in,
          -- and the trigger lets it do nothing else.
          AND NOT (
              r.rolname = 'audit_retention'
              AND NOT r.rolcanlogin
              AND t.name IN ('audit.audit_log', 'blueteam.log_events')
              AND p.priv = 'UPDATE'
              AND NOT has_table_privilege(r.oid, t.oid, 'UPDATE')
          )
          AND (
              has_table_privilege(r.oid, t.oid, p.priv)
              OR (p.priv = 'UPDATE' AND has_any_column_privilege(r.oid, t.oid, 'UPDATE'))
          )
        ORDER BY 1
    ) AS "may_change!",
    ARRAY(
        SELECT DISTINCT r.rolname::text
        FROM record t
        JOIN pg_roles r ON pg_has_role(r.oid, t.relowner, 'MEMBER')
        WHERE r.rolcanlogin AND NOT r.rolsuper
        ORDER BY 1
    ) AS "owners!",
    ARRAY(
        SELECT t.name
        FROM record t
        WHERE NOT EXISTS (
            SELECT
            FROM pg_trigger g
            WHERE g.tgrelid = t.oid
              AND g.tgenabled = 'A'
              AND g.tgname = 'append_only'
        )
           OR NOT EXISTS (
               SELECT
               FROM pg_trigger g
               WHERE g.tgrelid = t.oid
                 AND g.tgenabled = 'A'
                 AND g.tgname = 'append_only_truncate'
           )
        ORDER BY 1
    ) AS "unguarded!",
    ARRAY(
        SELECT rolname::text FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY 1
    ) AS "superusers!",
    ARRAY(
        SELECT rolname::text
        FROM pg_roles r
        WHERE rolcanlogin
          AND NOT rolsuper
          AND pg_has_role(r.oid, 'blueteam_admin', 'MEMBER')
        ORDER BY 1
    ) AS "managers!",
    ARRAY(
        SELECT rolname::text
        FROM pg_roles r
        WHERE NOT rolsuper
          AND rolname !~ '^pg_'
          AND has_table_privilege(r.oid, 'public.audit_events', 'SELECT')
        ORDER BY 1
    ) AS "readers!",
    current_setting('password_encryption') AS "password_encryption!",
    current_setting('ssl') = 'on' AS "ssl!",
    current_setting('data_checksums') = 'on' AS "checksums!",
    current_setting('listen_addresses') AS "listen!",
    current_setting('server_version') AS "version!"
