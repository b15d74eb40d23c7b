-- After the functions: the bindings, and who is told of inserts.
DO $$
BEGIN
  INSERT INTO tidings.binding (pattern, queue_name, bound_at, pgmq_name)
  SELECT a.pattern, lower(a.queue_name), a.bound_at, a.queue_name FROM tidings_adopted a ON CONFLICT DO NOTHING;
  PERFORM pgmq.enable_notify_insert(t.queue_name::text, t.throttle_interval_ms) FROM pgmq.notify_insert_throttle t;
END
$$;
