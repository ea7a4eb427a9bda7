-- The risk of an item in the parts that the eMASS template asks for (NIST SP 800-30, appendices G to I). Empty until somebody
-- says so; the impact is then that of the item's risk level.
ALTER TABLE blueteam.poam_items
    ADD COLUMN likelihood    text CHECK (likelihood IN ('very_high', 'high', 'moderate', 'low')),
    ADD COLUMN impact        text CHECK (impact IN ('very_high', 'high', 'moderate', 'low')),
    ADD COLUMN residual_risk text CHECK (residual_risk IN ('very_high', 'high', 'moderate', 'low'));
COMMENT ON COLUMN blueteam.poam_items.residual_risk IS 'What remains of the risk once it is mitigated as planned';

GRANT UPDATE (likelihood, impact, residual_risk) ON blueteam.poam_items TO blueteam_admin;
