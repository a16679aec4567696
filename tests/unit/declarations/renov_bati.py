"""As group_data/renov_bati.py, which documents the keys; for the unit tests."""

from blueprint.model import Command, Database, Http, Project, RedisIndex, Service, Team

_WORKER = "ghcr.io/pi3block/renov-bati-worker:1.0.0"
_WELL = Command(("scaffold-health",), timeout_s=30, start_s=240)

renov_bati = Project(
    name="renov-bati",
    number=4,
    team=Team(name="renov-bati", key_alias="sk-renov-bati", budget_usd=30),
    databases=(Database("renov_bati", ("postgis", "vector"), pool=10, schema="files/renov_bati/schema.sql"),),
    redis=(
        RedisIndex(5, "BullMQ queues and ETL cache of renov-bati"),
        RedisIndex(9, "Celery results of renov-bati"),
    ),
    broker=5,
    results=9,
    queues=5,
    services=(
        Service(
            name="renov-backend",
            image="ghcr.io/pi3block/renov-bati-backend:1.0.0",
            memory="512m",
            port=3001,
            health=Http("/api/health", timeout_s=30, start_s=240),
            domain="api.renov-bati.fr",
        ),
        Service(
            name="renov-etl-worker",
            image=_WORKER,
            memory="512m",
            health=_WELL,
            env={"CELERY_QUEUES": "etl", "CELERY_CONCURRENCY": 1},
            stop_s=30,
        ),
        Service(
            name="renov-crawler-worker",
            image=_WORKER,
            memory="384m",
            health=_WELL,
            env={"CELERY_QUEUES": "crawler", "CELERY_CONCURRENCY": 1},
            provided_secrets={
                "FIRECRAWL_API_KEY": "firecrawl/api_key",
                "GOOGLE_PLACES_API_KEY": "google_places/api_key",
            },
            stop_s=30,
        ),
        Service(
            name="renov-scoring-worker",
            image=_WORKER,
            memory="384m",
            health=_WELL,
            env={"CELERY_QUEUES": "scoring", "CELERY_CONCURRENCY": 1},
            stop_s=30,
        ),
    ),
    standalone_services=(
        Service(
            name="renov-frontend",
            image="ghcr.io/pi3block/renov-bati-frontend:1.0.0",
            memory="384m",
            port=3000,
            health=Http("/api/health", timeout_s=30, start_s=240),
            domain="renov-bati.fr",
            env={"PORT": 3000, "BACKEND_URL": "http://renov-backend:3001"},
            depends_on=("renov-backend",),
        ),
    ),
)
