-- Whether there is an index of the messages without an ordering key, in a queue that has others.
ALTER TABLE tidings.queue ADD COLUMN has_plain_index boolean NOT NULL DEFAULT false;

-- They have other parameters from now on, or are parts of others.
DROP FUNCTION IF EXISTS tidings.pick(text, tidings.queue, integer, bigint, text),
  tidings.pick_heads(text, regclass, integer, text, text), tidings.free_heads(text, regclass, integer, text, text);
