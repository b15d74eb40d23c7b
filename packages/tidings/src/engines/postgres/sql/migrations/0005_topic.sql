-- Topics: logs that are only appended to, and cursors on them.
CREATE TABLE tidings.topic (
  id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  name text COLLATE "C" NOT NULL UNIQUE,
  description text NOT NULL DEFAULT '',
  max_age_ms bigint,
  max_bytes bigint,
  when_read boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- The newest message that retention removed, and with it all before: its offset, total_bytes and published_at.
  pruned_offset bigint NOT NULL DEFAULT 0,
  pruned_bytes bigint NOT NULL DEFAULT 0,
  pruned_at timestamptz NOT NULL DEFAULT '-infinity'
);

-- Offsets have no gaps, and published_at and total_bytes only grow with them, so that a time or a size is found by the
-- primary key, too. Only who has the lock of the topic inserts.
CREATE TABLE tidings.topic_message (
  topic_id integer NOT NULL,
  "offset" bigint NOT NULL,
  message jsonb NOT NULL,
  headers jsonb,
  published_at timestamptz NOT NULL,
  -- The size of this message and of all before it.
  total_bytes bigint NOT NULL,
  PRIMARY KEY (topic_id, "offset")
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- What was appended in transactions of applications, until somebody gives it its offset after their commit.
CREATE TABLE tidings.topic_pending (
  topic_id integer NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  message jsonb NOT NULL,
  headers jsonb,
  -- Until when the offset has to be known for the sake of duplicates.
  dedup_until timestamptz,
  -- In the index before the id: who knows that a transaction has ended need not look at what it left there.
  xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
  PRIMARY KEY (topic_id, xact, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- Where a topic begins and ends. Looks at no message that was removed, not even at what vacuum has yet to clear away.
CREATE VIEW tidings.topic_range AS
SELECT t.id, t.name, t.pruned_offset, t.pruned_bytes,
  coalesce(m."offset", t.pruned_offset) AS last_offset,
  coalesce(m.total_bytes, t.pruned_bytes) AS last_bytes,
  coalesce(m.published_at, t.pruned_at) AS last_at
FROM tidings.topic t
LEFT JOIN LATERAL (
  SELECT n."offset", n.total_bytes, n.published_at FROM tidings.topic_message n
  WHERE n.topic_id = t.id AND n."offset" > t.pruned_offset
  ORDER BY n."offset" DESC LIMIT 1
) m ON true;

CREATE TABLE tidings.subscription (
  -- A new subscription of the same name is another one.
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  topic_id integer NOT NULL REFERENCES tidings.topic ON DELETE CASCADE,
  name text COLLATE "C" NOT NULL,
  cursor bigint NOT NULL,
  -- Grows whenever receipts become stale.
  epoch bigint NOT NULL DEFAULT 0,
  consumer text,
  consumer_until timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  moved_at timestamptz,
  PRIMARY KEY (topic_id, name)
) WITH (fillfactor = 50);

-- What is published under a matching routing key goes into the topic; what the topic takes goes into the queue.
CREATE TABLE tidings.topic_pattern (
  pattern text COLLATE "C" NOT NULL,
  topic_id integer NOT NULL REFERENCES tidings.topic ON DELETE CASCADE,
  PRIMARY KEY (pattern, topic_id)
);
CREATE INDEX topic_pattern_topic ON tidings.topic_pattern (topic_id);
CREATE INDEX topic_pattern_wildcard ON tidings.topic_pattern (pattern, topic_id)
  WHERE strpos(pattern, '*') > 0 OR strpos(pattern, '#') > 0;

CREATE TABLE tidings.topic_queue (
  topic_id integer NOT NULL REFERENCES tidings.topic ON DELETE CASCADE,
  queue_name text COLLATE "C" NOT NULL,
  PRIMARY KEY (topic_id, queue_name)
);
CREATE INDEX topic_queue_queue ON tidings.topic_queue (queue_name);

-- A copy of the message at a position of a batch on its way into a topic.
CREATE TYPE tidings.topic_copy AS (
  topic_id integer,
  -- What its dedup ids are kept under.
  place text,
  at bigint,
  key text,
  window_ms bigint,
  duplicate boolean,
  -- What it is a duplicate of: the offset, or, negative, the number among the pending; else the position in the batch.
  first bigint,
  first_at bigint
);

-- It has one parameter more from now on.
DROP FUNCTION IF EXISTS tidings.publish(jsonb, boolean, text[]);
