-- Audit reduction and reporting (3.3.6): one view over what applications and logs said, and a record of who looked at what.
-- The branches must agree in every type, or the planner cannot read both in order of time from their indexes.
CREATE VIEW blueteam.all_events WITH (security_invoker = true) AS
    SELECT event_id, timestamp, 'audit_db'::text AS source, category, action, result, user_id,
           coalesce(metadata ->> 'username', metadata ->> 'email') AS user_name, session_id, ip_address, user_agent::text, resource_type,
           resource_id, instance_id, cui_accessed AS cui, metadata, created_at, xact_id
      FROM public.audit_events
    UNION ALL
    SELECT event_id, timestamp, source, category, action, result, user_id, coalesce(user_name, account), session_id, ip_address,
           user_agent, resource_type, resource_id, instance_id, cui_involved, metadata, created_at, xact_id
      FROM blueteam.collected_events;
GRANT SELECT ON blueteam.all_events TO blueteam_reader, blueteam_admin;

-- Who asked the events what. Written before the answer is shown; nobody may change or delete a row.
CREATE TABLE blueteam.event_queries (
    query_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asked_at  timestamptz NOT NULL DEFAULT now(),
    actor     text        NOT NULL CHECK (length(actor) BETWEEN 1 AND 200),
    -- The database login, which the asker cannot choose.
    login     text        NOT NULL DEFAULT session_user,
    command   text        NOT NULL CHECK (command IN ('search', 'tail', 'stats', 'export')),
    filter    jsonb       NOT NULL
);
CREATE INDEX event_queries_by_time ON blueteam.event_queries (asked_at);
GRANT SELECT, INSERT (actor, command, filter) ON blueteam.event_queries TO blueteam_admin;
GRANT SELECT ON blueteam.event_queries TO blueteam_reader;
CREATE INDEX idx_collected_user_ts ON blueteam.collected_events (user_name, timestamp) WHERE user_name IS NOT NULL;
