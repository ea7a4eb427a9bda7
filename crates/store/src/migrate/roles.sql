-- A login that is no superuser must be able to become the role that is given functions (0007), and
-- for `blueteam up` the roles that the daemon works as. From PostgreSQL 16 on, whoever creates a
-- role may grant it, and is not yet allowed to SET ROLE to it.
DO $$
DECLARE
    role   text;
    sets   boolean := current_setting('server_version_num')::int >= 160000;
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;
    FOREACH role IN ARRAY ARRAY['audit_retention', 'blueteam_engine', 'blueteam_ingest', 'blueteam_admin'] LOOP
        BEGIN
            IF to_regrole(role) IS NULL THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
        BEGIN
            IF NOT (pg_has_role(current_user, role, 'USAGE')
                    AND pg_has_role(current_user, role, CASE WHEN sets THEN 'SET' ELSE 'MEMBER' END)) THEN
                EXECUTE format('GRANT %I TO %I', role, current_user) || CASE WHEN sets THEN ' WITH SET TRUE, INHERIT TRUE' ELSE '' END;
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN
            -- Without the others the schema can be made all the same.
            IF role = 'audit_retention' THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END $$
