-- Writes audit events and leaves out those whose ID is known, whatever the table's key is.
--
-- $1 to $14 one array for each column, in the order of the columns

INSERT INTO public.audit_events (
    event_id,
    timestamp,
    category,
    action,
    result,
    user_id,
    session_id,
    ip_address,
    user_agent,
    resource_type,
    resource_id,
    instance_id,
    cui_accessed,
    metadata
)
SELECT
    row.event_id,
    'epoch'::timestamptz
        + (row.micros / 1000000) * interval '1 second'
        + (row.micros % 1000000) * interval '1 microsecond',
    row.category,
    row.action,
    row.result,
    row.user_id,
    row.session_id,
    row.ip_address::inet,
    row.user_agent,
    row.resource_type,
    row.resource_id,
    row.instance_id,
    row.cui_accessed,
    row.metadata::jsonb
FROM unnest(
    $1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::text[],
    $8::text[], $9::text[], $10::text[], $11::text[], $12::uuid[], $13::boolean[],
    $14::text[]
) WITH ORDINALITY AS row (
    event_id,
    micros,
    category,
    action,
    result,
    user_id,
    session_id,
    ip_address,
    user_agent,
    resource_type,
    resource_id,
    instance_id,
    cui_accessed,
    metadata,
    n
)
ORDER BY row.n
ON CONFLICT DO NOTHING
