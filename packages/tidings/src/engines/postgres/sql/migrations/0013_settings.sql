-- What `configure` keeps for a queue: a JSON object. A claim reads the row anyway.
ALTER TABLE tidings.queue ADD COLUMN configured jsonb NOT NULL DEFAULT '{}';
