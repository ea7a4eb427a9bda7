SELECT
    u.user_id,
    u.username,
    u.email,
    u.full_name,
    u.role,
    u.tenant_id,
    u.password_hash,
    -- What another program has written here is no history of ours where it is no list of texts.
    ARRAY(
        SELECT h.value #>> '{}'
        FROM jsonb_array_elements(
            CASE jsonb_typeof(u.password_history) WHEN 'array' THEN u.password_history ELSE '[]' END
        ) WITH ORDINALITY AS h (value, place)
        WHERE jsonb_typeof(h.value) = 'string'
        ORDER BY h.place
        LIMIT 24
    ) AS "password_history!",
    u.password_last_changed AS "password_last_changed: Ts",
    u.must_change_password,
    u.is_active AND NOT u.is_service AND coalesce(u.expires_at, 'infinity') > now() AS "is_usable!",
    coalesce(u.account_locked_until, '-infinity') > now() AS "is_locked!",
    users.is_external(u) AS "is_external!",
    EXISTS (
        SELECT FROM users.external_identities i
        WHERE i.user_id = u.user_id AND i.method = 'ldap' AND i.removed_at IS NULL
    ) AS "is_in_directory!",
    f.factor_id AS "factor_id?",
    f.secret AS "sealed?",
    f.last_step AS "last_step?"
FROM users.users u
LEFT JOIN LATERAL (
    SELECT factor_id, secret, last_step
    FROM users.mfa_factors
    WHERE user_id = u.user_id AND kind = 'totp' AND removed_at IS NULL
    ORDER BY created_at DESC
    LIMIT 1
) f ON true
WHERE lower(u.username) = lower($1) OR u.user_id = $2
