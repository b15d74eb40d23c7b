-- Where the files of our extension pgmq are on the server, what is there becomes that extension, so that clients that say
-- CREATE EXTENSION IF NOT EXISTS pgmq find it.
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = 'pgmq' AND a.default_version LIKE '%+tidings') THEN
    CREATE EXTENSION pgmq;
  END IF;
EXCEPTION WHEN insufficient_privilege THEN
  NULL;
END
$$;
