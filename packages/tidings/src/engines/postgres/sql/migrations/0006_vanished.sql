-- How many holders of a subscription went away without leaving, one after the other, and after which offset that was.
ALTER TABLE tidings.subscription
  ADD COLUMN vanished integer NOT NULL DEFAULT 0,
  ADD COLUMN vanished_after bigint NOT NULL DEFAULT 0;

-- It has one result more from now on.
DROP FUNCTION IF EXISTS tidings.hold_subscription(text, text, text, bigint);
-- And this one is told since when.
DROP FUNCTION IF EXISTS tidings.next_due_ms(text);
