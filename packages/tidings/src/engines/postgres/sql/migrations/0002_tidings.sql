-- What PGMQ's tables have no place for.

-- What a queue was used for so far, so that a claim looks only where something can be.
CREATE TABLE tidings.queue (
  queue_name text PRIMARY KEY,
  has_keys boolean NOT NULL DEFAULT false,
  has_priorities boolean NOT NULL DEFAULT false,
  -- False for tables of PGMQ before last_read_at was added.
  has_last_read boolean NOT NULL DEFAULT true
);

-- Messages that wait for their time, ordered by it. They keep their id and move into the queue's table when due.
CREATE TABLE tidings.delayed (
  queue_name text NOT NULL,
  msg_id bigint NOT NULL,
  due timestamptz NOT NULL,
  read_ct integer NOT NULL,
  enqueued_at timestamptz NOT NULL,
  last_read_at timestamptz,
  message jsonb,
  headers jsonb,
  PRIMARY KEY (queue_name, msg_id)
);
CREATE INDEX delayed_due ON tidings.delayed (queue_name, due, msg_id);
CREATE INDEX delayed_key ON tidings.delayed (queue_name, (headers ->> 'x-pgmq-group') COLLATE "C", msg_id)
  WHERE headers ? 'x-pgmq-group';

-- Dedup ids ('id:...', until expires_at) and unique targets ('target:...', while their message lives).
CREATE TABLE tidings.dedup (
  queue_name text NOT NULL,
  key text NOT NULL,
  msg_id bigint NOT NULL,
  expires_at timestamptz,
  PRIMARY KEY (queue_name, key)
);
CREATE INDEX dedup_expiry ON tidings.dedup (expires_at);
