-- Selects the login of this session, how many tables of the product it owns, whether the role that it
-- has taken is kept to one tenant, and whether the writer of log events may use COPY.

SELECT
    me.rolname::text AS "name!",
    me.rolsuper AS "superuser!",
    (
        SELECT count(*)
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p')
          AND (
              n.nspname IN ('blueteam', 'users', 'audit')
              OR c.oid = to_regclass('public.audit_events')
              OR c.oid IN (
                  SELECT i.inhrelid
                  FROM pg_inherits i
                  WHERE i.inhparent = to_regclass('public.audit_events')
              )
          )
          AND pg_has_role(me.oid, c.relowner, 'MEMBER')
    ) AS "owned_tables!",
    row_security_active('blueteam.alert_history')
    AND NOT pg_has_role(current_user, 'blueteam_engine', 'MEMBER')
    AND NOT pg_has_role(
        current_user,
        (SELECT relowner FROM pg_class WHERE oid = 'blueteam.alert_history'::regclass),
        'MEMBER'
    ) AS "sees_one_tenant!",
    EXISTS (
        SELECT
        FROM pg_roles
        WHERE rolname = 'blueteam_engine' AND (rolbypassrls OR rolsuper)
    ) AS "copies_log_events!"
FROM pg_roles me
WHERE me.rolname = session_user
