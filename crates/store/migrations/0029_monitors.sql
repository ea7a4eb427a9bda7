-- Monitors: numbers that are measured on a schedule and must stay below a threshold. What each says now, and what it said: the values are
-- kept for a while, and nobody's record depends on them.
CREATE TABLE blueteam.monitors (
    name        text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 63),
    -- What is not watched says why in `detail`.
    watched     boolean          NOT NULL,
    -- None: not watched, or worse than any number.
    value       double precision,
    threshold   double precision NOT NULL,
    detail      text             NOT NULL,
    measured_at timestamptz      NOT NULL,
    -- Since when it is over its threshold, until it has been below for long enough.
    over_since  timestamptz,
    last_over   timestamptz,
    calm_since  timestamptz,
    peak        double precision,
    times_over  bigint           NOT NULL DEFAULT 0,
    alert_id    uuid REFERENCES blueteam.alert_history (alert_id)
);
CREATE TABLE blueteam.monitor_values (
    name  text             NOT NULL,
    at    timestamptz      NOT NULL,
    value double precision,
    over  boolean          NOT NULL,
    PRIMARY KEY (name, at)
);
CREATE INDEX monitor_values_by_age ON blueteam.monitor_values USING brin (at);
GRANT SELECT, INSERT, UPDATE ON blueteam.monitors TO blueteam_engine;
GRANT SELECT, INSERT, DELETE ON blueteam.monitor_values TO blueteam_engine;
GRANT SELECT ON blueteam.monitors, blueteam.monitor_values TO blueteam_reader, blueteam_admin;

-- What sessions do is the secret of their users, and the engine is none of them: it may know how long the longest query runs, and how many
-- sessions the owner of this function cannot look into. Our own queries and dumps do not count: nobody waits for them.
CREATE FUNCTION blueteam.slow_queries(allowed double precision, OUT longest double precision, OUT slow bigint, OUT hidden bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start)) FILTER (WHERE state = 'active'), 0)::double precision,
           count(*) FILTER (WHERE state = 'active' AND clock_timestamp() - query_start > make_interval(secs => allowed)),
           count(*) FILTER (WHERE state IS NULL)
      FROM pg_stat_activity
     WHERE coalesce(backend_type, 'client backend') = 'client backend' AND datname IS NOT NULL AND pid <> pg_backend_pid()
       AND application_name NOT IN ('blueteam', 'pg_dump', 'pg_basebackup')
$$;
REVOKE ALL ON FUNCTION blueteam.slow_queries(double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.slow_queries(double precision) TO blueteam_engine;
