-- Processes whose leases end with them. Each has a number, on which its listening session holds a shared advisory lock.
CREATE SEQUENCE tidings.holder_number AS integer MINVALUE 300 MAXVALUE 299999 CYCLE;
CREATE TABLE tidings.holder (
  number integer PRIMARY KEY,
  -- Known to the process alone.
  secret uuid NOT NULL DEFAULT gen_random_uuid(),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Since when its session has listened.
  listens_since timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- When its lock was first found to be free; null if it never was, or its session came back.
  missed_at timestamptz
);
ALTER SEQUENCE tidings.holder_number OWNED BY tidings.holder.number;

-- The queues from which a process has claimed.
CREATE TABLE tidings.holder_queue (
  number integer NOT NULL,
  queue_name text COLLATE "C" NOT NULL,
  PRIMARY KEY (number, queue_name)
);

ALTER TABLE tidings.subscription ADD COLUMN holder integer;

-- What a claim is to do with the messages that it finds.
CREATE TYPE tidings.lease AS (
  ms bigint,
  -- The process that holds them, or null, and which of its claims this is: 0 to 99.
  holder integer,
  claim integer,
  -- How many of the messages are begun at once; those after them are read ahead. Null: all.
  at_once integer,
  max_bytes bigint
);

-- They have other parameters or results from now on.
DROP FUNCTION IF EXISTS tidings.claim(text, integer, bigint, bigint, text, boolean),
  tidings.claim_ids(text, integer, bigint, bigint[]), tidings.extend(text, jsonb, bigint),
  tidings.hold_subscription(text, text, text, bigint), tidings.sweep_summary(text, boolean, timestamptz),
  tidings.take_next(text, integer, bigint, bigint, text), tidings.pick_next(regclass, integer, bigint),
  tidings.take(regclass, tidings.queue, bigint, bigint[]);
