"""Unattended maintenance of the host: watchdog, nightly restart, cleanup, rotation (requirements 4.4 and 11.5)."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from blueprint import Blueprint, Secrets, render
from blueprint.alert import alert, telegram_file
from blueprint.phases import HARDWARE
from operations import files
from phases import jobs
from phases.cards import with_cards
from specs.files import Directory, Entry, File

# logrotate ignores a line that it does not understand, reports its number, and succeeds.
LOGROTATE = "! logrotate --debug {path} 2>&1 | grep -F {path}:"
TELEGRAM = ("telegram/token", "telegram/chat")


@deploy("Watchdog and cleanup")
def upkeep(blueprint: Blueprint, secrets: Secrets) -> None:
    """GPU watchdog, nightly restart of the instances, cleanup of images, and rotation of logs."""
    with_cards(
        name="Watchdog, cron jobs and log rotation",
        blueprint=blueprint,
        step=lambda uuids: files.tree._inner(entries=entries(blueprint, secrets, uuids)),
    )


def telegram_ini(secrets: Secrets) -> str:
    """The file from which every script of the host reads the bot's token and the chat."""
    token, chat = secrets.provided("telegram/token"), secrets.provided("telegram/chat")
    return render("gpu/telegram.ini.j2", token=token, chat=chat)


def entries(blueprint: Blueprint, secrets: Secrets, uuids: Mapping[str, str]) -> list[Entry]:
    """Settings of the watchdog, a file for each cron job, and the rotation of their logs."""
    paths = blueprint.paths
    return [
        Directory(paths.config, mode="0700"),
        File(telegram_file(paths), telegram_ini(secrets), mode="0600", secret=True),
        File(
            f"{paths.config}/gpu-watchdog.ini",
            render(
                "gpu/gpu-watchdog.ini.j2",
                alert=alert(paths, host.name),
                state=f"{paths.state}/gpu-watchdog",
                vram_percent=blueprint.thresholds.gpu_vram_percent,
                vram_runs=blueprint.thresholds.gpu_vram_runs,
                xid_quiet_min=blueprint.thresholds.gpu_xid_quiet_min,
                answer_s=blueprint.thresholds.ollama_answer_s,
                gpus=[{"uuid": uuids[gpu.uuid], "name": gpu.model, "bus": gpu.bus} for gpu in blueprint.gpus],
                instances=[
                    {
                        "name": instance.name,
                        "port": instance.port,
                        "unit": instance.unit,
                        "gpu": uuids[blueprint.gpu_of(instance).uuid],
                    }
                    for instance in blueprint.ollama_instances
                ],
            ),
        ),
        *jobs.cron(blueprint, HARDWARE),
        File(
            "/etc/logrotate.d/host-scripts",
            render("cleanup/logrotate.j2", logs=paths.logs),
            validate=LOGROTATE,
        ),
    ]
