"""coach-credit: advice on credit, with a worker that translates (requirements 9)."""

from blueprint.model import Command, Database, Http, Project, RedisIndex, Service, Team

coach_credit = Project(
    name="coach-credit",
    number=5,
    team=Team(name="coach-credit", key_alias="sk-coach-credit", budget_usd=20),
    databases=(Database("coach_credit", pool=6),),
    redis=(RedisIndex(6, "BullMQ queues and cache of coach-credit"),),
    queues=6,
    services=(
        Service(
            name="coach-backend",
            image="ghcr.io/pi3block/coach-credit-backend:1.0.0",
            memory="384m",
            port=3001,
            health=Http("/api/health", timeout_s=30, start_s=240),
            domain="api.coach-credit.fr",  # the requirements name none: yours goes here
        ),
        Service(
            name="coach-worker",
            image="ghcr.io/pi3block/coach-credit-worker:1.0.0",
            memory="256m",
            health=Command(("scaffold-health",), timeout_s=30, start_s=240),
            stop_s=30,
        ),
    ),
    # These get no addresses, logins and keys of what is shared, unlike the services above.
    standalone_services=(
        Service(
            name="coach-frontend",
            image="ghcr.io/pi3block/coach-credit-frontend:1.0.0",
            memory="256m",
            port=3000,
            health=Http("/api/health", timeout_s=30, start_s=240),
            domain="coach-credit.fr",  # likewise
            env={"PORT": 3000, "BACKEND_URL": "http://coach-backend:3001"},
            depends_on=("coach-backend",),
        ),
    ),
)
