"""The server as a picture, drawn from the declarations: `make map`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blueprint import Blueprint, DeclarationError, group_data, render, render_problems
from blueprint.model import CronJob, Gpu, OllamaInstance, Service, Stack
from blueprint.model.cron import minutes_of_week
from blueprint.vram import Share

# Colours of the page, assigned to stacks in turn; templates/map/ has their values for a light and a dark screen.
HUES = 10
_MINUTES_A_DAY = 24 * 60
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


@dataclass(frozen=True)
class Segment:
    """A part of a bar.

    :param start: its start, in percent of the bar
    :param width: in percent of the bar
    :param kind: its class in the page
    """

    label: str
    value: str
    start: float
    width: float
    kind: str


@dataclass(frozen=True)
class Bar:
    """A bar of segments, one after the other, with its description in words."""

    segments: tuple[Segment, ...]
    words: str


@dataclass(frozen=True)
class DrawnContainer:
    """A container as it is drawn."""

    service: Service
    memory: Bar
    card: str | None


@dataclass(frozen=True)
class DrawnStack:
    """A stack as it is drawn."""

    stack: Stack
    hue: int
    memory_mib: int
    containers: tuple[DrawnContainer, ...]


@dataclass(frozen=True)
class DrawnCard:
    """A card as it is drawn.

    :param working: the bar while a container computes on it, if one ever does
    """

    gpu: Gpu
    number: int
    instances: tuple[tuple[OllamaInstance, int], ...]
    whisper: bool
    containers: tuple[Service, ...]
    resident: Bar
    working: Bar | None


@dataclass(frozen=True)
class DrawnJob:
    """A cron job as it is drawn.

    :param times: when it runs on a day, in words
    :param marks: start and width of each run of a week, in percent of the week
    """

    job: CronJob
    times: str
    marks: tuple[tuple[float, float], ...]


def page(blueprint: Blueprint) -> str:
    """The page, which refers to no other file.

    :param blueprint: the host that it shows
    """
    memory = blueprint.memory_budget()
    stacks = list(_stacks(blueprint))
    hues = {drawn.stack.name: drawn.hue for drawn in stacks}
    services = [service for stack in blueprint.stacks for service in stack.services]
    return render(
        "map/map.html.j2",
        blueprint=blueprint,
        stacks=stacks,
        services=services,
        proxies=[service for service in services if service.public],
        domains=[(domain, service.name) for service in services for domain in service.domains],
        cards=[_card(blueprint, number) for number in range(len(blueprint.gpus))],
        memory=memory,
        memory_bar=_memory_bar(blueprint, hues),
        expected_bar=_expected_bar(blueprint, hues),
        databases=[
            (database, [one.name for one in services if one.database == database.name])
            for database in blueprint.databases
        ],
        indexes=[
            (index, [one.name for one in services if index.index in one.redis])
            for index in sorted(blueprint.redis_indexes, key=lambda index: index.index)
        ],
        runs=[_run(job) for job in blueprint.cron_jobs],
        days=_DAYS,
        warnings=blueprint.warnings(),
    )


def _stacks(blueprint: Blueprint) -> Iterator[DrawnStack]:
    largest = max((service.memory_mib for stack in blueprint.stacks for service in stack.services), default=1)
    for number, stack in enumerate(blueprint.stacks):
        yield DrawnStack(
            stack,
            number % HUES,
            sum(service.memory_mib for service in stack.services),
            tuple(
                DrawnContainer(
                    service,
                    _container_bar(service, largest),
                    f"GPU {blueprint.gpus.index(blueprint.gpu_of(service))}" if service.gpu else None,
                )
                for service in stack.services
            ),
        )


def _bar(parts: Iterable[tuple[str, int, str]], whole: int, words: str) -> Bar:
    """A bar of parts, each with its label, its figure and its class."""
    segments: list[Segment] = []
    start = 0.0
    for label, figure, kind in parts:
        width = 100 * figure / whole
        segments.append(Segment(label, f"{figure} MiB", round(start, 3), round(width, 3), kind))
        start += width
    return Bar(tuple(segments), words)


def _container_bar(service: Service, largest: int) -> Bar:
    expected = service.measured_memory_mib
    words = f"{service.name}: at most {service.memory_mib} MiB"
    if expected is None:
        return _bar([("limit", service.memory_mib, "limit")], largest, f"{words}, not measured")
    parts = [("expected", expected, "expected"), ("up to its limit", service.memory_mib - expected, "limit")]
    return _bar(parts, largest, f"{words}, {expected} MiB expected")


def _card(blueprint: Blueprint, number: int) -> DrawnCard:
    budget = blueprint.vram[number]
    gpu = budget.gpu
    instances = tuple(
        (instance, blueprint.parallel_of(instance))
        for instance in blueprint.ollama_instances
        if blueprint.gpu_of(instance) == gpu
    )
    containers = tuple(
        service
        for stack in blueprint.stacks
        for service in stack.services
        if service.gpu and blueprint.gpu_of(service) == gpu
    )
    return DrawnCard(
        gpu,
        number,
        instances,
        blueprint.gpu_of(blueprint.whisper) == gpu,
        containers,
        _card_bar(gpu, budget.shares, "resident"),
        _card_bar(gpu, budget.working, "while a container computes") if budget.working else None,
    )


def _card_bar(gpu: Gpu, shares: Sequence[Share], when: str) -> Bar:
    kinds = {"weights": "weights", "KV": "cache", "Ollama's": "overhead", "whisper": "whisper"}
    parts = [(share.what, share.mib, kinds.get(share.what.split()[0], "guest")) for share in shares]
    total = sum(share.mib for share in shares)
    sums = " + ".join(f"{share.what} {share.mib}" for share in shares)
    return _bar(parts, gpu.vram_mib, f"{when}: {sums} = {total} of {gpu.vram_mib} MiB")


def _of_stack(hues: Mapping[str, int], of: str) -> str:
    return f"hue-{hues[of]}" if of in hues else "beside"


def _memory_bar(blueprint: Blueprint, hues: Mapping[str, int]) -> Bar:
    """The bar of all limits, a segment for each stack."""
    memory = blueprint.memory_budget()
    sums: dict[str, int] = {}
    for use in memory.uses:
        sums[use.of] = sums.get(use.of, 0) + use.limit_mib
    whole = max(memory.limits_mib, memory.capacity_mib)
    parts = [(of, mib, _of_stack(hues, of)) for of, mib in sums.items()]
    return _bar(parts, whole, f"limits: {memory.limits_mib} MiB, the machine has {memory.capacity}")


def _expected_bar(blueprint: Blueprint, hues: Mapping[str, int]) -> Bar:
    """The bar of measured memory, to the same scale."""
    memory = blueprint.memory_budget()
    sums: dict[str, int] = {}
    for use in memory.uses:
        sums[use.of] = sums.get(use.of, 0) + (use.measured_mib or 0)
    whole = max(memory.limits_mib, memory.capacity_mib)
    parts = [(of, mib, _of_stack(hues, of)) for of, mib in sums.items() if mib]
    words = (
        f"measured: {memory.measured_mib} MiB; {len(memory.unmeasured)} of {len(memory.uses)} not measured"
    )
    return _bar(parts, whole, words)


def _run(job: CronJob) -> DrawnJob:
    starts = sorted(minutes_of_week(job.schedule))
    week = 7 * _MINUTES_A_DAY
    if len(starts) > 7 * 24:  # more than once an hour: a line all week
        marks: tuple[tuple[float, float], ...] = ((0.0, 100.0),)
        return DrawnJob(job, f"every {starts[1] - starts[0]} minutes", marks)
    marks = tuple(
        (round(100 * start / week, 3), round(100 * max(job.lasts_min, 15) / week, 3)) for start in starts
    )
    days = {start // _MINUTES_A_DAY for start in starts}
    clocks = sorted({start % _MINUTES_A_DAY for start in starts})
    when = "every day" if len(days) == 7 else ", ".join(_DAYS[day] for day in sorted(days))
    return DrawnJob(
        job, f"{when} {', '.join(f'{clock // 60:02}:{clock % 60:02}' for clock in clocks)}", marks
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or report the problems."""
    declared = argparse.ArgumentParser(prog="make map", description=__doc__)
    declared.add_argument("--environment", choices=group_data.ENVIRONMENTS, default="production")
    declared.add_argument("--profile", help="hardware profile, where it is not the environment's own")
    declared.add_argument("--output", type=Path, default=Path("map.html"))
    options = declared.parse_args(arguments)
    chosen = {"hardware_profile": options.profile} if options.profile else {}
    try:
        blueprint = group_data.read().blueprint(
            options.environment, command_line=group_data.Layer("--profile", "--profile", chosen)
        )
        options.output.write_text(page(blueprint), encoding="utf-8")
    except DeclarationError as error:
        sys.stderr.write(f"{render_problems(error.problems)}\n")
        return 1
    sys.stdout.write(f"{options.output.resolve().as_uri()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
