SELECT
    k.key_id,
    u.username,
    k.key_name,
    k.scopes,
    s.key_prefix,
    k.revoked_at IS NULL AS "is_active!",
    k.created_at AS "created_at: Ts",
    k.rotated_at AS "rotated_at: Ts",
    k.expires_at AS "expires_at: Ts",
    k.last_used AS "last_used: Ts",
    k.usage_count,
    (
        SELECT max(old.valid_until)
        FROM users.person_key_secrets old
        WHERE old.key_id = k.key_id AND old.valid_until > now()
    ) AS "former_until: Ts"
FROM users.person_keys k
JOIN users.users u USING (user_id)
JOIN users.person_key_secrets s ON s.key_id = k.key_id AND s.valid_until IS NULL
ORDER BY k.created_at DESC, k.key_id DESC
