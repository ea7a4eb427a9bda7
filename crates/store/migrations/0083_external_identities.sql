-- People whose accounts are kept elsewhere: by an OpenID Connect provider or a directory. Decision 0050.
--
-- What identifies them there is issuer and subject, which are never given to another person. Names and addresses are: so an account
-- that exists is never found by one of them, and is linked by an administrator.
CREATE TABLE users.external_identities (
    identity_id uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    user_id     uuid NOT NULL REFERENCES users.users (user_id) ON DELETE RESTRICT,
    method      text NOT NULL CHECK (method IN ('oidc', 'ldap')),
    issuer      text NOT NULL CHECK (length(issuer) BETWEEN 1 AND 500),
    subject     text NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    created_at  timestamptz NOT NULL DEFAULT now(),
    last_used   timestamptz,
    removed_at  timestamptz
);
CREATE UNIQUE INDEX idx_external_identities_subject ON users.external_identities (method, issuer, subject) WHERE removed_at IS NULL;
CREATE INDEX idx_external_identities_user_id ON users.external_identities (user_id) WHERE removed_at IS NULL;
COMMENT ON TABLE users.external_identities IS 'Who a person is to an OpenID Connect provider or a directory (3.5.1)';
COMMENT ON COLUMN users.external_identities.issuer IS 'The provider''s issuer, or the directory''s base';
COMMENT ON COLUMN users.external_identities.subject IS 'What identifies the person there; never a name or an address';
SELECT audit.track('users.external_identities', 'USER', '{last_used}');

-- Whether an account is one of people who are known elsewhere. Its password lets in only those who put things right when the provider
-- or the directory is unreachable.
CREATE FUNCTION users.is_external(account users.users) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT account.role NOT IN ('admin', 'system_admin')
       AND EXISTS (SELECT FROM users.external_identities i WHERE i.user_id = account.user_id AND i.removed_at IS NULL)
$$;
COMMENT ON FUNCTION users.is_external(users.users) IS 'Whether an account has no password of its own, because it is kept elsewhere';

-- Lets in whom a provider or a directory has vouched for: finds the account, or makes it, and gives it the role that the groups give.
-- `outcome`: `found`; `created`; `taken`: the name is another account's; `unusable`: the account is disabled, or a service's; `role
-- kept`: the last system administrator stays one.
CREATE FUNCTION users.enter_external(
    method_param text, issuer_param text, subject_param text, username_param text, email_param text, full_name_param text,
    role_param text, OUT account_id uuid, OUT outcome text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    account users.users;
    broken  text;
BEGIN
    -- Two sign-ins of a person at once make one account.
    PERFORM pg_advisory_xact_lock(hashtextextended(method_param || ' ' || issuer_param || ' ' || subject_param, 83));
    SELECT u.* INTO account
      FROM users.external_identities i JOIN users.users u USING (user_id)
     WHERE i.method = method_param AND i.issuer = issuer_param AND i.subject = subject_param AND i.removed_at IS NULL;
    outcome := 'found';
    IF NOT FOUND THEN
        IF username_param IS NULL OR EXISTS (SELECT FROM users.users u WHERE lower(u.username) = lower(username_param)) THEN
            outcome := 'taken';
            RETURN;
        END IF;
        -- An address that another account has says nothing about who this is, and lets nobody in.
        INSERT INTO users.users (username, email, full_name, role)
        VALUES (username_param,
                CASE WHEN email_param IS NULL OR EXISTS (SELECT FROM users.users u WHERE lower(u.email) = lower(email_param))
                     THEN username_param || '@unknown.invalid' ELSE email_param END,
                full_name_param, role_param)
        RETURNING * INTO account;
        INSERT INTO users.external_identities (user_id, method, issuer, subject)
        VALUES (account.user_id, method_param, issuer_param, subject_param);
        outcome := 'created';
    END IF;

    account_id := account.user_id;
    IF NOT account.is_active OR account.is_service OR coalesce(account.expires_at, 'infinity') <= now() THEN
        outcome := 'unusable';
        RETURN;
    END IF;
    IF account.role <> role_param THEN
        BEGIN
            UPDATE users.users u SET role = role_param WHERE u.user_id = account.user_id;
        EXCEPTION WHEN check_violation THEN
            GET STACKED DIAGNOSTICS broken = CONSTRAINT_NAME;
            IF broken <> 'users_last_system_admin' THEN RAISE; END IF;
            outcome := 'role kept';
        END;
    END IF;
    UPDATE users.users u SET password_hash = '!', password_history = '[]'
     WHERE u.user_id = account.user_id AND u.password_hash <> '!' AND users.is_external(u);
    UPDATE users.external_identities i SET last_used = now()
     WHERE i.method = method_param AND i.issuer = issuer_param AND i.subject = subject_param AND i.removed_at IS NULL;
END $$;
COMMENT ON FUNCTION users.enter_external(text, text, text, text, text, text, text) IS
    'Finds or makes the account of a person whom a provider or a directory has vouched for';

-- With the way that a person came in by.
CREATE OR REPLACE FUNCTION users.record_session() RETURNS trigger
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
                                                 'method', NEW.factors[1], 'end_reason', NEW.end_reason)),
            acting.metadata || jsonb_build_object('session', NEW.session_id::text),
            coalesce(NEW.ip_address, acting.ip_address), coalesce(NEW.user_agent, acting.user_agent));
    RETURN NULL;
END $$;

-- Rights: who signs people in asks the function, and writes nothing of it by itself. People's role links accounts.
REVOKE ALL ON FUNCTION users.is_external(users.users), users.enter_external(text, text, text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION users.is_external(users.users), users.enter_external(text, text, text, text, text, text, text)
    TO blueteam_accounts;
GRANT SELECT ON users.external_identities TO blueteam_accounts, blueteam_admin;
GRANT INSERT (user_id, method, issuer, subject), UPDATE (removed_at) ON users.external_identities TO blueteam_admin;
