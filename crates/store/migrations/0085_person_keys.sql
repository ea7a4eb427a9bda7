-- API keys of people (decision 0051): with which a person's programs use /api/v1. They are apart from users.api_keys, the keys of
-- machines: whoever takes events in sees none of these, and whoever signs people in none of those, so that neither counts as the other.

CREATE TABLE users.person_keys (
    key_id      uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    user_id     uuid NOT NULL REFERENCES users.users (user_id) ON DELETE RESTRICT,
    key_name    text NOT NULL CHECK (length(key_name) BETWEEN 1 AND 100),
    scopes      text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 50),
    created_at  timestamptz NOT NULL DEFAULT now(),
    rotated_at  timestamptz,
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    last_used   timestamptz,
    usage_count bigint NOT NULL DEFAULT 0,
    -- A year, and never for good.
    CONSTRAINT person_keys_year CHECK (expires_at <= coalesce(rotated_at, created_at) + interval '366 days')
);
CREATE INDEX idx_person_keys_user_id ON users.person_keys (user_id);

-- SHA-256 of what the bearer sends. The one without an end is in force; one before it may last a day longer, so that a program can
-- be given the new one.
CREATE TABLE users.person_key_secrets (
    secret_id   uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    key_id      uuid NOT NULL REFERENCES users.person_keys (key_id) ON DELETE RESTRICT,
    token_hash  bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    key_prefix  text NOT NULL CHECK (length(key_prefix) <= 20),
    created_at  timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz
);
CREATE UNIQUE INDEX idx_person_key_secrets_current ON users.person_key_secrets (key_id) WHERE valid_until IS NULL;
CREATE INDEX idx_person_key_secrets_key_id ON users.person_key_secrets (key_id);

COMMENT ON TABLE users.person_keys IS 'API keys of people: what their programs may do in their name';
COMMENT ON COLUMN users.person_keys.key_id IS 'identity';
COMMENT ON COLUMN users.person_keys.user_id IS 'owner';
COMMENT ON COLUMN users.person_keys.key_name IS 'what uses it';
COMMENT ON COLUMN users.person_keys.scopes IS 'what it may do, as far as its owner may: read, or resource:action';
COMMENT ON COLUMN users.person_keys.created_at IS 'when it was made';
COMMENT ON COLUMN users.person_keys.rotated_at IS 'when its secret was last replaced';
COMMENT ON COLUMN users.person_keys.expires_at IS 'when it ends, at most a year after it was made or rotated';
COMMENT ON COLUMN users.person_keys.revoked_at IS 'when it was taken out of force';
COMMENT ON COLUMN users.person_keys.last_used IS 'when it was last used, to the minute or so';
COMMENT ON COLUMN users.person_keys.usage_count IS 'how often it was used';
COMMENT ON TABLE users.person_key_secrets IS 'hashes of the secrets of people''s API keys';
COMMENT ON COLUMN users.person_key_secrets.secret_id IS 'identity';
COMMENT ON COLUMN users.person_key_secrets.key_id IS 'whose';
COMMENT ON COLUMN users.person_key_secrets.token_hash IS 'SHA-256 of the secret';
COMMENT ON COLUMN users.person_key_secrets.key_prefix IS 'its first characters, for lists';
COMMENT ON COLUMN users.person_key_secrets.created_at IS 'when it was made';
COMMENT ON COLUMN users.person_key_secrets.valid_until IS 'until when it counts after another took its place; none for the current one';

-- A key stays its owner's, may never more than at first, and once revoked stays so.
CREATE FUNCTION users.keep_person_key() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.key_id <> OLD.key_id OR NEW.user_id <> OLD.user_id OR NEW.key_name <> OLD.key_name OR NEW.scopes <> OLD.scopes
       OR NEW.created_at <> OLD.created_at OR (OLD.revoked_at IS NOT NULL AND NEW IS DISTINCT FROM OLD) THEN
        RAISE EXCEPTION 'an API key stays what it was' USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- The year begins when the secret is replaced, whatever the statement says.
    NEW.rotated_at := CASE WHEN NEW.expires_at <> OLD.expires_at THEN now() ELSE OLD.rotated_at END;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_person_key BEFORE UPDATE ON users.person_keys FOR EACH ROW EXECUTE FUNCTION users.keep_person_key();
COMMENT ON FUNCTION users.keep_person_key() IS 'refuses changes of what an API key is';

-- A secret gets an end within a day, which is never put off.
CREATE FUNCTION users.keep_person_key_secret() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.secret_id <> OLD.secret_id OR NEW.key_id <> OLD.key_id OR NEW.token_hash <> OLD.token_hash
       OR NEW.created_at <> OLD.created_at OR NEW.valid_until IS NULL
       OR NEW.valid_until > least(OLD.valid_until, now() + interval '24 hours') THEN
        RAISE EXCEPTION 'a secret ends within a day and is not prolonged' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_person_key_secret BEFORE UPDATE ON users.person_key_secrets
    FOR EACH ROW EXECUTE FUNCTION users.keep_person_key_secret();
COMMENT ON FUNCTION users.keep_person_key_secret() IS 'refuses changes of a secret but its end';
ALTER TABLE users.person_keys ENABLE ALWAYS TRIGGER keep_person_key;
ALTER TABLE users.person_key_secrets ENABLE ALWAYS TRIGGER keep_person_key_secret;

SELECT audit.track('users.person_keys', 'API_KEY', '{last_used,usage_count}');
SELECT audit.track('users.person_key_secrets', 'API_KEY', '{}');

REVOKE ALL ON FUNCTION users.keep_person_key(), users.keep_person_key_secret() FROM PUBLIC;
GRANT SELECT ON users.person_keys, users.person_key_secrets TO blueteam_accounts;
GRANT UPDATE (last_used, usage_count) ON users.person_keys TO blueteam_accounts;
GRANT SELECT, INSERT (user_id, key_name, scopes, expires_at), UPDATE (expires_at, revoked_at) ON users.person_keys
    TO blueteam_admin;
GRANT SELECT (secret_id, key_id, key_prefix, created_at, valid_until), INSERT (key_id, token_hash, key_prefix), UPDATE (valid_until)
    ON users.person_key_secrets TO blueteam_admin;
