-- What they did is done by the functions of each queue now.
DROP FUNCTION IF EXISTS tidings.take_next(text, integer, tidings.lease, bigint, text),
  tidings.pick_next(regclass, integer, bigint, bigint), tidings.fitting(regclass, bigint[], tidings.lease),
  tidings.take(regclass, tidings.queue, tidings.lease, bigint[]);
