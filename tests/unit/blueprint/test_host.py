"""What no single declaration can see: references, duplicates, budgets, collisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from blueprint import DeclarationError, for_host, group_data
from blueprint.keys import KEYS, checked, plain_keys
from blueprint.model import CronJob, Gpu, HardwareProfile, OllamaInstance, OllamaModel, PgBouncer, Stack
from blueprint.vram import kv_cache_mib
from tests.unit.declared import HEAVY, LIGHT, TWITCH, declared, gpu


def refused(**replaced: Any) -> list[str]:
    with pytest.raises(DeclarationError) as error:
        declared(**replaced)
    return [str(problem) for problem in error.value.problems]


def instances(**changed: dict[str, Any]) -> list[OllamaInstance]:
    return [replace(instance, **changed.get(instance.name, {})) for instance in declared().ollama_instances]


@pytest.mark.parametrize("profile", ["celeron_g4930", "i7_9700k"])
def test_both_profiles_are_in_order(profile: str) -> None:
    blueprint = declared(profile)
    assert blueprint.profile.name == profile
    assert all(card.fits for card in blueprint.vram)


def test_the_profile_decides_how_many_requests_are_answered_at_once() -> None:
    def parallel(profile: str) -> dict[str, int]:
        blueprint = declared(profile)
        return {instance.name: blueprint.parallel_of(instance) for instance in blueprint.ollama_instances}

    assert parallel("celeron_g4930") == {"heavy": 3, "light": 6, "twitch": 2}
    assert parallel("i7_9700k") == {"heavy": 6, "light": 12, "twitch": 2}


def test_an_unknown_profile() -> None:
    assert refused(hardware_profile="i7_9700") == [
        "a test: hardware_profile is 'i7_9700', but must be one of celeron_g4930, i7_9700k; did you mean i7_9700k?"
    ]


def test_only_a_database_with_a_minimum_may_be_empty() -> None:
    assert declared(empty_databases="augmenter").without_data == ("augmenter",)
    assert refused(empty_databases=["augmentor"]) == [
        "a test: empty_databases is augmentor, but must be a database with min_dump_kib: augmenter; "
        "did you mean augmenter?"
    ]


def test_kv_cache_by_hand() -> None:
    model = OllamaModel(name="qwen3:8b", weights_mib=4960, layers=36, kv_heads=8, head_dim=128)
    # 2 x 36 x 8 x 128 values x 34/32 bytes = 78,336 bytes a token; x 4096 x 3 = 962,592,768 bytes = 918 MiB
    assert kv_cache_mib(model, 4096, 3) == 918
    assert kv_cache_mib(model, 4096, 6) == 1836
    assert kv_cache_mib(model, 1, 1) == 1


def test_the_card_that_whisper_shares_holds_both() -> None:
    card = next(card for card in declared().vram if card.gpu.uuid == TWITCH)
    assert [(share.what, share.mib) for share in card.shares] == [
        ("weights of llama3.1:8b", 4673),
        ("KV cache of twitch", 544),
        ("Ollama's overhead", 512),
        ("whisper", 1229),
    ]
    assert card.total_mib == 6958


def test_a_model_that_does_not_fit_its_card() -> None:
    (problem,) = refused(ollama_instances=instances(heavy={"context_length": 32768}))
    assert "gpus.GPU-bdb1f5e4 is asked for weights of qwen3:8b 4960 + KV cache of heavy 7344" in problem
    assert "10240 MiB of the RTX 3080" in problem
    assert "smaller model or context_length" in problem


def test_a_port_twice() -> None:
    (problem,) = refused(ollama_instances=instances(light={"port": 11434}))
    assert (
        "ollama_instances.light.port is 11434, but must be a port of its own; heavy has this one" in problem
    )


def test_whisper_has_a_port_of_its_own_too() -> None:
    (problem,) = refused(ollama_instances=instances(light={"port": 9000}))
    assert "group_data/gpu.py: whisper.port is 9000" in problem


def test_an_instance_is_not_opened_to_the_world() -> None:
    (problem,) = refused(open_tcp_ports=[22, 80, 443, 11434])
    assert (
        "ollama_instances.heavy.port is 11434, but must be a port that open_tcp_ports does not open"
        in problem
    )


def test_a_card_twice() -> None:
    cards = [*declared().gpus, gpu()]
    problems = refused(gpus=cards)
    assert "a test: gpus.01:00.0.bus is 01:00.0 more than once, but must be declared once." in problems
    assert any(
        "is GPU-85c38fae, but must be another card than GPU-85c38fae" in problem for problem in problems
    )


def test_a_prefix_of_two_declared_cards() -> None:
    cards = [*declared().gpus, Gpu(bus="09:00.0", uuid="GPU-85c38f00", model="RTX 3070", vram_mib=8192)]
    (problem,) = refused(gpus=cards, ollama_instances=instances(light={"gpu": "GPU-85c38f"}))
    assert "ollama_instances.light.gpu is GPU-85c38f, the prefix of GPU-85c38fae and GPU-85c38f00" in problem


def test_an_instance_on_a_card_that_is_not_there() -> None:
    # A container that takes turns with it is named, too.
    problem, _ = refused(ollama_instances=instances(light={"gpu": "GPU-ffffffff"}))
    assert f"light.gpu is GPU-ffffffff, but must be exactly one of {LIGHT}, {HEAVY}" in problem


def test_a_misspelt_model() -> None:
    (problem,) = refused(ollama_instances=instances(heavy={"model": "qwen3:8"}))
    assert problem.endswith("did you mean qwen3:8b?")


def test_a_profile_names_every_instance_and_no_other() -> None:
    blueprint = declared()
    parallel = dict(blueprint.profile.ollama_parallel) | {"havy": 3}
    del parallel["heavy"]
    profile = HardwareProfile(
        name="celeron_g4930", cpu_model="G4930", cores=2, ram_gib=12, disk_gib=229, ollama_parallel=parallel
    )
    values = {key: getattr(blueprint, key) for key in KEYS} | {"profile": profile}
    with pytest.raises(DeclarationError) as error:
        checked(values)
    assert [problem.key for problem in error.value.problems] == [
        "profile.ollama_parallel['heavy']",
        "profile.ollama_parallel['havy']",
    ]
    assert "did you mean heavy?" in str(error.value)


def test_jobs_that_collide() -> None:
    def job(name: str, schedule: str, lock: str = "") -> CronJob:
        return CronJob(name=name, schedule=schedule, lasts_min=30, lock=lock)

    first, second = ("backup-databases", "0 3 * * *"), ("docker-cleanup", "15 3 * * 0")
    (problem,) = refused(cron_jobs=[job(*first), job(*second)])
    assert 'docker-cleanup.schedule is "15 3 * * 0", but must be at another time than backup-data' in problem
    declared(cron_jobs=[job(*first, "disk"), job(*second, "disk")])


def test_a_job_of_no_phase() -> None:
    jobs = [CronJob(name="wach", schedule="1 1 * * *", phase="monitorin")]
    phase, script = refused(cron_jobs=jobs)
    assert (
        "cron_jobs.wach.phase is 'monitorin', but must be one of hardware, litellm, monitoring; did" in phase
    )
    assert "cron_jobs.wach.name is 'wach', but must be the name of a script below files/" in script


def called(old: str, **new: Any) -> list[Stack]:
    """The shared stacks with one of them, or one of their containers, declared otherwise."""
    return [
        replace(
            stack,
            name=new.get("name", stack.name) if stack.name == old else stack.name,
            services=tuple(
                replace(service, **new) if service.name == old and stack.name != old else service
                for service in stack.services
            ),
        )
        for stack in declared().shared_stacks
    ]


@pytest.mark.parametrize(
    ("key", "value", "output"),
    [
        ("shared_stacks", called("redis", name="cache"), "shared_stacks.redis is missing"),
        ("shared_stacks", called("shared-postgres", name="main"), "postgres.shared-postgres is missing"),
        (
            "shared_stacks",
            called("litellm-proxy", port=4001),
            "litellm.litellm-proxy.port is 4001, but must be 4000",
        ),
        ("shared_stacks", called("uptime-kuma", publish=None), "monitoring.uptime-kuma.publish is missing"),
        ("pgbouncer", PgBouncer(port=6433), "pgbouncer.pgbouncer.port is 6432, but must be 6433"),
        ("pgbouncer", PgBouncer(host="db"), "pgbouncer.host is 'db', but must be 'shared-postgres'"),
    ],
)
def test_who_is_spoken_to_by_name_is_called_so(key: str, value: object, output: str) -> None:
    assert [problem for problem in refused(**{key: value}) if output in problem]


def test_the_cache_is_in_an_index_of_its_user() -> None:
    gateway = declared().gateway
    (problem,) = refused(gateway=replace(gateway, cache=replace(gateway.cache, database=8)))
    assert (
        "gateway.cache.database is 8 as litellm, but must be an index of litellm; this one is for postiz"
        in problem
    )


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("remove", "litellm", "litellm, which is declared as stack litellm"),
        ("remove", ["gone", "flower"], "flower, which is declared as a container of stack monitoring"),
        ("remove", "../etc", "'../etc', but must be names of lower-case letters"),
        ("remove_teams", "voicejury", "voicejury, which is declared as team voicejury"),
    ],
)
def test_what_is_declared_is_not_removed(key: str, value: object, found: str) -> None:
    (problem,) = refused(**{key: value})
    assert problem.startswith(f"a test: {key} is {found}")


def test_what_is_no_longer_declared_may_go_and_so_may_a_proxy_that_somebody_else_is() -> None:
    blueprint = declared(remove="old, proxy", remove_teams=["old"])
    assert (blueprint.removed, blueprint.removed_teams) == (("old", "proxy"), ("old",))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("swappiness", 201, "from 0 to 200"),
        ("postgres_major", 9, "from 13 to 99"),
        ("coolify_network", "", "a name of lower-case letters"),
        ("registry", "https://ghcr.io/", "the host name of a registry"),
        ("swap_gib", -1, "from 0"),
        ("nvidia_driver_minimum", 535, "550"),
        ("docker_minimum", "23", 'a version such as "24.0"'),
        ("compose_minimum", "v2.17", 'a version such as "24.0"'),
        ("compose_minimum", 2.17, 'a version such as "24.0", in quotes'),
        ("open_tcp_ports", [80, 443, 70000], "65535"),
        ("zram_algorithm", "gzip", "one of lz4"),
        ("container_toolkit_key_fingerprint", "ABC", "40 upper-case"),
        ("ollama_sha256", "", "64 lower-case"),
        ("ollama_version", "latest", "0.15.2"),
        ("swap_gib", "24", "a whole number"),
        ("swap_gib", True, "a whole number"),
        ("open_tcp_ports", 22, "a list of ports from 1 to 65535"),
        ("allow_untested_os", "yes", "true or false"),
        ("gpus", "GPU-85c38fae", "a list"),
        ("gpus[0]", "GPU-85c38fae", "Gpu(…)"),
    ],
)
def test_values_out_of_range_or_of_another_kind(key: str, value: object, expected: str) -> None:
    name, _, item = key.partition("[")
    (problem,) = refused(**{name: [value] if item else value})
    assert problem.startswith(f"a test: {key} is ")
    assert expected in problem


def test_all_problems_are_named_at_once() -> None:
    assert len(refused(swappiness=900, swap_gib=-1, ollama_instances=instances(light={"port": 11434}))) == 3


def test_an_unknown_and_a_missing_key() -> None:
    blueprint = declared()
    values = {key: getattr(blueprint, key) for key in KEYS}
    values["swapiness"] = values.pop("swappiness")
    with pytest.raises(DeclarationError) as error:
        checked(values, {"swapiness": "production.yaml"})
    first, second = map(str, error.value.problems)
    assert first.startswith("production.yaml: swapiness is not a known key")
    assert first.endswith("did you mean swappiness?")
    assert "swappiness is missing" in second


def test_only_plain_keys_can_be_overridden() -> None:
    assert {"phase", "swap_gib", "open_tcp_ports", "hardware_profile", "ollama_sha256"} <= set(plain_keys())
    assert not {"gpus", "whisper", "profile", "docker", "cron_jobs"} & set(plain_keys())


def test_a_host_of_pyinfra() -> None:
    class Data:
        def dict(self) -> dict[str, Any]:
            blueprint = declared()
            projects = {project.phase: project for project in blueprint.projects}
            return (
                {key: getattr(blueprint, key) for key in KEYS} | projects | {"ssh_port": 22, "_sudo": False}
            )

    assert for_host(Data()) == declared()


def test_lookups() -> None:
    blueprint = declared()
    heavy = blueprint.instance("heavy")
    assert blueprint.gpu_of(heavy).uuid == HEAVY
    assert blueprint.gpu_of(blueprint.whisper).uuid == TWITCH
    assert blueprint.model_of(heavy).name == "qwen3:8b"
    assert (debian := blueprint.system("debian", "13")) and debian.tested
    assert blueprint.system("debian", "12") is None


def test_group_data_is_read_as_pyinfra_reads_it() -> None:
    layers = group_data.read().layers
    assert {"all", "gpu", "lab", "production", "celeron_g4930", "i7_9700k"} <= layers.keys()
