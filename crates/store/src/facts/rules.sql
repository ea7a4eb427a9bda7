-- Lists the rules with their last alert and their last tests.

SELECT
    rule_id,
    coalesce(enabled, true) AS "enabled!",
    coalesce(nist_controls, '{}') AS "controls!",
    (
        SELECT max(created_at) FROM blueteam.alert_history a WHERE a.rule_id = r.rule_id
    ) AS "fired: Ts",
    (
        SELECT max(at)
        FROM blueteam.rule_test_results p
        WHERE p.rule_id = r.rule_id AND failed = 0
    ) AS "proven: Ts",
    coalesce(
        (
            SELECT failed > 0
            FROM blueteam.rule_test_results p
            WHERE p.rule_id = r.rule_id
            ORDER BY at DESC, proof_id DESC
            LIMIT 1
        ),
        false
    ) AS "proof_failed!"
FROM blueteam.alert_rules r
WHERE rule_id NOT LIKE 'monitor\_%'
ORDER BY rule_id
