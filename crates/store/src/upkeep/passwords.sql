-- Selects the accounts that a person can sign in with and that fall short of the policy of their
-- tenant.
--
-- $1 the present

SELECT
    a.username AS "username!",
    a.is_past_age AS "is_past_age!",
    a.has_no_factor AS "has_no_factor!",
    a.must_change AS "must_change!"
FROM (
    SELECT
        u.username,
        coalesce(
            u.has_password
            AND p.max_age_days > 0
            AND coalesce(u.password_last_changed, u.created_at) < $1::timestamptz - make_interval(days => p.max_age_days),
            false
        ) AS is_past_age,
        NOT EXISTS (
            SELECT FROM users.mfa_factors f WHERE f.user_id = u.user_id AND f.removed_at IS NULL
        ) AS has_no_factor,
        coalesce(u.must_change_password, false) AS must_change
    FROM users.users u
    LEFT JOIN LATERAL (
        SELECT q.max_age_days
        FROM users.password_policies q
        WHERE q.tenant_id = u.tenant_id OR q.tenant_id IS NULL
        ORDER BY q.tenant_id IS NULL, q.updated_at DESC
        LIMIT 1
    ) AS p ON true
    WHERE u.is_active
      AND NOT u.is_service
      AND (u.expires_at IS NULL OR u.expires_at > $1)
) AS a
ORDER BY lower(a.username)
