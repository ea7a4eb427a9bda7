-- Several applications: a key names the service that sends with it, and alerts and incidents say whose events they are made of.
CREATE DOMAIN blueteam.service_name AS text CONSTRAINT service_name_form CHECK (VALUE ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$');

-- NULL: the key of a relay, which speaks for several and is trusted to say for which.
ALTER TABLE users.api_keys ADD COLUMN service blueteam.service_name;
GRANT SELECT (service) ON users.api_keys TO blueteam_ingest;

-- What the evidence says, sorted; empty where no event of it names a service.
ALTER TABLE blueteam.alert_history ADD COLUMN services text[] NOT NULL DEFAULT '{}';
ALTER TABLE blueteam.security_incidents ADD COLUMN services text[] NOT NULL DEFAULT '{}';
CREATE INDEX alert_history_by_service ON blueteam.alert_history USING gin (services);
