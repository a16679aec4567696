"""Problems of the declarations of a host together, where each by itself is valid."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations

from blueprint import langfuse, litellm, postgres
from blueprint.gpus import matching_gpus
from blueprint.host import Blueprint
from blueprint.phases import HARDWARE, SHARED, words
from blueprint.problems import Violation, closest
from blueprint.projects import ROOT, project_problems
from blueprint.stack_problems import StackChecks, missing_names
from blueprint.validation import shown

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def problems(blueprint: Blueprint) -> list[Violation]:
    """Wrong references, duplicates and collisions; without any of these, exceeded budgets."""
    found = [
        *_duplicates(blueprint),
        *_references(blueprint),
        *_profile_problems(blueprint),
        *_cron_problems(blueprint),
        *project_problems(
            blueprint.projects,
            blueprint.shared_redis_indexes,
            blueprint.shared_services,
            words(blueprint.optional_services),
            blueprint.sources,
        ),
        *_watch_problems(blueprint),
        *_shared_problems(blueprint),
        *_removal_problems(blueprint),
    ]
    # The budget of a card depends on each instance's card, model and number of requests.
    return found or list(_budget_problems(blueprint))


def _duplicates(blueprint: Blueprint) -> Iterator[Violation]:
    for key, attribute in {
        "gpus": "bus",
        "ollama_models": "name",
        "ollama_instances": "name",
        "cron_jobs": "name",
        "shared_redis_indexes": "index",
        "secret_formats": "name",
    }.items():
        counts = Counter(getattr(item, attribute) for item in getattr(blueprint, key))
        for value in (value for value, count in counts.items() if count > 1):
            yield _problem(blueprint, key, f"{value}.{attribute}", f"{value} more than once", "declared once")
    for first, second in combinations(blueprint.gpus, 2):
        if second in matching_gpus(first.uuid, [second]):
            yield _problem(
                blueprint,
                "gpus",
                f"{second.uuid}.uuid",
                second.uuid,
                f"another card than {first.uuid} ({first.bus})",
            )
    users: dict[int, str] = {}
    for key, item, port in [
        *(("ollama_instances", instance.name, instance.port) for instance in blueprint.ollama_instances),
        ("whisper", "", blueprint.whisper.port),
    ]:
        name = f"{item}.port" if item else "port"
        if port in users:
            yield _problem(blueprint, key, name, port, f"a port of its own; {users[port]} has this one")
        elif port in blueprint.open_tcp_ports:
            yield _problem(
                blueprint, key, name, port, "a port that open_tcp_ports does not open to the world"
            )
        elif port in blueprint.container_tcp_ports:
            yield _problem(blueprint, key, name, port, "a port that container_tcp_ports does not name")
        users.setdefault(port, item or key)


def _references(blueprint: Blueprint) -> Iterator[Violation]:
    cards = ", ".join(gpu.uuid for gpu in blueprint.gpus)
    consumers: list[tuple[str, str, str]] = [
        *(("ollama_instances", f"{one.name}.gpu", one.gpu) for one in blueprint.ollama_instances),
        ("whisper", "gpu", blueprint.whisper.gpu),
    ]
    for key, item, uuid in consumers:
        matches = matching_gpus(uuid, blueprint.gpus)
        if len(matches) != 1:
            both = " and ".join(gpu.uuid for gpu in matches)
            found = f"{uuid}, the prefix of {both}" if matches else uuid
            yield _problem(blueprint, key, item, found, f"exactly one of {cards}")
    yield from _containers_on_cards(blueprint, cards)
    models = [model.name for model in blueprint.ollama_models]
    for instance in blueprint.ollama_instances:
        if instance.model not in models:
            yield _problem(
                blueprint,
                "ollama_instances",
                f"{instance.name}.model",
                instance.model,
                f"one of {', '.join(models)}",
                closest(instance.model, models) or "declare it in ollama_models",
            )


def _containers_on_cards(blueprint: Blueprint, cards: str) -> Iterator[Violation]:
    placed = ((stack.name, service) for stack in blueprint.stacks for service in stack.services)
    for name, service in placed:
        if service.gpu is None:
            continue
        file = _stack_files(blueprint).get(name, blueprint.file_of("shared_stacks"))
        key = f"stacks.{name}.{service.name}"
        gpus = matching_gpus(service.gpu, blueprint.gpus)
        if len(gpus) != 1:
            yield Violation(file, f"{key}.gpu", service.gpu, f"exactly one of {cards}")
            continue
        beside = [
            instance.name
            for instance in blueprint.ollama_instances
            if gpus == matching_gpus(instance.gpu, gpus)
        ]
        if service.unloads_model_of is not None and service.unloads_model_of not in beside:
            allowed = f"an instance on its card: {', '.join(beside) or 'there is none'}"
            yield Violation(file, f"{key}.unloads_model_of", service.unloads_model_of, allowed)


def _profile_problems(blueprint: Blueprint) -> Iterator[Violation]:
    names = {instance.name for instance in blueprint.ollama_instances}
    allowed = ", ".join(sorted(names))
    for name in sorted(names - blueprint.profile.ollama_parallel.keys()):
        yield _problem(blueprint, "profile", f"ollama_parallel[{name!r}]", "missing", "a number of requests")
    for name in sorted(blueprint.profile.ollama_parallel.keys() - names):
        yield _problem(
            blueprint,
            "profile",
            f"ollama_parallel[{name!r}]",
            "of no instance",
            f"of one of {allowed}",
            closest(name, names),
        )


def _shared_problems(blueprint: Blueprint) -> Iterator[Violation]:
    ollama = {instance.port: instance.name for instance in blueprint.ollama_instances}
    yield from StackChecks(
        stacks=blueprint.stacks,
        databases=blueprint.databases,
        redis_indexes=blueprint.redis_indexes,
        names={blueprint.whisper.name: "whisper"},
        ports={blueprint.whisper.port: "whisper", **ollama},
        open_tcp_ports=blueprint.open_tcp_ports,
        open_udp_ports=blueprint.open_udp_ports,
        file=blueprint.file_of("shared_stacks"),
        files=_stack_files(blueprint),
    ).problems()
    for stack in blueprint.shared_stacks:
        if stack.phase not in SHARED:
            expected = f"one of {', '.join(SHARED)}"
            yield _problem(blueprint, "shared_stacks", f"{stack.name}.phase", repr(stack.phase), expected)
    yield from missing_names(
        blueprint.shared_stacks, blueprint.pgbouncer, blueprint.gateway, blueprint.sources
    )
    yield from langfuse.problems(
        blueprint.shared_stacks, blueprint.projects, blueprint.file_of("shared_stacks")
    )
    cache = blueprint.gateway.cache
    users = next((one.users for one in blueprint.redis_indexes if one.index == cache.database), ())
    if cache.user not in users:
        expected = f"an index of {cache.user}; this one is for {', '.join(users) or 'nobody'}"
        yield _problem(blueprint, "gateway", "cache.database", f"{cache.database} as {cache.user}", expected)
    declared = [(blueprint.file_of("shared_databases"), database) for database in blueprint.shared_databases]
    for project in blueprint.projects:
        declared += [(blueprint.file_of(project.phase), database) for database in project.databases]
    yield from postgres.database_problems(declared)
    held = [database.name for database in blueprint.databases if database.min_dump_kib]
    for name in set(blueprint.without_data) - set(held):
        expected = f"a database with min_dump_kib: {', '.join(held) or 'none has it'}"
        yield _problem(blueprint, "empty_databases", "", name, expected, closest(name, held))
    yield from blueprint.connections.problems(blueprint.file_of("postgres"))
    teams = {project.phase: project.team for project in blueprint.projects}
    yield from litellm.problems(blueprint.gateway, teams, blueprint.ollama_instances, blueprint.sources)


def _watch_problems(blueprint: Blueprint) -> Iterator[Violation]:
    models = [model.name for model in blueprint.gateway.models]
    indexes = [index.index for index in blueprint.redis_indexes]
    for name in set(blueprint.watch.direct_groups) - set(models):
        allowed = f"models of the gateway: {', '.join(models)}"
        yield _problem(blueprint, "watch", "direct_groups", name, allowed, closest(name, models))
    for index in blueprint.watch.caches.keys() - set(indexes):
        yield _problem(
            blueprint, "watch", "caches", index, f"indexes of the table: {', '.join(map(str, indexes))}"
        )


def _removal_problems(blueprint: Blueprint) -> Iterator[Violation]:
    """A declared stack cannot be removed, except one that a foreign container replaces."""
    kept = {stack.name: f"stack {stack.name}" for stack in blueprint.stacks if not stack.skip_if_running}
    kept |= {
        service.name: f"a container of stack {stack.name}"
        for stack in blueprint.stacks
        if not stack.skip_if_running
        for service in stack.services
    }
    teams = {team.name: f"team {team.name}" for team in blueprint.teams}
    for key, names, declared in (
        ("remove", blueprint.removed, kept),
        ("remove_teams", blueprint.removed_teams, teams),
    ):
        for name in names:
            if not _NAME.fullmatch(name):
                yield _problem(
                    blueprint, key, "", shown(name), "names of lower-case letters, digits, - and _"
                )
            elif name in declared:
                expected = "the name of something that is not declared"
                remedy = "take its declaration out of group_data/ first"
                yield _problem(
                    blueprint, key, "", f"{name}, which is declared as {declared[name]}", expected, remedy
                )


def _cron_problems(blueprint: Blueprint) -> Iterator[Violation]:
    phases = (HARDWARE, *SHARED)
    for job in blueprint.cron_jobs:
        if job.phase not in phases:
            hint = closest(job.phase, phases)
            allowed = f"one of {', '.join(phases)}"
            yield _problem(blueprint, "cron_jobs", f"{job.name}.phase", repr(job.phase), allowed, hint)
        if not any(ROOT.glob(f"files/*/{job.script}")):
            expected = f"the name of a script below files/, without its .sh ({job.script})"
            yield _problem(blueprint, "cron_jobs", f"{job.name}.name", repr(job.name), expected)
    for first, second in combinations(blueprint.cron_jobs, 2):
        if first.lock_name != second.lock_name and first.overlaps(second):
            yield _problem(
                blueprint,
                "cron_jobs",
                f"{second.name}.schedule",
                f'"{second.schedule}"',
                f'at another time than {first.name} ("{first.schedule}" for {first.lasts_min} minutes)',
            )


def _budget_problems(blueprint: Blueprint) -> Iterator[Violation]:
    for card in blueprint.vram:
        if not card.fits:
            yield _problem(
                blueprint,
                "gpus",
                card.gpu.uuid,
                f"asked for {card}",
                f"asked for at most the {card.gpu.vram_mib} MiB of the {card.gpu.model}",
                "take a smaller model or context_length, or fewer requests at once (ollama_parallel)",
            )
    machine = f"group_data/{blueprint.profile.name}.py"
    yield from blueprint.memory_budget().problems(machine)
    yield from blueprint.disk_budget().problems(machine)


def _stack_files(blueprint: Blueprint) -> dict[str, str]:
    """File of each project's stack, by the stack's name."""
    return {project.name: blueprint.file_of(project.phase) for project in blueprint.projects}


def _problem(
    blueprint: Blueprint, key: str, item: str, found: object, expected: str, remedy: str = ""
) -> Violation:
    return Violation(blueprint.file_of(key), f"{key}.{item}" if item else key, str(found), expected, remedy)
