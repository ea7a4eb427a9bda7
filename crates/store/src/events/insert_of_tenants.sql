-- Writes audit events of any tenant and leaves out those whose ID is known, whatever the table's key
-- is.
--
-- $1 to $15 one array for each column, in the order of the columns; $16 the IDs that rows have whose
-- own ID another tenant's event has; $17 whether only such rows are written

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
    metadata,
    tenant_id
)
SELECT
    CASE WHEN $17 THEN row.other_id ELSE row.event_id END,
    row.at,
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
    row.metadata::jsonb,
    row.tenant_id
FROM (
    SELECT
        *,
        'epoch'::timestamptz
            + (micros / 1000000) * interval '1 second'
            + (micros % 1000000) * interval '1 microsecond' AS at
    FROM unnest(
        $1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::text[],
        $8::text[], $9::text[], $10::text[], $11::text[], $12::uuid[], $13::boolean[],
        $14::text[], $15::uuid[], $16::uuid[]
    ) WITH ORDINALITY AS given (
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
        tenant_id,
        other_id,
        n
    )
) AS row
WHERE NOT $17
   OR (
       NOT (SELECT blueteam.has_one_tenant())
       AND EXISTS (
           SELECT
           FROM public.audit_events known
           WHERE known.timestamp = row.at
             AND known.event_id = row.event_id
             AND known.tenant_id <> row.tenant_id
       )
   )
ORDER BY row.n
ON CONFLICT DO NOTHING
