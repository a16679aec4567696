-- What a cluster of musl's would not know: versions of the C library's order, and the locales that the system lists.
DELETE FROM pg_collation WHERE collprovider = 'c' AND collname NOT IN ('C', 'POSIX', 'ucs_basic');
UPDATE pg_database SET datcollversion = NULL;
