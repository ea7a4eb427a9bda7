-- Selects every active key of an active user, and the services that other keys of its tenant alone
-- may speak for.
--
-- $1 the most rows

WITH reserved AS (
    SELECT tenant_id, array_agg(DISTINCT service::text) AS services
    FROM users.api_keys
    WHERE service IS NOT NULL
      AND is_active
      AND (expires_at IS NULL OR expires_at > now())
    GROUP BY tenant_id
)
SELECT
    k.key_hash,
    k.key_id,
    k.user_id,
    k.tenant_id,
    k.scopes,
    k.service::text AS service,
    k.expires_at AS "expires_at: Ts",
    CASE WHEN k.service IS NULL THEN reserved.services END AS reserved
FROM users.api_keys k
JOIN users.users u USING (user_id, tenant_id)
LEFT JOIN reserved USING (tenant_id)
WHERE k.is_active
  AND u.is_active
  AND (k.expires_at IS NULL OR k.expires_at > now())
ORDER BY k.key_id
LIMIT $1
