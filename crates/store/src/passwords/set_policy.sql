WITH newest AS (
    SELECT policy_id
    FROM users.password_policies
    WHERE tenant_id IS NULL
    ORDER BY updated_at DESC
    LIMIT 1
),
changed AS (
    UPDATE users.password_policies p
    SET
        profile = $1,
        min_length = $2,
        mfa_min_length = $3,
        require_uppercase = $4,
        require_lowercase = $5,
        require_numbers = $6,
        require_special_chars = $7,
        max_age_days = $8,
        history_count = $9,
        min_changed_characters = $10,
        use_blocklist = $11,
        max_failed_attempts = $12,
        lockout_duration_minutes = $13,
        idle_disable_days = $14,
        updated_at = now()
    FROM newest
    WHERE p.policy_id = newest.policy_id
    RETURNING p.policy_id
)
INSERT INTO users.password_policies (
    profile, min_length, mfa_min_length, require_uppercase, require_lowercase, require_numbers,
    require_special_chars, max_age_days, history_count, min_changed_characters, use_blocklist,
    max_failed_attempts, lockout_duration_minutes, idle_disable_days
)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
WHERE NOT EXISTS (SELECT FROM newest)
