-- Lists the POA&M items by the date they are due.

SELECT
    poam_id,
    item_number,
    control_id,
    kind,
    weakness_description,
    risk_level,
    likelihood,
    impact,
    residual_risk,
    remediation_plan,
    milestone,
    milestone_changes,
    scheduled_completion AS "due: Ts",
    actual_completion AS "completed: Ts",
    status,
    resources_required,
    owner,
    identified_by,
    mitigation,
    tasks,
    conditional_since AS "conditional: Ts",
    closed_by,
    closing_evidence,
    created_at AS "created_at: Ts"
FROM blueteam.poam_items
WHERE tenant_id = (SELECT blueteam.tenant_of_new())
ORDER BY scheduled_completion NULLS LAST, created_at, poam_id
