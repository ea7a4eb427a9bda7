-- Adds to the account of a source, and opens one for a new source.
--
-- $1 source, $2 kind, $3 now, $4 time of the newest event, $5 accepted, $6 ignored, $7 repeated,
-- $8 rejected, $9 late, $10 clock skew

INSERT INTO blueteam.sources AS stored (
    source_id,
    kind,
    last_received_at,
    last_event_at,
    received,
    accepted,
    ignored,
    repeated,
    rejected,
    late,
    skew
)
VALUES (
    $1,
    $2,
    $3,
    $4,
    $5::bigint + $6::bigint + $7::bigint + $8::bigint,
    $5,
    $6,
    $7,
    $8,
    $9,
    $10
)
ON CONFLICT (tenant_id, source_id) DO UPDATE
SET
    last_received_at = greatest(stored.last_received_at, excluded.last_received_at),
    last_event_at = greatest(stored.last_event_at, excluded.last_event_at),
    received = stored.received + excluded.received,
    accepted = stored.accepted + excluded.accepted,
    ignored = stored.ignored + excluded.ignored,
    repeated = stored.repeated + excluded.repeated,
    rejected = stored.rejected + excluded.rejected,
    late = stored.late + excluded.late,
    -- The least skew within an hour says most about the clock; what was measured in another hour
    -- no longer counts.
    skew = CASE
        WHEN date_trunc('hour', stored.last_received_at) = date_trunc(
            'hour', excluded.last_received_at
        )
            THEN least(stored.skew, excluded.skew)
        ELSE coalesce(excluded.skew, stored.skew)
    END
