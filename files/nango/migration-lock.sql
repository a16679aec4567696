-- Nango keeps its migrations' lock in a table of its own beside `_nango_auth_migrations`, which is copied with everything
-- else. A Nango that was stopped during a migration leaves it locked, and the next one waits forever.
DO $$
DECLARE
    locks regclass;
BEGIN
    FOR locks IN SELECT oid FROM pg_class WHERE relname = '_nango_auth_migrations_lock' AND relkind = 'r' LOOP
        EXECUTE format('UPDATE %s SET is_locked = 0 WHERE is_locked <> 0', locks);
    END LOOP;
END
$$;
