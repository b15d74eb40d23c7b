-- They look at no more messages than they are told to, and at the settings of one queue, from now on.
DROP FUNCTION IF EXISTS tidings.stats(text), tidings.count_held_back(text), tidings.all_settings(),
  tidings.peek(text, text, integer, bigint, bigint[], jsonb);
