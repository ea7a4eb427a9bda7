-- Alerts name people: the user whose ID an alert is about, and the accounts that failed logins tried.
ALTER TABLE blueteam.alert_history ADD COLUMN IF NOT EXISTS entity_name text;
ALTER TABLE blueteam.alert_history
    ADD COLUMN IF NOT EXISTS accounts text[] NOT NULL DEFAULT '{}';

COMMENT ON COLUMN blueteam.alert_history.entity_name IS
    'Name of the user whose ID is in entity_value, where it was known at the time';
COMMENT ON COLUMN blueteam.alert_history.accounts IS
    'Accounts that failed logins among the first hundred events tried, 20 at most';

-- They grow with the alert, as its events do, which is no change that a person makes.
SELECT audit.track('blueteam.alert_history', 'ALERT',
    '{last_seen,event_count,event_ids,state,title,description,updated_at,accounts,hosts}');
