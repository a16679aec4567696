"""The driver of the cards, and the toolkit that gives containers access to them (requirements 4)."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.deploy import deploy

from blueprint import Blueprint, render
from blueprint.model import System
from facts.cache import cached_fact
from facts.gpu import Gpus, GpuState
from facts.host import HostState
from operations import apt, apt_repositories, files, systemd
from operations import gpu as cards
from operations.checks import check
from operations.systemd import Unit
from phases.cards import old_driver, with_cards
from specs.files import Absent, Directory, File
from specs.problems import Problem

POWER_LIMITS = "gpu-power-limits.service"


@deploy("NVIDIA driver and container toolkit")
def nvidia(blueprint: Blueprint, system: System, state: HostState) -> None:
    """Driver, persistence daemon and toolkit, held at their versions; every declared card answers afterwards."""
    toolkit = blueprint.container_toolkit_repository
    if system.driver_components:
        apt_repositories.components(
            name="Components with the driver", name_of_file="nvidia-driver", desired=system.driver_components
        )
    apt_repositories.repository(
        name="Repository of the container toolkit",
        name_of_file=toolkit.name,
        uri=toolkit.uri,
        suite=toolkit.suite,
        components=toolkit.components,
        key_url=toolkit.key_url,
        fingerprint=blueprint.container_toolkit_key_fingerprint,
    )
    apt.packages(
        name="Driver and container toolkit",
        # The headers of the running kernel now, and of every later one.
        present=[f"linux-headers-{state.kernel}"],
        held=system.held,
    )
    systemd.units(name="Persistence daemon", units=[Unit("nvidia-persistenced.service", enabled=None)])
    every_card_answers(name="Every card answers", blueprint=blueprint)
    power_limits(blueprint)


def power_limits(blueprint: Blueprint) -> None:
    """Set the cards' power limits now and at every boot; without declared limits, remove the unit that sets them."""
    limits = {gpu.uuid: gpu.power_limit_w for gpu in blueprint.gpus if gpu.power_limit_w is not None}
    settings, unit_file = f"{blueprint.paths.config}/gpu-power-limits", f"/etc/systemd/system/{POWER_LIMITS}"
    if not limits:
        # Stopping the unit restores the cards' default limits.
        systemd.units(name="No power limits", units=[Unit(POWER_LIMITS, enabled=False, running=False)])
        files.tree(name="No unit of power limits", entries=[Absent(unit_file), Absent(settings)])
        return
    with_cards(
        name="Unit of the power limits",
        blueprint=blueprint,
        step=lambda uuids: files.tree._inner(
            entries=[
                Directory(blueprint.paths.config, mode="0700"),
                File(settings, "".join(f"{uuids[uuid]} {watts}\n" for uuid, watts in limits.items())),
                File(
                    unit_file,
                    render(
                        "gpu/gpu-power-limits.service.j2", scripts=blueprint.paths.scripts, limits=settings
                    ),
                ),
            ]
        ),
    )
    systemd.units(name="Power limits at boot", units=[Unit(POWER_LIMITS, reload_on=(settings,))])
    cards.power_limits(name="Power limits", limits=limits)


@check
def every_card_answers(blueprint: Blueprint) -> Iterator[Problem]:
    """The driver is loaded, new enough, and lists every declared card."""
    state: GpuState = cached_fact(Gpus)
    if not state.installed or state.error:
        yield Problem(
            "NVIDIA driver",
            state.error or "nvidia-smi is not installed",
            "a driver that answers",
            "a new driver is loaded by a reboot: systemctl reboot, then run the same again",
        )
        return
    for gpu in blueprint.gpus:
        if len(state.matching(gpu.uuid)) != 1:
            found = ", ".join(f"{card.uuid} ({card.bus})" for card in state.gpus) or "no card"
            yield Problem(
                f"GPU {gpu.uuid}", found, f"the {gpu.model} at {gpu.bus}", "dmesg | grep -i xid; reseat it"
            )
    yield from old_driver(blueprint, state, "reboot, so that the installed one is loaded")
