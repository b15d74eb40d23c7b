-- Queues whose groups take turns, or that have limits or holds. Others have no rows here.
ALTER TABLE tidings.queue ADD COLUMN has_lanes boolean NOT NULL DEFAULT false;

-- What is locked by a claim of such a queue, until it ends: one comes after the other.
CREATE TABLE tidings.lane_clock (
  queue_name text COLLATE "C" PRIMARY KEY,
  -- That of the lane of the message that was taken last.
  pass double precision NOT NULL DEFAULT 0,
  -- Until when nothing of the queue is claimed.
  held_until timestamptz,
  -- Until then leases are looked for that have no slot: others were claiming when there were no limits yet.
  counting_until timestamptz
);

-- One lane a group that has or had messages; '' for messages without one.
CREATE TABLE tidings.lane (
  queue_name text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  pass double precision NOT NULL,
  -- Nothing can be claimed until then, or until there is news; null: something can.
  shut_until timestamptz,
  -- Ready messages wait there, because of a limit or a hold.
  is_held boolean NOT NULL DEFAULT false,
  held_until timestamptz,
  PRIMARY KEY (queue_name, name)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lane_open ON tidings.lane (queue_name, pass) WHERE shut_until IS NULL;
CREATE INDEX lane_shut ON tidings.lane (queue_name, shut_until) WHERE shut_until IS NOT NULL;
CREATE INDEX lane_held ON tidings.lane (queue_name) WHERE is_held;

-- Lanes in which something is new, or that are to be held back; name: null for the whole queue. Only ever inserted and
-- deleted, so that nobody waits for a transaction of an application.
CREATE TABLE tidings.lane_news (
  queue_name text COLLATE "C" NOT NULL,
  name text COLLATE "C",
  held_until timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lane_news_queue ON tidings.lane_news (queue_name);

-- Where leases that take a slot may be found. The lease itself, in the table of the queue, says whether it is in force.
CREATE TABLE tidings.slot (
  queue_name text COLLATE "C" NOT NULL,
  msg_id bigint NOT NULL,
  read_ct integer NOT NULL,
  lane text COLLATE "C" NOT NULL,
  PRIMARY KEY (queue_name, msg_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX slot_lane ON tidings.slot (queue_name, lane);

-- GCRA: the time at which a key would be as after a rest, in milliseconds since 1970.
CREATE TABLE tidings.rate (
  queue_name text COLLATE "C" NOT NULL,
  per text NOT NULL,
  period_ms bigint NOT NULL,
  key text COLLATE "C" NOT NULL,
  tat_ms double precision NOT NULL,
  PRIMARY KEY (queue_name, per, period_ms, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- They have other parameters from now on.
DROP FUNCTION IF EXISTS tidings.enable(text, boolean, boolean), tidings.pick_plain(regclass, integer, bigint),
  tidings.pick_priority(regclass, integer, integer, integer),
  tidings.heads_of(text, regclass, text[], integer),
  tidings.free_heads(text, regclass, integer, text, text, integer, bigint[]),
  tidings.pick(text, tidings.queue, integer, bigint, text, text[], boolean);
