-- Lists the tenant's senders of a source, or of all: of each peer its sum, then its machines.
--
-- $1 source, or NULL

SELECT
    source_id,
    peer,
    host,
    first_seen_at AS "first_seen_at: Ts",
    last_seen_at AS "last_seen_at: Ts",
    lines,
    events,
    unparsed,
    hour_lines,
    hour_unparsed,
    last_hour_lines,
    last_hour_unparsed,
    unparsed_in_a_row,
    unread_since AS "unread_since: Ts",
    silent_since AS "silent_since: Ts"
FROM blueteam.source_senders
WHERE tenant_id = (SELECT blueteam.tenant_of_new()) AND (source_id = $1 OR $1::text IS NULL)
ORDER BY source_id, peer, host
