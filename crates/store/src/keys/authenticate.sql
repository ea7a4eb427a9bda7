-- Selects an active key of an active user, and the services that other keys of its tenant alone may
-- speak for. A key is its owner's tenant's.
--
-- $1 hash of the key

SELECT
    k.key_id,
    k.user_id,
    k.tenant_id,
    k.scopes,
    k.service::text AS service,
    k.expires_at AS "expires_at: Ts",
    CASE
        WHEN k.service IS NULL
            THEN ARRAY(
                SELECT DISTINCT other.service::text
                FROM users.api_keys other
                WHERE other.tenant_id = k.tenant_id
                  AND other.service IS NOT NULL
                  AND other.is_active
                  AND (other.expires_at IS NULL OR other.expires_at > now())
            )
    END AS reserved
FROM users.api_keys k
JOIN users.users u USING (user_id, tenant_id)
WHERE k.key_hash = $1
  AND k.is_active
  AND u.is_active
  AND (k.expires_at IS NULL OR k.expires_at > now())
