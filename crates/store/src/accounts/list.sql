SELECT
    u.user_id,
    u.username,
    u.email,
    u.full_name,
    u.role,
    u.is_active,
    u.is_service,
    u.disabled_reason,
    u.expires_at AS "expires_at: Ts",
    u.has_password AS "has_password!",
    u.must_change_password,
    u.password_last_changed AS "password_last_changed: Ts",
    coalesce(u.failed_login_attempts, 0) AS "failed_attempts!",
    u.account_locked_until AS "locked_until: Ts",
    u.last_login AS "last_login: Ts",
    u.created_at AS "created_at: Ts",
    ARRAY(
        SELECT DISTINCT f.kind
        FROM users.mfa_factors f
        WHERE f.user_id = u.user_id AND f.removed_at IS NULL
        ORDER BY f.kind
    ) AS "factors!",
    (
        SELECT max(l.expires_at)
        FROM users.enrollment_links l
        WHERE l.user_id = u.user_id AND l.used_at IS NULL AND l.revoked_at IS NULL AND l.expires_at > now()
    ) AS "invited_until: Ts"
FROM users.users u
WHERE ($1::text IS NULL OR lower(u.username) = lower($1) OR lower(u.email) = lower($1))
    AND (NOT $2 OR u.account_locked_until > now())
ORDER BY u.is_service, lower(u.username), u.user_id
