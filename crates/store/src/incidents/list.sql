-- Lists incidents, the newest first.
--
-- $1 whether closed ones are listed too, $2 most incidents, $3 and $4 time and id of the incident
-- after which the list goes on, $5 and $6 the first and the last id

SELECT
    incident_id,
    version,
    title,
    severity,
    status,
    detected_at AS "detected_at: Ts",
    detected_by,
    opened_by,
    assigned_to,
    correlation_rule,
    entity_type,
    entity_value,
    source,
    services,
    proposed_title,
    proposed_severity,
    contained_at AS "contained_at: Ts",
    eradicated_at AS "eradicated_at: Ts",
    recovered_at AS "recovered_at: Ts",
    closed_at AS "closed_at: Ts",
    merged_into,
    coalesce(dfars_reportable, false) AS "dfars!",
    cui_involved IS TRUE OR EXISTS (
        SELECT
        FROM blueteam.security_incidents merged
        WHERE merged.merged_into = i.incident_id AND merged.cui_involved
    ) AS "cui!",
    -- The earliest discovery of all that were merged counts.
    least(coalesce(discovered_at, detected_at), (
        SELECT min(coalesce(merged.discovered_at, merged.detected_at))
        FROM blueteam.security_incidents merged
        WHERE merged.merged_into = i.incident_id
    )) AS "discovered_at!: Ts",
    (
        SELECT min(a.first_seen) FROM blueteam.alert_history a WHERE a.incident_id = i.incident_id
    ) AS "first_event_at: Ts",
    (
        SELECT count(*) FROM blueteam.alert_history a WHERE a.incident_id = i.incident_id
    ) AS "alerts!",
    (
        SELECT count(*)
        FROM blueteam.incident_tasks t
        WHERE t.incident_id = i.incident_id AND t.state = 'open'
    ) AS "open_tasks!",
    -- What goes on about an entity whose incident was closed a short time ago may be the same.
    (
        SELECT before.incident_id
        FROM blueteam.security_incidents before
        WHERE i.status <> 'closed'
          AND before.tenant_id = i.tenant_id
          AND before.source = i.source
          AND before.entity_type = i.entity_type
          AND before.entity_value = i.entity_value
          AND before.status = 'closed'
          AND before.closed_at BETWEEN i.detected_at - interval '7 days' AND i.detected_at
        ORDER BY before.closed_at DESC
        LIMIT 1
    ) AS "follows?",
    blueteam.duties_decided(incident_id) AS "decided!",
    blueteam.duties_sent(incident_id) AS "sent!"
FROM blueteam.security_incidents i
WHERE ($1 OR status <> 'closed')
  AND ($3::timestamptz IS NULL OR (detected_at, incident_id) < ($3, $4::uuid))
  AND ($5::uuid IS NULL OR incident_id BETWEEN $5 AND $6::uuid)
ORDER BY detected_at DESC, incident_id DESC
LIMIT $2
