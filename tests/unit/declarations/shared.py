"""As group_data/shared.py, which documents the keys; for the unit tests."""

from blueprint.model import (
    BackupPolicy,
    BucketData,
    ClickHouseData,
    Command,
    Database,
    Gateway,
    GeneratedSecret,
    Http,
    Model,
    PgBouncer,
    PostgresData,
    PostgresServer,
    RedisData,
    RedisIndex,
    RedisServer,
    ResponseCache,
    RouterSettings,
    Service,
    Stack,
    Watch,
)

postgres = PostgresServer(memory="512m", max_connections=100, administrators=())

postgres_major = 16
postgres_pgdg = True

shared_databases = [
    Database("litellm", pool=2, direct=10),
    Database("langfuse", pool=2, direct=10),
]

pgbouncer = PgBouncer(max_client_conn=300)

redis = RedisServer(
    image="valkey/valkey:9.1.2-trixie", acl_databases=True, maxmemory="256m", policy="volatile-lru"
)

shared_redis_indexes = [
    RedisIndex(1, "cache and rate limits of LiteLLM", ("litellm",)),
    RedisIndex(4, "queue and cache of Langfuse", ("langfuse",)),
]

gateway = Gateway(
    container="litellm-proxy",
    port=4000,
    domain_port=4001,
    models=(
        Model(
            name="qwen3-heavy", instance="heavy", rpm=20, tpm=80_000, timeout_s=60, supports_reasoning=True
        ),
        Model(
            name="qwen3-light", instance="light", rpm=40, tpm=60_000, timeout_s=30, supports_reasoning=True
        ),
        Model(name="llama3.1-twitch", instance="twitch", rpm=20, tpm=40_000, timeout_s=30),
        Model(name="groq-fast", model="groq/llama-3.1-8b-instant", rpm=30, tpm=6_000, timeout_s=10),
        Model(name="groq-qwen3-32b", model="groq/qwen/qwen3-32b", rpm=60, tpm=6_000, timeout_s=30),
        Model(
            name="groq-llama4-scout",
            model="groq/meta-llama/llama-4-scout-17b-16e-instruct",
            rpm=30,
            tpm=30_000,
            timeout_s=20,
        ),
        Model(name="gpt-4o", model="openai/gpt-4o", rpm=60, tpm=150_000, timeout_s=30),
        Model(name="gpt-4o-mini", model="openai/gpt-4o-mini", rpm=100, tpm=200_000, timeout_s=15),
        Model(
            name="text-embedding-3-small",
            model="openai/text-embedding-3-small",
            rpm=100,
            timeout_s=15,
            is_embedding=True,
        ),
        Model(name="gemini-flash", model="gemini/gemini-2.5-flash", rpm=15, tpm=250_000, timeout_s=30),
    ),
    fallbacks={
        "qwen3-heavy": ("groq-fast", "gpt-4o"),
        "qwen3-light": ("groq-fast", "gpt-4o-mini"),
        "groq-fast": ("qwen3-light", "gpt-4o-mini"),
        "groq-qwen3-32b": ("groq-llama4-scout", "groq-fast", "qwen3-light"),
        "groq-llama4-scout": ("groq-qwen3-32b", "groq-fast"),
    },
    aliases={
        "default": "qwen3-heavy",
        "fast": "groq-fast",
        "cheap": "qwen3-light",
        "embedding": "text-embedding-3-small",
        "jury-comment": "groq-qwen3-32b",
    },
    router=RouterSettings(
        strategy="least-busy", num_retries=2, allowed_fails=3, cooldown_s=120, retry_after_s=5
    ),
    cache=ResponseCache(
        host="shared-redis",
        port=6379,
        user="litellm",
        database=1,
        ttl_s=3600,
        namespace="litellm-cache",
    ),
)

secret_formats = [
    GeneratedSecret("litellm/master_key", prefix="sk-"),
    GeneratedSecret(
        "litellm/salt_key",
        prefix="sk-",
        rotation_blocked_by="LiteLLM has encrypted what is in its database with it",
    ),
    GeneratedSecret(
        "langfuse/encryption_key",
        hex_bytes=32,
        rotation_blocked_by="Langfuse has encrypted its integrations with it",
    ),
    GeneratedSecret(
        "langfuse/salt", rotation_blocked_by="Langfuse has hashed the keys of its projects with it"
    ),
    GeneratedSecret(
        "langfuse/admin_password",
        rotation_blocked_by="Langfuse reads it once; change it on its page",
        reset="set another one on Langfuse's page",
    ),
    GeneratedSecret(
        "uptime_kuma/password",
        rotation_blocked_by="Uptime Kuma reads it once; change it on its page, and there",
        reset="set another one with `docker exec -it --user 1000 uptime-kuma npm run reset-password`",
    ),
    GeneratedSecret(
        "langfuse/public_key", prefix="pk-lf-", rotation_blocked_by="Langfuse knows LiteLLM's pair by it"
    ),
    GeneratedSecret("langfuse/secret_key", prefix="sk-lf-"),
    GeneratedSecret(
        "nango/encryption_key",
        base64_bytes=32,
        rotation_blocked_by="nango has encrypted its connections with it",
    ),
    GeneratedSecret("postiz/jwt", rotation_blocked_by="Postiz has encrypted keys in its database with it"),
    GeneratedSecret("temporal/postgres", rotation_blocked_by="Temporal's Postgres reads it once"),
    GeneratedSecret("restic/password", rotation_blocked_by="the copies elsewhere are encrypted with it"),
]

backups = BackupPolicy(root="/opt/backups", retention_days=7)

watch = Watch(
    disk_alert_percent=95,
    postgres_connections_percent=80,
    redis_memory_percent=80,
    celery_queue=50,
    ollama_latency_p95_s=30,
    fallback_percent=20,
    caches={1: 0},
)

bull_board = Service(
    name="bull-board",
    image="ghcr.io/pi3block/sourcefast-bull-board:1.0.0",
    memory="128m",
    measured_memory="35m",
    port=3100,
    domain="bullboard.augmenter.pro",
    health=Http("/health", probe="curl"),
    env={"BULL_BOARD_USER": "admin", "REDIS_HOST": "shared-redis"},
    generated_secrets={"BULL_BOARD_PASSWORD": "bull_board/password"},
)

flower = Service(
    name="flower",
    image="mher/flower:2.0.1",
    memory="128m",
    measured_memory="42m",
    port=5555,
    domain="flower.augmenter.pro",
    health=Http("/healthcheck"),
    env={"FLOWER_MAX_TASKS": 1000},
    generated_secrets={"FLOWER_BASIC_AUTH": "admin:{flower/password}"},
)

_LANGFUSE_ENV = {
    "HOSTNAME": "0.0.0.0",  # noqa: S104 - inside its container
    "CLICKHOUSE_URL": "http://clickhouse:8123",
    "CLICKHOUSE_USER": "langfuse",
    "CLICKHOUSE_CLUSTER_ENABLED": "false",
    "TELEMETRY_ENABLED": "false",
    "LANGFUSE_S3_EVENT_UPLOAD_BUCKET": "langfuse",
    "LANGFUSE_S3_EVENT_UPLOAD_ENDPOINT": "http://minio:9000",
    "LANGFUSE_S3_EVENT_UPLOAD_REGION": "auto",
    "LANGFUSE_S3_EVENT_UPLOAD_FORCE_PATH_STYLE": "true",
    "LANGFUSE_S3_EVENT_UPLOAD_ACCESS_KEY_ID": "langfuse",
}
_LANGFUSE_SECRETS = {
    "DATABASE_URL": "postgresql://langfuse:{postgres/langfuse}@shared-postgres:5432/langfuse?connection_limit=5",
    "SALT": "langfuse/salt",
    "ENCRYPTION_KEY": "langfuse/encryption_key",
    "CLICKHOUSE_PASSWORD": "clickhouse/password",
    "REDIS_CONNECTION_STRING": "redis://langfuse:{redis/langfuse}@shared-redis:6379/4",
    "LANGFUSE_S3_EVENT_UPLOAD_SECRET_ACCESS_KEY": "minio/password",
}

_PROXY_OPTIONS = (
    "--entrypoints.http.address=:80",
    "--entrypoints.https.address=:443",
    "--entrypoints.https.http3",
    "--providers.file.filename=/etc/traefik/dynamic/routes.yaml",
    "--providers.file.watch=true",
    "--certificatesresolvers.letsencrypt.acme.httpchallenge=true",
    "--certificatesresolvers.letsencrypt.acme.httpchallenge.entrypoint=http",
    "--certificatesresolvers.letsencrypt.acme.storage=/traefik/acme.json",
    "--ping=true",
)

shared_stacks = [
    Stack(
        name="postgres",
        phase="litellm",
        services=(
            Service(
                name="shared-postgres",
                image="sourcefast/postgres:local",
                build="files/postgres",
                memory=postgres.memory,
                measured_memory="62m",
                port=5432,
                health=Command(("pg_isready", "--quiet", "--host=127.0.0.1"), interval_s=10),
                shm_size="256m",
                tmpfs={"/run/postgresql": "uid=999,gid=999,mode=0755"},
                stop_s=60,
                stateful=True,
                data=PostgresData(),
                volumes={"data": "/var/lib/postgresql/data"},
                files={
                    f"postgres/{name}": f"/etc/postgresql/{name}"
                    for name in ("postgresql.conf", "pg_hba.conf", "monitor.pgpass")
                },
                files_uid=999,
                reload=("psql", "-XqAt", "--username=postgres", "-c", "SELECT FROM pg_reload_conf()"),
            ),
        ),
    ),
    Stack(
        name="redis",
        phase="litellm",
        services=(
            Service(
                name="shared-redis",
                image=redis.image,
                memory=redis.memory,
                measured_memory="7m",
                port=6379,
                user="999:999",
                command=("/etc/redis/redis.conf",),
                health=Command(("sh", "/etc/redis/health.sh"), interval_s=10),
                stop_s=30,
                stateful=True,
                data=RedisData("admin", "redis/admin"),
                volumes={"data": "/data"},
                files={
                    f"redis/{name}": f"/etc/redis/{name}"
                    for name in ("redis.conf", "users.acl", "admin.password", "health.sh")
                },
                files_uid=999,
                reload=("true",),
            ),
        ),
    ),
    Stack(
        name="proxy",
        phase="litellm",
        skip_if_running="coolify-proxy",
        services=(
            Service(
                name="traefik",
                image="traefik:v3.6.13",
                memory="128m",
                public=(80, 443),
                public_udp=(443,),
                command=_PROXY_OPTIONS,
                health=Http("/ping", probe="wget", port=8080, interval_s=10),
                volumes={"certificates": "/traefik"},
                root="its certificates have belonged to root since its first start",
                cap_add={"NET_BIND_SERVICE": "ports 80 and 443"},
                files={"traefik/routes.yaml": "/etc/traefik/dynamic/routes.yaml"},
                reload=("true",),
            ),
        ),
    ),
    Stack(
        name="langfuse",
        phase="litellm",
        services=(
            Service(
                name="clickhouse",
                image="clickhouse/clickhouse-server:25.8",
                private=True,
                memory="512m",
                recommended_memory="8g",
                port=8123,
                health=Http("/ping", probe="wget"),
                user="101:101",
                writable="its entry point writes the user of the environment into /etc/clickhouse-server/users.d",
                pids=4096,
                stateful=True,
                data=ClickHouseData("langfuse", "clickhouse/password"),
                stop_s=60,
                volumes={"clickhouse": "/var/lib/clickhouse"},
                files={"clickhouse/limits.xml": "/etc/clickhouse-server/config.d/limits.xml"},
                files_uid=101,
                env={"CLICKHOUSE_USER": "langfuse", "CLICKHOUSE_DB": "default"},
                generated_secrets={"CLICKHOUSE_PASSWORD": "clickhouse/password"},
            ),
            Service(
                name="minio",
                image="quay.io/minio/minio:RELEASE.2025-04-22T22-12-26Z",
                private=True,
                memory="128m",
                recommended_memory="4g",
                port=9000,
                health=Http("/minio/health/live", probe="curl"),
                root="its data has belonged to root since its first start",
                writable="it keeps its certificates and its client's settings below the home folder",
                stateful=True,
                data=BucketData("langfuse", "minio/password", bucket="langfuse"),
                volumes={"minio": "/data"},
                env={"MINIO_ROOT_USER": "langfuse"},
                generated_secrets={"MINIO_ROOT_PASSWORD": "minio/password"},
                command=("server", "/data"),
            ),
            Service(
                name="langfuse-web",
                image="langfuse/langfuse:3.112.0",
                memory="512m",
                recommended_memory="4g",
                aliases=("langfuse",),
                port=3000,
                health=Http("/api/public/health", probe="wget", start_s=180),
                writable="Next.js keeps its cache, and Prisma its engines, below /app",
                domain="langfuse.augmenter.pro",
                depends_on=("clickhouse", "minio"),
                database="langfuse",
                redis=(4,),
                redis_user="langfuse",
                env={
                    **_LANGFUSE_ENV,
                    "NODE_OPTIONS": "--max-old-space-size=512",
                    "NEXTAUTH_URL": "https://langfuse.augmenter.pro",
                    "AUTH_DISABLE_SIGNUP": "true",
                    "CLICKHOUSE_MIGRATION_URL": "clickhouse://clickhouse:9000",
                    "LANGFUSE_INIT_ORG_ID": "sourcefast",
                    "LANGFUSE_INIT_PROJECT_ID": "sourcefast",
                    "LANGFUSE_INIT_USER_EMAIL": "admin@augmenter.pro",
                },
                generated_secrets={
                    **_LANGFUSE_SECRETS,
                    "NEXTAUTH_SECRET": "langfuse/nextauth_secret",
                    "LANGFUSE_INIT_PROJECT_PUBLIC_KEY": "langfuse/public_key",
                    "LANGFUSE_INIT_PROJECT_SECRET_KEY": "langfuse/secret_key",
                    "LANGFUSE_INIT_USER_PASSWORD": "langfuse/admin_password",
                },
            ),
            Service(
                name="langfuse-worker",
                image="langfuse/langfuse-worker:3.112.0",
                memory="384m",
                recommended_memory="4g",
                port=3030,
                health=Http("/api/health", probe="wget", start_s=180),
                writable="Prisma keeps its engines below /app",
                depends_on=("clickhouse", "minio"),
                database="langfuse",
                redis=(4,),
                redis_user="langfuse",
                env={**_LANGFUSE_ENV, "NODE_OPTIONS": "--max-old-space-size=384"},
                generated_secrets=_LANGFUSE_SECRETS,
            ),
        ),
    ),
    Stack(
        name="litellm",
        phase="litellm",
        services=(
            Service(
                name=gateway.container,
                image="ghcr.io/berriai/litellm:main-v1.63.2-stable",
                memory="512m",
                measured_memory="254m",
                cpus=1.0,
                aliases=("litellm",),
                port=gateway.port,
                health=Http("/health/liveliness", start_s=180),
                root="the image has no other user, and Prisma's engines are in root's home folder",
                writable="Prisma generates its client into the installed package at its start",
                host_gateway=True,
                domain="litellm.augmenter.pro",
                domain_port=gateway.domain_port,
                database="litellm",
                redis=(1,),
                redis_user="litellm",
                env={"LANGFUSE_HOST": "http://langfuse:3000"},
                generated_secrets={
                    "DATABASE_URL": "postgresql://litellm:{postgres/litellm}@shared-postgres:5432/litellm",
                    "LITELLM_MASTER_KEY": "litellm/master_key",
                    "LITELLM_SALT_KEY": "litellm/salt_key",
                    "REDIS_PASSWORD": "redis/litellm",
                    "LANGFUSE_PUBLIC_KEY": "langfuse/public_key",
                    "LANGFUSE_SECRET_KEY": "langfuse/secret_key",
                },
                provided_secrets={
                    provider.key_variable: provider.key_secret for provider in gateway.providers
                },
                files={
                    "litellm/config.yaml": "/app/config.yaml",
                    **{
                        f"litellm/{name}": f"/opt/guard/{name}"
                        for name in ("serve.py", "declared.json", "guard/asgi.py", "guard/rules.py")
                    },
                },
                entrypoint=("python3", "/opt/guard/serve.py"),
                command=("--config", "/app/config.yaml", "--port", str(gateway.port)),
            ),
        ),
    ),
    Stack(
        name="pgbouncer",
        phase="monitoring",
        services=(
            Service(
                name="pgbouncer",
                image="edoburu/pgbouncer:v1.24.1-p1",
                memory="64m",
                measured_memory="3m",
                port=pgbouncer.port,
                user="70:70",
                health=Command(
                    (
                        "pg_isready",
                        "--quiet",
                        "--host=127.0.0.1",
                        f"--port={pgbouncer.port}",
                        "--dbname=pgbouncer",
                        "--username=monitor",
                    ),
                    interval_s=10,
                ),
                files={
                    f"pgbouncer/{name}": f"/etc/pgbouncer/{name}"
                    for name in ("pgbouncer.ini", "userlist.txt")
                },
                files_uid=70,
                reload=("sh", "-c", "kill -HUP 1"),
            ),
        ),
    ),
    Stack(
        name="monitoring",
        phase="monitoring",
        services=(
            Service(
                name="uptime-kuma",
                image="louislam/uptime-kuma:1.23.16",
                memory="256m",
                measured_memory="102m",
                port=3001,
                publish=3001,
                domain="uptime.augmenter.pro",
                health=Command(("/app/extra/healthcheck",), timeout_s=30, start_s=180),
                env={"PUID": 1000, "PGID": 1000},
                root="its entry point begins as root",
                cap_add={
                    "CHOWN": "the entry point gives the data to PUID",
                    "SETUID": "it becomes PUID",
                    "SETGID": "it becomes PGID",
                    "NET_RAW": "the file of `ping`, for monitors that a person adds, does not start without",
                },
                writable="it installs monitors of its pages, and its programs write below the home folder",
                stateful=True,
                volumes={"uptime-kuma-data": "/app/data"},
                host_gateway=True,
            ),
        ),
    ),
    Stack(
        name="crawl4ai",
        phase="monitoring",
        services=(
            Service(
                name="crawl4ai",
                image="unclecode/crawl4ai:0.9.0",
                memory="1536m",
                port=11235,
                health=Http("/health", probe="curl"),
                writable="its Redis, its browser and its cache write below the home folder",
                pids=2048,
                generated_secrets={"CRAWL4AI_API_TOKEN": "crawl4ai/token"},
                shm_size="1g",
            ),
        ),
    ),
]
