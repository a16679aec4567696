"""The tables of Langfuse v3, as far as the stand-in fills them: real names, engines and keys, fewer columns."""

from __future__ import annotations

_MOMENT = "timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP"
_ENUM = "DO $$ BEGIN CREATE TYPE {} AS ENUM ({}); EXCEPTION WHEN duplicate_object THEN NULL; END $$"

# As the migrations of packages/shared/prisma leave them.
POSTGRES = (
    _ENUM.format('"Role"', "'OWNER', 'ADMIN', 'MEMBER', 'VIEWER', 'NONE'"),
    _ENUM.format('"ApiKeyScope"', "'ORGANIZATION', 'PROJECT'"),
    f"CREATE TABLE IF NOT EXISTS organizations (id text PRIMARY KEY, name text NOT NULL, created_at {_MOMENT},"
    f" updated_at {_MOMENT}, cloud_config jsonb, metadata jsonb)",
    "CREATE TABLE IF NOT EXISTS projects (id text PRIMARY KEY, name text NOT NULL,"
    " org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    f" created_at {_MOMENT}, updated_at {_MOMENT}, deleted_at timestamp(3), retention_days integer, metadata jsonb)",
    "CREATE TABLE IF NOT EXISTS api_keys (id text PRIMARY KEY, note text, public_key text NOT NULL UNIQUE,"
    " hashed_secret_key text NOT NULL UNIQUE, fast_hashed_secret_key text UNIQUE, display_secret_key text NOT NULL,"
    f" created_at {_MOMENT}, last_used_at timestamp(3), expires_at timestamp(3),"
    " project_id text REFERENCES projects (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    " organization_id text REFERENCES organizations (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    " scope \"ApiKeyScope\" NOT NULL DEFAULT 'PROJECT')",
    "CREATE TABLE IF NOT EXISTS users (id text PRIMARY KEY, email text UNIQUE, name text, password text,"
    f" admin boolean NOT NULL DEFAULT false, created_at {_MOMENT}, updated_at {_MOMENT})",
    "CREATE TABLE IF NOT EXISTS organization_memberships (id text PRIMARY KEY,"
    " org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    " user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    f' role "Role" NOT NULL, created_at {_MOMENT}, updated_at {_MOMENT}, UNIQUE (org_id, user_id))',
    "CREATE TABLE IF NOT EXISTS project_memberships ("
    " org_membership_id text NOT NULL REFERENCES organization_memberships (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    " project_id text NOT NULL REFERENCES projects (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    " user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    f' role "Role" NOT NULL, created_at {_MOMENT}, updated_at {_MOMENT}, PRIMARY KEY (project_id, user_id))',
    # What an older stand-in has left of the same version.
    "ALTER TABLE projects ADD COLUMN IF NOT EXISTS deleted_at timestamp(3)",
    "ALTER TABLE users ADD COLUMN IF NOT EXISTS admin boolean NOT NULL DEFAULT false",
    "ALTER TABLE api_keys"
    " ADD COLUMN IF NOT EXISTS hashed_secret_key text NOT NULL UNIQUE DEFAULT gen_random_uuid()::text,"
    " ADD COLUMN IF NOT EXISTS display_secret_key text NOT NULL DEFAULT 'sk-lf-...',"
    " ADD COLUMN IF NOT EXISTS organization_id text REFERENCES organizations (id),"
    " ADD COLUMN IF NOT EXISTS scope \"ApiKeyScope\" NOT NULL DEFAULT 'PROJECT'",
    "ALTER TABLE api_keys ALTER COLUMN hashed_secret_key DROP DEFAULT, ALTER COLUMN display_secret_key DROP DEFAULT",
)

_EVERY = (
    "environment LowCardinality(String) DEFAULT 'default', metadata Map(LowCardinality(String), String),"
    " created_at DateTime64(3) DEFAULT now(), updated_at DateTime64(3) DEFAULT now(),"
    " event_ts DateTime64(3), is_deleted UInt8"
)
_ENGINE = "ENGINE = ReplacingMergeTree(event_ts, is_deleted)"

CLICKHOUSE = (
    "CREATE TABLE IF NOT EXISTS schema_migrations (version Int64, dirty UInt8, sequence UInt64)"
    " ENGINE = MergeTree ORDER BY sequence",
    "CREATE TABLE IF NOT EXISTS traces (id String, timestamp DateTime64(3), name String, user_id Nullable(String),"
    " release Nullable(String), version Nullable(String), project_id String, public Bool, bookmarked Bool,"
    " tags Array(String), input Nullable(String) CODEC(ZSTD(3)), output Nullable(String) CODEC(ZSTD(3)),"
    f" session_id Nullable(String), {_EVERY}) {_ENGINE} PARTITION BY toYYYYMM(timestamp)"
    " PRIMARY KEY (project_id, toDate(timestamp)) ORDER BY (project_id, toDate(timestamp), id)",
    "CREATE TABLE IF NOT EXISTS observations (id String, trace_id String, project_id String,"
    " type LowCardinality(String), parent_observation_id Nullable(String), start_time DateTime64(3),"
    " end_time Nullable(DateTime64(3)), completion_start_time Nullable(DateTime64(3)), name String,"
    " level LowCardinality(String), status_message Nullable(String), version Nullable(String),"
    " input Nullable(String) CODEC(ZSTD(3)), output Nullable(String) CODEC(ZSTD(3)),"
    " provided_model_name Nullable(String), model_parameters Nullable(String),"
    " usage_details Map(LowCardinality(String), UInt64), cost_details Map(LowCardinality(String), Float64),"
    f" total_cost Nullable(Float64), {_EVERY}) {_ENGINE} PARTITION BY toYYYYMM(start_time)"
    " PRIMARY KEY (project_id, type, toDate(start_time)) ORDER BY (project_id, type, toDate(start_time), id)",
    "CREATE TABLE IF NOT EXISTS scores (id String, timestamp DateTime64(3), project_id String,"
    " trace_id Nullable(String), session_id Nullable(String), observation_id Nullable(String), name String,"
    " value Float64, source String, comment Nullable(String), data_type String, string_value Nullable(String),"
    f" {_EVERY}) {_ENGINE} PARTITION BY toYYYYMM(timestamp)"
    " PRIMARY KEY (project_id, toDate(timestamp), name) ORDER BY (project_id, toDate(timestamp), name, id)",
    "CREATE TABLE IF NOT EXISTS blob_storage_file_log (id String, project_id String, entity_type String,"
    " entity_id String, event_id String, bucket_name String, bucket_path String,"
    f" created_at DateTime64(3) DEFAULT now(), event_ts DateTime64(3), is_deleted UInt8)"
    f" {_ENGINE} ORDER BY (project_id, entity_type, entity_id, event_id)",
)
