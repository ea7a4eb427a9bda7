-- Selects a key in force of a person who may be let in now: an account that is locked, disabled or over lends its rights to nothing.
--
-- $1 SHA-256 of the secret

SELECT
    k.key_id,
    k.user_id,
    k.scopes,
    u.username,
    u.full_name,
    u.role,
    u.tenant_id
FROM users.person_key_secrets s
JOIN users.person_keys k USING (key_id)
JOIN users.users u USING (user_id)
WHERE s.token_hash = $1
  AND coalesce(s.valid_until, 'infinity') > now()
  AND k.revoked_at IS NULL
  AND k.expires_at > now()
  AND u.is_active
  AND NOT u.is_service
  AND coalesce(u.expires_at, 'infinity') > now()
  AND coalesce(u.account_locked_until, '-infinity') <= now()
