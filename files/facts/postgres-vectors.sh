#!/bin/sh
# Columns of vectors in a database, with their indexes. Arguments: container, database.
set -u

command -v docker >/dev/null || exit 0
docker exec -i --env PGDATABASE="$2" --env PGOPTIONS="-c search_path=pg_catalog -c role=none" "$1" psql \
    --username=postgres --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 2>/dev/null <<'SQL'
SELECT coalesce(json_agg(json_build_object(
    'table', relname, 'column', attname, 'dimensions', atttypmod,
    'indexes', (SELECT coalesce(json_agg(json_build_object(
        'method', amname, 'operators', opcname, 'options', coalesce(indexes.reloptions, '{}'))), '[]')
        FROM pg_index JOIN pg_class AS indexes ON indexes.oid = indexrelid JOIN pg_am ON pg_am.oid = indexes.relam
            JOIN pg_opclass ON pg_opclass.oid = indclass[0]
        WHERE indrelid = tables.oid AND indkey[0] = attnum))), '[]')
FROM pg_attribute JOIN pg_class AS tables ON tables.oid = attrelid JOIN pg_type ON pg_type.oid = atttypid
WHERE typname = 'vector' AND relkind IN ('r', 'p') AND NOT attisdropped;
SQL
exit 0
