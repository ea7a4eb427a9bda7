-- Accounts and API keys (SecureGuard). Keys need owners; the rest of the schema comes with its own features.
CREATE TABLE IF NOT EXISTS users.users (
    user_id               uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    username              varchar(50)  UNIQUE NOT NULL,
    email                 varchar(255) UNIQUE NOT NULL,
    password_hash         text NOT NULL,
    full_name             varchar(255),
    must_change_password  boolean NOT NULL DEFAULT false,
    password_last_changed timestamptz DEFAULT now(),
    failed_login_attempts integer DEFAULT 0,
    last_failed_login     timestamptz,
    account_locked_until  timestamptz,
    password_history      jsonb DEFAULT '[]',
    role                  varchar(50) NOT NULL DEFAULT 'user',
    is_active             boolean NOT NULL DEFAULT true,
    tenant_id             uuid,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    last_login            timestamptz
);

-- `key_hash` is the hex SHA-256 of a 256-bit random key: nothing to guess, so it needs no salt and can be looked up.
CREATE TABLE IF NOT EXISTS users.api_keys (
    key_id      uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    user_id     uuid NOT NULL REFERENCES users.users (user_id),
    key_hash    text NOT NULL,
    key_name    varchar(100) NOT NULL,
    key_prefix  varchar(10) NOT NULL,
    is_active   boolean NOT NULL DEFAULT true,
    expires_at  timestamptz,
    last_used   timestamptz,
    usage_count integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE users.api_keys ADD COLUMN IF NOT EXISTS scopes text[] NOT NULL DEFAULT '{}';
CREATE UNIQUE INDEX IF NOT EXISTS idx_api_keys_hash ON users.api_keys (key_hash);
CREATE INDEX IF NOT EXISTS idx_api_keys_user ON users.api_keys (user_id);
