SELECT
    s.session_id,
    s.user_id,
    u.username,
    u.full_name,
    u.role,
    u.tenant_id,
    u.is_active AND NOT u.is_service AND coalesce(u.expires_at, 'infinity') > now() AS "is_usable!",
    u.expires_at AS "expires_at: Ts",
    s.factors,
    s.created_at AS "created_at: Ts",
    s.seen_at AS "seen_at: Ts",
    s.locked_at AS "locked_at: Ts",
    s.stepped_up_at AS "stepped_up_at: Ts"
FROM users.sessions s
JOIN users.users u USING (user_id)
WHERE s.token_hash = $1 AND s.ended_at IS NULL
