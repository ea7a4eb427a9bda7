-- What the current login lacks for the migrations that are pending: one statement a row, in the
-- order in which to run them. Without `required` the migrations go through, and `blueteam up` fails
-- later.
-- $1: the roles that the login must be able to become; the first owns functions, so that migrating
-- takes it.
-- $2: all roles. $3: whether the migrations that make roles and schemas (up to 8) are pending.
WITH me AS (
    SELECT r.oid, r.rolname, r.rolcreaterole, current_setting('server_version_num')::int >= 160000 AS sets
      FROM pg_roles r WHERE r.rolname = current_user AND NOT r.rolsuper
),
owned_schemas AS (
    SELECT n.oid, n.nspname, n.nspowner FROM pg_namespace n WHERE n.nspname IN ('blueteam', 'users', 'audit')
),
memberships AS (
    SELECT role.name, role.at,
           CASE WHEN r.oid IS NULL THEN me.rolcreaterole
                WHEN me.sets THEN pg_has_role(me.oid, r.oid, 'MEMBER WITH ADMIN OPTION')
                ELSE me.rolcreaterole OR pg_has_role(me.oid, r.oid, 'MEMBER WITH ADMIN OPTION') END AS self_service,
           r.oid IS NOT NULL
               AND pg_has_role(me.oid, r.oid, 'USAGE')
               AND pg_has_role(me.oid, r.oid, CASE WHEN me.sets THEN 'SET' ELSE 'MEMBER' END) AS held
      FROM me CROSS JOIN unnest($1::text[]) WITH ORDINALITY AS role (name, at) LEFT JOIN pg_roles r ON r.rolname = role.name
)
SELECT statement, required FROM (
    SELECT 1 AS step, format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), me.rolname) AS statement, true AS required
      FROM me WHERE $3 AND NOT has_database_privilege(me.oid, current_database(), 'CREATE')
    UNION ALL
    SELECT 2, format('GRANT USAGE, CREATE ON SCHEMA public TO %I%s;', me.rolname,
                     CASE WHEN has_schema_privilege('public', n.oid, 'USAGE') THEN '' ELSE ' WITH GRANT OPTION' END), true
      FROM me, pg_namespace n
     WHERE n.nspname = 'public' AND $3
       AND NOT (has_schema_privilege(me.oid, n.oid, 'CREATE')
                AND (has_schema_privilege('public', n.oid, 'USAGE') OR has_schema_privilege(me.oid, n.oid, 'USAGE WITH GRANT OPTION')))
    UNION ALL
    SELECT 3, format('ALTER SCHEMA %I OWNER TO %I;', n.nspname, me.rolname), true
      FROM me, owned_schemas n WHERE NOT pg_has_role(me.oid, n.nspowner, 'USAGE')
    UNION ALL
    SELECT 4, format('ALTER %s %I.%I OWNER TO %I;',
                     CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                                    WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
                     n.nspname, c.relname, me.rolname), true
      FROM me, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE (n.oid IN (SELECT oid FROM owned_schemas)
            OR (n.nspname = 'public' AND c.relname IN ('audit_events', '_sqlx_migrations'))
            OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass('public.audit_events')))
       AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
       AND NOT pg_has_role(me.oid, c.relowner, 'USAGE')
       -- A column's own sequence follows its table.
       AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') AND c.relkind = 'S')
    UNION ALL
    SELECT 5, format('ALTER ROUTINE %s OWNER TO %I;', p.oid::regprocedure, me.rolname), true
      FROM me, pg_proc p JOIN owned_schemas n ON n.oid = p.pronamespace
     WHERE n.nspname <> 'users' AND NOT pg_has_role(me.oid, p.proowner, 'USAGE')
       AND p.proowner <> coalesce(to_regrole('audit_retention')::oid, 0)
    UNION ALL
    SELECT 6, format('CREATE ROLE %I NOLOGIN;', role.name), true
      FROM me, unnest($2::text[]) AS role (name)
     WHERE NOT me.rolcreaterole AND to_regrole(role.name) IS NULL
    UNION ALL
    SELECT 7, format('GRANT %I TO %I%s;', m.name, me.rolname, CASE WHEN me.sets THEN ' WITH SET TRUE, INHERIT TRUE' ELSE '' END),
           m.at = 1
      FROM me, memberships m WHERE ($3 OR m.name = 'blueteam_accounts') AND NOT m.held AND NOT m.self_service
) AS needs
ORDER BY step, statement
