-- compliance_score is a share from 0 to 100 like the other scores of its table; the points of the DoD score stay in details.
UPDATE blueteam.posture_scores
   SET compliance_score = round(100.0 * ((details ->> 'points')::integer + 203) / 313, 2)
 WHERE details ->> 'kind' = 'dod_score' AND details ->> 'points' IS NOT NULL;
