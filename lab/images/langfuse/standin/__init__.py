"""A stand-in for Langfuse v3 (web and worker) on the real stores: Postgres, ClickHouse, Redis and S3.

Traces take the real way: the API writes events to the bucket and queues them in Redis, the worker turns them into rows
of ClickHouse. Tables, refusals and settings are the real ones as far as they go; there is no UI, no evaluation, no
prompt management, no OpenTelemetry endpoint.
Sources: https://langfuse.com/self-hosting/configuration, https://api.reference.langfuse.com
"""

VERSION = "3.112.0"
