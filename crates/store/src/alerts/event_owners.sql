-- Looks up the services, tenants and machines that events name, and the accounts that failed logins
-- among them tried. The nil UUID stands for an event without a tenant.
--
-- $1 times and $2 IDs of the events, $3 most services, accounts and machines

WITH owner AS MATERIALIZED (
    SELECT found.service, found.tenant, left(found.account, 255) AS account, found.host
    FROM unnest($1::timestamptz[], $2::uuid[]) AS key (at, id)
    CROSS JOIN LATERAL (
        SELECT
            metadata ->> 'service' AS service,
            instance_id AS tenant,
            CASE WHEN category = 'auth' AND (action = 'login_failed' OR result <> 'success') THEN
                coalesce(metadata ->> 'username', metadata ->> 'email')
            END AS account,
            NULL::text AS host
        FROM public.audit_events
        WHERE timestamp = key.at AND event_id = key.id
        UNION ALL
        SELECT
            metadata ->> 'service',
            instance_id,
            CASE WHEN category = 'auth' AND (action = 'login_failed' OR result <> 'success') THEN
                coalesce(account, user_name)
            END,
            host
        FROM blueteam.log_events
        WHERE timestamp = key.at AND event_id = key.id
    ) AS found
)
SELECT
    ARRAY(
        SELECT DISTINCT service
        FROM owner
        WHERE service <> '' AND length(service) <= 63
        ORDER BY 1
        LIMIT $3
    ) AS "services!",
    ARRAY(
        SELECT DISTINCT coalesce(tenant, '00000000-0000-0000-0000-000000000000')
        FROM owner
        ORDER BY 1
        LIMIT 2
    ) AS "tenants!",
    ARRAY(
        SELECT DISTINCT account
        FROM owner
        WHERE account <> ''
        ORDER BY 1
        LIMIT $3
    ) AS "accounts!",
    ARRAY(
        SELECT DISTINCT host
        FROM owner
        WHERE host <> ''
        ORDER BY 1
        LIMIT $3
    ) AS "hosts!"
