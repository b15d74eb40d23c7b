-- What is created from here on belongs to the owner.
SELECT set_config('role', p.rolname, true) FROM tidings.role r JOIN pg_roles p ON p.oid = r.role WHERE r.kind = 'owner';
