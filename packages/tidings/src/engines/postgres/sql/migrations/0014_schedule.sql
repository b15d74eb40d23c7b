-- Schedules: what is to be sent by the clock.
CREATE TABLE tidings.schedule (
  name text COLLATE "C" PRIMARY KEY,
  -- Made anew with every change, and with every time that is sent.
  revision text NOT NULL,
  -- When it is due, in milliseconds since 1970; null if never.
  next_run_ms bigint,
  definition text NOT NULL,
  progress text NOT NULL
);

CREATE INDEX schedule_due ON tidings.schedule (next_run_ms) WHERE next_run_ms IS NOT NULL;
