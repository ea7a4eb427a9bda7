-- Whether an open alert about an entity saw CUI is asked with each alert: without this, of all alerts.
CREATE INDEX idx_alerts_open_cui ON blueteam.alert_history (source, entity_type, entity_value)
    WHERE state = 'open' AND cui_involved;
