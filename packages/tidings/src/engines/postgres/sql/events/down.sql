-- Removes the triggers of all queues with the functions that they call.
DROP SCHEMA tidings_events CASCADE;
