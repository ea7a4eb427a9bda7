-- What an administrator has changed about what a role may do (3.1.1, 3.1.2, 3.1.5). The rest is built in, and a safe core of it
-- stays whatever these rows say: the program leaves out a row that the core refuses.
CREATE TABLE users.permissions (
    permission_id uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    role          text NOT NULL CHECK (role IN ('user', 'manager', 'admin', 'system_admin', 'assessor')),
    action        text NOT NULL CHECK (action IN ('read', 'acknowledge', 'write', 'approve', 'export')),
    resource      text NOT NULL CHECK (length(resource) BETWEEN 1 AND 50),
    effect        text NOT NULL CHECK (effect IN ('allow', 'deny')),
    created_at    timestamptz NOT NULL DEFAULT now()
);
SELECT blueteam.separate_tenants('users.permissions');
ALTER TABLE users.permissions ADD CONSTRAINT permissions_key UNIQUE (tenant_id, role, resource, action);
COMMENT ON TABLE users.permissions IS 'what roles may do beside, or less than, what is built in';
COMMENT ON COLUMN users.permissions.permission_id IS 'identity';
COMMENT ON COLUMN users.permissions.role IS 'whose';
COMMENT ON COLUMN users.permissions.action IS 'what is done';
COMMENT ON COLUMN users.permissions.resource IS 'to what';
COMMENT ON COLUMN users.permissions.effect IS 'allow: the role may; deny: it may not';
COMMENT ON COLUMN users.permissions.created_at IS 'when it was changed';

SELECT audit.track('users.permissions', 'SYSTEM');
GRANT SELECT, INSERT (role, action, resource, effect), UPDATE (effect, created_at), DELETE ON users.permissions TO blueteam_admin;
