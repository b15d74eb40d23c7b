-- Which routing keys lead to which queues. Compared and ordered by bytes, whatever the database's collation.
CREATE TABLE tidings.binding (
  pattern text COLLATE "C" NOT NULL,
  queue_name text COLLATE "C" NOT NULL,
  bound_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (pattern, queue_name)
);
CREATE INDEX binding_queue ON tidings.binding (queue_name);
-- A pattern without wildcards is found by the primary key; only the others have to be tried.
CREATE INDEX binding_wildcard ON tidings.binding (pattern, queue_name)
  WHERE strpos(pattern, '*') > 0 OR strpos(pattern, '#') > 0;
