"""shared-redis from each project's own container: its own databases and channels, and no others."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from blueprint import redis
from blueprint.model.types import REDIS_DATABASES
from lab.machine import Machine
from tests.host.conftest import await_healthy
from tests.services.datastores import Datastores
from tests.services.declared import everything
from tests.services.tenants import Tenant

INDEXES = everything().redis_indexes
OWN = redis.users(INDEXES)
SECRET = "tenants:secret"  # noqa: S105 - a key

# What every program below begins with: the project's own login, in the database that a connection begins with.
CONNECT = """
import redis, time
from redis.backoff import NoBackoff
from redis.retry import Retry

server, _, first = os.environ["REDIS_URL"].rpartition("/")

def connection():
    # In the older protocol, a subscription is an answer like any other.
    options = {"protocol": 2, "decode_responses": True, "single_connection_client": True, "socket_timeout": 120}
    return redis.Redis.from_url(server, retry=Retry(NoBackoff(), 0), **options)

def refusal(client, *words):
    "The server's refusal; None where it obeyed."
    try:
        client.execute_command(*words)
    except redis.exceptions.ResponseError as error:
        return str(error)
    except redis.exceptions.ConnectionError as error:
        return f"connection lost: {error}"
"""


def run(tenant: Tenant, program: str, **arguments: Any) -> Any:
    """What a program says that has the project's own login."""
    return tenant.python(CONNECT + textwrap.dedent(program), **arguments)


def refused(text: str | None) -> bool:
    """Whether an answer is a refusal by the server's ACL, and not an error for another reason."""
    return text is not None and ("permission" in text or "can't" in text or "not allowed" in text)


def own(tenant: Tenant) -> tuple[int, ...]:
    return OWN[tenant.project.redis_user]


def foreign(tenant: Tenant) -> int:
    """An index of another project's."""
    return next(index for user, indexes in OWN.items() for index in indexes if index not in own(tenant))


@pytest.fixture
def secrets(datastores: Datastores) -> Any:
    """A key in every database, put there by the administrator."""
    clients = [datastores.redis(redis.ADMIN, index) for index in range(REDIS_DATABASES)]
    for index, client in enumerate(clients):
        client.set(SECRET, f"of {index}", ex=600)
    yield clients
    for client in clients:
        client.delete(SECRET)


# A connection begins in index 0. Tried there, and in a denied database, by users who do not own it.
READING: list[tuple[Any, ...]] = [
    ("GET", SECRET),
    ("SET", SECRET, "mine"),
    ("DEL", SECRET),
    ("EXISTS", SECRET),
    ("TYPE", SECRET),
    ("TTL", SECRET),
    ("DUMP", SECRET),
    ("WATCH", SECRET),
    ("OBJECT", "ENCODING", SECRET),
    ("MEMORY", "USAGE", SECRET),
    ("RENAME", SECRET, "tenants:mine"),
    ("COPY", SECRET, "tenants:mine", "DB", "{own}"),
    ("MOVE", SECRET, "{own}"),
    ("BLPOP", "tenants:queue", "0.1"),
    ("XADD", "tenants:stream", "*", "a", "1"),
    ("SCAN", "0"),
    ("KEYS", "*"),
    ("RANDOMKEY",),
    ("DBSIZE",),
    ("EVAL", "return redis.call('GET', KEYS[1])", "1", SECRET),
    ("EVAL", f"return redis.call('GET', '{SECRET}')", "0"),
    ("EVAL_RO", f"return redis.call('GET', '{SECRET}')", "0"),
]


@pytest.mark.checklist("4.3", "5.3")
def test_a_project_reaches_its_own_databases_and_no_other(tenants: list[Tenant], secrets: list[Any]) -> None:
    """By SELECT, in a transaction and in a script; what was denied leaves the connection where it was."""
    program = f"""
    reached = {{}}
    for index in range({REDIS_DATABASES}):
        for way in ("select", "transaction", "script"):
            client = connection()
            try:
                if way == "select":
                    client.execute_command("SELECT", index)
                    value = client.get("{SECRET}")
                elif way == "transaction":
                    client.execute_command("SELECT", first)
                    with client.pipeline() as pipe:
                        pipe.execute_command("SELECT", index)
                        pipe.get("{SECRET}")
                        value = pipe.execute()[1]
                else:
                    client.execute_command("SELECT", first)
                    value = client.eval(f"redis.call('SELECT', {{index}}) return redis.call('GET', '{SECRET}')", 0)
            except redis.exceptions.ResponseError:
                continue
            reached.setdefault(index, {{}})[way] = value
    print(json.dumps(reached))
    """
    found = {tenant.project.name: run(tenant, program) for tenant in tenants}
    assert found == {
        tenant.project.name: {
            str(index): dict.fromkeys(("select", "transaction", "script"), f"of {index}")
            for index in own(tenant)
        }
        for tenant in tenants
    }


def test_a_connection_that_has_not_said_where_it_wants_to_be_is_nowhere(
    tenants: list[Tenant], secrets: list[Any]
) -> None:
    """It begins in index 0, which is one project's; the others can do nothing there, neither before nor after a denied
    SELECT."""
    program = """
    found = {}
    for denied in (False, True):
        for words in arguments["commands"]:
            client = connection()
            if denied:
                refusal(client, "SELECT", arguments["foreign"])
            found[f"{denied} {' '.join(words)}"] = refusal(client, *words)
    print(json.dumps(found))
    """
    for tenant in tenants:
        if 0 in own(tenant):
            continue
        commands = [[word.format(own=own(tenant)[0]) for word in words] for words in READING]
        answers = run(tenant, program, commands=commands, foreign=foreign(tenant))
        assert [words for words, text in answers.items() if not refused(text)] == [], tenant.project.name
    assert [client.get(SECRET) for client in secrets] == [f"of {index}" for index in range(REDIS_DATABASES)]


# What concerns everybody, whichever database it is said in. {foreign} is another project's.
EVERYBODYS: list[tuple[str, ...]] = [
    ("PUBLISH", "/{foreign}.celery.pidbox", "shutdown"),
    ("EVAL", "return redis.call('PUBLISH', '/{foreign}.celery.pidbox', 'shutdown')", "0"),
    ("PUBLISH", "__keyspace@{foreign}__:x", "set"),
    ("SPUBLISH", "tenants", "x"),
    ("PSUBSCRIBE", "*"),
    ("PSUBSCRIBE", "/*"),
    ("PSUBSCRIBE", "/{foreign}.*"),
    ("PSUBSCRIBE", "/{foreign}.celery.pidbox"),
    ("PSUBSCRIBE", "celery-task-meta-*"),
    ("PSUBSCRIBE", "celery-taskset-meta-*"),
    ("PSUBSCRIBE", "publisher:*"),
    ("PSUBSCRIBE", "__key*"),
    ("SUBSCRIBE", "/{foreign}.celery.pidbox"),
    ("SUBSCRIBE", "__keyspace@{foreign}__:x"),
    ("SUBSCRIBE", "__keyevent@{foreign}__:set"),
    ("SUBSCRIBE", "__redis__:invalidate"),
    ("SSUBSCRIBE", "tenants"),
    ("PUBSUB", "CHANNELS"),
    ("PUBSUB", "NUMSUB", "x"),
    ("PUBSUB", "NUMPAT"),
    ("PUBSUB", "SHARDCHANNELS"),
    ("CLIENT", "TRACKING", "ON"),
    ("CLIENT", "TRACKING", "ON", "BCAST"),
    ("CLIENT", "CACHING", "YES"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "PAUSE", "1"),
    ("CLIENT", "UNPAUSE"),
    ("CLIENT", "UNBLOCK", "1"),
    ("CLIENT", "NO-EVICT", "ON"),
    ("CLIENT", "REPLY", "ON"),
    ("FUNCTION", "FLUSH"),
    ("FUNCTION", "LOAD", "#!lua name=mine\nredis.register_function('f', function() end)"),
    ("FUNCTION", "DELETE", "mine"),
    ("FUNCTION", "LIST"),
    ("FUNCTION", "DUMP"),
    ("FUNCTION", "RESTORE", "x"),
    ("FUNCTION", "KILL"),
    ("FCALL", "f", "0"),
    ("FCALL_RO", "f", "0"),
    ("SCRIPT", "FLUSH"),
    ("SCRIPT", "KILL"),
    ("SCRIPT", "DEBUG", "YES"),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("SWAPDB", "{own}", "{foreign}"),
    ("MOVE", "tenants:own", "{foreign}"),
    ("COPY", "tenants:own", "tenants:own", "DB", "{foreign}"),
    ("SORT", "tenants:own"),
    ("MIGRATE", "127.0.0.1", "1", "tenants:own", "0", "1"),
    ("RESTORE", "tenants:own", "0", "x"),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("CONFIG", "RESETSTAT"),
    ("ACL", "LIST"),
    ("ACL", "WHOAMI"),
    ("ACL", "LOG"),
    ("MONITOR",),
    ("SLOWLOG", "GET"),
    ("LATENCY", "LATEST"),
    ("MEMORY", "STATS"),
    ("MEMORY", "DOCTOR"),
    ("MEMORY", "PURGE"),
    ("DEBUG", "SLEEP", "0"),
    ("SAVE",),
    ("BGSAVE",),
    ("BGREWRITEAOF",),
    ("LASTSAVE",),
    ("SHUTDOWN",),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("FAILOVER",),
    ("SYNC",),
    ("PSYNC", "?", "-1"),
    ("ROLE",),
    ("WAIT", "0", "1"),
    ("MODULE", "LIST"),
    ("CLUSTER", "INFO"),
]


def test_what_concerns_everybody_is_refused(tenants: list[Tenant], datastores: Datastores) -> None:
    program = """
    found = {}
    for words in arguments["commands"]:
        client = connection()
        client.execute_command("SELECT", first)
        found[" ".join(words)] = refusal(client, *words)
    print(json.dumps(found))
    """
    admin = datastores.redis(redis.ADMIN)
    loaded = admin.script_load("return 'tenants'")
    for tenant in tenants:
        names = {"own": own(tenant)[0], "foreign": foreign(tenant)}
        commands = [[word.format(**names) for word in words] for words in EVERYBODYS]
        answers = run(tenant, program, commands=commands)
        assert [words for words, text in answers.items() if not refused(text)] == [], tenant.project.name
    assert admin.script_exists(loaded) == [True]


def test_each_project_has_its_channels_and_no_other(tenants: list[Tenant]) -> None:
    """Every channel of every project's, tried by every project: heard by name, heard as a pattern, and spoken on."""
    every = {
        tenant.project.name: [
            f"{tenant.project.name}:news",
            *(f"/{tenant.project.broker}.{name}" for name in ("celery.pidbox", "celeryev/task.multi")),
        ]
        for tenant in tenants
        if tenant.project.broker is not None
    } | {
        tenant.project.name: [f"{tenant.project.name}:news"]
        for tenant in tenants
        if tenant.project.broker is None
    }
    program = """
    found = []
    for channel in arguments["channels"]:
        for command in ("SUBSCRIBE", "PUBLISH"):
            client = connection()
            words = (command, channel, "x") if command == "PUBLISH" else (command, channel)
            if refusal(client, *words) is None:
                found.append(f"{command} {channel}")
    print(json.dumps(found))
    """
    channels = [channel for some in every.values() for channel in some]
    for tenant in tenants:
        expected = [
            f"{command} {channel}"
            for channel in every[tenant.project.name]
            for command in ("SUBSCRIBE", "PUBLISH")
        ]
        assert run(tenant, program, channels=channels) == expected, tenant.project.name


def test_a_result_is_heard_by_all_who_know_its_name(tenants: list[Tenant]) -> None:
    """Celery publishes results on channels with a UUID in their names, which only the sender of the job knows."""
    program = """
    client = connection()
    client.execute_command("SELECT", first)
    name = "celery-task-meta-" + arguments["id"]
    with client.pubsub() as heard:
        heard.subscribe(name)
        heard.get_message(timeout=5)
        speaker = connection()
        speaker.publish(name, "done")
        print(json.dumps(heard.get_message(timeout=5)["data"]))
    """
    for tenant in tenants:
        if tenant.project.results is not None:
            assert run(tenant, program, id="6f1c") == "done"


@pytest.mark.checklist("4.2")
def test_the_workers_of_a_broker_answer_their_own_project(tenants: list[Tenant]) -> None:
    """Celery's remote control, which goes through its channels both ways."""
    program = """
    from celery import Celery
    app = Celery(broker=os.environ["CELERY_BROKER_URL"])
    expected = set(arguments["workers"])
    answered, end = set(), time.monotonic() + 120
    while not expected <= answered and time.monotonic() < end:
        # Each as QUEUE@HOST.
        answered |= {name.partition("@")[2] for name in app.control.inspect(timeout=5).ping() or {}}
    print(json.dumps(sorted(answered)))
    """
    for tenant in tenants:
        workers = [service.name for service in tenant.project.services if "CELERY_QUEUES" in service.env]
        if tenant.project.broker is None:
            continue
        machine = tenant.machine
        hosts = machine.run(
            f"docker inspect --format '{{{{.Config.Hostname}}}}' {' '.join(workers)}"
        ).stdout.split()
        answered = run(tenant, program, workers=hosts)
        assert set(hosts) <= set(answered), tenant.project.name


def test_a_script_that_never_ends_is_ended(
    machine: Machine, tenants: list[Tenant], datastores: Datastores
) -> None:
    """It keeps everybody out; the health check of the server ends it, and the server where it has written already."""
    program = """
    client = connection()
    client.execute_command("SELECT", first)
    print(json.dumps(refusal(client, "EVAL", arguments["script"], "1", "tenants:loop")))
    """
    admin = datastores.redis(redis.ADMIN)
    run_id = admin.info()["run_id"]
    kept = datastores.redis(redis.ADMIN, REDIS_DATABASES - 1)
    kept.set("tenants:kept", 1, ex=600)
    assert "Script killed" in run(tenants[0], program, script="while true do end")
    assert admin.info()["run_id"] == run_id
    writing = "redis.call('SET', KEYS[1], 1, 'EX', 60) while true do end"
    assert "connection lost" in run(tenants[0], program, script=writing)
    await_healthy(machine)  # clients connect again
    kept = datastores.redis(redis.ADMIN, REDIS_DATABASES - 1)
    assert kept.getdel("tenants:kept") == "1"
