"""The tables of Langfuse v3, as far as the stand-in fills them: real names, engines and keys, fewer columns."""

from __future__ import annotations

POSTGRES = (
    "CREATE TABLE IF NOT EXISTS organizations (id text PRIMARY KEY, name text NOT NULL,"
    " created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    "CREATE TABLE IF NOT EXISTS projects (id text PRIMARY KEY, name text NOT NULL,"
    " org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,"
    " created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    "CREATE TABLE IF NOT EXISTS api_keys (id text PRIMARY KEY, note text, public_key text NOT NULL UNIQUE,"
    " fast_hashed_secret_key text UNIQUE, project_id text REFERENCES projects (id) ON DELETE CASCADE,"
    " created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    "CREATE TABLE IF NOT EXISTS users (id text PRIMARY KEY, email text UNIQUE, name text, password text,"
    " created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP)",
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
