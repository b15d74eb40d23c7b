-- What time asks for in storage.
CREATE OR REPLACE FUNCTION tidings.maintain() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one text;
BEGIN
  -- One process does it at a time; the others need not wait for it.
  IF NOT pg_try_advisory_xact_lock(hashtextextended('tidings.maintain', 0)) THEN
    RETURN;
  END IF;

  DELETE FROM tidings.dedup d WHERE d.expires_at <= clock_timestamp();

  FOR one IN SELECT DISTINCT d.queue_name FROM tidings.delayed d WHERE d.due <= clock_timestamp() LOOP
    BEGIN
      IF to_regclass(format('pgmq.%I', 'q_' || one)) IS NOT NULL THEN
        PERFORM tidings.promote(one, 10000);
        PERFORM tidings.announce(one, 0);
      END IF;
    EXCEPTION WHEN undefined_table OR SQLSTATE 'TD404' THEN
      CONTINUE; -- The queue was dropped meanwhile.
    END;
  END LOOP;

  -- Queues that another client dropped.
  FOR one IN
    SELECT q.queue_name FROM tidings.queue q
    WHERE to_regclass(format('pgmq.%I', 'q_' || q.queue_name)) IS NULL
  LOOP
    PERFORM tidings.forget(one);
  END LOOP;

  -- Unique targets whose message is gone.
  FOR one IN SELECT DISTINCT d.queue_name FROM tidings.dedup d WHERE d.expires_at IS NULL LOOP
    BEGIN
      EXECUTE format($sql$
        DELETE FROM tidings.dedup d
        WHERE d.queue_name = $1 AND d.expires_at IS NULL
          AND NOT EXISTS (SELECT FROM %s q WHERE q.msg_id = d.msg_id)
          AND NOT EXISTS (SELECT FROM tidings.delayed p WHERE p.queue_name = $1 AND p.msg_id = d.msg_id)
      $sql$, tidings.table_of(one)) USING one;
    EXCEPTION WHEN undefined_table OR SQLSTATE 'TD404' THEN
      CONTINUE; -- The queue was dropped meanwhile.
    END;
  END LOOP;

  -- From transactions that committed after their topic was dropped.
  DELETE FROM tidings.topic_pending p WHERE NOT EXISTS (SELECT FROM tidings.topic t WHERE t.id = p.topic_id);

  PERFORM tidings.maintain_tasks();
END
$$;
