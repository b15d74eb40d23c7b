-- When the next message is due is asked of a function of the queue, which is planned once.
DROP FUNCTION IF EXISTS tidings.sweep_summary(text, boolean, boolean, timestamptz, boolean, timestamptz);

-- They call what is gone now. Made anew when they are needed.
DO $$
DECLARE
  one regprocedure;
BEGIN
  FOR one IN
    SELECT p.oid FROM pg_proc p JOIN tidings.queue q ON p.proname = 'claim:' || q.queue_name
    WHERE p.pronamespace = 'tidings'::regnamespace
  LOOP
    EXECUTE format('DROP FUNCTION %s', one);
  END LOOP;
END
$$;
