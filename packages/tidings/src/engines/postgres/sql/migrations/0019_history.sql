-- What queues looked like in the last days, and what was done in them: one row a queue and minute in which something
-- changed. The whole storage has the name ''.
CREATE TABLE tidings.history (
  queue_name text COLLATE "C" NOT NULL,
  -- Since 1970.
  minute integer NOT NULL,
  -- Of the whole storage: somebody looks at the queues in this minute.
  begun boolean NOT NULL DEFAULT false,
  -- What lay in the queue; null: as in the row before. Of the whole storage: nobody has looked.
  ready bigint,
  leased bigint,
  delayed bigint,
  -- Since when the oldest message is ready, in milliseconds since 1970.
  ready_since bigint,
  -- How many messages the queue had been sent by then.
  total_sent bigint,
  -- What was counted.
  sent bigint NOT NULL DEFAULT 0,
  done bigint NOT NULL DEFAULT 0,
  failed bigint NOT NULL DEFAULT 0,
  dead bigint NOT NULL DEFAULT 0,
  -- By class.
  latency integer[] NOT NULL DEFAULT '{}',
  PRIMARY KEY (queue_name, minute)
);

CREATE INDEX history_minute ON tidings.history (minute);
