-- Lists the sources of the tenant with their counts and the gaps that matter.

SELECT
    s.source_id,
    kind,
    expected_every,
    first_seen_at AS "first_seen_at: Ts",
    last_received_at AS "last_received_at: Ts",
    last_event_at AS "last_event_at: Ts",
    received,
    accepted,
    ignored,
    repeated,
    rejected,
    late,
    skew,
    rhythm,
    sequence,
    gone_at AS "gone_at: Ts",
    (
        SELECT min(started_at)
        FROM blueteam.source_gaps g
        WHERE g.source_id = s.source_id
          AND g.tenant_id = s.tenant_id
          AND g.cause IN ('silence', 'outage')
          AND g.ended_at IS NULL
    ) AS "silent_since?: Ts",
    (
        SELECT coalesce(sum(lost), 0)::bigint
        FROM blueteam.source_gaps g
        WHERE g.source_id = s.source_id
          AND g.tenant_id = s.tenant_id
          AND g.cause = 'dropped'
    ) AS "dropped!"
FROM blueteam.sources s
WHERE s.tenant_id = (SELECT blueteam.tenant_of_new())
ORDER BY s.source_id
