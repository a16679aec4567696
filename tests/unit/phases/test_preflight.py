"""Every finding of the preflight, and the states next to it that are none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from blueprint import Blueprint
from facts.docker import Engine, EngineState
from facts.firewall import Firewall, FirewallState
from facts.gpu import Gpus, GpuState
from facts.host import Disk, Display, Host, HostState, Listener
from facts.sshd import Sshd, SshdState
from phases.preflight import coolify_problems, gpu_problems, machine_problems, unfit
from specs.problems import Problem
from tests.unit.declared import declared
from tests.unit.hosts import scripted_host
from tests.unit.machines import GIB, cards, engine, machine

NO_DRIVER = GpuState()
PROFILE_REMEDY = (
    "correct group_data/celeron_g4930.py, or take another profile with --data hardware_profile=NAME"
)
DISK_REMEDY = "docker image prune -a, journalctl --vacuum-size=200M, old backups; or a larger disk"
RESEAT = "power the machine off and reseat the card, or correct `gpus` in group_data/gpu.py"
MOVED = "was it moved to another slot? correct `gpus` in group_data/gpu.py"


def found(blueprint: Blueprint | None = None, gpus: GpuState = NO_DRIVER, **replaced: Any) -> list[Problem]:
    """What is wrong with the declared machine when these things of it are others."""
    blueprint = blueprint or declared()
    state = machine(blueprint, **replaced)
    return [*machine_problems(blueprint, state), *gpu_problems(blueprint, state, gpus)]


def listener(port: int, process: str | None, unit: str | None = None) -> Listener:
    return Listener(port, process, 900 if process else None, unit)


def disk(free_gib: float, used_gib: float = 100, path: str = "/") -> Disk:
    free, used = int(free_gib * GIB), int(used_gib * GIB)
    return Disk(path, size=free + used, used=used, free=free)


def displays(**names: str) -> tuple[Display, ...]:
    """The machine's adapters, with the one at a bus ("b01" for 01:00.0) called otherwise; "" takes it away."""
    changed = {f"{bus[1:]}:00.0": name for bus, name in names.items()}
    return tuple(
        replace(one, name=changed.get(one.bus, one.name))
        for one in machine().displays
        if changed.get(one.bus) != ""
    )


@pytest.mark.parametrize(
    "gpus", [NO_DRIVER, cards(), GpuState(installed=True, gpus=tuple(reversed(cards().gpus)))]
)
def test_a_machine_in_order(gpus: GpuState) -> None:
    assert found(gpus=gpus) == []


@pytest.mark.parametrize(
    "replaced",
    [
        {"memory": 12 * GIB},
        {"memory": int(11 * GIB)},
        {"clock_offset_s": 60.0},
        {"clock_offset_s": -60.0},
        {"headers": "installed"},
        {"secure_boot": None},
        {"listeners": None},
        {"root_disk": disk(10.1, used_gib=90)},
        {
            "listeners": (
                listener(11434, "ollama", "ollama@heavy.service"),
                listener(11438, "ollama"),
                listener(11434, "nginx", "ollama-filter.service"),
            )
        },
        {"listeners": (listener(11435, None), listener(80, None), listener(9000, None))},
        {"listeners": tuple(listener(port, "docker-proxy", "docker.service") for port in (80, 443, 9000))},
        {"listeners": (listener(8000, "python3"), listener(5432, "postgres", "postgresql.service"))},
        {"displays": displays(b01="unnamed")},
        {"displays": (Display("00:02.0", "8086:3e93", "Intel UHD"), *machine().displays)},
    ],
)
def test_what_is_no_finding(replaced: dict[str, Any]) -> None:
    assert found(**replaced) == []


@pytest.mark.checklist("0.5", "V.4", "V.5", "V.6")
@pytest.mark.parametrize(
    ("replaced", "expected"),
    [
        (
            {"os": "arch", "os_version": "", "os_name": "Arch Linux"},
            Problem(
                "operating system",
                "Arch Linux",
                "one of debian 13, ubuntu 24.04",
                "install one of these, or declare it in `systems`",
            ),
        ),
        (
            {"os": "ubuntu", "os_version": "24.04"},
            Problem(
                "operating system",
                "ubuntu 24.04, declared but not tested",
                "debian 13",
                "take a tested system, or accept this one with --data allow_untested_os=true",
            ),
        ),
        (
            {"machine": "aarch64"},
            Problem(
                "architecture", "aarch64", "x86_64", "take another machine: Ollama's archive is for x86_64"
            ),
        ),
        (
            {"uid": 1000},
            Problem("user", "uid 1000", "root", "log in as root, or set `sudo: true` in production.yaml"),
        ),
        (
            {"cpu": "Intel(R) Core(TM) i7-9700K CPU @ 3.60GHz"},
            Problem(
                "processor",
                "Intel(R) Core(TM) i7-9700K CPU @ 3.60GHz with 2 cores",
                "Celeron(R) G4930 with 2 cores",
                PROFILE_REMEDY,
            ),
        ),
        (
            {"cores": 4},
            Problem(
                "processor",
                "Intel(R) Celeron(R) G4930 CPU @ 3.20GHz with 4 cores",
                "Celeron(R) G4930 with 2 cores",
                PROFILE_REMEDY,
            ),
        ),
        ({"memory": 8 * GIB}, Problem("memory", "8.0 GiB", "12 GiB", PROFILE_REMEDY)),
        ({"memory": 16 * GIB}, Problem("memory", "16.0 GiB", "12 GiB", PROFILE_REMEDY)),
        (
            {"root_disk": disk(9.9)},
            Problem("disk of /", "9.9 GiB free", "at least 10 GiB", DISK_REMEDY),
        ),
        (
            {"root_disk": disk(50, used_gib=950)},
            Problem("disk of /", "95 % full", "below 95 %", DISK_REMEDY),
        ),
        (
            {"docker_disk": disk(2, path="/var/lib/docker")},
            Problem("disk of /var/lib/docker", "2.0 GiB free", "at least 10 GiB", DISK_REMEDY),
        ),
        (
            {"listeners": (listener(11437, "python3", "chat.service"), listener(11437, "python3"))},
            Problem(
                "port 11437",
                "taken by python3 (process 900)",
                "free, or one of our instances of Ollama",
                "stop python3",
            ),
        ),
        (
            {"listeners": (listener(11434, "ollama", "ollama.service"),)},
            Problem(
                "port 11434",
                "taken by ollama (process 900, ollama.service)",
                "free, or one of our instances of Ollama",
                "systemctl disable --now ollama.service",
            ),
        ),
        (
            {"listeners": (listener(11434, "nginx", "nginx.service"),)},
            Problem(
                "port 11434",
                "taken by nginx (process 900, nginx.service)",
                "free, or one of our instances of Ollama",
                "systemctl disable --now nginx.service",
            ),
        ),
        (
            {"listeners": (listener(8080, "nginx", "nginx.service"),)},
            Problem(
                "port 8080",
                "taken by nginx (process 900, nginx.service)",
                "no nginx.service: its package is for ollama-filter.service, and this unit is masked",
                "systemctl disable --now nginx.service",
            ),
        ),
        (
            {"listeners": (listener(9000, "php-fpm8.2", "php8.2-fpm.service"),)},
            Problem(
                "port 9000",
                "taken by php-fpm8.2 (process 900, php8.2-fpm.service)",
                "free, or shared-whisper",
                "systemctl disable --now php8.2-fpm.service",
            ),
        ),
        (
            {"listeners": (listener(80, "nginx", "nginx.service"), listener(443, "docker-proxy"))},
            Problem(
                "port 80",
                "taken by nginx (process 900, nginx.service)",
                "free, or a proxy in a container: that is what serves the web here",
                "systemctl disable --now nginx.service",
            ),
        ),
        (
            {"clock_offset_s": 3600.2},
            Problem("clock", "+3600 s off this machine's", "at most 60 s", "timedatectl set-ntp true"),
        ),
        (
            {"clock_offset_s": -61},
            Problem("clock", "-61 s off this machine's", "at most 60 s", "timedatectl set-ntp true"),
        ),
        (
            {"reboot_required": True},
            Problem(
                "pending reboot", "/run/reboot-required is there", "no pending reboot", "systemctl reboot"
            ),
        ),
        (
            {"headers": "missing"},
            Problem(
                "kernel headers",
                "none for 6.12.48+deb13-amd64",
                "the headers of the running kernel, for the driver's module",
                "apt-get update; if they stay unknown, boot the distribution's current kernel",
            ),
        ),
        (
            {"nouveau": True},
            Problem(
                "nouveau",
                "the open driver has the cards",
                "no nouveau",
                "echo 'blacklist nouveau' > /etc/modprobe.d/nouveau.conf && update-initramfs -u && systemctl reboot",
            ),
        ),
        (
            {"secure_boot": True},
            Problem(
                "Secure Boot",
                "on",
                "off: the driver's module is built on the host and not signed",
                "switch it off in the firmware, or enrol a key and sign the module (mokutil)",
            ),
        ),
        (
            {"displays": displays(b01="NVIDIA Corporation GA104 [GeForce RTX 3060 Ti]")},
            Problem("GPU at 01:00.0", "NVIDIA Corporation GA104 [GeForce RTX 3060 Ti]", "RTX 3070", MOVED),
        ),
        (
            {"displays": displays(b08="NVIDIA Corporation GA104 [GeForce RTX 3060]")},
            Problem("GPU at 08:00.0", "NVIDIA Corporation GA104 [GeForce RTX 3060]", "RTX 3060 Ti", MOVED),
        ),
    ],
)
def test_one_finding(replaced: dict[str, Any], expected: Problem) -> None:
    assert found(**replaced) == [expected]


def test_a_system_that_is_not_tested_can_be_accepted() -> None:
    assert found(declared(allow_untested_os=True), os="ubuntu", os_version="24.04") == []


@pytest.mark.checklist("V.6")
def test_one_disk_is_reported_once() -> None:
    full = disk(5)
    (problem,) = found(root_disk=full, docker_disk=replace(full, path="/var/lib/docker"))
    assert problem.what == "disk of /"


def test_a_missing_card() -> None:
    (problem,) = found(displays=displays(b01=""))
    seen = ", ".join(f"{one.bus} {one.name}" for one in displays(b01=""))
    assert problem == Problem("GPU at 01:00.0", seen, "RTX 3070 at 01:00.0", RESEAT)


def test_another_vendors_card_is_none() -> None:
    blueprint = declared()
    intel = tuple(replace(one, id="8086:56a0") for one in machine(blueprint).displays)
    assert [(one.what, one.found) for one in found(displays=intel)] == [
        (f"GPU at {card.bus}", "no NVIDIA card") for card in blueprint.gpus
    ]


def test_what_the_driver_was_built_from_is_no_matter_once_it_runs() -> None:
    assert found(gpus=cards(), headers="missing", nouveau=True, secure_boot=True, displays=()) == []


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (
            GpuState(installed=True, error="NVIDIA-SMI has failed"),
            Problem(
                "NVIDIA driver",
                "NVIDIA-SMI has failed",
                "a driver that answers",
                "systemctl reboot; if it stays: dkms status, dmesg | grep -i nvidia",
            ),
        ),
        (
            cards(driver="535.247.01"),
            Problem(
                "NVIDIA driver",
                "535.247.01",
                "550 or newer",
                "apt-get install nvidia-driver, then reboot",
            ),
        ),
        (
            GpuState(installed=True, gpus=cards().gpus[1:]),
            Problem(
                "group_data/gpu.py: gpus.GPU-85c38fae",
                "not in the machine",
                "a card that the driver lists: "
                + ", ".join(f"{one.uuid} ({one.bus})" for one in cards().gpus[1:]),
                "look at `nvidia-smi -L` and at dmesg: a card that fell off the bus comes back with a power cycle",
            ),
        ),
        (
            cards(bus="09:00.0"),
            Problem(
                "group_data/gpu.py: gpus.GPU-85c38fae.bus",
                "01:00.0",
                "09:00.0, where the driver sees it",
                "was it moved to another slot?",
            ),
        ),
        (
            cards(name="NVIDIA GeForce RTX 3070 Ti"),
            Problem(
                "group_data/gpu.py: gpus.GPU-85c38fae.model",
                "RTX 3070",
                "NVIDIA GeForce RTX 3070 Ti, as the driver calls it",
                "correct it",
            ),
        ),
    ],
)
def test_one_finding_of_the_driver(gpus: GpuState, expected: Problem) -> None:
    assert found(gpus=gpus) == [expected]


def test_an_old_driver_is_one_finding_however_many_cards() -> None:
    old = GpuState(installed=True, gpus=tuple(replace(card, driver="535.1") for card in cards().gpus))
    assert [one.found for one in found(gpus=old)] == ["535.1"]


@pytest.mark.parametrize(
    ("watts", "limits", "fits"),
    [
        (99, {}, False),
        (100, {}, True),
        (240, {}, True),
        (241, {}, False),
        (500, {"power_min_w": None, "power_max_w": None}, True),  # a card that does not report them
    ],
)
def test_a_power_limit_is_one_that_the_card_takes(watts: int, limits: dict[str, Any], fits: bool) -> None:
    first, *others = declared().gpus
    blueprint = declared(gpus=[replace(first, power_limit_w=watts), *others])
    expected = Problem(
        "power limit of GPU-85c38fae",
        f"{watts} W",
        "from 100 to 240 W, the limits of the RTX 3070",
        "correct `gpus` in group_data/gpu.py",
    )
    assert found(blueprint, gpus=cards(**limits)) == ([] if fits else [expected])


# --- the whole


def whole(state: HostState, docker: EngineState | None = None, keys: bool = True, ssh_port: int = 22) -> str:
    """The report of a host without a driver that answers so; nothing where it is fit."""
    answers: dict[Any, Any] = {
        Host: state,
        Gpus: NO_DRIVER,
        Engine: docker or EngineState(),
        Sshd: SshdState(installed=True, keys=keys),
        Firewall: FirewallState(sshd_ports=frozenset({ssh_port})),
    }
    with scripted_host(answers):
        return "\n".join(f"- {problem}" for problem in unfit(declared()))


@pytest.mark.parametrize("docker", [EngineState(), engine(), engine(compose="v2.20.2")])
def test_a_fit_host_goes_on(docker: EngineState) -> None:
    assert whole(machine(), docker) == ""


@pytest.mark.parametrize(
    ("docker", "output"),
    [
        (engine(server=None), "- Docker engine\n    found:    installed, but it does not answer\n"),
        (
            engine(server=replace(engine().server or None, version="24.0.9")),  # type: ignore[type-var]
            "- Docker engine\n    found:    version 24.0.9\n    expected: at least 25.0\n",
        ),
        (engine(compose=None), "- Docker Compose\n    found:    no `docker compose`\n"),
        (
            engine(compose="2.20.1"),
            "- Docker Compose\n    found:    version 2.20.1\n    expected: at least 2.20.2,",
        ),
    ],
)
def test_an_engine_that_cannot_be_kept(docker: EngineState, output: str) -> None:
    assert output in whole(machine(), docker)


def test_a_login_that_keys_only_would_lock_out() -> None:
    assert "- SSH\n    found:    no key that opens this user's login\n" in whole(machine(), keys=False)


def test_ports_that_leave_nobody_in() -> None:
    assert "- port of SSH\n    found:    SSH on port 2200\n" in whole(machine(), ssh_port=2200)


def test_coolify_needs_ssh_from_its_container() -> None:
    state = machine(coolify=True, listeners=(listener(2222, "sshd", "ssh.service"),))
    assert [problem.remedy for problem in coolify_problems(declared(), state)] == [
        "container_tcp_ports: [2222, 80, 443] under `data` of the host in production.yaml"
    ]
    assert list(coolify_problems(declared(container_tcp_ports=(2222, 80, 443)), state)) == []
    assert list(coolify_problems(declared(), replace(state, coolify=False))) == []


def test_everything_in_one_report() -> None:
    state = machine(memory=8 * GIB, listeners=(listener(80, "nginx", "nginx.service"),))
    assert (
        whole(state, engine(compose=None))
        == f"""\
- memory
    found:    8.0 GiB
    expected: 12 GiB
    fix:      {PROFILE_REMEDY}
- port 80
    found:    taken by nginx (process 900, nginx.service)
    expected: free, or a proxy in a container: that is what serves the web here
    fix:      systemctl disable --now nginx.service
- Docker Compose
    found:    no `docker compose`
    expected: at least 2.20.2, as a plugin of docker
    fix:      install the Compose plugin that belongs to the engine (docker-compose-plugin for docker-ce)"""
    )
