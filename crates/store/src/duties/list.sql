WITH alerts AS (
    SELECT 'alert' AS kind, alert_id::text AS id, severity, title AS what, coalesce(entity_name, entity_value, '') AS detail,
           created_at AS since, NULL::timestamptz AS due
      FROM blueteam.alert_history
     WHERE 'alerts' = ANY ($1) AND acknowledged IS NOT TRUE AND muted_by_mute IS NULL AND muted_by_alert IS NULL
     ORDER BY CASE severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 WHEN 'low' THEN 3 ELSE 4 END, created_at
     LIMIT $3
), incidents AS (
    SELECT 'incident', incident_id::text, severity, title, status, detected_at,
           r.since + interval '72 hours'
      FROM blueteam.security_incidents i
      LEFT JOIN blueteam.reports_due r USING (incident_id)
     WHERE 'incidents' = ANY ($1) AND (status <> 'closed' OR r.since IS NOT NULL)
       -- Whose alerts wait waits with them.
       AND (r.since IS NOT NULL OR NOT 'alerts' = ANY ($1) OR NOT EXISTS (
            SELECT FROM blueteam.alert_history a
             WHERE a.incident_id = i.incident_id AND a.acknowledged IS NOT TRUE
               AND a.muted_by_mute IS NULL AND a.muted_by_alert IS NULL))
     ORDER BY r.since, detected_at
     LIMIT $3
), sources AS (
    SELECT 'source', source_id, 'high', source_id, min(detail), min(started_at), NULL::timestamptz
      FROM blueteam.source_gaps
     WHERE 'sources' = ANY ($1) AND ended_at IS NULL AND cause = 'silence'
     GROUP BY source_id
), deliveries AS (
    SELECT 'delivery', channel, 'high', channel, count(*)::text, min(created_at), NULL::timestamptz
      FROM blueteam.notifications
     WHERE 'alerts' = ANY ($1) AND state = 'dead' AND created_at > now() - interval '7 days'
     GROUP BY channel
), plans AS (
    SELECT 'plan', item_number, CASE WHEN scheduled_completion < now() THEN 'high' ELSE 'medium' END,
           weakness_description, coalesce(owner, ''), created_at, scheduled_completion
      FROM blueteam.poam_items
     WHERE 'plans' = ANY ($1) AND status IN ('open', 'in_progress') AND scheduled_completion < now() + interval '14 days'
     ORDER BY scheduled_completion
     LIMIT $3
), evidence AS (
    SELECT CASE state WHEN 'draft' THEN 'draft' ELSE 'evidence' END, control_id,
           CASE WHEN valid_until < now() THEN 'medium' ELSE 'low' END,
           description, coalesce(collected_by, ''), collected_at, valid_until
      FROM blueteam.compliance_evidence
     WHERE 'evidence' = ANY ($1) AND automated IS NOT TRUE
       AND refused_at IS NULL
       AND (state = 'draft' OR valid_until BETWEEN now() - interval '30 days' AND now() + interval '14 days')
     ORDER BY valid_until NULLS LAST
     LIMIT $3
), silences AS (
    SELECT 'silence', mute_id::text, 'low', reason, author, starts_at, ends_at
      FROM blueteam.silences
     WHERE 'silences' = ANY ($1) AND ended_by IS NULL AND starts_at <= now() AND ends_at BETWEEN now() AND now() + interval '1 day'
), accounts AS (
    SELECT 'account', username, 'medium', username, role, last_failed_login, account_locked_until
      FROM users.users
     WHERE 'accounts' = ANY ($1) AND is_active AND account_locked_until > now()
), advisories AS (
    SELECT 'advisory', vulnerability, CASE WHEN exploited THEN 'critical' ELSE severity END,
           name || ' ' || version, inventory, created_at, due::timestamptz
      FROM blueteam.advisory_matches
     WHERE 'advisories' = ANY ($1) AND state <> 'closed' AND confidence = 'affected'
       AND (exploited OR severity IN ('critical', 'high') OR due < now() + interval '7 days')
     ORDER BY exploited DESC, created_at
     LIMIT $3
), all_duties AS (
    SELECT * FROM alerts
    UNION ALL SELECT * FROM incidents
    UNION ALL SELECT * FROM sources
    UNION ALL SELECT * FROM deliveries
    UNION ALL SELECT * FROM plans
    UNION ALL SELECT * FROM evidence
    UNION ALL SELECT * FROM silences
    UNION ALL SELECT * FROM accounts
    UNION ALL SELECT * FROM advisories
)
SELECT kind AS "kind!", id AS "id!", severity AS "severity!", what AS "what!", detail AS "detail!",
       coalesce(since, now()) AS "since!: Ts", due AS "due: Ts",
       count(*) OVER (PARTITION BY kind) AS "of_kind!"
  FROM all_duties
 ORDER BY due IS NULL OR kind NOT IN ('incident'), due,
          CASE severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 WHEN 'low' THEN 3 ELSE 4 END,
          since
 LIMIT $2
