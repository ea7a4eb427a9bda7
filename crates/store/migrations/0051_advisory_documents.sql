-- Two feeds may list one advisory and say different things of it. What each of them says is kept as long as they differ, so that neither
-- overwrites the other; the table of advisories has the one that is in force. None here: the feed says what stands there.
ALTER TABLE blueteam.advisory_listings
    ADD COLUMN vulnerability   text,
    ADD COLUMN known_exploited boolean,
    ADD COLUMN document        jsonb,
    ADD CONSTRAINT said_whole CHECK (num_nulls(vulnerability, known_exploited, document) IN (0, 3));
GRANT UPDATE (vulnerability, known_exploited, document) ON blueteam.advisory_listings TO blueteam_engine, blueteam_admin;
