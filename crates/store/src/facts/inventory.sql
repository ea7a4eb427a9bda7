-- Lists the assets in scope, and when a person last found the inventory maintained (3.4.1[f]).
--
-- $1 now

SELECT
    ARRAY(
        SELECT name FROM blueteam.assets WHERE category <> 'out_of_scope' ORDER BY name
    ) AS "in_scope!",
    (
        SELECT decided_at
        FROM blueteam.compliance_objectives
        WHERE objective_id = '3.4.1[f]' AND finding = 'met' AND decided_at <= $1
    ) AS "confirmed: Ts"
