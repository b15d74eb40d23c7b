-- What is known of correlations: their tasks, each a message that was sent with tracking, and their completion.
CREATE TABLE tidings.task (
  number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  correlation_id text COLLATE "C" NOT NULL,
  completion_queue text,
  -- The queue that it counts for, and where its message is: a dead letter counts for the queue that it comes from.
  queue_name text COLLATE "C" NOT NULL,
  held_in text COLLATE "C" NOT NULL,
  -- Null when its queue is gone: a new queue of that name counts from 1 again.
  msg_id bigint,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'dead', 'cancelled')),
  sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz
);
CREATE INDEX task_message ON tidings.task (held_in, msg_id);
CREATE INDEX task_correlation ON tidings.task (correlation_id, number);
CREATE INDEX task_pending ON tidings.task (correlation_id) WHERE state = 'pending';

-- A row from the end of the first task on. Its lock decides who of many sees that no task is left.
CREATE TABLE tidings.correlation (
  correlation_id text COLLATE "C" PRIMARY KEY,
  -- How often the lock was taken.
  ends bigint NOT NULL DEFAULT 1,
  completed_at timestamptz
);
CREATE INDEX correlation_completed ON tidings.correlation (completed_at);
