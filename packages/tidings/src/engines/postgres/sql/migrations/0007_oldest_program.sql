-- The schema version of the oldest programs that work with this version; null where none but its own do.
ALTER TABLE tidings.migration ADD COLUMN oldest_program integer;
