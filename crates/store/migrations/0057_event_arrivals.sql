-- When events arrived whose time the server had to choose: their own lies ahead of its clock, or they have none. Their rows carry
-- the time of arrival, which is another at each retry; what is known of the first one makes a retry carry the same key.
--
-- Times are microseconds since 1970, so that they compare exactly; an event without a time claims the lowest number there is.
CREATE TABLE blueteam.event_arrivals (
    event_id uuid   NOT NULL,
    claimed  bigint NOT NULL,
    arrived  bigint NOT NULL,
    PRIMARY KEY (event_id, claimed)
);
CREATE INDEX event_arrivals_by_time ON blueteam.event_arrivals (arrived);
REVOKE ALL ON blueteam.event_arrivals FROM PUBLIC;

-- For each of these events, when it first arrived: now, or earlier. Whoever brings the same one at the same moment waits for the
-- transaction that calls this. What is older than 40 days, which no retry is, is removed on the way.
CREATE FUNCTION blueteam.first_arrivals(ids uuid[], claims bigint[], arrivals bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM blueteam.event_arrivals WHERE (event_id, claimed) IN (
        SELECT event_id, claimed FROM blueteam.event_arrivals
         WHERE arrived < (extract(epoch FROM now() - interval '40 days') * 1000000)::bigint
         ORDER BY arrived LIMIT 1000 FOR UPDATE SKIP LOCKED);

    -- In one order, so that two of these cannot wait for each other.
    INSERT INTO blueteam.event_arrivals (event_id, claimed, arrived)
    SELECT id, claim, min(arrival) FROM unnest(ids, claims, arrivals) AS e (id, claim, arrival)
     GROUP BY id, claim ORDER BY id, claim
    ON CONFLICT DO NOTHING;

    RETURN QUERY
    SELECT known.arrived FROM unnest(ids, claims) WITH ORDINALITY AS e (id, claim, place)
      JOIN blueteam.event_arrivals AS known ON known.event_id = e.id AND known.claimed = e.claim
     ORDER BY e.place;
END $$;
REVOKE ALL ON FUNCTION blueteam.first_arrivals(uuid[], bigint[], bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.first_arrivals(uuid[], bigint[], bigint[]) TO blueteam_ingest, blueteam_engine;
