-- Accounts of people: passwords, second factors, sessions, and the links by which they are enrolled (SecureGuard, migration 008;
-- 3.5.1 to 3.5.11, 3.1.8, 3.1.10, 3.1.11). Decision 0048.
--
--   blueteam_accounts   signs people in: reads hashes and factors, writes attempts, sessions and new secrets     (ours)
DO $$
DECLARE
    member record;
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'blueteam_accounts') THEN
            CREATE ROLE blueteam_accounts NOLOGIN;
        END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;

    -- Whoever runs the HTTP server signs people in, too. Members that this login may not grant to are named by `migrate`.
    FOR member IN
        SELECT r.rolname
          FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
         WHERE m.roleid = 'blueteam_ingest'::regrole AND NOT pg_has_role(r.oid, 'blueteam_accounts', 'MEMBER')
    LOOP
        EXECUTE format('GRANT blueteam_accounts TO %I', member.rolname);
    END LOOP;
END $$;

ALTER TABLE users.users
    ADD COLUMN is_service      boolean NOT NULL DEFAULT false,
    -- Until when an account is given, such as an assessor's.
    ADD COLUMN expires_at      timestamptz,
    -- Since when it may be used: from then on it counts how long it was not.
    ADD COLUMN enabled_at      timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN disabled_reason text CHECK (length(disabled_reason) <= 500),
    -- Whoever may not see a hash still sees whether there is one.
    ADD COLUMN has_password    boolean NOT NULL GENERATED ALWAYS AS (password_hash LIKE '$%') STORED,
    -- And how it was made, which an assessor asks for. What cannot be a hash of a password (`!`, `*`) lets nobody in.
    ADD COLUMN password_kind   text GENERATED ALWAYS AS (
        CASE WHEN password_hash ~ '^[!*]' THEN NULL
             WHEN password_hash ~ '^\$2[abxy]\$' THEN 'bcrypt'
             WHEN password_hash ~ '^\$(scrypt|7)\$' THEN 'scrypt'
             WHEN password_hash ~ '^\$[a-z0-9-]+\$' THEN split_part(password_hash, '$', 2)
             WHEN password_hash ~ '^[0-9a-f]{32,128}$' THEN 'unsalted hash'
             ELSE 'plain text or unknown' END) STORED,
    ADD COLUMN former_passwords integer NOT NULL GENERATED ALWAYS AS (
        CASE jsonb_typeof(password_history) WHEN 'array' THEN jsonb_array_length(password_history) ELSE 0 END) STORED;
UPDATE users.users SET is_service = true WHERE password_hash = '!' AND email LIKE '%@service.invalid';

ALTER TABLE users.users ALTER COLUMN password_hash SET DEFAULT '!';

-- Names differ in more than their case: `Dana` must not be taken for `dana`. An adopted table may hold such a pair already.
DO $$ BEGIN
    CREATE UNIQUE INDEX idx_users_username_folded ON users.users (lower(username));
EXCEPTION WHEN unique_violation THEN
    CREATE INDEX idx_users_username_folded ON users.users (lower(username));
END $$;
CREATE INDEX IF NOT EXISTS idx_users_username ON users.users (username);
CREATE INDEX IF NOT EXISTS idx_users_email ON users.users (email);
CREATE INDEX IF NOT EXISTS idx_users_role ON users.users (role);
CREATE INDEX IF NOT EXISTS idx_users_account_locked ON users.users (account_locked_until) WHERE account_locked_until IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_api_keys_user_id ON users.api_keys (user_id);
DROP INDEX IF EXISTS users.idx_api_keys_user;

-- One policy for each tenant, and one, without a tenant, for the others. Ages of 0 days: passwords do not grow old.
CREATE TABLE IF NOT EXISTS users.password_policies (
    policy_id                uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    min_length               integer NOT NULL DEFAULT 12,
    require_uppercase        boolean NOT NULL DEFAULT true,
    require_lowercase        boolean NOT NULL DEFAULT true,
    require_numbers          boolean NOT NULL DEFAULT true,
    require_special_chars    boolean NOT NULL DEFAULT true,
    max_age_days             integer NOT NULL DEFAULT 90,
    history_count            integer NOT NULL DEFAULT 5,
    max_failed_attempts      integer NOT NULL DEFAULT 5,
    lockout_duration_minutes integer NOT NULL DEFAULT 30,
    created_at               timestamptz NOT NULL DEFAULT now(),
    updated_at               timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE users.password_policies
    ADD COLUMN tenant_id              uuid,
    ADD COLUMN profile                text NOT NULL DEFAULT 'custom' CHECK (profile IN ('nist-63b-4', 'document', 'custom')),
    ADD COLUMN min_changed_characters integer NOT NULL DEFAULT 4 CHECK (min_changed_characters BETWEEN 0 AND 64),
    ADD COLUMN use_blocklist          boolean NOT NULL DEFAULT true,
    ADD COLUMN mfa_min_length         integer NOT NULL DEFAULT 12 CHECK (mfa_min_length BETWEEN 8 AND 128),
    ADD COLUMN idle_disable_days      integer NOT NULL DEFAULT 90 CHECK (idle_disable_days BETWEEN 1 AND 3650);
ALTER TABLE users.password_policies
    ADD CONSTRAINT password_policies_length CHECK (min_length BETWEEN 8 AND 128) NOT VALID,
    ADD CONSTRAINT password_policies_age CHECK (max_age_days BETWEEN 0 AND 3650) NOT VALID,
    ADD CONSTRAINT password_policies_history CHECK (history_count BETWEEN 0 AND 24) NOT VALID,
    ADD CONSTRAINT password_policies_attempts CHECK (max_failed_attempts BETWEEN 3 AND 100) NOT VALID,
    ADD CONSTRAINT password_policies_lockout CHECK (lockout_duration_minutes BETWEEN 1 AND 1440) NOT VALID;
INSERT INTO users.password_policies (
    profile, min_length, require_uppercase, require_lowercase, require_numbers, require_special_chars, max_age_days)
SELECT 'nist-63b-4', 15, false, false, false, false, 0
 WHERE NOT EXISTS (SELECT FROM users.password_policies);

-- An adopted table may hold several rows: which of them counted was chance, and the newest is kept in force.
DO $$ BEGIN
    CREATE UNIQUE INDEX idx_password_policies_tenant
        ON users.password_policies (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'));
EXCEPTION WHEN unique_violation THEN NULL;
END $$;

-- The policy that counts for a tenant's accounts.
CREATE FUNCTION users.policy_of(tenant uuid) RETURNS users.password_policies
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p FROM users.password_policies p
     WHERE p.tenant_id = tenant OR p.tenant_id IS NULL
     ORDER BY p.tenant_id IS NULL, p.updated_at DESC
     LIMIT 1
$$;

-- Second factors. `secret` of a TOTP is sealed by a key that is not in the database.
CREATE TABLE users.mfa_factors (
    factor_id     uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    user_id       uuid NOT NULL REFERENCES users.users (user_id) ON DELETE RESTRICT,
    kind          text NOT NULL CHECK (kind IN ('totp', 'passkey')),
    name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    secret        bytea CHECK (length(secret) <= 1024),
    -- The newest step whose code was used: none is used twice.
    last_step     bigint,
    credential_id bytea UNIQUE CHECK (length(credential_id) <= 1023),
    public_key    bytea CHECK (length(public_key) <= 2048),
    sign_count    bigint,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used     timestamptz,
    removed_at    timestamptz,
    CHECK ((kind = 'totp' AND secret IS NOT NULL AND credential_id IS NULL)
        OR (kind = 'passkey' AND secret IS NULL AND credential_id IS NOT NULL AND public_key IS NOT NULL))
);
CREATE INDEX idx_mfa_factors_user_id ON users.mfa_factors (user_id) WHERE removed_at IS NULL;

-- Recovery codes: SHA-256 of at least 112 random bits each (ASVS 6.5.2), used once.
CREATE TABLE users.recovery_codes (
    code_id    uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    user_id    uuid NOT NULL REFERENCES users.users (user_id) ON DELETE RESTRICT,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz,
    revoked_at timestamptz
);
CREATE INDEX idx_recovery_codes_user_id ON users.recovery_codes (user_id) WHERE used_at IS NULL AND revoked_at IS NULL;

-- Links that let a person choose a password and a second factor: once, for a day.
CREATE TABLE users.enrollment_links (
    link_id    uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    user_id    uuid NOT NULL REFERENCES users.users (user_id) ON DELETE RESTRICT,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    purpose    text NOT NULL CHECK (purpose IN ('enroll', 'recover')),
    -- What is being enrolled, until it is confirmed by a code; sealed.
    secret     bytea CHECK (length(secret) <= 1024),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
    used_at    timestamptz,
    revoked_at timestamptz,
    CHECK (expires_at <= created_at + interval '24 hours')
);
CREATE INDEX idx_enrollment_links_user_id ON users.enrollment_links (user_id) WHERE used_at IS NULL AND revoked_at IS NULL;

-- Sessions: SHA-256 of 256 random bits, which the person's browser holds.
CREATE TABLE users.sessions (
    session_id    uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    user_id       uuid NOT NULL REFERENCES users.users (user_id) ON DELETE RESTRICT,
    token_hash    bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    factors       text[] NOT NULL,
    ip_address    text CHECK (length(ip_address) <= 100),
    user_agent    text CHECK (length(user_agent) <= 500),
    created_at    timestamptz NOT NULL DEFAULT now(),
    seen_at       timestamptz NOT NULL DEFAULT now(),
    locked_at     timestamptz,
    stepped_up_at timestamptz,
    ended_at      timestamptz,
    end_reason    text CHECK (end_reason IN ('signed out', 'idle', 'absolute', 'revoked', 'account', 'password', 'replaced')),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);
CREATE INDEX idx_sessions_user_id ON users.sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX idx_sessions_seen_at ON users.sessions (seen_at) WHERE ended_at IS NULL;

-- The document's functions. A clear password in a statement ends in logs and statistics, so the program checks by itself and
-- never calls this one.
CREATE OR REPLACE FUNCTION users.validate_password_strength(
    password text, min_length integer DEFAULT 12, require_uppercase boolean DEFAULT true, require_lowercase boolean DEFAULT true,
    require_numbers boolean DEFAULT true, require_special_chars boolean DEFAULT true)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(length(password) >= min_length
        AND (NOT require_uppercase OR password COLLATE "C" ~ '[A-Z]')
        AND (NOT require_lowercase OR password COLLATE "C" ~ '[a-z]')
        AND (NOT require_numbers OR password COLLATE "C" ~ '[0-9]')
        AND (NOT require_special_chars OR password COLLATE "C" ~ '[^a-zA-Z0-9]'), false)
$$;

-- Until when the account is locked after a failure now; NULL where it is not. A lock ends by time, and counting begins again; while
-- it holds, no further failure makes it longer, or anybody could keep a person out for good. The last administrator of the system
-- is never kept out for longer than a quarter of an hour.
CREATE FUNCTION users.lock_after(account users.users, attempts integer) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN attempts >= p.max_failed_attempts THEN
        now() + make_interval(mins => CASE
            WHEN account.role = 'system_admin' AND NOT EXISTS (
                SELECT FROM users.users o
                 WHERE o.role = 'system_admin' AND o.is_active AND NOT o.is_service AND o.user_id <> account.user_id
                   AND coalesce(o.account_locked_until, '-infinity') <= now())
            THEN least(p.lockout_duration_minutes, 15) ELSE p.lockout_duration_minutes END) END
      FROM users.policy_of(account.tenant_id) p
$$;

CREATE OR REPLACE FUNCTION users.handle_failed_login(username_param text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- Counted and locked by one statement, so that no two failures at once count as one.
    UPDATE users.users u
       SET failed_login_attempts =
               CASE WHEN u.account_locked_until <= now() THEN 1 ELSE coalesce(u.failed_login_attempts, 0) + 1 END,
           last_failed_login = now(),
           account_locked_until = users.lock_after(
               u, CASE WHEN u.account_locked_until <= now() THEN 1 ELSE coalesce(u.failed_login_attempts, 0) + 1 END)
     WHERE lower(u.username) = lower(username_param) AND coalesce(u.account_locked_until, '-infinity') <= now()
$$;

CREATE OR REPLACE FUNCTION users.handle_successful_login(username_param text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE users.users u
       SET failed_login_attempts = 0, last_failed_login = NULL, account_locked_until = NULL, last_login = now()
     WHERE lower(u.username) = lower(username_param)
$$;

-- Disables the accounts of people that nobody has used for as long as their policy says (3.5.6); returns their names. The system
-- administrator who was here last stays: somebody must let the others in again.
CREATE FUNCTION users.disable_idle_accounts() RETURNS SETOF text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE users.users u
       SET is_active = false,
           disabled_reason = format('nobody signed in for %s days', (users.policy_of(u.tenant_id)).idle_disable_days)
     WHERE u.is_active AND NOT u.is_service
       AND greatest(u.last_login, u.enabled_at) < now() - make_interval(days => (users.policy_of(u.tenant_id)).idle_disable_days)
       AND u.user_id IS DISTINCT FROM (
            SELECT s.user_id FROM users.users s
             WHERE s.role = 'system_admin' AND s.is_active AND NOT s.is_service AND s.expires_at IS NULL
             ORDER BY greatest(s.last_login, s.enabled_at) DESC, s.user_id
             LIMIT 1)
    RETURNING u.username::text
$$;

-- What holds for each account, whoever changes it. Rows that another program wrote are asked only for what is changed.
CREATE FUNCTION users.keep_account() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'the account % stays in the record: disable it', OLD.username USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP = 'INSERT' OR NEW.role IS DISTINCT FROM OLD.role THEN
        IF NEW.role NOT IN ('user', 'manager', 'admin', 'system_admin', 'assessor') THEN
            RAISE EXCEPTION '% is no role', NEW.role USING ERRCODE = 'check_violation', CONSTRAINT = 'users_role';
        END IF;
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.username !~ '^[A-Za-z0-9][A-Za-z0-9._@+-]*$' THEN
            RAISE EXCEPTION '% is no user name', NEW.username USING ERRCODE = 'check_violation', CONSTRAINT = 'users_username';
        END IF;
        -- The very same name is for the constraint, which `ON CONFLICT` knows.
        IF EXISTS (SELECT FROM users.users u
                    WHERE lower(u.username) = lower(NEW.username) AND u.username <> NEW.username) THEN
            RAISE EXCEPTION 'the name % was given before', NEW.username
                USING ERRCODE = 'unique_violation', CONSTRAINT = 'users_username_key';
        END IF;
        RETURN NEW;
    END IF;

    -- A name that could be taken over would make one person answer for what another one did (3.5.5).
    IF NEW.username IS DISTINCT FROM OLD.username OR NEW.user_id IS DISTINCT FROM OLD.user_id
       OR NEW.is_service IS DISTINCT FROM OLD.is_service THEN
        RAISE EXCEPTION 'the account % keeps its name', OLD.username USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.is_active THEN
        NEW.disabled_reason := NULL;
        NEW.enabled_at := CASE WHEN OLD.is_active THEN OLD.enabled_at ELSE now() END;
    END IF;

    -- Somebody must remain who can let the others in. The rows are locked, so that no two of them remove each other.
    IF OLD.role = 'system_admin' AND OLD.is_active AND NOT OLD.is_service
       AND (NEW.role <> 'system_admin' OR NOT NEW.is_active OR NEW.expires_at IS NOT NULL) THEN
        PERFORM FROM users.users u WHERE u.role = 'system_admin' AND u.is_active ORDER BY u.user_id FOR UPDATE;
        IF NOT EXISTS (SELECT FROM users.users u
                        WHERE u.role = 'system_admin' AND u.is_active AND NOT u.is_service AND u.expires_at IS NULL
                          AND u.user_id <> OLD.user_id) THEN
            RAISE EXCEPTION '% is the last system administrator', OLD.username
                USING ERRCODE = 'check_violation', CONSTRAINT = 'users_last_system_admin';
        END IF;
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER keep_account BEFORE INSERT OR UPDATE OR DELETE ON users.users
    FOR EACH ROW EXECUTE FUNCTION users.keep_account();

-- Who may not come in any more, or has another role or password, has no session, and no link that would let them in.
CREATE FUNCTION users.end_access() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (OLD.is_active AND NOT NEW.is_active) OR OLD.role <> NEW.role THEN
        UPDATE users.sessions s SET ended_at = now(), end_reason = 'account'
         WHERE s.user_id = NEW.user_id AND s.ended_at IS NULL;
    ELSIF OLD.password_hash <> NEW.password_hash THEN
        UPDATE users.sessions s SET ended_at = now(), end_reason = 'password'
         WHERE s.user_id = NEW.user_id AND s.ended_at IS NULL;
    END IF;
    IF OLD.is_active AND NOT NEW.is_active THEN
        UPDATE users.enrollment_links l SET revoked_at = now()
         WHERE l.user_id = NEW.user_id AND l.used_at IS NULL AND l.revoked_at IS NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER end_access AFTER UPDATE OF is_active, role, password_hash ON users.users
    FOR EACH ROW EXECUTE FUNCTION users.end_access();

-- What a change of an account is called in the record.
CREATE FUNCTION audit.action_of(table_name text, operation text, before jsonb, after jsonb) RETURNS audit.audit_action
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN operation = 'INSERT' THEN 'CREATE'
        WHEN operation = 'UPDATE' AND table_name = 'users.users' AND before -> 'role' IS DISTINCT FROM after -> 'role'
            THEN 'ROLE_CHANGE'
        WHEN operation = 'UPDATE' AND table_name = 'users.users'
             AND before -> 'password_hash' IS DISTINCT FROM after -> 'password_hash' THEN 'PASSWORD_CHANGE'
        ELSE operation END::audit.audit_action
$$;

-- The trigger behind audit.track(), with that name.
CREATE OR REPLACE FUNCTION audit.record_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting   record;
    keys     text[] := string_to_array(TG_ARGV[1], ',');
    quiet    text[] := string_to_array(TG_ARGV[2], ',');
    before   jsonb;
    after    jsonb;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        acting := audit.acting(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, TG_OP);
        EXECUTE format(
            'INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, old_value, metadata,
                                          ip_address, user_agent)
             SELECT $1, $2, $3, ''DELETE'', $4::audit.audit_resource_type,
                    left((SELECT string_agg(r.j ->> k, '','' ORDER BY n) FROM unnest($5) WITH ORDINALITY AS u(k, n)), 255),
                    audit.redact(r.j, NULL), $6, $7, $8
               FROM (SELECT to_jsonb(t) AS j FROM %I.%I t) r', TG_TABLE_SCHEMA, TG_TABLE_NAME)
            USING acting.user_id, acting.user_email, acting.actor, TG_ARGV[0], keys, acting.metadata, acting.ip_address,
                  acting.user_agent;
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN before := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN after := to_jsonb(NEW); END IF;
    IF TG_OP = 'UPDATE' AND before - quiet = after - quiet THEN
        RETURN NULL;
    END IF;
    acting := audit.acting(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, TG_OP);
    INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, old_value, new_value, metadata,
                                 ip_address, user_agent)
    SELECT acting.user_id, acting.user_email, acting.actor,
           audit.action_of(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, TG_OP, before, after),
           TG_ARGV[0]::audit.audit_resource_type,
           left((SELECT string_agg(coalesce(after, before) ->> k, ',' ORDER BY n) FROM unnest(keys) WITH ORDINALITY AS u (k, n)), 255),
           audit.redact(before, after), audit.redact(after, before), acting.metadata, acting.ip_address, acting.user_agent;
    RETURN NULL;
END $$;


SELECT audit.track('users.users', 'USER', '{updated_at,failed_login_attempts,last_failed_login,last_login}');
SELECT audit.track('users.password_policies', 'SYSTEM', '{updated_at}');
SELECT audit.track('users.mfa_factors', 'USER', '{last_used,last_step,sign_count}');
SELECT audit.track('users.recovery_codes', 'USER', '{}');
SELECT audit.track('users.enrollment_links', 'USER', '{secret}');

-- A session that begins is a sign-in, and one that ends a sign-out, whoever ends it and why (3.1.11).
CREATE FUNCTION users.record_session() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting  record := audit.acting(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, TG_OP);
    account record;
BEGIN
    SELECT u.username, u.email INTO account FROM users.users u WHERE u.user_id = NEW.user_id;
    INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, new_value, metadata, ip_address,
                                 user_agent)
    VALUES (NEW.user_id, account.email, CASE TG_OP WHEN 'INSERT' THEN account.username ELSE acting.actor END,
            CASE TG_OP WHEN 'INSERT' THEN 'LOGIN' ELSE 'LOGOUT' END::audit.audit_action, 'USER', NEW.user_id::text,
            jsonb_strip_nulls(jsonb_build_object('username', account.username, 'factors', to_jsonb(NEW.factors),
                                                 'end_reason', NEW.end_reason)),
            acting.metadata || jsonb_build_object('session', NEW.session_id::text),
            coalesce(NEW.ip_address, acting.ip_address), coalesce(NEW.user_agent, acting.user_agent));
    RETURN NULL;
END $$;
CREATE TRIGGER record_begin AFTER INSERT ON users.sessions FOR EACH ROW EXECUTE FUNCTION users.record_session();
CREATE TRIGGER record_end AFTER UPDATE OF ended_at ON users.sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION users.record_session();
ALTER TABLE users.users ENABLE ALWAYS TRIGGER keep_account, ENABLE ALWAYS TRIGGER end_access;
ALTER TABLE users.sessions ENABLE ALWAYS TRIGGER record_begin, ENABLE ALWAYS TRIGGER record_end;

-- A session that has ended stays so, and is of one person.
CREATE FUNCTION users.keep_session() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.user_id <> OLD.user_id OR NEW.token_hash <> OLD.token_hash OR NEW.created_at <> OLD.created_at
       OR (OLD.ended_at IS NOT NULL AND NEW.ended_at IS DISTINCT FROM OLD.ended_at) THEN
        RAISE EXCEPTION 'a session stays what it was' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_session BEFORE UPDATE ON users.sessions FOR EACH ROW EXECUTE FUNCTION users.keep_session();

-- Whoever is refused something is on record, too.
CREATE FUNCTION audit.record_denied(action text, resource text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting record := audit.acting('users.users', 'SELECT');
BEGIN
    INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, metadata, ip_address, user_agent)
    VALUES (acting.user_id, acting.user_email, acting.actor, 'PERMISSION_DENIED', 'SYSTEM',
            (acting.metadata - '{table,operation}'::text[])
                || jsonb_build_object('action', left(action, 50), 'resource', left(resource, 50)),
            acting.ip_address, acting.user_agent);
END $$;

-- Rights. Nobody but who signs people in sees or writes hashes and factors; people's role administers accounts.
REVOKE ALL ON FUNCTION users.policy_of(uuid), users.lock_after(users.users, integer), users.handle_failed_login(text),
    users.handle_successful_login(text), users.disable_idle_accounts(), users.keep_account(), users.end_access(),
    users.record_session(), users.keep_session(),
    audit.action_of(text, text, jsonb, jsonb), audit.record_denied(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.record_denied(text, text) TO blueteam_admin;
GRANT USAGE ON SCHEMA users TO blueteam_accounts;
GRANT SELECT ON users.users, users.password_policies, users.mfa_factors, users.recovery_codes, users.enrollment_links,
    users.sessions TO blueteam_accounts;
GRANT UPDATE (password_hash, password_history, password_last_changed, must_change_password, updated_at) ON users.users
    TO blueteam_accounts;
GRANT INSERT ON users.mfa_factors, users.recovery_codes, users.sessions TO blueteam_accounts;
GRANT UPDATE (last_step, sign_count, last_used, removed_at) ON users.mfa_factors TO blueteam_accounts;
GRANT UPDATE (used_at, revoked_at) ON users.recovery_codes TO blueteam_accounts;
GRANT UPDATE (secret, used_at) ON users.enrollment_links TO blueteam_accounts;
GRANT UPDATE (seen_at, locked_at, stepped_up_at, ended_at, end_reason) ON users.sessions TO blueteam_accounts;
GRANT EXECUTE ON FUNCTION users.policy_of(uuid), users.lock_after(users.users, integer), users.handle_failed_login(text),
    users.handle_successful_login(text), users.disable_idle_accounts() TO blueteam_accounts;

REVOKE ALL ON users.users FROM blueteam_admin;
GRANT SELECT (user_id, username, email, full_name, must_change_password, password_last_changed, failed_login_attempts,
              last_failed_login, account_locked_until, role, is_active, is_service, has_password, password_kind,
              former_passwords, tenant_id, expires_at,
              enabled_at, disabled_reason, created_at, updated_at, last_login)
    ON users.users TO blueteam_admin;
GRANT INSERT (username, email, full_name, role, must_change_password, tenant_id, expires_at, is_service) ON users.users
    TO blueteam_admin;
GRANT UPDATE (email, full_name, role, is_active, must_change_password, failed_login_attempts, last_failed_login,
              account_locked_until, expires_at, disabled_reason, tenant_id, updated_at)
    ON users.users TO blueteam_admin;
GRANT SELECT, INSERT, UPDATE ON users.password_policies TO blueteam_admin;
GRANT SELECT (factor_id, user_id, kind, name, created_at, last_used, removed_at), UPDATE (removed_at) ON users.mfa_factors
    TO blueteam_admin;
GRANT SELECT (code_id, user_id, created_at, used_at, revoked_at), UPDATE (revoked_at) ON users.recovery_codes TO blueteam_admin;
GRANT SELECT (link_id, user_id, purpose, created_at, expires_at, used_at, revoked_at), INSERT (user_id, token_hash, purpose),
    UPDATE (revoked_at) ON users.enrollment_links TO blueteam_admin;
GRANT SELECT (session_id, user_id, factors, ip_address, user_agent, created_at, seen_at, locked_at, stepped_up_at, ended_at,
              end_reason),
    UPDATE (ended_at, end_reason) ON users.sessions TO blueteam_admin;
GRANT EXECUTE ON FUNCTION users.policy_of(uuid) TO blueteam_admin;
