-- Selects the login of this session, and how many tables of the product it owns.

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
    ) AS "owned_tables!"
FROM pg_roles me
WHERE me.rolname = session_user
