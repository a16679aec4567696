"""A fifth project, whole: what one file in group_data/ is."""

from blueprint.model import Command, Database, Http, Project, RedisIndex, Service, Team

# A shop, with a Celery worker.
shop = Project(
    name="shop",
    number=7,
    team=Team(name="shop", key_alias="sk-shop", budget_usd=5),
    databases=(Database("shop", ("vector",), pool=2, direct=1),),
    redis=(RedisIndex(10, "queues and results of the shop"),),
    broker=10,
    results=10,
    queues=10,
    services=(
        Service(
            name="shop-backend",
            image="ghcr.io/pi3block/shop-backend:1.0.0",
            memory="256m",
            port=3001,
            health=Http("/api/health"),
            domain="api.shop.example",
        ),
        Service(
            name="shop-worker",
            image="ghcr.io/pi3block/shop-worker:1.0.0",
            memory="256m",
            health=Command(("scaffold-health",)),
            env={"CELERY_QUEUES": "shop", "CELERY_CONCURRENCY": 1},
        ),
    ),
)
