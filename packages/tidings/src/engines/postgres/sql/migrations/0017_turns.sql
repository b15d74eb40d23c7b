-- What claims of queues with keys, priorities or lanes do is in functions of each queue now.
DROP FUNCTION IF EXISTS tidings.pick(text, tidings.queue, integer, bigint, text, text[], boolean, text, text),
  tidings.pick_plain(regclass, integer, bigint, text), tidings.pick_priority(regclass, integer, integer, integer, text),
  tidings.lock_heads(regclass, bigint[]), tidings.heads_of(text, regclass, text[], integer, text, text),
  tidings.heads_expression(regclass),
  tidings.free_heads(text, regclass, integer, text, text, integer, bigint[], text, text),
  tidings.pick_from_lanes(text, integer, integer, bigint, text, text[], boolean, bigint[]),
  tidings.pick_of_group(text, regclass, text, integer, timestamptz, bigint[], boolean, text),
  tidings.any_ready(regclass, text, timestamptz, bigint[]),
  tidings.shut_lane(text, regclass, text, timestamptz, bigint[]),
  tidings.rated_keys(text, jsonb, timestamptz, text), tidings.weight_of(jsonb, text),
  tidings.room_of(text, regclass, jsonb, text, text, timestamptz),
  tidings.rooms_of_groups(text, regclass, jsonb, text[], timestamptz, bigint[]),
  tidings.hear_news(text, timestamptz), tidings.lock_lanes(text), tidings.charge(text, bigint[], bigint[], boolean, timestamptz),
  tidings.texts_of_queue(text, boolean, boolean);

-- They call what is gone now. Made anew when they are needed.
DO $$
DECLARE
  one regprocedure;
BEGIN
  FOR one IN
    SELECT p.oid FROM pg_proc p JOIN tidings.queue q ON p.proname = 'claim:' || q.queue_name
    WHERE p.pronamespace = 'tidings'::regnamespace AND (q.has_keys OR q.has_priorities OR q.has_lanes)
  LOOP
    EXECUTE format('DROP FUNCTION %s', one);
  END LOOP;
END
$$;
