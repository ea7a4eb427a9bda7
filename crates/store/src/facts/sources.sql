-- Lists the sources with what they sent and the gaps in it.
--
-- $1 the earliest end of a gap, and the earliest unreadable entry

SELECT
    source_id,
    kind,
    first_seen_at AS "first: Ts",
    accepted + ignored + repeated AS "understood!",
    last_received_at AS "last: Ts",
    rejected,
    (extract(epoch FROM skew) * 1000)::bigint AS skew_ms,
    (
        SELECT count(*)
        FROM blueteam.source_gaps g
        WHERE g.source_id = s.source_id AND ended_at IS NULL
    ) AS "open!",
    (
        SELECT count(*)
        FROM blueteam.source_gaps g
        WHERE g.source_id = s.source_id AND coalesce(ended_at, now()) >= $1
    ) AS "gaps!",
    (
        SELECT count(*)
        FROM blueteam.dead_letters l
        WHERE l.source_id = s.source_id AND received_at >= $1
    ) AS "unread!"
FROM blueteam.sources s
ORDER BY source_id
