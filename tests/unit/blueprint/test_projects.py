"""A project is one declaration: its environment, its place in what is shared, and what is refused of it."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blueprint import Blueprint, DeclarationError, Secrets, group_data, postgres, redis
from blueprint.applied import Applied
from blueprint.compose import contents, stack
from blueprint.model import Database, Http, Predecessor, Project, RedisIndex, Service, Stack, Team
from blueprint.projects import too_small
from blueprint.stacks import Resolver
from phases import PHASES, phases_of, preflight, requirements
from phases.requirements import unmet_requirements
from specs.files import File
from tests.unit.declared import LIGHT, declared
from tests.unit.fifth_project import shop
from tests.unit.paths import CHECKOUT

PLATFORM = ("hardware", "litellm", "monitoring")
FIFTH = CHECKOUT / "tests/unit/fifth_project.py"
SHOPS_INDEXES = (RedisIndex(10, "queues of the shop"), RedisIndex(11, "its results"))
UUID = f"{LIGHT}-1bcf-d15b-4f36-e1f581acd76e"


def refused(**replaced: Any) -> list[str]:
    with pytest.raises(DeclarationError) as error:
        declared(**replaced)
    return [str(problem) for problem in error.value.problems]


def the(phase: str) -> Project:
    """The project of that phase: a declared one, or the shop."""
    return next(project for project in (*declared().projects, shop) if project.phase == phase)


def project(name: str, **fields: Any) -> dict[str, Any]:
    """A project with some fields replaced, as `declared` takes it."""
    return {name: replace(the(name), **fields)}


def applied(blueprint: Blueprint, *phases: str) -> Applied:
    return Applied(blueprint, frozenset((*PLATFORM, *phases)))


def monitoring(applied: Applied) -> Stack:
    return next(stack for stack in applied.stacks if stack.name == "monitoring")


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    provided = (
        "telegram: {token: '1:a', chat: '2'}\ngroq: {api_key: gsk_groq}\nopenai: {api_key: sk-openai}\n"
        "gemini: {api_key: AIza}\nspotify: {client_id: spot, client_secret: ify}\ngenius: {api_token: gen}\n"
        "firecrawl: {api_key: fc}\n"
    )
    (tmp_path / "production.yaml").write_text(provided)
    (tmp_path / "production.yaml").chmod(0o600)
    return Secrets.open("production", tmp_path, {})


def environment(blueprint: Blueprint, secrets: Secrets, container: str) -> dict[str, str]:
    """The environment of a project's container."""
    (owner,) = (one for one in blueprint.stacks if container in [service.name for service in one.services])
    resolver = Resolver(
        root="/opt/sourcefast",
        network="coolify",
        docker=blueprint.docker,
        secrets=secrets,
        formats=blueprint.secret_formats,
        uuids={gpu.uuid: UUID for gpu in blueprint.gpus},
    )
    made = resolver.resolve(owner)
    text = str(made.contents[f"{made.folder}/{container}.env"].content)
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value.strip("'") for name, _, value in pairs}


# --- the shared environment


@pytest.mark.checklist("2.9")
def test_a_service_gets_everything_that_is_shared(secrets: Secrets) -> None:
    reported = environment(
        declared(shop=replace(shop, results=11, redis=SHOPS_INDEXES)), secrets, "shop-backend"
    )
    password = secrets.generated("postgres/shop")
    assert reported["DATABASE_URL"] == f"postgresql://shop:{password}@pgbouncer:6432/shop"
    assert reported["DIRECT_DATABASE_URL"] == f"postgresql://shop:{password}@shared-postgres:5432/shop"
    queue = f"redis://shop:{secrets.generated('redis/shop')}@shared-redis:6379"
    assert (reported["REDIS_URL"], reported["CELERY_BROKER_URL"]) == (f"{queue}/10", f"{queue}/10")
    assert reported["CELERY_RESULT_BACKEND"] == f"{queue}/11"
    assert (reported["LLM_PROVIDER"], reported["LITELLM_URL"]) == ("litellm", "http://litellm:4000")
    assert reported["LITELLM_API_KEY"] == secrets.generated("litellm/keys/shop")
    assert reported["OLLAMA_HOST"] == reported["OLLAMA_HEAVY_URL"] == "http://host.docker.internal:11434"
    assert reported["OLLAMA_TWITCH_URL"] == "http://host.docker.internal:11437"
    assert reported["LANGFUSE_HOST"] == "http://langfuse:3000"
    assert reported["PORT"] == "3001"
    assert not {"WHISPER_URL", "GROQ_API_KEY"} & reported.keys()


def test_a_provided_key_goes_only_where_it_is_needed(secrets: Secrets) -> None:
    backend, worker = shop.services
    worker = replace(worker, provided_secrets={"FIRECRAWL_API_KEY": "firecrawl/api_key"})
    blueprint = declared(**project("shop", services=(backend, worker)))
    assert environment(blueprint, secrets, "shop-worker")["FIRECRAWL_API_KEY"] == "fc"
    assert "FIRECRAWL_API_KEY" not in environment(blueprint, secrets, "shop-backend")


@pytest.mark.checklist("6.3")
def test_voicejury_has_the_variables_of_the_requirements(secrets: Secrets) -> None:
    reported = environment(declared(), secrets, "voicejury-worker-heavy")
    # Requirements 7.7, whole.
    assert reported.keys() >= {
        *("DATABASE_URL", "REDIS_URL", "OLLAMA_HOST", "OLLAMA_MODEL", "LITELLM_HOST", "LITELLM_API_KEY"),
        *("LITELLM_JURY_MODEL", "GROQ_API_KEY", "SHARED_WHISPER_URL", "LANGFUSE_PUBLIC_KEY"),
        *("LANGFUSE_SECRET_KEY", "LANGFUSE_BASE_URL", "SPOTIFY_CLIENT_ID", "SPOTIFY_CLIENT_SECRET"),
        *("GENIUS_API_TOKEN", "WHISPER_MODEL", "AUDIO_OUTPUT_DIR", "WHISPER_LOCAL_FALLBACK"),
    }
    assert not {"LITELLM_URL", "LANGFUSE_HOST", "WHISPER_URL"} & reported.keys()
    assert (reported["OLLAMA_HOST"], reported["OLLAMA_MODEL"]) == (
        "http://host.docker.internal:11435",
        "qwen3:4b",
    )
    assert (reported["LITELLM_HOST"], reported["SHARED_WHISPER_URL"]) == (
        "http://litellm:4000",
        "http://shared-whisper:9000",
    )
    assert reported["DATABASE_URL"].startswith("postgresql://voicejury:")
    assert reported["DATABASE_URL"].endswith("@pgbouncer:6432/voicejury_db")
    assert reported["REDIS_URL"].endswith("@shared-redis:6379/2")
    assert reported["SHARED_WHISPER_TIMEOUT"] == "120"


def test_software_of_others_and_pages_get_no_login_of_the_project(secrets: Secrets) -> None:
    for container in ("augmenter-frontend", "nango", "postiz", "temporal", "temporal-es"):
        reported = environment(declared(), secrets, container)
        assert not {"LITELLM_API_KEY", "DIRECT_DATABASE_URL", "LANGFUSE_SECRET_KEY"} & reported.keys(), (
            container
        )


@pytest.mark.parametrize("container", ["augmenter-backend", "voicejury-api"])
def test_past_litellm_a_project_speaks_to_ollama_with_groq_to_stand_in(
    secrets: Secrets, container: str
) -> None:
    normal = environment(declared(), secrets, container)
    degraded = environment(declared(llm_provider="ollama"), secrets, container)
    assert (normal["LLM_PROVIDER"], degraded["LLM_PROVIDER"]) == ("litellm", "ollama")
    assert degraded["GROQ_API_KEY"] == "gsk_groq"
    assert degraded["OLLAMA_HOST"].startswith("http://host.docker.internal:1143")
    gone = normal.keys() - degraded.keys()
    assert gone in ({"LITELLM_URL", "LITELLM_API_KEY"}, {"LITELLM_HOST", "LITELLM_API_KEY"})
    # Everything else stays as it is, and the way back is the same.
    assert all(
        degraded[name] == value
        for name, value in normal.items() - {("LLM_PROVIDER", "litellm")}
        if name not in gone
    )
    assert environment(declared(llm_provider="litellm"), secrets, container) == normal


def test_an_unknown_provider_is_refused() -> None:
    (problem,) = refused(llm_provider="olama")
    assert "llm_provider is 'olama', but must be one of litellm, ollama; did you mean ollama?" in problem


# --- its place in what is shared


@pytest.mark.checklist("6.4", "F.13")
def test_the_containers_of_the_requirements() -> None:
    stacks = {one.name: [service.name for service in one.services] for one in declared().stacks}
    assert len(stacks["augmenter"]) == 9
    assert stacks["voicejury"] == ["voicejury-api", "voicejury-worker-heavy"]


def test_an_optional_service_comes_when_it_is_named() -> None:
    blueprint = declared(optional_services=["voicejury-worker-pool"])
    pool = the("voicejury").optional[0]
    (stack,) = blueprint.stacks_of("voicejury")
    assert stack.service("voicejury-worker-pool").env["CELERY_QUEUES"] == "gpu"
    assert stack.service("voicejury-worker-pool").env["OLLAMA_HOST"]
    assert pool.memory == "512m"
    assert declared(optional_services="voicejury-worker-pool").stacks == blueprint.stacks
    (problem,) = refused(optional_services=["worker-pool"])
    assert "optional_services is 'worker-pool', but must be one of voicejury-worker-pool" in problem


def test_the_worker_has_its_card_by_the_full_uuid_and_is_known_by_the_names_of_the_requirements(
    secrets: Secrets,
) -> None:
    blueprint = declared()
    made = stack(
        applied(blueprint, "voicejury"), secrets, "voicejury", {gpu.uuid: UUID for gpu in blueprint.gpus}
    )
    worker = made.services["voicejury-worker-heavy"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"] == [UUID]
    assert worker["mem_limit"] == "6g"
    api = made.services["voicejury-api"]
    assert api["networks"]["coolify"]["aliases"] == ["api"]
    assert api["labels"]["traefik.http.routers.voicejury-api.rule"] == (
        "Host(`api.kiaraoke.fr`) || Host(`api.tuasunincroyabletalent.fr`)"
    )
    assert api["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_dashboards_follow_from_brokers_and_queues() -> None:
    def shown(*phases: str) -> dict[str, str]:
        blueprint = declared(**project("shop", broker=None, results=None))
        stack = monitoring(applied(blueprint, *phases))
        return {service.name: str(service.env.get("REDIS_DATABASES", "")) for service in stack.services}

    assert shown() == {"uptime-kuma": ""}
    assert shown("shop") == {"uptime-kuma": "", "bull-board": "10=shop"}
    assert shown("augmenter", "shop", "voicejury") == {
        "uptime-kuma": "",
        "bull-board": "0=augmenter,10=shop",
        "flower": "",
        "flower-voicejury": "",
    }


def test_who_may_select_which_index_follows_from_what_is_applied() -> None:
    def users(*phases: str) -> dict[int, tuple[str, ...]]:
        return {index.index: index.users for index in applied(declared(), *phases).redis_indexes}

    assert users() == {1: ("litellm",), 4: ("langfuse",)}
    assert users("voicejury") == {
        **users(),
        2: ("voicejury", "flower"),
        7: ("voicejury",),
    }
    everything = users("augmenter", "voicejury")
    assert set(everything) == {0, 1, 2, 3, 4, 7, 8}
    assert everything[0] == ("augmenter", "bull-board", "flower")
    assert everything[7] == ("augmenter", "voicejury")


def test_a_phase_alone_keeps_what_others_deployed(secrets: Secrets) -> None:
    """The order of the projects' phases does not matter: the last one to come finds the same as any other."""
    blueprint = declared()
    names = ("augmenter", "voicejury")
    one, other = (applied(blueprint, *order) for order in (names, reversed(names)))
    assert one.stacks == other.stacks
    assert one.monitors == other.monitors
    for part in ("pgbouncer", "redis"):
        assert contents(one, secrets)[part] == contents(other, secrets)[part]


def test_monitors_follow_from_what_is_applied() -> None:
    def watched(*phases: str) -> set[str]:
        return {monitor.name for monitor in applied(declared(), *phases).monitors}

    assert watched("voicejury") - watched() == {"voicejury-api", "flower-voicejury"}
    assert "nango" in watched("augmenter")
    assert not {"ollama-heavy", "shared-whisper", "docker-cleanup"} - watched()
    assert {monitor.name for monitor in Applied(declared(), {"hardware"}).monitors} == {
        "shared-whisper",
        *(f"ollama-{instance.name}" for instance in declared().ollama_instances),
        *(job.name for job in declared().cron_jobs if job.phase == "hardware"),
    }


# --- a fifth project


@pytest.fixture
def with_a_fifth(tmp_path: Path) -> Blueprint:
    folder = tmp_path / "group_data"
    shutil.copytree(group_data.FOLDER, folder)
    shutil.copy(FIFTH, folder / "shop.py")
    return group_data.read(folder).blueprint("production")


def test_a_fifth_project_is_one_short_file(with_a_fifth: Blueprint, secrets: Secrets) -> None:
    assert len(FIFTH.read_text().splitlines()) <= 60
    blueprint = with_a_fifth
    phase = phases_of(blueprint)[-1]
    assert (phase.name, phase.number, phase.group) == ("shop", 7, "shop")
    assert phase.depends_on == ("litellm", "monitoring")
    before, after = applied(blueprint, "augmenter"), applied(blueprint, "augmenter", "shop")
    assert {service.name for service in after.services} - {service.name for service in before.services} == {
        "shop-backend",
        "shop-worker",
        "flower-shop",
    }
    ini = str(contents(after, secrets)["pgbouncer"]["pgbouncer/pgbouncer.ini"].text)
    assert "shop = host=shared-postgres port=5432 dbname=shop" in ini
    assert '"shop" "SCRAM-SHA-256$' in str(
        contents(after, secrets)["pgbouncer"]["pgbouncer/userlist.txt"].text
    )
    assert "user shop on #" in str(contents(after, secrets)["redis"]["redis/users.acl"].text)
    assert {monitor.name for monitor in after.monitors} - {monitor.name for monitor in before.monitors} == {
        "shop-backend",
        "flower-shop",
    }
    reported = environment(blueprint, secrets, "shop-backend")
    assert reported["DATABASE_URL"].endswith("@pgbouncer:6432/shop")
    assert reported["LITELLM_API_KEY"] == secrets.generated("litellm/keys/shop")
    assert blueprint.teams[-1].key_alias == "sk-shop"
    board = monitoring(after).service("bull-board")
    assert board.env["REDIS_DATABASES"] == "0=augmenter,10=shop"


def test_without_its_file_nothing_of_it_is_left(with_a_fifth: Blueprint, secrets: Secrets) -> None:
    """A host that has its record, and a project without its file, is as if there had never been one."""
    with_it, without = applied(with_a_fifth, "augmenter", "shop"), applied(declared(), "augmenter", "shop")
    assert "shop" in {one.name for one in with_it.stacks}
    assert without.stacks == applied(declared(), "augmenter").stacks
    assert without.monitors == applied(declared(), "augmenter").monitors
    assert contents(without, secrets) == contents(applied(declared(), "augmenter"), secrets)


# --- what is refused


def test_a_project_without_a_team() -> None:
    with pytest.raises(DeclarationError) as refused:
        replace(shop, team=None)  # type: ignore[arg-type]  # refused
    (problem,) = refused.value.problems
    assert str(problem).startswith(
        ": Project shop.team is None, but must be a Team; every call is somebody's"
    )


def test_an_image_without_a_tag() -> None:
    with pytest.raises(DeclarationError) as refused:
        Service(name="shop", image="ghcr.io/pi3block/shop", memory="64m", port=80, health=Http("/"))
    assert "Service shop.image" in str(refused.value)


def test_an_unknown_card() -> None:
    worker = replace(the("voicejury").services[1], gpu="GPU-00000000")
    services = (the("voicejury").services[0], worker)
    (problem, *_) = refused(**project("voicejury", services=services))
    assert "voicejury-worker-heavy.gpu is GPU-00000000, but must be exactly one of GPU-85c38fae" in problem


def test_an_index_of_somebody_else() -> None:
    output = refused(**project("shop", redis=(RedisIndex(10, "queues"), RedisIndex(2, "results"))))
    assert any(
        "shop.redis.2 is that of voicejury (Celery broker and sessions of voicejury), but must be an index of its own"
        in problem
        for problem in output
    )
    (problem,) = refused(**project("shop", redis=(RedisIndex(10, "queues"), RedisIndex(1, "cache"))))
    assert "shop.redis.1 is that of litellm" in problem


def test_what_a_container_gets_wrong_is_reported_with_its_project_s_file() -> None:
    backend, worker = shop.services
    (problem,) = refused(**project("shop", services=(replace(backend, aliases=("nango",)), worker)))
    assert problem.startswith("a test: stacks.shop.shop-backend is nango, but must be a name of its own")


def test_an_index_is_shared_by_both_or_not_at_all() -> None:
    own = the("voicejury").redis[0]
    one_sided = refused(**project("voicejury", redis=(own, RedisIndex(7, "Celery results of voicejury"))))
    assert {problem.partition(" is ")[0].partition(": ")[2] for problem in one_sided} == {
        "augmenter.redis.7",
        "voicejury.redis.7",
    }


def test_an_index_without_a_user() -> None:
    (problem,) = refused(shared_redis_indexes=[*declared().shared_redis_indexes, RedisIndex(12, "nothing")])
    assert "redis_indexes.12 is without users, but must be an index with at least one user" in problem


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"ollama": "hevy"}, "shop.ollama is 'hevy'"),
        ({"env_aliases": {"LITELM_URL": "X"}}, "did you mean LITELLM_URL?"),
        ({"number": 2}, "shop.number is 2, but must be a number that no other phase has"),
        ({"number": 3}, "shop.number is 3"),
        (
            {"team": Team(name="voicejury", key_alias="sk-2", budget_usd=1)},
            "a test: shop.team.name is voicejury, but must be another than that of voicejury",
        ),
        ({"env_aliases": {"LITELLM_URL": "X", "LANGFUSE_HOST": "X"}}, "env_aliases is X for two variables"),
        ({"env_aliases": {"LANGFUSE_HOST": "LITELLM_URL"}}, "env_aliases is LITELLM_URL for two variables"),
        (
            {"databases": (Database("augmenter"),)},
            "a test: databases.augmenter is declared before, but must be declared once",
        ),
        (
            {"env": {"REDIS_URL": "x"}},
            "a test: Service shop-backend.env.REDIS_URL is in generated_secrets too",
        ),
        (
            {"predecessors": (Predecessor("old", ("shop",), {"shop": "files/x.sql"}),)},
            "shop.predecessors.old.after is files/x.sql, but must be an existing file",
        ),
    ],
)
def test_what_does_not_fit_the_others(fields: dict[str, Any], output: str) -> None:
    assert any(output in problem for problem in refused(**project("shop", **fields)))


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"name": "Shop"}, "name"),
        ({"number": 1}, "number"),
        ({"services": ()}, "services"),
        ({"queues": 4}, "queues"),
        ({"broker": 7}, "broker"),
        ({"env": {"a b": "c"}}, "env"),
        ({"provided_secrets": {"GROQ_API_KEY": "gsk_real"}}, "provided_secrets.GROQ_API_KEY"),
        ({"env_aliases": {"REDIS_URL": "a-b"}}, "env_aliases.REDIS_URL"),
        ({"redis": (RedisIndex(6, "a"), RedisIndex(6, "b"))}, "redis"),
        ({"flower": "Flower of mine"}, "flower"),
    ],
)
def test_a_project_that_makes_no_sense(fields: dict[str, Any], key: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        replace(shop, **fields)
    assert f"Project {fields.get('name', 'shop')}.{key}" in str(refused.value)


def test_a_missing_schema_file() -> None:
    database = replace(the("voicejury").databases[0], schema="files/voicejury/none.sql")
    (problem,) = refused(**project("voicejury", databases=(database,)))
    assert "voicejury.databases.voicejury_db.schema is files/voicejury/none.sql" in problem


def test_a_project_under_another_key_or_in_another_s_file(tmp_path: Path) -> None:
    folder = tmp_path / "group_data"
    shutil.copytree(group_data.FOLDER, folder)
    (folder / "store.py").write_text(FIFTH.read_text())
    with pytest.raises(DeclarationError) as error:
        group_data.read(folder)
    assert "group_data/store.py: shop is a project, but must be in a file of its own" in str(error.value)
    (folder / "store.py").write_text(FIFTH.read_text().replace("\nshop = ", "\nstore = "))
    with pytest.raises(DeclarationError) as error:
        group_data.read(folder)
    assert "store is the project shop, but must be called shop" in str(error.value)


def test_the_gateway_has_the_workers_of_the_hardware_profile(secrets: Secrets) -> None:
    blueprint = declared()
    blueprint = replace(blueprint, profile=replace(blueprint.profile, litellm_workers=4))
    made = stack(applied(blueprint), secrets, "litellm")
    assert made.project["services"]["litellm-proxy"]["command"][-4:] == [
        "--port",
        "4000",
        "--num_workers",
        "4",
    ]
    # Together they keep to what their database is given past PgBouncer.
    config = str(contents(applied(blueprint), secrets)["litellm"]["litellm/config.yaml"].text)
    assert "database_connection_pool_limit: 2\n" in config


# --- before a run changes anything


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new machine with which nothing is wrong."""
    monkeypatch.setattr(preflight, "unfit", lambda blueprint: ())
    monkeypatch.setattr(requirements, "written_values", lambda places: {})


@pytest.mark.usefixtures("fit")
def test_a_key_that_is_missing_matters_to_its_own_phase_alone(secrets: Secrets, tmp_path: Path) -> None:
    file = tmp_path / "production.yaml"
    file.write_text(file.read_text().replace("genius: {api_token: gen}\n", ""))
    without = Secrets.open("production", tmp_path, {})
    blueprint = declared("i7_9700k")
    phases = {phase.name: phase for phase in phases_of(blueprint)}
    assert (
        list(
            unmet_requirements(
                blueprint, [phase for name, phase in phases.items() if name != "voicejury"], without
            )
        )
        == []
    )
    (problem,) = unmet_requirements(blueprint, list(phases.values()), without)
    assert problem.what == f"{file}: genius/api_token"
    assert (problem.found, "api_token:" in problem.remedy) == ("missing", True)
    assert list(unmet_requirements(blueprint, list(phases.values()), secrets)) == []


@pytest.mark.usefixtures("fit")
@pytest.mark.checklist("6.1")
def test_voicejury_wants_a_larger_machine_unless_that_is_accepted(secrets: Secrets) -> None:
    def output(**replaced: Any) -> list[str]:
        blueprint = declared(**replaced)
        return [problem.found for problem in unmet_requirements(blueprint, phases_of(blueprint), secrets)]

    (found,) = output()
    blueprint = declared()
    limits = {one.name: sum(service.memory_mib for service in one.services) for one in blueprint.stacks}
    assert found == (
        f"12 GiB (celeron_g4930): the limits of everything else add up to "
        f"{sum(limits.values()) - 6656} MiB, its own to 6656 MiB"
    )
    assert output(allow_small_machine=True) == []
    assert output(hardware_profile="i7_9700k") == []


@pytest.mark.usefixtures("fit")
def test_a_small_machine_is_refused_for_the_phase_that_is_run_alone(secrets: Secrets) -> None:
    blueprint = declared()
    others = [phase for phase in phases_of(blueprint) if phase.name != "voicejury"]
    assert list(unmet_requirements(blueprint, others, secrets)) == []
    assert too_small(shop, 2, "tiny", {}) is None


def test_phases_of_projects_come_after_those_of_the_platform() -> None:
    phases = phases_of(declared())
    assert phases[: len(PHASES)] == PHASES
    assert [(phase.number, phase.name) for phase in phases[len(PHASES) :]] == [
        (2, "augmenter"),
        (6, "voicejury"),
    ]


# --- files that follow


def test_a_project_is_not_called_as_a_user_of_redis() -> None:
    """It would have that user's indexes, and its password."""
    changed: dict[str, Any] = {"langfuse": replace(shop, name="langfuse")}
    output = "\n".join(refused(**changed))
    assert "langfuse.name is 'langfuse', but must be another name than a user of Redis has" in output


def test_a_broker_brings_celerys_channels_and_results_those_of_their_names() -> None:
    table = {index.index: index for index in declared().redis_indexes}
    celery = ("/{}.*", "/{}.celery.pidbox", "/{}.celeryev/*", "/{}.celeryev/worker.*")
    assert {number: index.channels for number, index in table.items() if index.channels} == {
        number: tuple(channel.format(number) for channel in celery) for number in (0, 2)
    }
    results = ("celery-task-meta-*", "celery-taskset-meta-*")
    assert {number: index.named_channels for number, index in table.items() if index.named_channels} == {
        3: ("publisher:*",),
        7: results,
    }
    assert "flower" in table[2].users


def test_what_a_project_declares_of_its_channels_is_kept() -> None:
    own = RedisIndex(10, "queues", channels=("news:*",), named_channels=("window:*",))
    changed = project("shop", redis=(own,), broker=None, results=None)
    table = {index.index: index for index in declared(**changed).redis_indexes}
    assert (table[10].channels, table[10].named_channels) == (("news:*",), ("window:*",))
    assert table[10].users == ("shop", "bull-board")


def test_the_pooler_and_redis_know_everybody(secrets: Secrets) -> None:
    blueprint = declared()
    everything = applied(blueprint, *(project.phase for project in blueprint.projects))
    users = set(postgres.roles(everything.databases))
    assert users == {
        *("litellm", "langfuse", "augmenter", "nango", "postiz", "voicejury"),
        "monitor",
    }
    assert set(redis.users(everything.redis_indexes)) == {
        *("litellm", "langfuse", "augmenter", "nango", "postiz", "voicejury"),
        *("bull-board", "flower"),
    }


@pytest.mark.checklist("2.4")
def test_nothing_that_is_rendered_has_a_variable_in_it(secrets: Secrets) -> None:
    """Of `${NAME:?message}` Coolify makes a variable of its own (requirements 12, phase 2, 4): all is resolved here."""
    blueprint = declared()
    everything = applied(blueprint, *(project.phase for project in blueprint.projects))
    uuids = {gpu.uuid: UUID for gpu in blueprint.gpus}
    for declared_stack in everything.stacks:
        made = stack(everything, secrets, declared_stack.name, uuids)
        # What Compose reads has each $ twice where a $ is meant.
        texts = {"compose.yaml": made.compose().replace("$$", "")}
        texts |= {file.path: file.data.decode() for file in made.files if isinstance(file, File)}
        for path, text in texts.items():
            assert not re.search(r"\$\{[A-Za-z_]\w*(:?[?+-]|\})", text), f"{declared_stack.name}: {path}"
        assert "$" not in texts["compose.yaml"]
