-- Passkeys at the door (WebAuthn; ASVS 6.3.3): what a passkey's counter and flags are, and under which handle its account is known
-- to authenticators, which names no person.
ALTER TABLE users.mfa_factors
    ADD COLUMN user_handle   bytea CHECK (length(user_handle) = 64),
    ADD COLUMN passkey_state bytea CHECK (length(passkey_state) = 7),
    ADD COLUMN transports    smallint CHECK (transports BETWEEN 0 AND 255);
ALTER TABLE users.mfa_factors
    ADD CONSTRAINT mfa_factors_passkey CHECK (kind <> 'passkey' OR removed_at IS NOT NULL
        OR (user_handle IS NOT NULL AND passkey_state IS NOT NULL AND transports IS NOT NULL)) NOT VALID;
COMMENT ON COLUMN users.mfa_factors.user_handle IS 'of a passkey: what authenticators call the account, 512 random bits';
COMMENT ON COLUMN users.mfa_factors.passkey_state IS 'of a passkey: its counter and flags, as they were at its last use';
COMMENT ON COLUMN users.mfa_factors.transports IS 'of a passkey: how browsers reach it, as bits';

-- A use is a sign-in, which has a row of its own.
SELECT audit.track('users.mfa_factors', 'USER', '{last_used,last_step,sign_count,passkey_state}');

GRANT UPDATE (name, passkey_state) ON users.mfa_factors TO blueteam_accounts;

-- A factor stays its person's, and what it is made of stays what it was.
CREATE FUNCTION users.keep_factor() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.user_id <> OLD.user_id OR NEW.kind <> OLD.kind OR NEW.created_at <> OLD.created_at
       OR NEW.credential_id IS DISTINCT FROM OLD.credential_id OR NEW.public_key IS DISTINCT FROM OLD.public_key
       OR NEW.user_handle IS DISTINCT FROM OLD.user_handle
       OR (OLD.removed_at IS NOT NULL AND NEW.removed_at IS DISTINCT FROM OLD.removed_at) THEN
        RAISE EXCEPTION 'a second factor stays what it was' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION users.keep_factor() IS 'refuses changes of what a second factor is';
REVOKE ALL ON FUNCTION users.keep_factor() FROM PUBLIC;
CREATE TRIGGER keep_factor BEFORE UPDATE ON users.mfa_factors FOR EACH ROW EXECUTE FUNCTION users.keep_factor();
ALTER TABLE users.mfa_factors ENABLE ALWAYS TRIGGER keep_factor;

-- Another factor, or one less, ends what was begun elsewhere (ASVS 7.4.3).
ALTER TABLE users.sessions DROP CONSTRAINT sessions_end_reason_check;
ALTER TABLE users.sessions ADD CONSTRAINT sessions_end_reason_check CHECK (
    end_reason IN ('signed out', 'idle', 'absolute', 'revoked', 'account', 'password', 'replaced', 'factor'));
