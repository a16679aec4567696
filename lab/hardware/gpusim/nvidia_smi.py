"""`nvidia-smi`: the queries and settings that provisioning and monitoring use, with the real texts and exit codes.

Source: transcripts of driver 580.159.04 (tests/unit/fixtures/nvidia-smi), also where 550, which the lab installs, may
differ. What they do not show, settings above all, is from nvidia-smi(1) of driver 550.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Container

from .state import Gpu, Machine, Runtime, driver_loaded, load, runtime

INVALID_ARGUMENT, NO_PERMISSION, NOT_FOUND, DRIVER_NOT_LOADED, BAD_COMMAND_LINE = 2, 4, 6, 9, 255
IDLE_TEMPERATURE_C = 38

FLAGS = {"-L": "list", "--list-gpus": "list"}
VALUED = {
    "-i": "id",
    "--id": "id",
    "-pl": "pl",
    "--power-limit": "pl",
    "-pm": "pm",
    "--persistence-mode": "pm",
    "--query-gpu": "query-gpu",
    "--query-compute-apps": "query-compute-apps",
    "--format": "format",
}
FORMATS = {"csv", "noheader", "nounits"}

GPU_ALIASES = {"gpu_name": "name", "gpu_uuid": "uuid", "gpu_bus_id": "pci.bus_id"}
APP_ALIASES = {"name": "process_name", "used_memory": "used_gpu_memory"}
UNITS = {
    "memory.total": "MiB",
    "memory.reserved": "MiB",
    "memory.used": "MiB",
    "memory.free": "MiB",
    "power.limit": "W",
    "power.default_limit": "W",
    "power.min_limit": "W",
    "power.max_limit": "W",
    "utilization.gpu": "%",
    "used_gpu_memory": "MiB",
}

GPU_FIELDS: dict[str, Callable[[Machine, Runtime, Gpu], str]] = {
    "index": lambda machine, known, gpu: str(machine.present.index(gpu)),
    "count": lambda machine, known, gpu: str(len(machine.present)),
    "uuid": lambda machine, known, gpu: gpu.uuid,
    "name": lambda machine, known, gpu: gpu.name,
    "pci.bus_id": lambda machine, known, gpu: gpu.bus_id,
    "driver_version": lambda machine, known, gpu: machine.driver_version,
    "memory.total": lambda machine, known, gpu: str(gpu.memory_mib),
    "memory.reserved": lambda machine, known, gpu: str(gpu.reserved_mib),
    "memory.used": lambda machine, known, gpu: str(known.used_mib(gpu)),
    "memory.free": lambda machine, known, gpu: str(known.free_mib(gpu)),
    "power.limit": lambda machine, known, gpu: f"{_limit_w(known, gpu):.2f}",
    "power.default_limit": lambda machine, known, gpu: f"{gpu.power_default_w:.2f}",
    "power.min_limit": lambda machine, known, gpu: f"{gpu.power_min_w:.2f}",
    "power.max_limit": lambda machine, known, gpu: f"{gpu.power_max_w:.2f}",
    "persistence_mode": lambda machine, known, gpu: "Enabled" if gpu.uuid in known.persistent else "Disabled",
    "utilization.gpu": lambda machine, known, gpu: "0",
    "temperature.gpu": lambda machine, known, gpu: str(IDLE_TEMPERATURE_C),
}
APP_FIELDS = ("gpu_uuid", "gpu_name", "gpu_bus_id", "pid", "process_name", "used_gpu_memory")


class RefusedError(Exception):
    """nvidia-smi's answer to something it cannot do: its text and its exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    try:
        sys.stdout.write(_answer(sys.argv[1:] if arguments is None else arguments))
    except RefusedError as refused:
        sys.stdout.write(refused.text)
        return refused.code
    return 0


def _answer(arguments: list[str]) -> str:
    options = _parse(arguments)
    if not driver_loaded():
        raise RefusedError(
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
            "Make sure that the latest NVIDIA driver is installed and running.\n\n",
            DRIVER_NOT_LOADED,
        )
    machine = load()
    chosen = _chosen(machine, options.get("id"))
    with runtime() as known:
        if "pl" in options:
            return _set_power_limit(known, chosen, options["pl"])
        if "pm" in options:
            return _set_persistence(known, chosen, options["pm"])
        if "list" in options:
            return "".join(
                f"GPU {machine.present.index(gpu)}: {gpu.name} (UUID: {gpu.uuid})\n" for gpu in chosen
            )
        if "query-gpu" in options:
            return _query_gpus(machine, known, chosen, options)
        if "query-compute-apps" in options:
            return _query_apps(known, chosen, options)
        return _table(machine, known, chosen)


def _parse(arguments: list[str]) -> dict[str, str]:
    """Options by their long name. Values follow after a blank or an equals sign, as nvidia-smi takes both."""
    options: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if word in FLAGS:
            options[FLAGS[word]] = ""
        elif name not in VALUED:
            raise RefusedError(
                f"ERROR: Option {word} is not recognized. Please run 'nvidia-smi -h'.\n\n", BAD_COMMAND_LINE
            )
        else:
            following = value if equals else next(words, None)
            if following is None:
                raise RefusedError(
                    f"ERROR: Option {word} is missing its value. Please run 'nvidia-smi -h' for help.\n\n",
                    BAD_COMMAND_LINE,
                )
            options[VALUED[name]] = following
    if "list" in options and "id" in options:
        raise RefusedError(
            "ERROR: Option -i is not valid for this command. Please run 'nvidia-smi -h' for help.\n\n",
            INVALID_ARGUMENT,
        )
    if "query-gpu" in options and "query-compute-apps" in options:
        raise RefusedError("Only one --query-* switch can be used at a time.\n", INVALID_ARGUMENT)
    if not FORMATS.issuperset(_format(options)):
        raise RefusedError("Format modifier is not recognized.\n", INVALID_ARGUMENT)
    return options


def _format(options: dict[str, str]) -> list[str]:
    return options.get("format", "csv").split(",")


def _chosen(machine: Machine, ids: str | None) -> list[Gpu]:
    """The cards that are asked for, each once and in the order of their indices; unknown ones are passed over."""
    if ids == "":
        raise RefusedError("Failed to parse device string on command line", BAD_COMMAND_LINE)
    requested = machine.present if ids is None else [machine.find(each.strip()) for each in ids.split(",")]
    chosen = [gpu for gpu in machine.present if gpu in requested]
    if not chosen:
        raise RefusedError("No devices were found\n", NOT_FOUND)
    return chosen


def _fields(asked: str, aliases: dict[str, str], known: Container[str]) -> list[str]:
    """The fields of a list by the names that head their columns."""
    fields = []
    for name in filter(None, asked.split(",")):
        field = aliases.get(name, name)
        if field not in known:
            raise RefusedError(f'Field "{name}" is not a valid field to query.\n\n', INVALID_ARGUMENT)
        fields.append(field)
    return fields


def _query_gpus(machine: Machine, known: Runtime, chosen: list[Gpu], options: dict[str, str]) -> str:
    fields = _fields(options["query-gpu"], GPU_ALIASES, GPU_FIELDS)
    rows = [[GPU_FIELDS[field](machine, known, gpu) for field in fields] for gpu in chosen]
    return _csv(fields, rows, _format(options))


def _query_apps(known: Runtime, chosen: list[Gpu], options: dict[str, str]) -> str:
    fields = _fields(options["query-compute-apps"], APP_ALIASES, APP_FIELDS)
    rows = []
    for gpu in chosen:
        for app in known.processes(gpu):
            process = app.process.replace(",", "?")  # a comma ends a field
            values = (gpu.uuid, gpu.name, gpu.bus_id, app.pid, process, app.mib)
            row = dict(zip(APP_FIELDS, map(str, values), strict=True))
            rows.append([row[field] for field in fields])
    return _csv(fields, rows, _format(options))


def _csv(fields: list[str], rows: list[list[str]], form: list[str]) -> str:
    lines = []
    if "noheader" not in form:
        lines.append(", ".join(f"{field} [{UNITS[field]}]" if field in UNITS else field for field in fields))
    for row in rows:
        if "nounits" in form:
            lines.append(", ".join(row))
        else:
            lines.append(
                ", ".join(f"{v} {UNITS[f]}" if f in UNITS else v for f, v in zip(fields, row, strict=True))
            )
    return "".join(line + "\n" for line in lines)


def _limit_w(known: Runtime, gpu: Gpu) -> float:
    return known.power_limits_w.get(gpu.uuid, float(gpu.power_default_w))


def _require_root(what: str, gpu: Gpu) -> None:
    if os.geteuid() != 0:
        raise RefusedError(
            f"Unable to set {what} for GPU {gpu.bus_id}: Insufficient Permissions\n"
            "Terminating early due to previous errors.\n",
            NO_PERMISSION,
        )


def _set_power_limit(known: Runtime, chosen: list[Gpu], value: str) -> str:
    lines = []
    try:
        limit_w = float(value)
    except ValueError:
        raise RefusedError(f"Invalid value for power limit: {value}\n", INVALID_ARGUMENT) from None
    for gpu in chosen:
        _require_root("power limit", gpu)
        if not gpu.power_min_w <= limit_w <= gpu.power_max_w:
            raise RefusedError(
                f"Provided power limit {limit_w:.2f} W is not a valid power limit which should be between "
                f"{gpu.power_min_w:.2f} W and {gpu.power_max_w:.2f} W for GPU {gpu.bus_id}\n"
                "Terminating early due to previous errors.\n",
                INVALID_ARGUMENT,
            )
        lines.append(
            f"Power limit for GPU {gpu.bus_id} was set to {limit_w:.2f} W from {_limit_w(known, gpu):.2f} W.\n"
        )
        known.power_limits_w[gpu.uuid] = limit_w
    return "".join(lines) + "All done.\n"


def _set_persistence(known: Runtime, chosen: list[Gpu], value: str) -> str:
    if value not in ("0", "1", "DISABLED", "ENABLED"):
        raise RefusedError(f"Invalid value for persistence mode: {value}\n", INVALID_ARGUMENT)
    enable = value in ("1", "ENABLED")
    word = "Enabled" if enable else "Disabled"
    lines = []
    for gpu in chosen:
        _require_root("persistence mode", gpu)
        if (gpu.uuid in known.persistent) == enable:
            lines.append(f"Persistence mode is already {word} for GPU {gpu.bus_id}.\n")
        else:
            lines.append(f"{word} persistence mode for GPU {gpu.bus_id}.\n")
            (known.persistent.append if enable else known.persistent.remove)(gpu.uuid)
    return "".join(lines) + "All done.\n"


def _table(machine: Machine, known: Runtime, chosen: list[Gpu]) -> str:
    """The table for people. Programs that read it are wrong already: its layout changes with every driver."""
    wide, rule = "-" * 89, "-" * 41 + "+" + "-" * 24 + "+" + "-" * 22
    driver, cuda = machine.driver_version, machine.cuda_version

    def row(left: str, middle: str, right: str) -> str:
        return f"| {left:<39} | {middle:>22} | {right:>20} |"

    lines = [
        time.strftime("%a %b %e %H:%M:%S %Y") + "       ",
        f"+{wide}+",
        f"| NVIDIA-SMI {driver:<22} Driver Version: {driver:<14} CUDA Version: {cuda:<8} |",
        f"+{rule}+",
        row("GPU  Name                 Persistence-M", "Bus-Id          Disp.A", "Volatile Uncorr. ECC"),
        row("Fan  Temp   Perf          Pwr:Usage/Cap", "Memory-Usage", "GPU-Util  Compute M."),
        row("", "", "MIG M."),
        f"|{rule.replace('-', '=')}|",
    ]
    apps = []
    for gpu in chosen:
        index = machine.present.index(gpu)
        persistence = "On" if gpu.uuid in known.persistent else "Off"
        fan, idle, ecc, mig = (
            ("N/A", "P0", "0", "Disabled") if gpu.data_center else ("0%", "P8", "N/A", "N/A")
        )
        power = f"15W / {_limit_w(known, gpu):4.0f}W"
        memory = f"{known.used_mib(gpu)}MiB / {gpu.memory_mib:6d}MiB"
        lines += [
            row(f"{index:3d}  {gpu.name:<31}{persistence:<3}", f"{gpu.bus_id} Off", ecc),
            row(f"{fan:>3}   {IDLE_TEMPERATURE_C}C    {idle}{power:>24}", memory, "0%      Default"),
            row("", "", mig),
            f"+{rule}+",
        ]
        apps += [
            f"| {index:>4}   N/A  N/A {app.pid:>15}      C   {app.process:<37}{app.mib:>6}MiB |"
            for app in sorted(known.processes(gpu), key=lambda app: app.pid)
        ]
    lines += ["", f"+{wide}+", f"| {'Processes:':<87} |"]
    lines.append(f"| {' GPU   GI   CI              PID   Type   Process name':<70}{'GPU Memory':>17} |")
    lines.append(f"| {'       ID   ID':<77}{'Usage':<10} |")
    lines += [f"|{'=' * 89}|", *(apps or [f"|  {'No running processes found':<86} |"]), f"+{wide}+"]
    return "\n".join(lines) + "\n"
