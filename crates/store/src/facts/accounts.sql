-- Counts the accounts that break a rule of account management.
--
-- $1 now, $2 the time since which an account in use has logged in

SELECT
    count(*) FILTER (
        WHERE is_active
          AND password_kind IS NOT NULL
          AND coalesce(last_login, created_at) < $2
    ) AS "idle!",
    count(*) FILTER (WHERE account_locked_until > $1) AS "locked!",
    count(*) FILTER (
        WHERE must_change_password AND last_login > password_last_changed
    ) AS "temporary!",
    count(*) FILTER (WHERE password.changed) AS "changed!",
    count(*) FILTER (WHERE password.changed AND former_passwords = 0) AS "forgotten!"
FROM users.users u
CROSS JOIN LATERAL (
    SELECT
        password_kind IS NOT NULL
        AND password_last_changed > u.created_at + interval '1 minute' AS changed
) password
