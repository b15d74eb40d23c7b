-- Which routing keys lead to which queues, as PGMQ keeps it: one list with the bindings of Tidings. Each binding follows
-- the rule of the side that made it: to PGMQ a # stands for any characters, so that `events.#` does not match `events`.

-- Fails on what is wrong with a key or a pattern.
-- what: 'routing_key' or 'pattern'; allowed: a class of characters, and how it is called
CREATE OR REPLACE FUNCTION pgmq._tidings_check_key(what text, value text, allowed text, called text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF value IS NULL OR value = '' THEN
    RAISE EXCEPTION '% cannot be NULL or empty', what;
  ELSIF length(value) > 255 THEN
    RAISE EXCEPTION '% length cannot exceed 255 characters, got % characters', what, length(value);
  ELSIF translate(value, allowed, '') <> '' THEN
    RAISE EXCEPTION '% contains invalid characters. Only alphanumeric, dots, % are allowed. Got: %', what, called, value;
  ELSIF left(value, 1) = '.' THEN
    RAISE EXCEPTION '% cannot start with a dot. Got: %', what, value;
  ELSIF right(value, 1) = '.' THEN
    RAISE EXCEPTION '% cannot end with a dot. Got: %', what, value;
  ELSIF strpos(value, '..') > 0 THEN
    RAISE EXCEPTION '% cannot contain consecutive dots. Got: %', what, value;
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.validate_routing_key(routing_key text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pgmq._tidings_check_key('routing_key', routing_key,
    'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-', 'hyphens, and underscores');
  RETURN true;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.validate_topic_pattern(pattern text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pgmq._tidings_check_key('pattern', pattern,
    'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-*#', 'hyphens, underscores, *, and #');
  IF strpos(pattern, '**') > 0 THEN
    RAISE EXCEPTION 'pattern cannot contain consecutive stars (**). Use # for multi-segment matching. Got: %', pattern;
  ELSIF strpos(pattern, '##') > 0 THEN
    RAISE EXCEPTION 'pattern cannot contain consecutive hashes (##). A single # already matches zero or more segments. Got: %',
      pattern;
  ELSIF strpos(pattern, '*#') > 0 OR strpos(pattern, '#*') > 0 THEN
    RAISE EXCEPTION 'pattern cannot contain adjacent wildcards (*# or #*). Separate wildcards with dots. Got: %', pattern;
  END IF;
  RETURN true;
END
$$;

-- The bindings as PGMQ's clients read and change them, by their rights on this view.
CREATE OR REPLACE VIEW pgmq.topic_bindings AS
SELECT b.pattern COLLATE "default" AS pattern, coalesce(b.pgmq_name, b.queue_name) COLLATE "default" AS queue_name,
  b.bound_at, b.compiled_regex COLLATE "default" AS compiled_regex
FROM tidings.binding b;

-- With the rights of its owner: who may change the view has no rights on the table.
CREATE OR REPLACE FUNCTION pgmq._tidings_change_binding() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP <> 'DELETE' THEN
    PERFORM pgmq.validate_topic_pattern(NEW.pattern);
    -- No binding outlives its queue.
    PERFORM pgmq.acquire_queue_lock(lower(NEW.queue_name));
    IF NOT EXISTS (SELECT FROM pgmq.meta m WHERE m.queue_name = NEW.queue_name) THEN
      RAISE EXCEPTION 'Queue "%" does not exist. Create the queue first using pgmq.create()', NEW.queue_name;
    END IF;
  END IF;
  IF TG_OP <> 'INSERT' THEN
    DELETE FROM tidings.binding b WHERE b.pattern = OLD.pattern AND b.queue_name = lower(OLD.queue_name);
  END IF;
  IF TG_OP = 'DELETE' THEN
    RETURN OLD;
  END IF;
  INSERT INTO tidings.binding (pattern, queue_name, pgmq_name, bound_at)
  VALUES (NEW.pattern, lower(NEW.queue_name), NEW.queue_name, coalesce(NEW.bound_at, clock_timestamp()))
  ON CONFLICT DO NOTHING;
  RETURN NEW;
END
$$;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = 'pgmq.topic_bindings'::regclass) THEN
    CREATE TRIGGER change_binding INSTEAD OF INSERT OR UPDATE OR DELETE ON pgmq.topic_bindings
    FOR EACH ROW EXECUTE FUNCTION pgmq._tidings_change_binding();
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.bind_topic(pattern text, queue_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pgmq.validate_topic_pattern(pattern);
  IF queue_name IS NULL OR queue_name = '' THEN
    RAISE EXCEPTION 'queue_name cannot be NULL or empty';
  END IF;
  PERFORM pgmq._tidings_must('manage', lower(queue_name));
  INSERT INTO pgmq.topic_bindings (pattern, queue_name) VALUES ($1, $2);
END
$$;

CREATE OR REPLACE FUNCTION pgmq.unbind_topic(pattern text, queue_name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pattern IS NULL OR pattern = '' THEN
    RAISE EXCEPTION 'pattern cannot be NULL or empty';
  ELSIF queue_name IS NULL OR queue_name = '' THEN
    RAISE EXCEPTION 'queue_name cannot be NULL or empty';
  END IF;
  PERFORM pgmq._tidings_must('manage', lower(queue_name));
  DELETE FROM pgmq.topic_bindings b WHERE b.pattern = $1 AND b.queue_name = $2;
  RETURN FOUND;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.list_topic_bindings()
RETURNS TABLE (pattern text, queue_name text, bound_at timestamptz, compiled_regex text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT b.pattern, b.queue_name, b.bound_at, b.compiled_regex FROM pgmq.topic_bindings b
  ORDER BY b.bound_at DESC, b.pattern, b.queue_name
$$;

CREATE OR REPLACE FUNCTION pgmq.list_topic_bindings(queue_name text)
RETURNS TABLE (pattern text, queue_name text, bound_at timestamptz, compiled_regex text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT b.pattern, b.queue_name, b.bound_at, b.compiled_regex FROM pgmq.topic_bindings b
  WHERE b.queue_name = $1 ORDER BY b.bound_at DESC, b.pattern, b.queue_name
$$;

CREATE OR REPLACE FUNCTION pgmq.test_routing(routing_key text)
RETURNS TABLE (pattern text, queue_name text, compiled_regex text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pgmq.validate_routing_key(routing_key);
  RETURN QUERY
  SELECT b.pattern, b.queue_name, b.compiled_regex FROM pgmq.topic_bindings b
  WHERE $1 ~ b.compiled_regex ORDER BY b.pattern, b.queue_name;
END
$$;
