"""All limits, each as a sum: `make budget`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table

from blueprint import Blueprint, DeclarationError, group_data, render_problems
from blueprint.model import Service
from blueprint.model.cron import minutes_of_week
from blueprint.vram import Share

# Width of the output where it is no terminal.
WIDTH = 140
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def blueprints() -> Mapping[str, Blueprint]:
    """The blueprint of production with each hardware profile.

    :raises DeclarationError: the declarations are wrong, or exceed a budget
    """
    declared = group_data.read()
    return {
        name: declared.blueprint(
            "production",
            group_data.Layer(name, f"group_data/{name}.py", {"hardware_profile": name}),
        )
        for name in declared.profiles
    }


def budgets(blueprints: Mapping[str, Blueprint]) -> Iterator[RenderableType]:
    """The tables of each profile's machine, then those that are the same for all machines."""
    for name, blueprint in blueprints.items():
        yield Rule(f"{name}: {blueprint.profile.cpu_model}, {blueprint.profile.ram_gib} GiB", align="left")
        yield from (_memory(blueprint), _cards(blueprint), _disk(blueprint))
        yield _sentences("warnings", blueprint.warnings())
    blueprint = next(iter(blueprints.values()))
    yield Rule("every machine", align="left")
    yield from (
        _connections(blueprint),
        _redis(blueprint),
        _ports(blueprint),
        _names(blueprint),
        _schedule(blueprint),
    )


def _table(title: str, *columns: str, numbers: Iterable[str] = ()) -> Table:
    right = set(numbers)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def _sentences(title: str, sentences: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    for sentence in sentences:
        table.add_row("-", sentence)
    return table


def _memory(blueprint: Blueprint) -> Table:
    budget = blueprint.memory_budget()
    table = _table("memory, MiB", "of", "what", "limit", "measured", numbers=("limit", "measured"))
    for use in budget.uses:
        measured = "not measured" if use.measured_mib is None else str(use.measured_mib)
        table.add_row(use.of, use.what, str(use.limit_mib), measured)
    table.add_section()
    table.add_row("sum", "", str(budget.limits_mib), str(budget.measured_mib))
    table.add_row("at most", "what is not measured at its limit", "", str(budget.most_mib))
    table.add_row("capacity", budget.capacity, str(budget.capacity_mib), str(budget.capacity_mib))
    return table


def _cards(blueprint: Blueprint) -> Table:
    table = _table("cards, MiB", "card", "what", "MiB", "how", numbers=("MiB",))

    def add(shares: Sequence[Share], when: str, size: int) -> None:
        for share in shares:
            table.add_row("", share.what, str(share.mib), share.arithmetic)
        total = sum(share.mib for share in shares)
        verdict = "fits" if total <= size else "DOES NOT FIT"
        table.add_row("", f"sum {when}".strip(), str(total), f"of {size}: {verdict}")

    for card in blueprint.vram:
        table.add_row(f"{card.gpu.uuid} {card.gpu.model}", "", "", "")
        add(card.shares, "", card.gpu.vram_mib)
        if card.working:
            add(card.working, "while a container works", card.gpu.vram_mib)
        table.add_section()
    return table


def _disk(blueprint: Blueprint) -> Table:
    budget = blueprint.disk_budget()
    table = _table("disk, MiB", "what", "MiB", "how", numbers=("MiB",))
    for use in budget.uses:
        table.add_row(use.what, str(use.mib), use.arithmetic)
    table.add_section()
    table.add_row(
        "sum", str(budget.total_mib), f"of {budget.size_mib}; {budget.certain_mib} of it for certain"
    )
    return table


def _connections(blueprint: Blueprint) -> Table:
    budget = blueprint.connections
    table = _table("connections to Postgres", "for", "connections", "how", numbers=("connections",))
    for use in budget.uses:
        table.add_row(use.what, str(use.connections), use.why)
    table.add_section()
    table.add_row("sum", str(budget.total), f"of max_connections {budget.server.max_connections}")
    return table


def _redis(blueprint: Blueprint) -> Table:
    table = _table("Redis indexes", "index", "what", "users", "used by", numbers=("index",))
    for index in sorted(blueprint.redis_indexes, key=lambda index: index.index):
        containers = [service.name for service in _services(blueprint) if index.index in service.redis]
        table.add_row(str(index.index), index.usage, ", ".join(index.users), ", ".join(containers) or "-")
    return table


def _ports(blueprint: Blueprint) -> Table:
    table = _table("ports of the host", "port", "owner", "open to", numbers=("port",))
    rows: list[tuple[int, str, str]] = [
        *((instance.port, instance.unit, "containers") for instance in blueprint.ollama_instances),
        (blueprint.whisper.port, blueprint.whisper.name, "127.0.0.1"),
    ]
    for service in _services(blueprint):
        rows += [(port, service.name, "everybody") for port in service.public]
        rows += [(port, f"{service.name} (udp)", "everybody") for port in service.public_udp]
        rows += [(service.publish, service.name, "127.0.0.1")] if service.publish else []
    taken = {port for port, _, reach in rows if reach == "everybody"}
    rows += [
        (port, "sshd" if port == 22 else "Coolify's proxy", "everybody")
        for port in blueprint.open_tcp_ports
        if port not in taken
    ]
    for port, owner, reach in sorted(rows):
        table.add_row(str(port), owner, reach)
    return table


def _names(blueprint: Blueprint) -> Table:
    table = _table("names on the network", "container", "also called", "stack", "domain")
    for stack in blueprint.stacks:
        for service in stack.services:
            table.add_row(
                service.name,
                ", ".join(service.names[1:]) or "-",
                stack.name,
                ", ".join(service.domains) or "-",
            )
    table.add_row(blueprint.whisper.name, "-", "systemd", "-")
    return table


def _schedule(blueprint: Blueprint) -> Table:
    table = _table(
        "cron jobs", "first in the week", "schedule", "job", "minutes", "lock", numbers=("minutes",)
    )
    for job in sorted(blueprint.cron_jobs, key=lambda job: min(minutes_of_week(job.schedule))):
        first = min(minutes_of_week(job.schedule))
        when = f"{_DAYS[first // 1440]} {first % 1440 // 60:02}:{first % 60:02}"
        table.add_row(when, job.schedule, job.name, str(job.lasts_min), job.lock_name)
    return table


def _services(blueprint: Blueprint) -> Iterator[Service]:
    for stack in blueprint.stacks:
        yield from stack.services


def main() -> int:
    """Print the budgets, or the problems."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    try:
        console.print(Group(*budgets(blueprints())))
    except DeclarationError as error:
        sys.stderr.write(f"{render_problems(error.problems)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
