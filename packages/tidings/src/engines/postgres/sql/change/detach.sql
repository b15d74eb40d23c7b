-- Lets go of everything that belongs to extension pgmq, and drops the extension, which then is nothing but a name: all
-- tables, types and functions stay as they are, as after a plain SQL install. Takes the owner of the extension.
DO $$
DECLARE
  one record;
BEGIN
  FOR one IN
    SELECT o.type, o.identity FROM pg_extension e
    JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
    CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) o
    WHERE e.extname = 'pgmq'
      -- The types that a table or another type brings along go with it.
      AND (d.classid <> 'pg_type'::regclass OR EXISTS (
        SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE t.oid = d.objid AND t.typcategory <> 'A' AND coalesce(c.relkind, 'c') = 'c'))
  LOOP
    EXECUTE format('ALTER EXTENSION pgmq DROP %s %s',
      CASE one.type WHEN 'composite type' THEN 'type' ELSE one.type END, one.identity);
  END LOOP;
  DROP EXTENSION IF EXISTS pgmq;
END
$$;
