"""From declared stacks to Compose's words, and what stacks get wrong together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blueprint import DeclarationError, Secrets
from blueprint.model import Command, Database, GeneratedSecret, Http, RedisIndex, Service, Stack
from blueprint.proxy import labels
from blueprint.stack_problems import StackChecks
from blueprint.stacks import Content, Resolver, environment_file, healthcheck, outline
from specs.files import Directory
from specs.stacks import Build, ComposeStack
from tests.unit.blueprint.test_service_model import service
from tests.unit.declared import declared
from tests.unit.paths import CHECKOUT

UUID = "GPU-85c38fae-1bcf-d15b-4f36-e1f581acd76e"
ROOT = "/opt/sourcefast"
TMP = "/tmp:size=128m,mode=1777"  # noqa: S108 - a folder of a container


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    (tmp_path / "lab.yaml").write_text("groq: {api_key: gsk-canary}\nredis: {web: 'p@ss/w?rd'}\n")
    (tmp_path / "lab.yaml").chmod(0o600)
    return Secrets.open("lab", tmp_path, {})


@pytest.fixture
def resolver(secrets: Secrets) -> Resolver:
    return Resolver(
        root=ROOT,
        network="coolify",
        docker=declared().docker,
        secrets=secrets,
        formats=(GeneratedSecret("web/key", prefix="sk-"), GeneratedSecret("web/hex", hex_bytes=32)),
        uuids={"GPU-85c38fae": UUID},
    )


def resolved(resolver: Resolver, *services: Service, **more: Any) -> ComposeStack:
    return resolver.resolve(Stack(name="front", services=services), **more)


def definition(resolver: Resolver, **fields: Any) -> dict[str, Any]:
    """One service, as Compose reads it."""
    contents = {file: Content("") for file in fields.get("files", {})}
    made: dict[str, Any] = resolved(resolver, service(**fields), contents=contents).project["services"]["web"]
    return made


def environment(stack: ComposeStack) -> str:
    return str(stack.contents[f"{stack.folder}/web.env"].content)


def test_a_container_is_limited_restarted_and_known_by_its_own_names_only(resolver: Resolver) -> None:
    made = definition(resolver, aliases=("web-api",), cpus=0.5, publish=18000)
    assert made["container_name"] == made["hostname"] == "web"
    assert made["networks"] == {"coolify": {"aliases": ["web-api"]}}
    assert (made["mem_limit"], made["memswap_limit"], made["cpus"]) == ("512m", "1024m", 0.5)
    assert made["restart"] == "unless-stopped"
    assert made["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    assert made["ports"] == ["127.0.0.1:18000:8000"]
    assert made["env_file"] == ["web.env"]
    assert resolved(resolver, service()).project["networks"] == {
        "coolify": {"name": "coolify", "external": True}
    }


def test_what_is_not_declared_is_not_in_the_definition(resolver: Resolver) -> None:
    output = definition(resolver).keys()
    assert not output & {
        "ports",
        "volumes",
        "labels",
        "deploy",
        "command",
        "entrypoint",
        "user",
        "depends_on",
    }


def test_what_is_declared_is_in_the_definition(resolver: Resolver) -> None:
    made = definition(
        resolver,
        command=("serve", "$HOME"),
        entrypoint=("/entry",),
        user="999:999",
        shm_size="1g",
        host_gateway=True,
        gpu="GPU-85c38fae",
        vram_mib=1,
        stop_s=60,
        public=(443,),
        public_udp=(443,),
    )
    assert (made["command"], made["entrypoint"], made["user"]) == (["serve", "$HOME"], ["/entry"], "999:999")
    assert (made["shm_size"], made["stop_grace_period"]) == ("1g", "60s")
    assert made["extra_hosts"] == ["host.docker.internal:host-gateway"]
    assert made["ports"] == ["443:443", "443:443/udp"]
    devices = made["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "device_ids": [UUID], "capabilities": ["gpu"]}]


def test_a_container_can_do_no_more_than_it_declares(resolver: Resolver) -> None:
    made = definition(resolver)
    assert made["security_opt"] == ["no-new-privileges:true"]
    assert made["cap_drop"] == ["ALL"] and "cap_add" not in made
    assert made["pids_limit"] == 512
    assert made["read_only"] is True and made["tmpfs"] == [TMP]


def test_exceptions_are_declared_with_their_reason(resolver: Resolver) -> None:
    made = definition(resolver, cap_add={"SETUID": "why", "CHOWN": "why"}, writable="why", pids=4096)
    assert made["cap_add"] == ["CHOWN", "SETUID"] and made["cap_drop"] == ["ALL"]
    assert made["pids_limit"] == 4096
    assert "read_only" not in made and "tmpfs" not in made
    made = definition(resolver, tmpfs={"/run/web": "uid=999"})
    assert made["tmpfs"] == [TMP, "/run/web:size=128m,uid=999"]


def test_what_is_private_is_on_a_network_with_what_depends_on_it_alone(resolver: Resolver) -> None:
    stack = resolved(
        resolver,
        service(name="store", private=True, aliases=("bucket",)),
        service(name="reader", depends_on=("store",)),
        service(name="other"),
        service(name="watcher", joins=("back",)),
    )
    networks = {name: one["networks"] for name, one in stack.project["services"].items()}
    assert networks == {
        "store": {"front_private": {"aliases": ["bucket"]}},
        "reader": {"coolify": {"aliases": []}, "front_private": {"aliases": []}},
        "other": {"coolify": {"aliases": []}},
        "watcher": {"coolify": {"aliases": []}, "back_private": {"aliases": []}},
    }
    assert stack.project["networks"] == {
        name: {"name": name, "external": True} for name in ("coolify", "front_private", "back_private")
    }
    assert stack.networks == {"front_private", "back_private"}


def test_services_wait_for_the_health_of_others(resolver: Resolver) -> None:
    project = resolved(resolver, service(), service(name="late", depends_on=("web",))).project
    assert project["services"]["late"]["depends_on"] == {"web": {"condition": "service_healthy"}}


def test_volumes_keep_their_names_and_outlive_clean_ups(resolver: Resolver) -> None:
    stack = resolved(resolver, service(volumes={"data": "/data"}))
    assert stack.project["volumes"] == {"data": {"name": "front_data", "labels": {"keep": "true"}}}
    assert stack.project["services"]["web"]["volumes"] == [
        {"type": "volume", "source": "data", "target": "/data"}
    ]


def test_files_are_mounted_by_themselves_read_only_and_belong_to_who_reads_them(resolver: Resolver) -> None:
    files = {"web/conf/a.ini": "/etc/a.ini", "web/b": "/etc/b"}
    stack = resolved(
        resolver,
        service(files=files, files_uid=70),
        contents={"web/conf/a.ini": Content("A"), "web/b": Content("B", secret=False), "more/c": Content("")},
    )
    first, second = stack.project["services"]["web"]["volumes"]
    assert (first["source"], first["target"]) == (f"{ROOT}/front/web/conf/a.ini", "/etc/a.ini")
    assert first["read_only"] is second["read_only"] is True
    assert [(one.path, one.mode, one.owner) for one in stack.files if isinstance(one, Directory)] == [
        (f"{ROOT}/front/web", "0700", "70"),
        (f"{ROOT}/front/web/conf", "0700", "70"),
    ]
    mounted = {path: (file.content, file.owner, file.secret) for path, file in stack.contents.items()}
    assert mounted[f"{ROOT}/front/web/conf/a.ini"] == ("A", "70", True)
    assert mounted[f"{ROOT}/front/web/b"] == ("B", "70", False)
    assert set(mounted) == {f"{ROOT}/front/{name}" for name in ("web.env", "web/conf/a.ini", "web/b")}


def test_files_that_are_read_again_are_mounted_with_their_folder(resolver: Resolver) -> None:
    stack = resolved(
        resolver,
        service(files={"web/a": "/etc/web/a", "web/b": "/etc/web/b"}, reload=("kill", "-HUP", "1")),
        contents={"web/a": Content(""), "web/b": Content("")},
    )
    (mount,) = stack.project["services"]["web"]["volumes"]
    assert (mount["source"], mount["target"]) == (f"{ROOT}/front/web", "/etc/web")
    assert stack.reload == {"web": ("kill", "-HUP", "1")}


def test_a_file_without_content_is_a_mistake_of_the_phase(resolver: Resolver) -> None:
    with pytest.raises(ValueError, match="no content for web/a"):
        resolved(resolver, service(files={"web/a": "/a"}))


def test_stateful_and_built_ones_are_named(resolver: Resolver) -> None:
    stack = resolved(
        resolver,
        service(stateful=True, volumes={"data": "/data"}, build="files/postgres", build_args={"MAJOR": "16"}),
    )
    assert stack.stateful == {"web"}
    assert stack.builds == {"redis:7-bookworm": Build(CHECKOUT / "files/postgres", {"MAJOR": "16"})}


# --- environment


def test_secrets_are_generated_in_their_form_and_stay(resolver: Resolver, secrets: Secrets) -> None:
    made = service(generated_secrets={"KEY": "web/key", "HEX": "web/hex", "PLAIN": "web/plain"})
    text = environment(resolved(resolver, made))
    values = dict(line.split("=", 1) for line in text.splitlines())
    assert values["KEY"].startswith("sk-")
    assert len(values["KEY"]) == 46
    assert len(bytes.fromhex(values["HEX"])) == 32
    assert values["PLAIN"] == secrets.provided("web/plain")
    assert environment(resolved(resolver, made)) == text


def test_secrets_are_percent_encoded_inside_of_a_text_and_not_alone(resolver: Resolver) -> None:
    made = service(
        generated_secrets={"URL": "redis://web:{redis/web}@shared-redis:6379/1", "PASSWORD": "redis/web"}
    )
    lines = environment(resolved(resolver, made)).splitlines()
    assert "URL=redis://web:p%40ss%2Fw%3Frd@shared-redis:6379/1" in lines
    assert "PASSWORD=p@ss/w?rd" in lines


def test_keys_of_others_are_asked_for_by_name(resolver: Resolver) -> None:
    assert "K=gsk-canary\n" in environment(
        resolved(resolver, service(provided_secrets={"K": "groq/api_key"}))
    )
    with pytest.raises(DeclarationError, match="openai/api_key is missing"):
        resolved(resolver, service(provided_secrets={"K": "openai/api_key"}))


def test_nothing_secret_is_in_the_project(resolver: Resolver) -> None:
    stack = resolved(
        resolver, service(provided_secrets={"K": "groq/api_key"}, generated_secrets={"P": "redis/web"})
    )
    shown = json.dumps(stack.project) + repr(stack)
    assert "canary" not in shown
    assert "p@ss" not in shown


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain-1.2_3/:@%+=,?&~", "plain-1.2_3/:@%+=,?&~"),
        ("", "''"),
        ("a b", "'a b'"),
        ("$HOME", "'$HOME'"),
        ("a#b", "'a#b'"),
        ('say "x"', "'say \"x\"'"),
        ("it's", "'it\\'s'"),
        ("back\\slash", "'back\\slash'"),
        ("two\nlines", "'two\nlines'"),
    ],
)
def test_a_value_is_quoted_as_compose_reads_it(value: str, written: str) -> None:
    assert environment_file({"A": value}, "web") == f"A={written}\n"


@pytest.mark.parametrize("value", ["ends\\", "quote\\'d"])
def test_what_compose_cannot_read_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(DeclarationError, match=r"web\.A") as refused:
        environment_file({"A": value}, "web")
    assert "ends" not in str(refused.value)
    assert "quote" not in str(refused.value)


# --- health and routes


@pytest.mark.parametrize("probe", ["curl", "node", "python", "wget"])
def test_a_probe_asks_the_services_own_port(probe: Any) -> None:
    test = healthcheck(service(health=Http("/ok", probe=probe, timeout_s=7)))["test"]
    assert test[0] == "CMD"
    assert any("http://127.0.0.1:8000/ok" in word for word in test)
    other = healthcheck(service(health=Http("/ok", probe=probe, port=81)))["test"]
    assert any("http://127.0.0.1:81/ok" in word for word in other)


def test_a_command_is_taken_as_it_is_with_its_times() -> None:
    health = Command(("redis-cli", "ping"), interval_s=20, timeout_s=3, retries=5, start_s=0)
    assert healthcheck(service(health=health)) == {
        "test": ["CMD", "redis-cli", "ping"],
        "interval": "20s",
        "timeout": "3s",
        "retries": 5,
        "start_period": "0s",
        "start_interval": "2s",
    }


def test_a_domain_is_served_over_tls_and_redirected_to_it() -> None:
    found = labels(service(domain="web.augmenter.pro"), "coolify")
    assert found["traefik.enable"] == "true"
    assert found["traefik.docker.network"] == "coolify"
    assert found["traefik.http.routers.web.rule"] == "Host(`web.augmenter.pro`)"
    assert found["traefik.http.routers.web.entrypoints"] == "https"
    assert found["traefik.http.routers.web.tls.certresolver"] == "letsencrypt"
    assert found["traefik.http.routers.web-http.entrypoints"] == "http"
    redirect = found["traefik.http.routers.web-http.middlewares"]
    assert found[f"traefik.http.middlewares.{redirect}.redirectscheme.scheme"] == "https"
    assert found["traefik.http.services.web.loadbalancer.server.port"] == "8000"
    assert labels(service(), "coolify") == {}


# --- what must agree


def checks(*services: Service, **fields: Any) -> list[str]:
    defaults: dict[str, Any] = {
        "stacks": [Stack(name="front", services=services)] if services else [],
        "databases": [Database("litellm")],
        "redis_indexes": [RedisIndex(1, "cache", ("web",))],
        "names": {"shared-whisper": "whisper"},
        "ports": {9000: "whisper"},
        "open_tcp_ports": (22, 80, 443),
        "open_udp_ports": (443,),
    }
    return [str(problem) for problem in StackChecks(**defaults | fields).problems()]


@pytest.mark.parametrize(
    "reported",
    [
        {"env": {"STORE": "store:9000"}},
        {"env": {"STORE": "http://store/x"}},
        {"env": {"STORES": "other,bucket"}},
        {"generated_secrets": {"URL": "s3://web:{store/password}@store:9000/x"}},
    ],
)
def test_an_address_of_what_is_private_is_for_what_depends_on_it(reported: dict[str, Any]) -> None:
    store = service(name="store", private=True, aliases=("bucket",))
    user = service(name="user", depends_on=("store",), **reported)
    assert not checks(store, user)
    (problem,) = checks(store, user, service(name="stranger", **reported))
    assert "stacks.front.stranger" in problem and "nothing of store, which is private" in problem


def test_a_word_that_is_no_address_is_none() -> None:
    store = service(name="store", private=True)
    words = {"env": {"BUCKET": "the store", "KIND": "datastore:1"}, "generated_secrets": {"KEY": "store/key"}}
    assert not checks(store, service(name="user", depends_on=("store",)), service(name="stranger", **words))


def test_what_agrees_is_no_problem() -> None:
    assert not checks(
        service(publish=18000, domain="a.pro", database="litellm", redis=(1,), redis_user="web"),
        service(name="proxy", public=(80, 443), public_udp=(443,), domain="b.pro"),
    )


@pytest.mark.parametrize(
    ("other", "output"),
    [
        ({"aliases": ("web",)}, "web has this one"),
        ({"aliases": ("shared-whisper",)}, "whisper has this one"),
        ({"name": "shared-whisper"}, "whisper has this one"),
        ({"publish": 18000}, "18000, but must be a port of its own on the host; web has this one"),
        ({"publish": 9000}, "whisper has this one"),
        ({"publish": 443}, "that open_tcp_ports does not open"),
        ({"public": (8443,)}, "one that the firewall opens: 22, 80, 443"),
        ({"public_udp": (80,)}, "one that the firewall opens: 443"),
        ({"domain": "web.pro"}, "b.domain is web.pro, but must be a domain of its own; web has this one"),
        (
            {"generated_secrets": {"P": "x:{postgres/litelm}@y"}},
            "knows: postgres/litellm; did you mean litellm?",
        ),
        (
            {"generated_secrets": {"P": "redis/nobody"}},
            "b.generated_secrets is redis/nobody, but must be a password that redis knows",
        ),
        ({"build": "files/web"}, "built in one way"),
        ({"database": "litelm"}, "did you mean litellm?"),
        ({"redis": (2,), "redis_user": "web"}, "one of redis_indexes: 1"),
        (
            {
                "redis": (1,),
                "redis_user": "web",
                "generated_secrets": {"URL": "redis://web:{redis/web}@r:6379/2"},
            },
            "b.generated_secrets.URL is an address of 2, but must be what its `redis` says: 1",
        ),
        (
            {"generated_secrets": {"URL": "postgresql://l:{postgres/litellm}@p:5432/litellm"}},
            "b.generated_secrets.URL is an address of litellm, but must be what its `database` says: nothing",
        ),
        (
            {"redis": (1,), "redis_user": "b"},
            "1 as b, but must be an index of its own, as 1 is for web (cache)",
        ),
    ],
)
def test_what_does_not_agree_is_reported(other: dict[str, Any], output: str) -> None:
    problems = checks(service(publish=18000, domain="web.pro"), service(**{"name": "b", **other}))
    assert len(problems) == 1
    assert output in problems[0]
    assert problems[0].startswith("group_data/shared.py: ")


@pytest.mark.parametrize(
    ("ours", "theirs", "output"),
    [
        ({"channels": ("news:*",)}, {}, []),
        ({"channels": ("back:*",)}, {}, ["1.channels is back:*, and back:* of back"]),
        ({"channels": ("back:mail",)}, {}, ["1.channels is back:mail, and back:* of back"]),
        ({"channels": ("ba*",)}, {}, ["1.channels is ba*, and back:* of back"]),
        (
            {"channels": ("news",)},
            {"channels": ("news",)},
            ["1.channels is news, and news of back", "2.channels is news, and news of web"],
        ),
        (
            {"channels": ("task-*",)},
            {"named_channels": ("task-meta-*",)},
            ["task-*, and task-meta-* of back"],
        ),
        ({"named_channels": ("task-*",)}, {"named_channels": ("task-*",)}, []),
    ],
)
def test_nobody_hears_the_channels_of_another(
    ours: dict[str, Any], theirs: dict[str, Any], output: list[str]
) -> None:
    indexes = [RedisIndex(1, "cache", ("web",), **ours), RedisIndex(2, "queue", ("back",), **theirs)]
    problems = checks(redis_indexes=indexes)
    assert len(problems) == len(output)
    for problem, words in zip(problems, output, strict=True):
        assert words in problem


def test_names_across_stacks_agree_too() -> None:
    twice = [
        Stack(name="a_b", services=(service(volumes={"c": "/c"}),)),
        Stack(name="a", services=(service(name="b", volumes={"b_c": "/c"}),)),
        Stack(name="a", services=(service(name="c"),)),
    ]
    problems = checks(stacks=twice)
    for output in ("stacks is a more than once", "Docker would call a_b_c"):
        assert any(output in problem for problem in problems), output
    assert len(problems) == 2


def test_a_stack_is_known_without_its_secrets(resolver: Resolver) -> None:
    """A run without any provided key can name what is left of an earlier declaration."""
    config = service(
        aliases=("web-api",),
        files={"web/web.conf": "/etc/web.conf", "web/more/x": "/etc/x"},
        generated_secrets={"KEY": "web/key"},
    )
    stack = Stack(name="front", services=(config,))
    contents = {file: Content("") for file in config.files}
    made, known = resolver.resolve(stack, contents), outline(ROOT, stack)
    assert known.name == made.name
    assert known.containers == made.services.keys()
    assert known.aliases == set(made.services["web"]["networks"]["coolify"]["aliases"])
    assert known.paths == {entry.path for entry in made.files} | {f"{made.folder}/compose.yaml"}
