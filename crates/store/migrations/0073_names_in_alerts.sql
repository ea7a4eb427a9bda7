-- Alerts name people: the user whose ID an alert is about, and the accounts that failed logins tried.
ALTER TABLE blueteam.alert_history ADD COLUMN IF NOT EXISTS entity_name text;
ALTER TABLE blueteam.alert_history
    ADD COLUMN IF NOT EXISTS accounts text[] NOT NULL DEFAULT '{}';

COMMENT ON COLUMN blueteam.alert_history.entity_name IS
    'Name of the user whose ID is in entity_value, where it was known at the time';
COMMENT ON COLUMN blueteam.alert_history.accounts IS
    'Accounts that failed logins among the first hundred events tried, 20 at most';
