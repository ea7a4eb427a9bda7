-- Adds to the accounts of a source's senders, and opens those of new ones.
--
-- $1 source, $2 now, $3 peers, $4 machines, $5 lines, $6 events, $7 lines not understood,
-- $8 how many of the newest lines in a row were not understood, $9 whether any was understood

INSERT INTO blueteam.source_senders AS stored (
    source_id,
    peer,
    host,
    first_seen_at,
    last_seen_at,
    lines,
    events,
    unparsed,
    hour_lines,
    hour_unparsed,
    unparsed_in_a_row
)
SELECT $1, peer, host, $2, $2, lines, events, unparsed, lines, unparsed, in_a_row
FROM unnest(
    $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]
) AS batch (peer, host, lines, events, unparsed, in_a_row)
ON CONFLICT (tenant_id, source_id, peer, host) DO UPDATE
SET
    last_seen_at = greatest(stored.last_seen_at, excluded.last_seen_at),
    lines = stored.lines + excluded.lines,
    events = stored.events + excluded.events,
    unparsed = stored.unparsed + excluded.unparsed,
    hour_lines = excluded.hour_lines + CASE
        WHEN date_trunc('hour', stored.last_seen_at) >= date_trunc('hour', excluded.last_seen_at)
            THEN stored.hour_lines
        ELSE 0
    END,
    hour_unparsed = excluded.hour_unparsed + CASE
        WHEN date_trunc('hour', stored.last_seen_at) >= date_trunc('hour', excluded.last_seen_at)
            THEN stored.hour_unparsed
        ELSE 0
    END,
    last_hour_lines = CASE date_trunc('hour', excluded.last_seen_at)
            - date_trunc('hour', stored.last_seen_at)
        WHEN interval '1 hour' THEN stored.hour_lines
        WHEN interval '0' THEN stored.last_hour_lines
        ELSE 0
    END,
    last_hour_unparsed = CASE date_trunc('hour', excluded.last_seen_at)
            - date_trunc('hour', stored.last_seen_at)
        WHEN interval '1 hour' THEN stored.hour_unparsed
        WHEN interval '0' THEN stored.last_hour_unparsed
        ELSE 0
    END,
    unparsed_in_a_row = excluded.unparsed_in_a_row + CASE
        WHEN NOT (
            SELECT understood
            FROM unnest($3::text[], $4::text[], $9::boolean[]) AS batch (peer, host, understood)
            WHERE batch.peer = stored.peer AND batch.host = stored.host
        )
            THEN stored.unparsed_in_a_row
        ELSE 0
    END
