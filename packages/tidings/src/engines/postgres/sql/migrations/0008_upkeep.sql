-- Whether the indexes behind ordering keys and priorities are there, as they are made today; upkeep makes those that are
-- not. The one on priorities took whole numbers only, and so refused what other clients sent.
ALTER TABLE tidings.queue ADD COLUMN indexed boolean NOT NULL DEFAULT false;

-- Replaced by others.
DROP FUNCTION IF EXISTS tidings.create_indexes(text), tidings.has_indexes(text),
  tidings.take(text, bigint, bigint[], bigint, integer),
  tidings.take_without_last_read(text, bigint, bigint[], bigint, integer), tidings.maintain_tasks();
