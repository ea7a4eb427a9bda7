-- Following a directory: who has left it is disabled, and roles follow its groups. Decision 0050.
--
-- Both work on accounts that are linked to somebody in a directory, and on no others.
CREATE FUNCTION users.leave_directory(account_param uuid, reason_param text, OUT outcome text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    broken text;
BEGIN
    outcome := 'none';
    UPDATE users.users u SET is_active = false, disabled_reason = left(reason_param, 500)
     WHERE u.user_id = account_param AND u.is_active AND NOT u.is_service AND EXISTS (
            SELECT FROM users.external_identities i
             WHERE i.user_id = u.user_id AND i.method = 'ldap' AND i.removed_at IS NULL);
    IF FOUND THEN outcome := 'done'; END IF;
EXCEPTION WHEN check_violation THEN
    GET STACKED DIAGNOSTICS broken = CONSTRAINT_NAME;
    IF broken <> 'users_last_system_admin' THEN RAISE; END IF;
    outcome := 'kept';
END $$;
COMMENT ON FUNCTION users.leave_directory(uuid, text) IS
    'Disables the account of somebody who has left the directory; the last system administrator stays';

CREATE FUNCTION users.follow_directory(account_param uuid, role_param text, OUT outcome text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    broken text;
BEGIN
    outcome := 'none';
    UPDATE users.users u SET role = role_param
     WHERE u.user_id = account_param AND u.is_active AND NOT u.is_service AND u.role <> role_param AND EXISTS (
            SELECT FROM users.external_identities i
             WHERE i.user_id = u.user_id AND i.method = 'ldap' AND i.removed_at IS NULL);
    IF FOUND THEN outcome := 'done'; END IF;
    UPDATE users.users u SET password_hash = '!', password_history = '[]'
     WHERE u.user_id = account_param AND u.password_hash <> '!' AND users.is_external(u);
EXCEPTION WHEN check_violation THEN
    GET STACKED DIAGNOSTICS broken = CONSTRAINT_NAME;
    IF broken <> 'users_last_system_admin' THEN RAISE; END IF;
    outcome := 'kept';
END $$;
COMMENT ON FUNCTION users.follow_directory(uuid, text) IS
    'Gives the account of somebody in the directory the role of their groups; the last system administrator stays';

REVOKE ALL ON FUNCTION users.leave_directory(uuid, text), users.follow_directory(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION users.leave_directory(uuid, text), users.follow_directory(uuid, text) TO blueteam_accounts;
