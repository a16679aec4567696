"""Services, stacks and what they share: sound ones are made, nonsense is refused with its key and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from blueprint import DeclarationError
from blueprint.model import (
    Command,
    Database,
    Declaration,
    GeneratedSecret,
    Http,
    RedisIndex,
    Service,
    Stack,
)
from blueprint.model.types import fill, secret_names


def service(**fields: Any) -> Service:
    """A service that is in order, but for these fields."""
    sound: dict[str, Any] = {
        "name": "web",
        "image": "redis:7-bookworm",
        "memory": "512m",
        "port": 8000,
        "health": Http("/"),
    }
    return Service(**sound | fields)


def test_a_sound_one_is_made() -> None:
    made = service(
        aliases=("web-api", "web"),
        publish=18000,
        env={"A": "b", "N": 1},
        generated_secrets={"KEY": "web/key", "URL": "redis://web:{redis/web}@shared-redis:6379/{web/index}"},
        provided_secrets={"GROQ_API_KEY": "groq/api_key"},
        volumes={"data": "/data"},
        files={"web/web.conf": "/etc/web.conf", "web/more/x.ini": "/etc/x.ini"},
        host_paths={"/var/lib/web": "/var/lib/web"},
        domain="web.augmenter.pro",
        command=("serve", "--port=8000"),
        user="999:999",
        shm_size="1g",
        build="files/web",
        build_args={"MAJOR": "16"},
        database="web",
        redis=(0, 15),
        redis_user="web",
    )
    assert made.names == ("web", "web-api")
    assert made.memory_mib == 512
    assert made.secrets_used == {"web/key", "redis/web", "web/index"}
    assert Stack(name="web", services=(made,)).service("web") is made


@pytest.mark.parametrize(
    ("fields", "key", "output"),
    [
        ({"name": "web_1"}, "name", "a host name"),
        ({"name": "1web"}, "name", "beginning with a letter"),
        ({"image": "redis"}, "image", "never latest"),
        ({"image": "redis:latest"}, "image", "never latest"),
        ({"memory": "512"}, "memory", "unit k, m or g"),
        ({"memory": "512M"}, "memory", "unit k, m or g"),
        ({"health": None}, "health", "nothing can tell a service without one"),
        ({"health": "/health"}, "health", "an Http or a Command"),
        ({"host_paths": {"/run/docker.sock": "/x"}}, "host_paths", "a container is root of the host"),
        ({"user": "0:0"}, "user", "`root` with the reason"),
        ({"cap_add": {"ALL": "why"}}, "cap_add", "single capabilities"),
        ({"cap_add": {"CAP-X": "why"}}, "cap_add", "capabilities without CAP_"),
        ({"cap_add": {"CHOWN": ""}}, "cap_add.CHOWN", "the reason why"),
        ({"tmpfs": {"run": ""}}, "tmpfs", "an absolute path"),
        ({"tmpfs": {"/run": "exec; x"}}, "tmpfs./run", "options of a tmpfs"),
        ({"tmpfs": {"/run": ""}, "writable": "why"}, "tmpfs", "without `writable`"),
        (
            {"tmpfs": {"/data": ""}, "volumes": {"a": "/data"}},
            "volumes, files, host_paths and tmpfs",
            "2 times",
        ),
        ({"pids": 1}, "pids", "from 16"),
        ({"private": True, "domain": "a.pro"}, "domain", "left out of what is `private`"),
        ({"private": True, "publish": 80}, "publish", "left out of what is `private`"),
        ({"private": True, "host_gateway": True}, "host_gateway", "left out of what is `private`"),
        ({"cpus": 0}, "cpus", "a number of processors"),
        ({"cpus": "1"}, "cpus", "a number of processors"),
        ({"aliases": ("a.b",)}, "aliases", "a host name"),
        ({"port": 70000}, "port", "from 1 to 65535"),
        ({"publish": 0}, "publish", "from 1 to 65535"),
        ({"public": (0,)}, "public", "from 1 to 65535"),
        ({"public_udp": ("443",)}, "public_udp", "from 1 to 65535"),
        ({"port": None}, "health", "together with port"),
        ({"port": None, "health": Http("/", port=80), "publish": 80}, "publish", "together with port"),
        ({"port": None, "health": Http("/", port=80), "domain": "a.pro"}, "domain", "together with port"),
        ({"domain": "localhost"}, "domain", "a domain"),
        ({"domain": "A.augmenter.pro"}, "domain", "a domain in lower case"),
        ({"env": {"1A": "x"}}, "env", "the name of an environment variable"),
        ({"env": {"A": "x\ny"}}, "env.A", "one line"),
        ({"env": {"A": True}}, "env.A", "one line of text, or a whole number"),
        ({"env": {"A": "1"}, "generated_secrets": {"A": "web/a"}}, "env.A", "declared once"),
        ({"generated_secrets": {"A": "web"}}, "generated_secrets.A", "the name of a secret"),
        ({"generated_secrets": {"A": "redis://{redis}"}}, "generated_secrets.A", "names in braces"),
        ({"generated_secrets": {"A": "redis://{redis/web"}}, "generated_secrets.A", "names in braces"),
        ({"provided_secrets": {"A": "{groq/api_key}"}}, "provided_secrets.A", "the name of a secret"),
        ({"volumes": {"Data": "/data"}}, "volumes", "lower-case letters"),
        ({"volumes": {"data": "data"}}, "volumes", "an absolute path"),
        ({"volumes": {"a": "/data", "b": "/data"}}, "volumes", "paths of their own"),
        ({"files": {"web.conf": "/etc/web.conf"}}, "files", 'such as "redis/redis.conf"'),
        ({"files": {"/etc/web.conf": "/etc/web.conf"}}, "files", "below the stack's folder"),
        ({"files": {"web/../x": "/etc/x"}}, "files", "without . and .."),
        ({"files_uid": "999"}, "files_uid", "a numeric user"),
        ({"host_paths": {"docker.sock": "/x"}}, "host_paths", "an absolute path"),
        ({"command": "serve --port"}, "command", "a list of words"),
        ({"entrypoint": (1,)}, "entrypoint", "a list of words"),
        ({"user": "postgres"}, "user", "numeric"),
        ({"shm_size": "1gb"}, "shm_size", "unit k, m or g"),
        ({"stop_s": 0}, "stop_s", "from 1"),
        ({"build": "/srv/web"}, "build", "a folder of this project"),
        ({"build_args": {"A": "1"}}, "build_args", "together with build"),
        ({"database": "my-db"}, "database", "a name of Postgres"),
        ({"redis": (16,), "redis_user": "web"}, "redis", "from 0 to 15"),
        ({"redis": (1,)}, "redis_user", "declared with redis"),
        ({"redis_user": "web"}, "redis_user", "declared with redis"),
        (
            {"reload": ("kill", "-HUP", "1"), "files": {"a/x": "/etc/a/x", "b/y": "/etc/b/y"}},
            "files",
            "of one folder",
        ),
        ({"reload": ("kill", "-HUP", "1"), "files": {"a/x": "/etc/a/y"}}, "files", "under their own names"),
    ],
)
def test_nonsense_is_refused(fields: dict[str, Any], key: str, output: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        service(**fields)
    problems = [problem for problem in refused.value.problems if output in str(problem)]
    assert any(problem.key.startswith(f"Service {fields.get('name', 'web')}.{key}") for problem in problems)


@pytest.mark.parametrize(
    ("kind", "fields", "output"),
    [
        (Http, {"path": "health"}, "the path of a URL"),
        (Http, {"path": "/a b"}, "the path of a URL"),
        (Http, {"path": "/", "probe": "telnet"}, "one of curl, node, python, wget"),
        (Http, {"path": "/", "interval_s": 0}, "seconds"),
        (Http, {"path": "/", "port": 0}, "a TCP port"),
        (Command, {"command": ()}, "a program"),
        (Command, {"command": "redis-cli ping"}, "a list of words"),
        (Command, {"command": ("true",), "retries": 0}, "from 1"),
        (Database, {"name": "my-db"}, "no quotes"),
        (Database, {"name": "a", "owner": "A"}, "no quotes"),
        (RedisIndex, {"index": 16, "usage": "", "users": ("a",)}, "from 0 to 15"),
        (GeneratedSecret, {"name": "a/salt", "hex_bytes": 32, "base64_bytes": 32}, "without hex_bytes"),
        (GeneratedSecret, {"name": "salt"}, "the name of a secret"),
        (GeneratedSecret, {"name": "a/salt", "hex_bytes": 4}, "from 16"),
        (Stack, {"name": "Web", "services": ()}, "at least one Service"),
    ],
)
def test_other_nonsense_is_refused(kind: type[Declaration], fields: dict[str, Any], output: str) -> None:
    with pytest.raises(DeclarationError, match=output):
        kind(**fields)


def stack(**depends_on: tuple[str, ...]) -> Stack:
    return Stack(
        name="s", services=tuple(service(name=name, depends_on=others) for name, others in depends_on.items())
    )


def test_services_of_a_stack_depend_on_each_other_without_circles() -> None:
    assert len(stack(a=(), b=("a",), c=("a", "b")).services) == 3
    with pytest.raises(DeclarationError, match="one of a, c"):
        stack(a=(), b=("d",), c=())
    with pytest.raises(DeclarationError, match="one of b"):
        stack(a=("a",), b=())
    with pytest.raises(DeclarationError, match="a → c → b → a, but must be in an order"):
        stack(a=("c", "d"), b=("a",), c=("b",), d=())


def test_services_of_a_stack_have_names_of_their_own() -> None:
    with pytest.raises(DeclarationError, match="web more than once"):
        Stack(name="s", services=(service(), service()))


def test_a_file_belongs_to_one_user() -> None:
    shared = {"a/x": "/x"}
    with pytest.raises(DeclarationError, match="70, whom a/x belongs to already"):
        Stack(
            name="s",
            services=(
                service(name="a", files=shared, files_uid=70),
                service(name="b", files=shared, files_uid=71),
            ),
        )


def test_the_role_of_a_database_is_its_own_unless_declared_otherwise() -> None:
    assert Database("litellm").role == "litellm"
    assert Database("voicejury_db", owner="voicejury").role == "voicejury"


def test_secrets_are_named_alone_or_in_braces() -> None:
    assert secret_names("a/b") == ["a/b"]
    assert secret_names("x{a/b}y{c/d}") == ["a/b", "c/d"]
    assert secret_names("x{a/b}}") == []
    assert fill("a/b", {"a/b": "1"}) == "1"
    assert fill("x{a/b}y{c/d}", {"a/b": "1", "c/d": "2"}) == "x1y2"
