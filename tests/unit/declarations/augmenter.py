"""As group_data/augmenter.py, which documents the keys; for the unit tests."""

from typing import Any

from blueprint.model import (
    Command,
    Database,
    Http,
    PostgresData,
    Predecessor,
    Project,
    RedisIndex,
    Service,
    Team,
    VectorColumn,
)

_BACKEND = "ghcr.io/pi3block/augmenter-backend:1.0.0"
_FRONTEND = "ghcr.io/pi3block/augmenter-frontend:1.0.0"
_WORKER = "ghcr.io/pi3block/augmenter-worker:1.0.0"
_WELL = Command(("scaffold-health",), timeout_s=30, start_s=240)


def _worker(name: str, memory: str, queues: str, concurrency: int, **more: Any) -> Service:
    return Service(
        name=f"augmenter-{name}",
        image=_WORKER,
        memory=memory,
        aliases=(name,),
        health=_WELL,
        env={"CELERY_QUEUES": queues, "CELERY_CONCURRENCY": concurrency},
        stop_s=30,
        **more,
    )


augmenter = Project(
    name="augmenter",
    number=2,
    team=Team(name="augmenter-pro", key_alias="sk-augmenter", budget_usd=50),
    databases=(
        Database(
            "augmenter",
            ("vector",),
            pool=15,
            direct=3,
            min_dump_kib=100,
            vectors=(VectorColumn("DocumentChunk"), VectorColumn("SnapshotChunk"), VectorColumn("Widget")),
        ),
        Database("nango", pool=1, direct=8),
        Database("postiz", pool=1, direct=6),
    ),
    predecessors=(
        Predecessor(
            "augmenter-db",
            databases=("augmenter", "nango", "postiz"),
            after={"nango": "files/nango/migration-lock.sql"},
        ),
        Predecessor("augmenter-redis"),
    ),
    redis=(
        RedisIndex(0, "BullMQ queues and cache of augmenter.PRO"),
        RedisIndex(3, "sessions of nango", ("nango",), named_channels=("publisher:*",)),
        RedisIndex(7, "Celery results of augmenter.PRO and voicejury", shared_with=("voicejury",)),
        RedisIndex(8, "scheduler of Postiz", ("postiz",)),
    ),
    broker=0,
    results=7,
    queues=0,
    flower="flower",
    uses_whisper=True,
    services=(
        Service(
            name="augmenter-backend",
            image=_BACKEND,
            memory="512m",
            aliases=("backend",),
            port=3001,
            health=Http("/api/health", timeout_s=30, start_s=240),
            domain="api.augmenter.pro",
        ),
        _worker("worker", "512m", "default,doc,voice", 1),
        _worker("scoring-worker", "768m", "scoring", 4),
        _worker("curation-worker", "768m", "curation", 2),
        _worker(
            "crewai-worker", "1536m", "crewai", 1, writable="CrewAI keeps its memory below the home folder"
        ),
    ),
    standalone_services=(
        Service(
            name="augmenter-frontend",
            image=_FRONTEND,
            memory="384m",
            aliases=("frontend",),
            port=3000,
            health=Http("/api/health", timeout_s=30, start_s=240),
            domain="augmenter.pro",
            env={"PORT": 3000, "BACKEND_URL": "http://backend:3001"},
            depends_on=("augmenter-backend",),
        ),
        Service(
            name="nango",
            image="nangohq/nango-server:hosted-0.58.0",
            memory="384m",
            port=3003,
            health=Http("/health", probe="node", start_s=120),
            root="the image has no other user",
            writable="it writes integrations beside its programs",
            domain="nango.augmenter.pro",
            env={
                "NANGO_DB_HOST": "shared-postgres",
                "NANGO_DB_PORT": 5432,
                "NANGO_DB_USER": "nango",
                "NANGO_DB_NAME": "nango",
                "NANGO_DB_SSL": "false",
                "NANGO_DB_POOL_MAX": 6,
                "SERVER_PORT": 3003,
                "NANGO_SERVER_URL": "https://nango.augmenter.pro",
                "FLAG_AUTH_ENABLED": "false",
                "NANGO_DASHBOARD_USERNAME": "admin",
            },
            generated_secrets={
                "NANGO_DB_PASSWORD": "postgres/nango",
                "NANGO_ENCRYPTION_KEY": "nango/encryption_key",
                "NANGO_DASHBOARD_PASSWORD": "nango/password",
                "NANGO_REDIS_URL": "redis://nango:{redis/nango}@shared-redis:6379/3",
            },
            database="nango",
            redis=(3,),
            redis_user="nango",
        ),
        Service(
            name="postiz",
            image="ghcr.io/gitroomhq/postiz-app:v2.12.0",
            memory="1g",
            port=5000,
            health=Http("/", probe="node", start_s=180),
            root="nginx and pm2 begin as root, and its uploads have belonged to root since its first start",
            cap_add={
                "CHOWN": "nginx gives its temporary folders to the user of its workers",
                "DAC_OVERRIDE": "nginx, as root, looks into folders of that user",
                "KILL": "nginx ends its workers",
                "SETGID": "nginx's workers become that user",
                "SETUID": "likewise",
            },
            writable="nginx, pm2 and Next.js write beside their programs",
            pids=1024,
            domain="postiz.augmenter.pro",
            depends_on=("temporal",),
            stateful=True,
            volumes={"postiz-config": "/config", "postiz-uploads": "/uploads"},
            env={
                "MAIN_URL": "https://postiz.augmenter.pro",
                "FRONTEND_URL": "https://postiz.augmenter.pro",
                "NEXT_PUBLIC_BACKEND_URL": "https://postiz.augmenter.pro/api",
                "BACKEND_INTERNAL_URL": "http://localhost:3000",
                "IS_GENERAL": "true",
                "STORAGE_PROVIDER": "local",
                "UPLOAD_DIRECTORY": "/uploads",
                "NEXT_PUBLIC_UPLOAD_DIRECTORY": "/uploads",
                "TEMPORAL_ADDRESS": "temporal:7233",
            },
            generated_secrets={
                "DATABASE_URL": (
                    "postgresql://postiz:{postgres/postiz}@shared-postgres:5432/postiz?connection_limit=3"
                ),
                "REDIS_URL": "redis://postiz:{redis/postiz}@shared-redis:6379/8",
                "JWT_SECRET": "postiz/jwt",
            },
            database="postiz",
            redis=(8,),
            redis_user="postiz",
        ),
        Service(
            name="temporal",
            image="temporalio/auto-setup:1.24.2",
            private=True,
            memory="256m",
            port=7233,
            health=Command(("temporal", "operator", "cluster", "health"), start_s=180),
            writable="its entry point writes its configuration into /etc/temporal",
            depends_on=("temporal-pg", "temporal-es"),
            env={
                "DB": "postgres12",
                "DB_PORT": 5432,
                "POSTGRES_SEEDS": "temporal-pg",
                "POSTGRES_USER": "postgres",
                "ENABLE_ES": "true",
                "ES_SEEDS": "temporal-es",
                "ES_VERSION": "v7",
                "TEMPORAL_ADDRESS": "temporal:7233",
            },
            generated_secrets={"POSTGRES_PWD": "temporal/postgres"},
        ),
        Service(
            name="temporal-pg",
            image="postgres:16-alpine",
            private=True,
            memory="96m",
            port=5432,
            health=Command(("pg_isready", "--quiet", "--host=127.0.0.1"), interval_s=10, start_s=180),
            user="70:70",
            tmpfs={"/var/run/postgresql": "uid=70,gid=70,mode=0755"},
            stop_s=60,
            stateful=True,
            data=PostgresData(databases=("temporal",)),
            volumes={"temporal-pg": "/var/lib/postgresql/data"},
            generated_secrets={"POSTGRES_PASSWORD": "temporal/postgres"},
        ),
        Service(
            name="temporal-es",
            image="elasticsearch:7.17.27",
            private=True,
            memory="512m",
            port=9200,
            health=Http("/_cluster/health", probe="curl", start_s=120),
            user="1000:0",
            writable="it writes its keystore and its logs beside its programs",
            pids=1024,
            volumes={"temporal-es": "/usr/share/elasticsearch/data"},
            env={
                "discovery.type": "single-node",
                "xpack.security.enabled": "false",
                "cluster.routing.allocation.disk.threshold_enabled": "false",
                "ES_JAVA_OPTS": "-Xms256m -Xmx256m",
            },
        ),
    ),
)
