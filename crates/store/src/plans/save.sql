-- Inserts a POA&M item or replaces all of it but its number, its requirement and its completion,
-- which blueteam.close_plan writes. Returns the number, which a trigger gives to a new item.
--
-- $1 to $24 in the order of the columns

INSERT INTO blueteam.poam_items (
    poam_id,
    control_id,
    kind,
    weakness_description,
    risk_level,
    remediation_plan,
    milestone,
    milestone_changes,
    scheduled_completion,
    actual_completion,
    status,
    resources_required,
    owner,
    identified_by,
    mitigation,
    tasks,
    conditional_since,
    closed_by,
    closing_evidence,
    updated_at,
    item_number,
    likelihood,
    impact,
    residual_risk
)
VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
    $20, $21, $22, $23, $24
)
ON CONFLICT (poam_id) DO UPDATE
SET
    kind = excluded.kind,
    weakness_description = excluded.weakness_description,
    risk_level = excluded.risk_level,
    likelihood = excluded.likelihood,
    impact = excluded.impact,
    residual_risk = excluded.residual_risk,
    remediation_plan = excluded.remediation_plan,
    milestone = excluded.milestone,
    milestone_changes = excluded.milestone_changes,
    scheduled_completion = excluded.scheduled_completion,
    status = excluded.status,
    resources_required = excluded.resources_required,
    owner = excluded.owner,
    identified_by = excluded.identified_by,
    mitigation = excluded.mitigation,
    tasks = excluded.tasks,
    conditional_since = excluded.conditional_since,
    updated_at = excluded.updated_at
RETURNING item_number
