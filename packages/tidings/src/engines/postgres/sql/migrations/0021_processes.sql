-- Who a process says that it is: host, pid, version; null for one of an earlier version.
ALTER TABLE tidings.holder ADD COLUMN about jsonb;
