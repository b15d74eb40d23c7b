-- Of what the completion queue of a task is told; null: of the end of the last task.
ALTER TABLE tidings.task ADD COLUMN milestones jsonb;
-- When a task was dead, and all were done, for the first time.
ALTER TABLE tidings.correlation ADD COLUMN failed_at timestamptz, ADD COLUMN done_at timestamptz;
-- Whether any is dead is asked with every end.
CREATE INDEX task_dead ON tidings.task (correlation_id) WHERE state = 'dead';

-- It tells more from now on.
DROP FUNCTION IF EXISTS tidings.correlation_state(text);
