-- What people have chosen for themselves in the console.
CREATE TABLE users.preferences (
    user_id            uuid PRIMARY KEY REFERENCES users.users (user_id),
    time_zone          text CHECK (length(time_zone) BETWEEN 1 AND 100),
    keyboard_shortcuts boolean NOT NULL DEFAULT true,
    alert_filter       text CHECK (length(alert_filter) BETWEEN 1 AND 500),
    updated_at         timestamptz NOT NULL DEFAULT now()
);
SELECT blueteam.separate_tenants('users.preferences');
COMMENT ON TABLE users.preferences IS 'what people have chosen for themselves in the console';
COMMENT ON COLUMN users.preferences.user_id IS 'whose';
COMMENT ON COLUMN users.preferences.time_zone IS 'the zone of the times that they see; none: that of the business hours';
COMMENT ON COLUMN users.preferences.keyboard_shortcuts IS 'whether single keys do something';
COMMENT ON COLUMN users.preferences.alert_filter IS 'the filter with which their list of alerts opens, as a query';
COMMENT ON COLUMN users.preferences.updated_at IS 'when they last chose';

GRANT SELECT, INSERT (user_id, time_zone, keyboard_shortcuts, alert_filter), UPDATE (time_zone, keyboard_shortcuts, alert_filter, updated_at)
    ON users.preferences TO blueteam_admin;
