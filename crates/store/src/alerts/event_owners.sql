-- Looks up, for each of several alerts, the services, tenants and machines that its events name,
-- and the accounts that failed logins among them tried. The nil UUID stands for an event without a
-- tenant.
--
-- $1 times, $2 IDs of the events, and $3 the place of the alert that each belongs to;
-- $4 most services, accounts and machines

WITH owner AS MATERIALIZED (
    SELECT
        key.place,
        found.service,
        coalesce(found.tenant, '00000000-0000-0000-0000-000000000000') AS tenant,
        left(found.account, 255) AS account,
        found.host
    FROM unnest($1::timestamptz[], $2::uuid[], $3::integer[]) AS key (at, id, place)
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
    place AS "place!",
    coalesce(
        (array_agg(DISTINCT service ORDER BY service) FILTER (
            WHERE service <> '' AND length(service) <= 63
        ))[1:$4::integer],
        '{}'
    ) AS "services!",
    (array_agg(DISTINCT tenant ORDER BY tenant))[1:2] AS "tenants!",
    coalesce(
        (array_agg(DISTINCT account ORDER BY account) FILTER (WHERE account <> ''))[1:$4::integer],
        '{}'
    ) AS "accounts!",
    coalesce(
        (array_agg(DISTINCT host ORDER BY host) FILTER (WHERE host <> ''))[1:$4::integer],
        '{}'
    ) AS "hosts!"
FROM owner
GROUP BY place
