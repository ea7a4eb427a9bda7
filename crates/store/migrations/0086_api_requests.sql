-- What the API keeps of requests (decision 0051): answers for those that are sent again with the same `Idempotency-Key`, for a day;
-- and what has left as a file.

CREATE TABLE users.idempotency_keys (
    person       text NOT NULL CHECK (length(person) <= 255),
    route        text NOT NULL CHECK (length(route) <= 1000),
    key          text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    body_sha256  bytea NOT NULL CHECK (length(body_sha256) = 32),
    status       smallint CHECK (status BETWEEN 200 AND 599),
    content_type text CHECK (length(content_type) <= 100),
    body         text CHECK (octet_length(body) <= 1048576),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (person, route, key)
);
CREATE INDEX idx_idempotency_keys_created_at ON users.idempotency_keys (created_at);
COMMENT ON TABLE users.idempotency_keys IS 'answers of the API for requests that are sent again, for a day';
COMMENT ON COLUMN users.idempotency_keys.person IS 'account that sent it';
COMMENT ON COLUMN users.idempotency_keys.route IS 'method and path';
COMMENT ON COLUMN users.idempotency_keys.key IS 'what its sender calls the request';
COMMENT ON COLUMN users.idempotency_keys.body_sha256 IS 'SHA-256 of its body';
COMMENT ON COLUMN users.idempotency_keys.status IS 'status of the answer; none while it is in flight';
COMMENT ON COLUMN users.idempotency_keys.content_type IS 'media type of the answer';
COMMENT ON COLUMN users.idempotency_keys.body IS 'the answer, without secrets';
COMMENT ON COLUMN users.idempotency_keys.created_at IS 'when it came';
GRANT SELECT, INSERT (person, route, key, body_sha256), UPDATE (status, content_type, body), DELETE ON users.idempotency_keys
    TO blueteam_admin;

CREATE FUNCTION audit.record_export(resource text, what jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting record := audit.acting('users.users', 'SELECT');
BEGIN
    INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, new_value, metadata, ip_address, user_agent)
    VALUES (acting.user_id, acting.user_email, acting.actor, 'EXPORT', 'SYSTEM',
            CASE WHEN length(what::text) <= 10000 THEN what ELSE jsonb_build_object('what', left(what ->> 'what', 1000)) END,
            (acting.metadata - '{table,operation}'::text[]) || jsonb_build_object('resource', left(resource, 50)),
            acting.ip_address, acting.user_agent);
END $$;
COMMENT ON FUNCTION audit.record_export(text, jsonb) IS 'records that a list or report leaves as a file';
REVOKE ALL ON FUNCTION audit.record_export(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.record_export(text, jsonb) TO blueteam_admin;
