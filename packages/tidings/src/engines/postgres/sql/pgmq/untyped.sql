-- For clients that pass parameters without their types, as drivers of several languages do: of the four functions of this
-- name PostgreSQL takes none then, but prefers one that takes text. It is what PGMQ before 1.10 had: one id, and seconds.
CREATE OR REPLACE FUNCTION pgmq.set_vt(queue_name text, msg_id text, vt text) RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.set_vt(queue_name, msg_id::bigint, vt::integer)
$$;
