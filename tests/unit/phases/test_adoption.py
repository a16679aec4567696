"""Foreign containers with names of ours: what is done with them, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import DeployError, OperationError

from blueprint import Secrets
from facts.adoption import Adoption, AdoptionState, FormerContainer, read_adoption
from operations import adoption
from operations.adoption import AdoptionStep, Successor, difference
from phases.adoption import existing
from tests.unit.bench import Bench
from tests.unit.declared import declared
from tests.unit.hosts import scripted_host

REDIS = Successor("redis", "data", "redis:7", {"/data": ("data_redis", "redis")}, "redis")
POSTGRES = Successor(
    "postgres", "data", "postgres:16", {"/var/lib": ("data_postgres", "postgres")}, "postgres"
)
WEB = Successor("web", "site")


def found(
    *containers: FormerContainer, volumes: tuple[str, ...] = (), copied: tuple[str, ...] = ()
) -> AdoptionState:
    by_name = {container.name: container for container in containers}
    return AdoptionState(by_name, frozenset(volumes), frozenset(copied))


def foreign(name: str, **changes: Any) -> FormerContainer:
    return FormerContainer(name, **{"image": f"{name}:1", "volumes": {"/data": f"old_{name}"}, **changes})


def run(state: AdoptionState, *successors: Successor, migrate: bool = False) -> tuple[list[str], list[str]]:
    """The commands, and the messages to a person."""
    with scripted_host({Adoption: state}) as host:
        done = list(adoption.adopted._inner(successors, "/state", migrate))
    return [command.get_raw_value().partition(")\"' ")[2] for command in done], host.logged


def test_nothing_was_there() -> None:
    assert run(found(), REDIS, WEB) == ([], [])


def test_ours_is_left_alone() -> None:
    assert run(found(FormerContainer("web", project="site", service="web")), WEB) == ([], [])


def test_one_of_the_same_compose_project_goes_on_with_its_volumes() -> None:
    same = {"project": "data", "volumes": {"/data": "data_redis"}}
    assert run(found(foreign("redis", service="redis", **same)), REDIS) == ([], [])
    # A Postgres of another image would not survive it.
    postgres = foreign("postgres", service="postgres", **same | {"volumes": {"/var/lib": "data_postgres"}})
    with pytest.raises(OperationError, match="Compose would remove it"):
        run(found(postgres), POSTGRES, migrate=True)
    assert run(found(replace(postgres, ours=True)), POSTGRES) == ([], [])


def test_one_without_data_is_set_aside() -> None:
    commands, reported = run(found(foreign("web", project="hand")), WEB)
    assert commands == ["migration/set-aside.sh /state web web-old -"]
    assert reported == ["web of the Compose project hand (web:1) is set aside as web-old, with its volumes"]


def test_a_redis_is_set_aside_and_its_data_copied_with_its_keys_checked() -> None:
    commands, reported = run(found(foreign("redis")), REDIS)
    assert commands == [
        "docker/pull.sh redis:7",
        "migration/set-aside.sh /state redis redis-old redis",
        "migration/volume-copy.sh /state redis-old /data data_redis data redis /state/redis.keys redis:7",
    ]
    assert reported[1] == "redis: old_redis (/data) is copied into data_redis"


def test_a_run_that_died_is_gone_on_with() -> None:
    aside = foreign("redis-old")
    assert difference([REDIS], found(aside)) == [AdoptionStep(REDIS, "/data")]
    assert difference([REDIS], found(aside, volumes=("data_redis",))) == []


def test_a_postgres_is_refused_unasked_with_the_reason() -> None:
    alpine = foreign("postgres", os="alpine", image="postgis/postgis:16-3.4-alpine")
    with pytest.raises(OperationError) as error:
        run(found(alpine), POSTGRES)
    for words in ("musl", "indexes on text", "old_postgres", "postgres_migrate=true"):
        assert words in str(error.value)
    with pytest.raises(OperationError, match="another image"):
        run(found(foreign("postgres", os="debian")), POSTGRES)


def test_a_postgres_is_set_aside_on_request_and_left_to_be_dumped() -> None:
    commands, _ = run(found(foreign("postgres", os="alpine")), POSTGRES, migrate=True)
    assert commands == ["migration/set-aside.sh /state postgres postgres-old postgres"]


@pytest.mark.parametrize(
    ("containers", "words"),
    [
        ([foreign("redis", managed=True)], "managed by Coolify"),
        ([foreign("redis"), foreign("redis-old")], "redis-old is there too"),
        ([foreign("redis", volumes={})], "its data is in the container"),
        ([foreign("redis", volumes={"/data": "data_redis"})], "in data_redis, which is what ours is called"),
        ([foreign("redis", project="data", service="redis")], "Compose would remove it, .* in old_redis"),
    ],
)
def test_what_is_refused(containers: list[FormerContainer], words: str) -> None:
    with pytest.raises(OperationError, match=words):
        run(found(*containers), REDIS)


@pytest.mark.parametrize(("name", "successor"), [("redis", REDIS), ("postgres", POSTGRES)])
def test_a_volume_of_ours_that_holds_something_is_not_copied_into(name: str, successor: Successor) -> None:
    volume = f"data_{name}"
    state = replace(found(foreign(name)), occupied=frozenset({volume}))
    with pytest.raises(
        OperationError, match=f"(?s)a volume {volume} that holds something.*docker volume rm {volume}"
    ):
        run(state, successor, migrate=True)


def test_what_was_adopted_before_and_is_back_is_not_taken_for_copied() -> None:
    with pytest.raises(OperationError, match="docker volume rm data_redis and rm /state/volumes/data_redis"):
        run(found(foreign("redis"), volumes=("data_redis",)), REDIS)
    with pytest.raises(OperationError, match="docker volume rm data_postgres and rm -r /state/postgres-old"):
        run(found(foreign("postgres"), copied=("postgres-old",)), POSTGRES, migrate=True)


def test_retired_ones_are_stopped_and_stay_so() -> None:
    state = found(foreign("a"), foreign("b", status="exited"), foreign("c", status="exited", restart="no"))
    with scripted_host({Adoption: state}):
        (command,) = adoption.retired._inner(["a", "b", "c", "d"], "/state")
    assert command.get_raw_value().endswith("migration/retire.sh a b")


def test_the_answer_of_the_host() -> None:
    output = {
        "name": "/redis",
        "status": "running",
        "project": None,
        "service": None,
        "managed": None,
        "digest": None,
        "image": "redis:7",
        "restart": "always",
        "mounts": [
            {
                "Type": "volume",
                "Name": "data",
                "Source": "/var/lib/docker/volumes/data",
                "Destination": "/data",
            },
            {"Type": "bind", "Source": "/srv", "Destination": "/srv"},
        ],
    }
    lines = ["@@volumes", "data_redis", "@@copied", "old", "@@containers", json.dumps(output), ""]
    lines += ["@@systems", "redis alpine"]
    assert read_adoption(lines) == AdoptionState(
        {
            "redis": FormerContainer(
                "redis",
                image="redis:7",
                os="alpine",
                restart="always",
                volumes={"/data": "data", "/srv": "/srv"},
            )
        },
        frozenset({"data_redis"}),
        frozenset({"old"}),
    )


def test_the_host_is_asked_for_what_is_recorded(tmp_path: Path, bench: Bench) -> None:
    bench.program("docker", "")
    for name in ("volumes", "old", "half"):
        (tmp_path / "state" / name).mkdir(parents=True)
    for name in ("volumes/data_redis", "old/.complete", "old/shop", "half/shop"):
        (tmp_path / "state" / name).touch()
    done = bench.run("facts/adoption.sh", tmp_path / "state", "redis", "")
    assert read_adoption(done.stdout.splitlines()) == found(volumes=("data_redis",), copied=("old",))


def test_the_host_is_asked_for_volumes_that_hold_what_we_did_not_copy(tmp_path: Path, bench: Bench) -> None:
    for name in ("empty", "full", "ours"):
        (tmp_path / name).mkdir()
    for name in ("full", "ours"):
        (tmp_path / name / "data").touch()
    reported = f"printf '%s\\n' 'a {tmp_path}/empty ' 'b {tmp_path}/full ' 'c {tmp_path}/ours redis-old'"
    bench.program("docker", f'[[ $* != "volume inspect "*" -- a b c d" ]] || {reported}')
    done = bench.run("facts/adoption.sh", tmp_path / "state", "redis", "a b c d")
    assert read_adoption(done.stdout.splitlines()).occupied == {"b"}


@pytest.mark.parametrize("nameless", ["", "0123abcd"])
def test_a_container_goes_and_no_data_with_it(bench: Bench, nameless: str) -> None:
    answers = f"""case $* in
"volume ls"*) echo "{nameless}" ;;
*State.Running*) echo false ;;
*.Mounts*) echo "data_redis 0123abcd /srv " ;;
"rm "*) log "$*" ;;
esac"""
    bench.program("docker", answers)
    done = bench.run("migration/remove.sh", "old")
    assert done.returncode == 0, done.stderr
    if nameless:
        assert bench.calls == []
        assert "old: kept, it has data in a volume without a name (0123abcd)" in done.stdout
    else:
        assert bench.calls == ["rm -- old"]
        assert done.stdout == "old: removed; its data stays in data_redis 0123abcd /srv \n"


# --- keys that the old ones have


def test_no_new_keys_are_made_for_data_that_is_read_with_old_ones(tmp_path: Path) -> None:
    blueprint = declared()
    stacks = [stack for stack in blueprint.stacks if stack.name == "langfuse"]
    secrets = Secrets.open("lab", tmp_path, {})
    # ClickHouse alone can be given another password.
    with scripted_host({Adoption: found(foreign("clickhouse", volumes={"/var/lib/clickhouse": "old"}))}):
        existing(blueprint, stacks, secrets)
    state = found(foreign("langfuse-worker"))
    with scripted_host({Adoption: state}):
        with pytest.raises(DeployError) as error:
            existing(blueprint, stacks, secrets)
        assert "lab.yaml: langfuse/salt" in str(error.value)
        assert "the one of container langfuse-worker (Langfuse has hashed" in str(error.value)
        for name in ("langfuse/salt", "langfuse/encryption_key"):
            secrets.generated(name)
        existing(blueprint, stacks, secrets)


# --- the script that copies a volume

DOCKER = """
log "$*"
case $* in
"volume create "*) echo redis-old >"$STATE/origin"; mkdir -p "$STATE/to" ;;
*.Mounts*) echo "$STATE/from" ;;
*.State.Running*) echo false ;;
*migration.source*) cat "$STATE/origin" ;;
*.Mountpoint*) echo "$STATE/to" ;;
"volume inspect "*) [ -e "$STATE/origin" ] ;;
"ps --all "*) cat "$STATE/users" 2>/dev/null || true ;;
*"PING") echo PONG ;;
*"INFO keyspace") echo "db0:keys=2,expires=0,avg_ttl=0" ;;
esac
"""


def copy(bench: Bench, folder: Path) -> Any:
    bench.program("docker", DOCKER)
    (folder / "from").mkdir(exist_ok=True)
    (folder / "from" / "dump.aof").write_text("the old data")
    (folder / "redis.keys").write_text("0 2 0\n")
    arguments = (
        folder,
        "redis-old",
        "/data",
        "data_redis",
        "data",
        "redis",
        folder / "redis.keys",
        "redis:7",
    )
    return bench.run("migration/volume-copy.sh", *arguments, STATE=str(folder))


def test_a_volume_is_copied_compared_and_recorded(bench: Bench, tmp_path: Path) -> None:
    done = copy(bench, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "to" / "dump.aof").read_text() == "the old data"
    assert "2 keys in index 0" in done.stdout
    assert (tmp_path / "volumes" / "data_redis").exists()
    assert not (tmp_path / "redis.keys").exists()  # what is counted another time is not these


def test_half_a_copy_is_made_anew(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "origin").write_text("redis-old\n")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "half").touch()
    assert copy(bench, tmp_path).returncode == 0
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["dump.aof"]


def test_a_copy_that_a_container_has_is_not_thrown_away_with_its_record(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "origin").write_text("redis-old\n")
    (tmp_path / "users").write_text("redis\n")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "dump.aof").write_text("what came since")
    done = copy(bench, tmp_path)
    assert done.returncode == 1
    assert "found volume data_redis with redis, and no record that it was copied" in done.stderr
    assert (tmp_path / "to" / "dump.aof").read_text() == "what came since"
